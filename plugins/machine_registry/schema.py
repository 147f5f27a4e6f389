"""The tables of the machine registry."""

from typing import Final

from appliance.plugin import Migration

MIGRATIONS: Final = (
    Migration(
        version=1,
        name="machines and pools",
        sql="""
CREATE TABLE machine_registry_machine (
    provider TEXT NOT NULL,
    pool TEXT NOT NULL,
    machine_id TEXT NOT NULL,
    host_id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    deadline_us INTEGER NOT NULL,
    hostname TEXT NOT NULL,
    cpu_millicores INTEGER NOT NULL,
    memory_mib INTEGER NOT NULL,
    gpu_count INTEGER NOT NULL,
    private_ip TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    created_unix_us INTEGER NOT NULL,
    registered_unix_us INTEGER,
    last_keepalive_unix_us INTEGER,
    last_worker_unix_us INTEGER,
    reported TEXT NOT NULL,
    credential_id TEXT NOT NULL,
    told TEXT NOT NULL,
    PRIMARY KEY (provider, pool, machine_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE machine_registry_pool (
    name TEXT PRIMARY KEY,
    gpu TEXT NOT NULL,
    provider TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE machine_registry_clock (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    written_us INTEGER NOT NULL
) STRICT;
CREATE TABLE machine_registry_use (
    credential_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    pool TEXT NOT NULL,
    machine_id TEXT NOT NULL,
    PRIMARY KEY (credential_id, provider, pool, machine_id)
) STRICT, WITHOUT ROWID;
""",
    ),
)
