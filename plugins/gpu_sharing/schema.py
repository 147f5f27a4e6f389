"""The tables of GPU sharing."""

from typing import Final

from appliance.plugin import Migration

MIGRATIONS: Final = (
    Migration(
        version=1,
        name="agents, workers, shares, install tokens and usage",
        sql="""
CREATE TABLE gpu_sharing_agent (
    agent_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    hostname TEXT NOT NULL,
    os TEXT NOT NULL,
    arch TEXT NOT NULL,
    network_ips TEXT NOT NULL,
    gpus TEXT NOT NULL,
    host_id TEXT NOT NULL,
    config_version INTEGER NOT NULL,
    last_seen_unix_us INTEGER,
    has_shut_down INTEGER NOT NULL,
    reported_from TEXT NOT NULL,
    is_local INTEGER NOT NULL,
    license_expires_unix_us INTEGER NOT NULL,
    created_unix_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE gpu_sharing_worker (
    worker_id TEXT PRIMARY KEY,
    agent_id TEXT NOT NULL REFERENCES gpu_sharing_agent (agent_id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    gpu_ids TEXT NOT NULL,
    listen_port INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    is_default INTEGER NOT NULL,
    status TEXT NOT NULL,
    pid INTEGER,
    restarts INTEGER NOT NULL,
    vram_mb INTEGER,
    compute_percent INTEGER,
    isolation_mode TEXT,
    started_unix_us INTEGER,
    created_unix_us INTEGER NOT NULL,
    connections TEXT NOT NULL,
    UNIQUE (agent_id, listen_port)
) STRICT, WITHOUT ROWID;
CREATE TABLE gpu_sharing_share (
    share_id TEXT PRIMARY KEY,
    short_code TEXT NOT NULL UNIQUE,
    worker_id TEXT NOT NULL REFERENCES gpu_sharing_worker (worker_id) ON DELETE CASCADE,
    owner TEXT NOT NULL,
    connection_ip TEXT NOT NULL,
    protocol TEXT NOT NULL,
    expires_unix_us INTEGER,
    max_uses INTEGER,
    used_count INTEGER NOT NULL DEFAULT 0,
    access TEXT,
    networks TEXT NOT NULL,
    max_connections INTEGER,
    relay_port INTEGER UNIQUE,
    created_unix_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX gpu_sharing_share_worker ON gpu_sharing_share (worker_id);
CREATE TABLE gpu_sharing_redeemed (
    share_id TEXT NOT NULL REFERENCES gpu_sharing_share (share_id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    at_unix_us INTEGER NOT NULL,
    PRIMARY KEY (share_id, address)
) STRICT, WITHOUT ROWID;
CREATE TABLE gpu_sharing_install (
    token_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    expires_unix_us INTEGER NOT NULL,
    used_unix_us INTEGER,
    agent_id TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE gpu_sharing_pat (
    owner TEXT PRIMARY KEY,
    credential_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE gpu_sharing_usage (
    hour_unix_us INTEGER NOT NULL,
    owner TEXT NOT NULL,
    worker_id TEXT NOT NULL,
    share_id TEXT NOT NULL,
    gpu_ms INTEGER NOT NULL,
    vram_mib_ms INTEGER NOT NULL,
    energy_mj INTEGER NOT NULL,
    bytes_from_guests INTEGER NOT NULL,
    bytes_to_guests INTEGER NOT NULL,
    PRIMARY KEY (hour_unix_us, owner, worker_id, share_id)
) STRICT, WITHOUT ROWID;
""",
    ),
    Migration(
        version=2,
        name="which shares' ends were told of",
        sql="""
CREATE TABLE gpu_sharing_over (
    share_id TEXT PRIMARY KEY REFERENCES gpu_sharing_share (share_id) ON DELETE CASCADE,
    expires_unix_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
""",
    ),
)
