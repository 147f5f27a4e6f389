"""The tables of what is kept, and of what operators set for single drones."""

from typing import Final

from appliance.plugin import Migration

MIGRATIONS: Final = (
    Migration(
        version=2,
        name="records",
        sql="""
CREATE TABLE build_swarm_protocol (
    entry_id INTEGER PRIMARY KEY AUTOINCREMENT,
    unix_us INTEGER NOT NULL,
    source_ip TEXT NOT NULL,
    source_node TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    msg_type TEXT NOT NULL,
    drone_id TEXT NOT NULL,
    package TEXT NOT NULL,
    session_id TEXT NOT NULL,
    status_code INTEGER NOT NULL,
    request_summary TEXT NOT NULL,
    response_summary TEXT NOT NULL,
    request_body TEXT NOT NULL,
    response_body TEXT NOT NULL,
    latency_ms REAL NOT NULL,
    content_length INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX build_swarm_protocol_time ON build_swarm_protocol (unix_us);
CREATE TABLE build_swarm_metric (
    unix_us INTEGER NOT NULL,
    drone_id TEXT NOT NULL,
    drone TEXT NOT NULL,
    status TEXT NOT NULL,
    current_task TEXT NOT NULL,
    cpu_percent REAL,
    ram_percent REAL,
    load_1m REAL,
    needed INTEGER,
    delegated INTEGER,
    received INTEGER,
    blocked INTEGER,
    PRIMARY KEY (unix_us, drone_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX build_swarm_metric_drone ON build_swarm_metric (drone_id, unix_us);
CREATE TABLE build_swarm_drone_config (
    drone TEXT PRIMARY KEY,
    fields TEXT NOT NULL,
    created_unix_us INTEGER NOT NULL,
    updated_unix_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE build_swarm_config (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    updated_unix_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE build_swarm_allowlist (
    entry_id INTEGER PRIMARY KEY AUTOINCREMENT,
    drone TEXT,
    package TEXT NOT NULL,
    reason TEXT NOT NULL,
    protected INTEGER NOT NULL,
    added_unix_us INTEGER NOT NULL,
    added_by TEXT NOT NULL
) STRICT;
INSERT INTO build_swarm_allowlist (drone, package, reason, protected, added_unix_us, added_by) VALUES
    (NULL, 'sys-apps/portage', 'installs packages', 1, 0, 'system'),
    (NULL, 'sys-devel/gcc', 'compiles', 1, 0, 'system'),
    (NULL, 'sys-devel/binutils', 'assembles and links', 1, 0, 'system'),
    (NULL, 'sys-libs/glibc', 'the C library', 1, 0, 'system'),
    (NULL, 'dev-lang/python', 'Portage runs on it', 1, 0, 'system'),
    (NULL, 'net-misc/openssh', 'the way in', 1, 0, 'system'),
    (NULL, 'sys-apps/openrc', 'starts services', 1, 0, 'system'),
    (NULL, 'net-misc/rsync', 'syncs the tree', 0, 0, 'system'),
    (NULL, 'app-misc/screen', 'sessions that outlive a connection', 0, 0, 'system'),
    (NULL, 'app-portage/gentoolkit', 'tools for Portage', 0, 0, 'system'),
    (NULL, 'dev-vcs/git', 'syncs the tree', 0, 0, 'system'),
    (NULL, 'app-admin/sudo', 'rights for administrators', 0, 0, 'system'),
    (NULL, 'net-misc/dhcpcd', 'the network', 0, 0, 'system'),
    (NULL, 'sys-kernel/gentoo-kernel-bin', 'the kernel', 0, 0, 'system'),
    (NULL, 'sys-kernel/linux-firmware', 'firmware of the hardware', 0, 0, 'system'),
    (NULL, 'sys-boot/grub', 'boots', 0, 0, 'system'),
    (NULL, 'net-misc/curl', 'fetches over HTTP', 0, 0, 'system');
""",
    ),
)
