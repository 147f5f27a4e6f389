"""The table of the task scheduler's API; tasks themselves are core's."""

from typing import Final

from appliance.plugin import Migration

MIGRATIONS: Final = (
    Migration(
        version=1,
        name="registered workers",
        sql="""
CREATE TABLE task_scheduler_worker (
    worker_id TEXT PRIMARY KEY,
    address TEXT NOT NULL,
    registered_at_unix_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
""",
    ),
)
