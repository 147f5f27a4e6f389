"""All SQL of metrics ingest. Functions that write are given the connection of a transaction."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from .models import Agent, Server

_COLUMNS: Final = (
    "server_id",
    "slug",
    "name",
    "hostname",
    "description",
    "is_active",
    "is_local",
    "series_id",
    "agent_user",
    "agent_info",
    "agent_version",
    "last_ip",
    "last_seen_unix_us",
    "latest_unix_us",
    "snapshot_count",
    "owner",
    "created_unix_us",
)
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM metrics_ingest_server"  # noqa: S608 (columns of our own)
_INSERT: Final = """
INSERT INTO metrics_ingest_server (slug, name, hostname, description, is_active, is_local, series_id, machine_sha256,
    agent_user, agent_info, owner, created_unix_us)
VALUES (:slug, :name, :hostname, :description, 1, :is_local, :series_id, :machine_sha256, :agent_user, :agent_info,
    :owner, :created_unix_us)
ON CONFLICT DO NOTHING"""
_SAMPLED: Final = """
UPDATE metrics_ingest_server SET last_seen_unix_us = :seen, latest_unix_us = max(coalesce(latest_unix_us, 0), :at),
    snapshot_count = snapshot_count + :count
 WHERE server_id = :server_id AND is_active = 1"""
_AGENT: Final = """
UPDATE metrics_ingest_server SET agent_user = :user, agent_info = :info, agent_version = :version,
    hostname = :hostname, last_ip = :ip
 WHERE server_id = :server_id"""
_ENROLLED_AGAIN: Final = """
UPDATE metrics_ingest_server SET is_active = 1, agent_info = :info, hostname = :hostname, agent_user = :agent_user
 WHERE server_id = :server_id"""
_CHANGE: Final = """
UPDATE metrics_ingest_server SET name = :name, description = :description, is_active = :is_active
 WHERE server_id = :server_id"""
_CODE_AT: Final = """
SELECT code FROM metrics_ingest_verdict WHERE server_id = ? AND at_unix_us <= ? ORDER BY at_unix_us DESC LIMIT 1"""
_PUT_VERDICT: Final = """
INSERT INTO metrics_ingest_verdict (server_id, at_unix_us, code) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET code = excluded.code"""
_KEEP_VERDICT: Final = """
INSERT INTO metrics_ingest_verdict (server_id, at_unix_us, code) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"""
_CHANGES: Final = """
SELECT at_unix_us, code FROM metrics_ingest_verdict WHERE server_id = ? AND at_unix_us > ? AND at_unix_us < ?
 ORDER BY at_unix_us"""
# The one in effect at the border stays, so that what follows it is known.
_PRUNE: Final = """
DELETE FROM metrics_ingest_verdict WHERE server_id = :server_id AND at_unix_us <
    (SELECT max(at_unix_us) FROM metrics_ingest_verdict WHERE server_id = :server_id AND at_unix_us <= :before)"""


def servers(connection: sqlite3.Connection) -> list[Server]:
    """Return every server, oldest first."""
    return [_server(row) for row in connection.execute(f"{_SELECT} ORDER BY server_id")]


def _server(row: tuple[Any, ...]) -> Server:
    values = dict(zip(_COLUMNS, row, strict=True))
    values |= {"is_active": bool(values["is_active"]), "is_local": bool(values["is_local"])}
    values["agent_info"] = msgspec.json.decode(values["agent_info"])
    return Server(**values)


def insert(
    connection: sqlite3.Connection,
    *,
    slug: str,
    name: str,
    series_id: str,
    created_unix_us: int,
    hostname: str = "",
    description: str = "",
    is_local: bool = False,
    machine_sha256: bytes | None = None,
    agent_user: str = "",
    agent_info: str = "{}",
    owner: str = "",
) -> Server | None:
    """Register a server; ``None`` when its slug (or machine) is taken."""
    values = {
        "slug": slug,
        "name": name,
        "series_id": series_id,
        "created_unix_us": created_unix_us,
        "hostname": hostname,
        "description": description,
        "is_local": int(is_local),
        "machine_sha256": machine_sha256,
        "agent_user": agent_user,
        "agent_info": agent_info,
        "owner": owner,
    }
    if not connection.execute(_INSERT, values).rowcount:
        return None
    return _server(connection.execute(f"{_SELECT} WHERE slug = ?", (slug,)).fetchone())


def server_of_machine(connection: sqlite3.Connection, machine_sha256: bytes) -> int | None:
    """Return the id of the server that a machine has enrolled as."""
    sql = "SELECT server_id FROM metrics_ingest_server WHERE machine_sha256 = ?"
    found = connection.execute(sql, (machine_sha256,)).fetchone()
    return None if found is None else int(found[0])


def change(connection: sqlite3.Connection, server_id: int, *, name: str, description: str, is_active: bool) -> bool:
    """Store what people may change of a server; return whether it is there."""
    values = {"server_id": server_id, "name": name, "description": description, "is_active": int(is_active)}
    return connection.execute(_CHANGE, values).rowcount == 1


def delete(connection: sqlite3.Connection, server_id: int) -> None:
    """Delete a server and its verdicts."""
    connection.execute("DELETE FROM metrics_ingest_server WHERE server_id = ?", (server_id,))
    connection.execute("DELETE FROM metrics_ingest_verdict WHERE server_id = ?", (server_id,))


def enrolled_again(
    connection: sqlite3.Connection, server_id: int, *, platform: str, hostname: str, agent_user: str
) -> None:
    """Store what a machine says that enrols once more; a disabled server is in service again."""
    values = {
        "server_id": server_id,
        "info": json_text({"platform": platform}),
        "hostname": hostname,
        "agent_user": agent_user,
    }
    connection.execute(_ENROLLED_AGAIN, values)


def json_text(value: Mapping[str, Any]) -> str:
    """Return an object as the text that is stored."""
    return msgspec.json.encode(value).decode()


def sampled(connection: sqlite3.Connection, server_id: int, *, seen_unix_us: int, at_unix_us: int, count: int) -> bool:
    """Note that samples came; return ``False`` when the server is gone or disabled meanwhile."""
    values = {"server_id": server_id, "seen": seen_unix_us, "at": at_unix_us, "count": count}
    return connection.execute(_SAMPLED, values).rowcount == 1


def set_agent(connection: sqlite3.Connection, server_id: int, agent: Agent, *, ip: str) -> None:
    """Store what an agent says about itself."""
    values = {
        "server_id": server_id,
        "user": agent.user,
        "info": json_text(agent.info),
        "version": agent.version,
        "hostname": agent.hostname,
        "ip": ip,
    }
    connection.execute(_AGENT, values)


def put_verdict(
    connection: sqlite3.Connection, server_id: int, at_unix_us: int, code: int, *, after_unix_us: int | None
) -> None:
    """Note the verdict of one sample; only changes take a row.

    :param after_unix_us: the sample after it, when it came late: that one's verdict stays what it was.
    """
    found = connection.execute(_CODE_AT, (server_id, at_unix_us)).fetchone()
    before = None if found is None else found[0]
    if before == code:
        return
    connection.execute(_PUT_VERDICT, (server_id, at_unix_us, code))
    if after_unix_us is not None and before is not None:
        connection.execute(_KEEP_VERDICT, (server_id, after_unix_us, before))


def verdicts(
    connection: sqlite3.Connection, server_id: int, from_unix_us: int, to_unix_us: int
) -> list[tuple[int, int]]:
    """Return (time, code) of each change in a span open at its end, that in effect at its start first."""
    first = connection.execute(
        "SELECT at_unix_us, code FROM metrics_ingest_verdict WHERE server_id = ? AND at_unix_us <= ?"
        " ORDER BY at_unix_us DESC LIMIT 1",
        (server_id, from_unix_us),
    ).fetchall()
    span = (server_id, from_unix_us, to_unix_us)
    return first + connection.execute(_CHANGES, span).fetchall()


def prune_verdicts(connection: sqlite3.Connection, server_ids: Sequence[int], before_unix_us: int) -> None:
    """Delete the verdicts that no history reaches any more."""
    connection.executemany(_PRUNE, [{"server_id": each, "before": before_unix_us} for each in server_ids])
