"""The tables of metrics ingest."""

from typing import Final

from appliance.plugin import Migration

MIGRATIONS: Final = (
    Migration(
        version=1,
        name="servers and verdicts",
        sql="""
CREATE TABLE metrics_ingest_server (
    server_id INTEGER PRIMARY KEY AUTOINCREMENT,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    hostname TEXT NOT NULL,
    description TEXT NOT NULL,
    is_active INTEGER NOT NULL,
    is_local INTEGER NOT NULL,
    series_id TEXT NOT NULL UNIQUE,
    machine_sha256 BLOB UNIQUE,
    agent_user TEXT NOT NULL DEFAULT '',
    agent_info TEXT NOT NULL DEFAULT '{}',
    agent_version TEXT NOT NULL DEFAULT '',
    last_ip TEXT NOT NULL DEFAULT '',
    last_seen_unix_us INTEGER,
    latest_unix_us INTEGER,
    snapshot_count INTEGER NOT NULL DEFAULT 0,
    owner TEXT NOT NULL,
    created_unix_us INTEGER NOT NULL
) STRICT;
CREATE TABLE metrics_ingest_verdict (
    server_id INTEGER NOT NULL,
    at_unix_us INTEGER NOT NULL,
    code INTEGER NOT NULL,
    PRIMARY KEY (server_id, at_unix_us)
) STRICT, WITHOUT ROWID;
""",
    ),
)
