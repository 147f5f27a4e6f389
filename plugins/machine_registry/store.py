"""All SQL of the machine registry. Functions that write are given the connection of a transaction."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from .life import State, Status
from .models import Inference, Machine, Metrics, Pool

_COLUMNS: Final = (
    "provider", "pool", "machine_id", "host_id", "status", "deadline_us", "hostname", "cpu_millicores", "memory_mib",
    "gpu_count", "private_ip", "agent_version", "created_unix_us", "registered_unix_us", "last_keepalive_unix_us",
    "last_worker_unix_us", "reported", "credential_id", "told",
)  # fmt: skip
_KEY: Final = ("provider", "pool", "machine_id")
_WHERE: Final = "provider = :provider AND pool = :pool AND machine_id = :machine_id"
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM machine_registry_machine"  # noqa: S608 (columns of our own)
_UPDATES: Final = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in (*_KEY, "host_id"))
_PUT: Final = f"""
INSERT INTO machine_registry_machine ({", ".join(_COLUMNS)}) VALUES ({", ".join(f":{name}" for name in _COLUMNS)})
ON CONFLICT (provider, pool, machine_id) DO UPDATE SET {_UPDATES} RETURNING host_id"""  # noqa: S608 (columns of our own)
_BEAT: Final = f"""
UPDATE machine_registry_machine SET status = :status, deadline_us = :deadline_us, agent_version = :agent_version,
    last_keepalive_unix_us = :last_keepalive_unix_us, last_worker_unix_us = :last_worker_unix_us,
    reported = :reported, told = :told
 WHERE {_WHERE}"""  # noqa: S608 (columns of our own)
_PUT_DEADLINE: Final = """
UPDATE machine_registry_machine SET deadline_us = ? WHERE provider = ? AND pool = ? AND machine_id = ?"""
_WRITTEN: Final = """
INSERT INTO machine_registry_clock (only, written_us) VALUES (1, :now)
ON CONFLICT (only) DO UPDATE SET written_us = excluded.written_us"""
_PUT_POOL: Final = """
INSERT INTO machine_registry_pool (name, gpu, provider) VALUES (:name, :gpu, :provider) ON CONFLICT DO NOTHING"""
_USED: Final = "SELECT count(*) FROM machine_registry_use WHERE credential_id = ?"
_USE: Final = """
INSERT INTO machine_registry_use (credential_id, provider, pool, machine_id) VALUES (?, ?, ?, ?)
ON CONFLICT DO NOTHING"""


class Reported(msgspec.Struct):
    """What a machine's last beat said, as it is kept."""

    metrics: Metrics | None = None
    inference: Inference | None = None


_STATUSES: Final = {each.value: each for each in Status}
_STATES: Final = {each.value: each for each in State}
_reported: Final = msgspec.json.Decoder(Reported)


def machines(connection: sqlite3.Connection) -> list[Machine]:
    """Return every machine, in the order in which they were made; times as written by the run that wrote them."""
    rows = connection.execute(f"{_SELECT} ORDER BY created_unix_us, provider, pool, machine_id")
    return [_machine(row) for row in rows]


def _machine(row: Sequence[Any]) -> Machine:
    values = dict(zip(_COLUMNS, row, strict=True))
    said = _reported.decode(values.pop("reported"))
    values["status"], values["told"] = _STATUSES[values["status"]], _STATES[values["told"]]
    return Machine(heard_us=0, metrics=said.metrics, inference=said.inference, **values)


def put(connection: sqlite3.Connection, machine: Machine) -> str:
    """Store a machine, new or not; return the host that it is, which it stays."""
    return str(connection.execute(_PUT, _values(machine)).fetchone()[0])


def beaten(connection: sqlite3.Connection, machines: Iterable[dict[str, Any]]) -> bool:
    """Store what beats change of machines that are there, see `beat_values`; return whether any was."""
    return connection.executemany(_BEAT, machines).rowcount > 0


def put_deadlines(connection: sqlite3.Connection, deadlines: Iterable[tuple[int, str, str, str]]) -> None:
    """Store deadlines, each with provider, pool and id of its machine."""
    connection.executemany(_PUT_DEADLINE, deadlines)


def written(connection: sqlite3.Connection, now_us: int) -> None:
    """Note until when, by the steady clock of this run, what is stored is complete."""
    connection.execute(_WRITTEN, {"now": now_us})


def written_at(connection: sqlite3.Connection) -> int | None:
    """Return that moment as the last run noted it."""
    row = connection.execute("SELECT written_us FROM machine_registry_clock").fetchone()
    return None if row is None else int(row[0])


def delete(connection: sqlite3.Connection, key: tuple[str, str, str]) -> bool:
    """Delete a machine; return whether it was there."""
    sql = f"DELETE FROM machine_registry_machine WHERE {_WHERE}"  # noqa: S608 (columns of our own)
    return connection.execute(sql, dict(zip(_KEY, key, strict=True))).rowcount == 1


def beat_values(machine: Machine) -> dict[str, Any]:
    """Return what a beat changes of a machine, as `beaten` takes it."""
    return {
        "provider": machine.provider,
        "pool": machine.pool,
        "machine_id": machine.machine_id,
        "status": machine.status.value,
        "deadline_us": machine.deadline_us,
        "agent_version": machine.agent_version,
        "last_keepalive_unix_us": machine.last_keepalive_unix_us,
        "last_worker_unix_us": machine.last_worker_unix_us,
        "reported": msgspec.json.encode(Reported(machine.metrics, machine.inference)).decode(),
        "told": machine.told.value,
    }


def _values(machine: Machine) -> dict[str, Any]:
    return beat_values(machine) | {
        "host_id": machine.host_id,
        "hostname": machine.hostname,
        "cpu_millicores": machine.cpu_millicores,
        "memory_mib": machine.memory_mib,
        "gpu_count": machine.gpu_count,
        "private_ip": machine.private_ip,
        "created_unix_us": machine.created_unix_us,
        "registered_unix_us": machine.registered_unix_us,
        "credential_id": machine.credential_id,
    }


# ---------------------------------------------------------------- pools


def pools(connection: sqlite3.Connection) -> list[Pool]:
    """Return the pools that were made over the API."""
    rows = connection.execute("SELECT name, gpu, provider FROM machine_registry_pool ORDER BY name")
    return [Pool(name=name, gpu=gpu, provider=provider) for name, gpu, provider in rows]


def put_pool(connection: sqlite3.Connection, pool: Pool) -> bool:
    """Store a new pool; return whether its name was free."""
    return connection.execute(_PUT_POOL, {"name": pool.name, "gpu": pool.gpu, "provider": pool.provider}).rowcount == 1


def delete_pool(connection: sqlite3.Connection, name: str) -> bool:
    """Delete a pool; return whether it was there."""
    return connection.execute("DELETE FROM machine_registry_pool WHERE name = ?", (name,)).rowcount == 1


# ---------------------------------------------------------------- how many machines a token serves


def use(connection: sqlite3.Connection, credential_id: str, key: tuple[str, str, str], machines_max: int) -> bool:
    """Note that a machine registers with a token; return ``False`` when that is one more than the token serves.

    A machine that registers again counts once. The caller raises when it is too many, which undoes this.
    """
    connection.execute(_USE, (credential_id, *key))
    return bool(connection.execute(_USED, (credential_id,)).fetchone()[0] <= machines_max)
