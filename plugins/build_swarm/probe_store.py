"""All SQL of the last probe of each drone, and of what self-healing has done; `approval_store` has the tables."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_PROBE: Final = (
    "drone_name", "seq", "probed_unix_us", "answered_unix_us", "latency_us", "status", "finding",
)  # fmt: skip
_PROBES: Final = f"SELECT {', '.join(_PROBE)} FROM build_swarm_probe"  # noqa: S608 (our columns)
_PUT_PROBE: Final = f"""
INSERT OR REPLACE INTO build_swarm_probe ({", ".join(_PROBE)})
VALUES ({", ".join(f":{name}" for name in _PROBE)})"""  # noqa: S608 (our columns)
_DROP_PROBE: Final = "DELETE FROM build_swarm_probe WHERE drone_name = ?"
_TROUBLES: Final = "SELECT drone_name, state FROM build_swarm_escalation"
_PUT_TROUBLE: Final = "INSERT OR REPLACE INTO build_swarm_escalation (drone_name, state) VALUES (?, ?)"
_DROP_TROUBLE: Final = "DELETE FROM build_swarm_escalation WHERE drone_name = ?"


def probes(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the values of the last probe of every drone."""
    return [dict(zip(_PROBE, row, strict=True)) for row in connection.execute(_PROBES)]


def put_probes(connection: sqlite3.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store probes, each in place of the drone's last one."""
    connection.executemany(_PUT_PROBE, rows)


def drop_probes(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Forget the probes of these drones."""
    connection.executemany(_DROP_PROBE, [(name,) for name in names])


def troubles(connection: sqlite3.Connection) -> dict[str, str]:
    """Return by drone what is kept of its trouble, as JSON."""
    return dict(connection.execute(_TROUBLES).fetchall())


def put_troubles(connection: sqlite3.Connection, states: Mapping[str, str | None]) -> None:
    """Store what is kept of the trouble of these drones; ``None`` forgets it."""
    connection.executemany(_PUT_TROUBLE, [(name, state) for name, state in states.items() if state is not None])
    connection.executemany(_DROP_TROUBLE, [(name,) for name, state in states.items() if state is None])
