"""All SQL of approvals; and the tables of them, of probes and of self-healing."""

import sqlite3
from typing import Final

from appliance.plugin import Migration

MIGRATIONS: Final = (
    Migration(
        version=3,
        name="approvals, probes and self-healing",
        sql="""
CREATE TABLE build_swarm_approval (
    drone_name TEXT PRIMARY KEY,
    address TEXT NOT NULL,
    port INTEGER NOT NULL,
    user TEXT NOT NULL,
    host_key TEXT NOT NULL,
    drone_type TEXT NOT NULL,
    seen_address TEXT NOT NULL,
    approved_by TEXT NOT NULL,
    approved_unix_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE build_swarm_probe (
    drone_name TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    probed_unix_us INTEGER NOT NULL,
    answered_unix_us INTEGER,
    latency_us INTEGER,
    status TEXT NOT NULL,
    finding TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE build_swarm_escalation (
    drone_name TEXT PRIMARY KEY,
    state TEXT NOT NULL
) STRICT, WITHOUT ROWID;
""",
    ),
)

_APPROVAL: Final = (
    "drone_name", "address", "port", "user", "host_key", "drone_type", "seen_address", "approved_by",
    "approved_unix_us",
)  # fmt: skip
_ALL: Final = f"SELECT {', '.join(_APPROVAL)} FROM build_swarm_approval ORDER BY drone_name"  # noqa: S608 (our columns)
_PUT: Final = f"""
INSERT OR REPLACE INTO build_swarm_approval ({", ".join(_APPROVAL)})
VALUES ({", ".join(f":{name}" for name in _APPROVAL)})"""  # noqa: S608 (our columns)
_DROP: Final = """
DELETE FROM build_swarm_approval WHERE drone_name = :drone_name AND approved_unix_us = :approved_unix_us"""


def approvals(connection: sqlite3.Connection) -> list[dict[str, str | int]]:
    """Return the values of every approval."""
    return [dict(zip(_APPROVAL, row, strict=True)) for row in connection.execute(_ALL)]


def put(connection: sqlite3.Connection, values: dict[str, str | int]) -> None:
    """Store an approval in place of one of the same name."""
    connection.execute(_PUT, values)


def drop(connection: sqlite3.Connection, drone_name: str, approved_unix_us: int) -> None:
    """Delete an approval, unless a newer one of the same name has taken its place."""
    connection.execute(_DROP, {"drone_name": drone_name, "approved_unix_us": approved_unix_us})
