"""The tables of payloads: versions, what each drone has, and the deploy log."""

from typing import Final

from appliance.plugin import Migration

MIGRATIONS: Final = (
    Migration(
        version=4,
        name="payloads",
        sql="""
CREATE TABLE build_swarm_payload (
    version_id INTEGER PRIMARY KEY AUTOINCREMENT,
    payload_type TEXT NOT NULL,
    version TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    file TEXT NOT NULL,
    description TEXT NOT NULL,
    notes TEXT NOT NULL,
    created_unix_us INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    UNIQUE (payload_type, version)
) STRICT;

CREATE TABLE build_swarm_payload_drone (
    drone_id TEXT NOT NULL,
    payload_type TEXT NOT NULL,
    version TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    status TEXT NOT NULL,
    error TEXT NOT NULL,
    changed_unix_us INTEGER NOT NULL,
    changed_by TEXT NOT NULL,
    PRIMARY KEY (drone_id, payload_type)
) STRICT, WITHOUT ROWID;

CREATE TABLE build_swarm_payload_log (
    entry_id INTEGER PRIMARY KEY AUTOINCREMENT,
    drone_id TEXT NOT NULL,
    drone_name TEXT NOT NULL,
    payload_type TEXT NOT NULL,
    version TEXT NOT NULL,
    action TEXT NOT NULL,
    status TEXT NOT NULL,
    duration_ms REAL,
    error TEXT NOT NULL,
    at_unix_us INTEGER NOT NULL,
    by TEXT NOT NULL
) STRICT;

CREATE INDEX build_swarm_payload_log_type ON build_swarm_payload_log (payload_type, entry_id);
""",
    ),
)
