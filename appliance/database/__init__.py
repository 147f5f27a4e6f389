"""SQLite as the appliance uses it: one writer with group commit, readers, and the row that says when we went down."""

from appliance.database.alive import AliveWriter, went_down_at
from appliance.database.core import Database

__all__ = ["AliveWriter", "Database", "went_down_at"]
