"""The tables of the queue."""

from typing import Final

from appliance.plugin import Migration

MIGRATIONS: Final = (
    Migration(
        version=1,
        name="queue",
        sql="""
CREATE TABLE build_swarm_drone (
    drone_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    address TEXT NOT NULL,
    claimed_ip TEXT NOT NULL,
    tailscale_ip TEXT NOT NULL,
    kind TEXT NOT NULL,
    drone_type TEXT NOT NULL,
    capabilities TEXT NOT NULL,
    metrics TEXT NOT NULL,
    current_task TEXT NOT NULL,
    version TEXT NOT NULL,
    status TEXT NOT NULL,
    paused INTEGER NOT NULL,
    last_seen_unix_us INTEGER NOT NULL,
    created_unix_us INTEGER NOT NULL,
    failures_in_row INTEGER NOT NULL,
    streak TEXT NOT NULL,
    grounded_until_us INTEGER NOT NULL,
    grounded_until_unix_us INTEGER,
    groundings INTEGER NOT NULL,
    upload_failures INTEGER NOT NULL,
    upload_failed_us INTEGER NOT NULL,
    builds_completed INTEGER NOT NULL,
    builds_failed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE build_swarm_session (
    session_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    started_unix_us INTEGER NOT NULL,
    completed_unix_us INTEGER,
    total INTEGER NOT NULL,
    needed INTEGER NOT NULL,
    delegated INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    blocked INTEGER NOT NULL,
    ended_failed INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX build_swarm_session_started ON build_swarm_session (started_unix_us);
CREATE TABLE build_swarm_package (
    package_id INTEGER PRIMARY KEY,
    atom TEXT NOT NULL,
    session_id TEXT NOT NULL,
    state TEXT NOT NULL,
    priority INTEGER NOT NULL,
    needs TEXT NOT NULL,
    waits_for TEXT NOT NULL,
    drone_id TEXT,
    delegated_unix_us INTEGER,
    building_since_unix_us INTEGER,
    failures INTEGER NOT NULL,
    failed_drones TEXT NOT NULL,
    avoided_drones TEXT NOT NULL,
    returns INTEGER NOT NULL,
    absolved INTEGER NOT NULL,
    error TEXT NOT NULL,
    queued_unix_us INTEGER NOT NULL,
    blocked_unix_us INTEGER,
    completed_unix_us INTEGER
) STRICT;
CREATE INDEX build_swarm_package_session ON build_swarm_package (session_id);
CREATE TABLE build_swarm_build (
    build_id INTEGER PRIMARY KEY AUTOINCREMENT,
    atom TEXT NOT NULL,
    package_id INTEGER NOT NULL,
    session_id TEXT NOT NULL,
    drone_id TEXT NOT NULL,
    drone_name TEXT NOT NULL,
    outcome TEXT NOT NULL,
    duration_s REAL NOT NULL,
    error TEXT NOT NULL,
    built_unix_us INTEGER NOT NULL
) STRICT;
CREATE INDEX build_swarm_build_atom ON build_swarm_build (atom);
CREATE TABLE build_swarm_event (
    event_id INTEGER PRIMARY KEY,
    unix_us INTEGER NOT NULL,
    type TEXT NOT NULL,
    message TEXT NOT NULL,
    details TEXT NOT NULL,
    drone TEXT NOT NULL
) STRICT;
CREATE INDEX build_swarm_event_time ON build_swarm_event (unix_us);
CREATE TABLE build_swarm_queue_state (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    paused INTEGER NOT NULL,
    expected_timestamp TEXT NOT NULL,
    next_package_id INTEGER NOT NULL
) STRICT;
""",
    ),
)
