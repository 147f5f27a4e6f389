"""Tables of the binary host: what is staged, releases, and what they hold."""

from typing import Final

from appliance.plugin import Migration

_TABLES: Final = Migration(
    version=1,
    name="binary host",
    sql="""
CREATE TABLE build_swarm_staged (
    path TEXT PRIMARY KEY,
    cpv TEXT NOT NULL,
    cp TEXT NOT NULL,
    build_id INTEGER,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    uploaded_by TEXT NOT NULL,
    stored_unix_us INTEGER NOT NULL,
    uploaded_unix_us INTEGER NOT NULL,
    is_signed INTEGER NOT NULL,
    entry TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX build_swarm_staged_by_package ON build_swarm_staged (cp, cpv);
CREATE INDEX build_swarm_staged_by_file ON build_swarm_staged (sha256);
CREATE TABLE build_swarm_release (
    version TEXT PRIMARY KEY,
    notes TEXT NOT NULL,
    packages INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_unix_us INTEGER NOT NULL,
    promoted_unix_us INTEGER,
    archived_unix_us INTEGER,
    is_current INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX build_swarm_release_one_current ON build_swarm_release (is_current) WHERE is_current = 1;
CREATE TABLE build_swarm_release_package (
    version TEXT NOT NULL REFERENCES build_swarm_release (version) ON DELETE CASCADE,
    path TEXT NOT NULL,
    cpv TEXT NOT NULL,
    cp TEXT NOT NULL,
    build_id INTEGER,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    uploaded_by TEXT NOT NULL,
    uploaded_unix_us INTEGER NOT NULL,
    is_signed INTEGER NOT NULL,
    PRIMARY KEY (version, path)
) STRICT, WITHOUT ROWID;
""",
)

MIGRATIONS: Final = (_TABLES,)
