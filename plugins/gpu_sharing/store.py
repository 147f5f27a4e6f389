"""All SQL of GPU sharing but that of the usage ledger. Functions that write are given a transaction's connection."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from .models import Agent, Gpu, Peer, Share, Worker

_AGENT: Final = (
    "agent_id", "owner", "hostname", "os", "arch", "network_ips", "gpus", "host_id", "config_version",
    "last_seen_unix_us", "has_shut_down", "reported_from", "is_local", "license_expires_unix_us", "created_unix_us",
)  # fmt: skip
_WORKER: Final = (
    "worker_id", "agent_id", "name", "gpu_ids", "listen_port", "enabled", "is_default", "status", "pid", "restarts",
    "vram_mb", "compute_percent", "isolation_mode", "started_unix_us", "created_unix_us", "connections",
)  # fmt: skip
_SHARE: Final = (
    "share_id", "short_code", "worker_id", "owner", "connection_ip", "protocol", "expires_unix_us", "max_uses",
    "used_count", "access", "networks", "max_connections", "relay_port", "created_unix_us",
)  # fmt: skip


def _upsert(table: str, columns: Sequence[str]) -> str:
    names, values = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    updates = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
    return f"INSERT INTO {table} ({names}) VALUES ({values}) ON CONFLICT ({columns[0]}) DO UPDATE SET {updates}"  # noqa: S608


def _update(table: str, key: str, columns: Sequence[str]) -> str:
    return f"UPDATE {table} SET {', '.join(f'{name} = :{name}' for name in columns)} WHERE {key} = :{key}"  # noqa: S608


_PUT_AGENT: Final = _upsert("gpu_sharing_agent", _AGENT)
_PUT_WORKER: Final = _upsert("gpu_sharing_worker", _WORKER)
_PUT_SHARE: Final = _upsert("gpu_sharing_share", [name for name in _SHARE if name != "used_count"])
_UPDATE_AGENT: Final = _update("gpu_sharing_agent", "agent_id", _AGENT[1:])
_REPORTED: Final = ("status", "pid", "restarts", "started_unix_us", "connections")
_UPDATE_WORKER: Final = _update("gpu_sharing_worker", "worker_id", _REPORTED)
_UPDATE_SHARE: Final = _update("gpu_sharing_share", "share_id", [name for name in _SHARE[1:] if name != "used_count"])
_SEEN: Final = """
UPDATE gpu_sharing_agent SET last_seen_unix_us = :seen, reported_from = :from WHERE agent_id = :agent_id"""
_USE: Final = """
UPDATE gpu_sharing_share SET used_count = used_count + 1
 WHERE short_code = :code AND (max_uses IS NULL OR used_count < max_uses)
   AND (expires_unix_us IS NULL OR expires_unix_us > :now)
 RETURNING used_count"""
_REDEEMED: Final = """
INSERT INTO gpu_sharing_redeemed (share_id, address, at_unix_us) VALUES (:share_id, :address, :now)
ON CONFLICT (share_id, address) DO UPDATE SET at_unix_us = excluded.at_unix_us"""
_PUT_PAT: Final = """
INSERT INTO gpu_sharing_pat (owner, credential_id) VALUES (?, ?)
ON CONFLICT (owner) DO UPDATE SET credential_id = excluded.credential_id"""

_gpus: Final = msgspec.json.Decoder(tuple[Gpu, ...])
_texts: Final = msgspec.json.Decoder(tuple[str, ...])
_peers: Final = msgspec.json.Decoder(list[tuple[Peer, int]])


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def agents(connection: sqlite3.Connection) -> list[Agent]:
    """Return every agent with its workers, oldest first."""
    found: dict[str, Agent] = {}
    order = "created_unix_us"
    for row in connection.execute(f"SELECT {', '.join(_AGENT)} FROM gpu_sharing_agent ORDER BY {order}"):  # noqa: S608
        values = dict(zip(_AGENT, row, strict=True))
        values |= {
            "network_ips": _texts.decode(values["network_ips"]),
            "gpus": _gpus.decode(values["gpus"]),
            "has_shut_down": bool(values["has_shut_down"]),
            "is_local": bool(values["is_local"]),
        }
        found[values["agent_id"]] = Agent(**values)
    for row in connection.execute(f"SELECT {', '.join(_WORKER)} FROM gpu_sharing_worker ORDER BY {order}, worker_id"):  # noqa: S608
        values = dict(zip(_WORKER, row, strict=True))
        values |= {
            "gpu_ids": _texts.decode(values["gpu_ids"]),
            "enabled": bool(values["enabled"]),
            "is_default": bool(values["is_default"]),
            "connections": dict(_peers.decode(values["connections"])),
        }
        found[values["agent_id"]].workers[values["worker_id"]] = Worker(**values)
    return list(found.values())


def shares(connection: sqlite3.Connection) -> list[Share]:
    """Return every share, oldest first."""
    columns = ", ".join(f"share.{name}" for name in _SHARE)
    sql = (
        f"SELECT worker.agent_id, {columns} FROM gpu_sharing_share AS share"  # noqa: S608 (columns of our own)
        " JOIN gpu_sharing_worker AS worker USING (worker_id) ORDER BY share.created_unix_us, share_id"
    )
    found = []
    for agent_id, *row in connection.execute(sql):
        values = dict(zip(_SHARE, row, strict=True))
        values["networks"] = _texts.decode(values["networks"])
        found.append(Share(agent_id=agent_id, **values))
    return found


def put_agent(connection: sqlite3.Connection, agent: Agent) -> None:
    """Store an agent without its workers."""
    connection.execute(_PUT_AGENT, _agent_row(agent))


def update_agent(connection: sqlite3.Connection, agent: Agent) -> bool:
    """Store what has changed of an agent; one that was deleted meanwhile stays so."""
    return connection.execute(_UPDATE_AGENT, _agent_row(agent)).rowcount == 1


def _agent_row(agent: Agent) -> dict[str, Any]:
    values = {name: getattr(agent, name) for name in _AGENT}
    return values | {"network_ips": _json(agent.network_ips), "gpus": _json(agent.gpus)}


def put_worker(connection: sqlite3.Connection, worker: Worker) -> None:
    """Store a worker."""
    values = {name: getattr(worker, name) for name in _WORKER}
    values |= {"gpu_ids": _json(worker.gpu_ids), "connections": _json(list(worker.connections.items()))}
    connection.execute(_PUT_WORKER, values)


def update_worker(connection: sqlite3.Connection, worker: Worker) -> None:
    """Store what was reported of a worker, and nothing that people set; one that was deleted meanwhile stays so."""
    values = {name: getattr(worker, name) for name in ("worker_id", *_REPORTED)}
    connection.execute(_UPDATE_WORKER, values | {"connections": _json(list(worker.connections.items()))})


def put_share(connection: sqlite3.Connection, share: Share) -> None:
    """Store a share; how often it was used is counted by `use` alone."""
    connection.execute(_PUT_SHARE, _share_row(share))


def update_share(connection: sqlite3.Connection, share: Share) -> None:
    """Store what has changed of a share; one that was deleted meanwhile stays so."""
    connection.execute(_UPDATE_SHARE, _share_row(share))


def _share_row(share: Share) -> dict[str, Any]:
    values = {name: getattr(share, name) for name in _SHARE}
    return values | {"networks": _json(share.networks)}


def delete_agent(connection: sqlite3.Connection, agent_id: str) -> bool:
    """Delete an agent with its workers and their shares."""
    return connection.execute("DELETE FROM gpu_sharing_agent WHERE agent_id = ?", (agent_id,)).rowcount == 1


def delete_worker(connection: sqlite3.Connection, worker_id: str) -> bool:
    """Delete a worker with its shares."""
    return connection.execute("DELETE FROM gpu_sharing_worker WHERE worker_id = ?", (worker_id,)).rowcount == 1


def delete_share(connection: sqlite3.Connection, share_id: str) -> bool:
    """Delete a share."""
    return connection.execute("DELETE FROM gpu_sharing_share WHERE share_id = ?", (share_id,)).rowcount == 1


def put_versions(connection: sqlite3.Connection, versions: Mapping[str, int]) -> None:
    """Store configuration versions by agent."""
    connection.executemany("UPDATE gpu_sharing_agent SET config_version = ? WHERE agent_id = ?", _swapped(versions))


def _swapped(versions: Mapping[str, int]) -> list[tuple[int, str]]:
    return [(version, agent_id) for agent_id, version in versions.items()]


def seen(connection: sqlite3.Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Store when agents were heard of last: ``agent_id``, ``seen``, ``from`` of each."""
    connection.executemany(_SEEN, rows)


def use(connection: sqlite3.Connection, code: str, *, now_unix_us: int) -> int | None:
    """Count one use of a link; return how many that makes, ``None`` when it has none left.

    Exactly one of any number of callers gets the last one: it is counted where it is checked.
    """
    row = connection.execute(_USE, {"code": code, "now": now_unix_us}).fetchone()
    return None if row is None else int(row[0])


def redeemed(connection: sqlite3.Connection, share_id: str, address: str, *, now_unix_us: int) -> None:
    """Note that an address has followed a share's link."""
    connection.execute(_REDEEMED, {"share_id": share_id, "address": address, "now": now_unix_us})


def redemptions(connection: sqlite3.Connection, since_unix_us: int) -> list[tuple[str, str, int]]:
    """Return (share, address, time) of what was followed since then, and forget the rest."""
    sql = "SELECT share_id, address, at_unix_us FROM gpu_sharing_redeemed WHERE at_unix_us >= ?"
    return connection.execute(sql, (since_unix_us,)).fetchall()


def forget_redemptions(connection: sqlite3.Connection, before_unix_us: int) -> None:
    """Delete what was followed before then."""
    connection.execute("DELETE FROM gpu_sharing_redeemed WHERE at_unix_us < ?", (before_unix_us,))


def over(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the shares whose end was told of, each with the time at which it was."""
    return dict(connection.execute("SELECT share_id, expires_unix_us FROM gpu_sharing_over"))


def put_over(connection: sqlite3.Connection, ended: Mapping[str, int]) -> None:
    """Note that shares' ends were told of; of one that was deleted meanwhile nothing is noted."""
    connection.executemany(
        "INSERT OR REPLACE INTO gpu_sharing_over SELECT share_id, ? FROM gpu_sharing_share WHERE share_id = ?",
        [(expires_unix_us, share_id) for share_id, expires_unix_us in ended.items()],
    )


# ---------------------------------------------------------------- install tokens and the one personal access token


def put_install(connection: sqlite3.Connection, *, token_id: str, owner: str, expires_unix_us: int) -> None:
    """Note an install token."""
    connection.execute(
        "INSERT INTO gpu_sharing_install (token_id, owner, expires_unix_us) VALUES (?, ?, ?)",
        (token_id, owner, expires_unix_us),
    )


def installed(connection: sqlite3.Connection, *, token_id: str, agent_id: str, now_unix_us: int) -> None:
    """Note which agent an install token has made."""
    connection.execute(
        "UPDATE gpu_sharing_install SET used_unix_us = ?, agent_id = ? WHERE token_id = ?",
        (now_unix_us, agent_id, token_id),
    )


def install(connection: sqlite3.Connection, token_id: str) -> tuple[str, int, int | None, str | None] | None:
    """Return owner, end, use and agent of an install token."""
    sql = "SELECT owner, expires_unix_us, used_unix_us, agent_id FROM gpu_sharing_install WHERE token_id = ?"
    row: tuple[str, int, int | None, str | None] | None = connection.execute(sql, (token_id,)).fetchone()
    return row


def forget_installs(connection: sqlite3.Connection, before_unix_us: int) -> None:
    """Delete install tokens that ended before then."""
    connection.execute("DELETE FROM gpu_sharing_install WHERE expires_unix_us < ?", (before_unix_us,))


def pat(connection: sqlite3.Connection, owner: str) -> str | None:
    """Return the id of the credential in a person's one slot."""
    row = connection.execute("SELECT credential_id FROM gpu_sharing_pat WHERE owner = ?", (owner,)).fetchone()
    return None if row is None else str(row[0])


def put_pat(connection: sqlite3.Connection, owner: str, credential_id: str) -> None:
    """Fill a person's one slot."""
    connection.execute(_PUT_PAT, (owner, credential_id))


def delete_pat(connection: sqlite3.Connection, owner: str) -> None:
    """Empty a person's one slot."""
    connection.execute("DELETE FROM gpu_sharing_pat WHERE owner = ?", (owner,))
