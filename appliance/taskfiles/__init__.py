"""Files of jobs: what is given to them before they start, and what they leave."""

from appliance.taskfiles.paths import checked_path
from appliance.taskfiles.service import FileLimits, FileSink, Skipped, StoredFile, TaskFiles

__all__ = ["FileLimits", "FileSink", "Skipped", "StoredFile", "TaskFiles", "checked_path"]
