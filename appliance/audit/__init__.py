"""Who did what, in an append-only log whose entries are chained by hash."""

from appliance.audit.chain import AuditEntry, AuditProblem
from appliance.audit.service import AuditKeeper
from appliance.audit.store import MIGRATIONS, OWNER, Audit, verify

__all__ = ["MIGRATIONS", "OWNER", "Audit", "AuditEntry", "AuditKeeper", "AuditProblem", "verify"]
