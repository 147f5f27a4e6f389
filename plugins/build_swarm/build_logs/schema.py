"""The table of build logs."""

from typing import Final

from appliance.plugin import Migration

MIGRATIONS: Final = (
    Migration(
        version=6,
        name="build logs",
        sql="""
CREATE TABLE build_swarm_log (
    log_id TEXT PRIMARY KEY,
    drone_id TEXT NOT NULL,
    drone_name TEXT NOT NULL,
    package TEXT NOT NULL,
    session_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    started_unix_us INTEGER NOT NULL,
    ended_unix_us INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX build_swarm_log_started ON build_swarm_log (started_unix_us, log_id);
CREATE INDEX build_swarm_log_package ON build_swarm_log (package, started_unix_us);
""",
    ),
)
