"""All SQL of the queue. Functions that write are given the connection of a transaction."""

import sqlite3
from collections.abc import Collection, Iterable
from typing import Any, Final

from attrs import define, field

from . import queue_rows
from .desk import Told
from .estimates import History
from .queue_rows import Row
from .rules import Moment
from .states import Build, Drone, Outcome, Package, Session

_PACKAGE_COLUMNS: Final = (
    "package_id, atom, session_id, state, priority, needs, waits_for, drone_id, delegated_unix_us,"
    " building_since_unix_us, failures, failed_drones, avoided_drones, returns, absolved, error, queued_unix_us,"
    " blocked_unix_us, completed_unix_us"
)
_INSERT_PACKAGE: Final = f"INSERT INTO build_swarm_package ({_PACKAGE_COLUMNS}) VALUES ({', '.join('?' * 19)})"  # noqa: S608
_UPDATE_PACKAGE: Final = """
UPDATE build_swarm_package
   SET session_id = ?, state = ?, waits_for = ?, drone_id = ?, delegated_unix_us = ?, building_since_unix_us = ?,
       failures = ?, failed_drones = ?, avoided_drones = ?, returns = ?, absolved = ?, error = ?, blocked_unix_us = ?,
       completed_unix_us = ?
 WHERE package_id = ?"""
_SELECT_PACKAGES: Final = f"""
SELECT {_PACKAGE_COLUMNS} FROM build_swarm_package
 WHERE state IN ('needed', 'delegated', 'blocked') OR session_id = ? ORDER BY package_id"""  # noqa: S608
_SELECT_PACKAGE: Final = f"SELECT {_PACKAGE_COLUMNS} FROM build_swarm_package WHERE package_id = ?"  # noqa: S608
_SESSION_COLUMNS: Final = (
    "session_id, name, status, started_unix_us, completed_unix_us, total, needed, delegated, completed, blocked,"
    " ended_failed"
)
_PUT_SESSION: Final = f"INSERT OR REPLACE INTO build_swarm_session ({_SESSION_COLUMNS}) VALUES ({', '.join('?' * 11)})"  # noqa: S608
_SELECT_SESSIONS: Final = f"SELECT {_SESSION_COLUMNS} FROM build_swarm_session ORDER BY started_unix_us, session_id"  # noqa: S608
_SELECT_SESSION: Final = f"SELECT {_SESSION_COLUMNS} FROM build_swarm_session WHERE session_id = ?"  # noqa: S608
_DRONE_COLUMNS: Final = (
    "drone_id, name, address, claimed_ip, tailscale_ip, kind, drone_type, capabilities, metrics, current_task, version,"
    " status, paused, last_seen_unix_us, created_unix_us, failures_in_row, streak, grounded_until_us,"
    " grounded_until_unix_us, groundings, upload_failures, upload_failed_us, builds_completed, builds_failed"
)
_PUT_DRONE: Final = f"INSERT OR REPLACE INTO build_swarm_drone ({_DRONE_COLUMNS}) VALUES ({', '.join('?' * 24)})"  # noqa: S608
_COUNT_DRONE: Final = """
UPDATE build_swarm_drone
   SET failures_in_row = ?, streak = ?, grounded_until_us = ?, grounded_until_unix_us = ?, groundings = ?,
       upload_failures = ?, upload_failed_us = ?, builds_completed = ?, builds_failed = ?
 WHERE drone_id = ?"""
_HEARD: Final = """
UPDATE build_swarm_drone
   SET address = ?, claimed_ip = ?, tailscale_ip = ?, kind = ?, capabilities = ?, metrics = ?, current_task = ?,
       version = ?, last_seen_unix_us = ?
 WHERE drone_id = ?"""
_SELECT_DRONES: Final = f"SELECT {_DRONE_COLUMNS} FROM build_swarm_drone ORDER BY created_unix_us, drone_id"  # noqa: S608
_SELECT_DRONE: Final = f"SELECT {_DRONE_COLUMNS} FROM build_swarm_drone WHERE drone_id = ?"  # noqa: S608
_PUT_STATE: Final = "INSERT OR REPLACE INTO build_swarm_queue_state VALUES (1, ?, ?, ?)"
_SELECT_STATE: Final = "SELECT paused, expected_timestamp, next_package_id FROM build_swarm_queue_state"
_BUILD_COLUMNS: Final = "atom, package_id, session_id, drone_id, drone_name, outcome, duration_s, error, built_unix_us"
_INSERT_BUILD: Final = f"INSERT INTO build_swarm_build ({_BUILD_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_COUNTED: Final = """
SELECT outcome, session_id, drone_id, drone_name, count(*), total(duration_s) FROM build_swarm_build
 GROUP BY drone_id, session_id, outcome, drone_name ORDER BY max(build_id)"""
_TOOK: Final = """
SELECT atom, total(duration_s), count(*) FROM build_swarm_build WHERE outcome = 'success' GROUP BY atom"""
_LAST_WORDS: Final = """
SELECT atom, drone_id, outcome, max(build_id) FROM build_swarm_build WHERE outcome <> 'returned'
 GROUP BY atom, drone_id"""


@define(eq=False)
class Batch:
    """Rows that become durable together, read from memory at one moment."""

    new_packages: list[Row] = field(factory=list)
    packages: list[Row] = field(factory=list)
    sessions: list[Row] = field(factory=list)
    deleted_drones: list[tuple[str]] = field(factory=list)
    drones: list[Row] = field(factory=list)
    counted_drones: list[Row] = field(factory=list)
    state: Row | None = None
    told: Told = field(factory=Told)
    """Its builds are stored with the rest; what else it has is told afterwards."""

    def write(self, connection: sqlite3.Connection) -> None:
        """Store it all; may be called again after it was undone."""
        if self.told.clears_builds:
            connection.execute("DELETE FROM build_swarm_build")
        if self.new_packages:
            connection.executemany(_INSERT_PACKAGE, self.new_packages)
        if self.packages:
            connection.executemany(_UPDATE_PACKAGE, self.packages)
        if self.sessions:
            connection.executemany(_PUT_SESSION, self.sessions)
        if self.deleted_drones:
            connection.executemany("DELETE FROM build_swarm_drone WHERE drone_id = ?", self.deleted_drones)
        if self.drones:
            connection.executemany(_PUT_DRONE, self.drones)
        if self.counted_drones:
            connection.executemany(_COUNT_DRONE, self.counted_drones)
        if self.state is not None:
            connection.execute(_PUT_STATE, self.state)
        if self.told.builds:
            connection.executemany(_INSERT_BUILD, [queue_rows.build_row(build) for build in self.told.builds])


# ------------------------------------------------------------------ packages


def packages(connection: sqlite3.Connection, session_id: str, at: Moment) -> list[Package]:
    """Return every package that is not final, and all of one session."""
    return [queue_rows.package_of(row, at) for row in connection.execute(_SELECT_PACKAGES, (session_id,))]


def package(connection: sqlite3.Connection, package_id: int, at: Moment) -> Package | None:
    """Return one package."""
    row = connection.execute(_SELECT_PACKAGE, (package_id,)).fetchone()
    return None if row is None else queue_rows.package_of(row, at)


# ------------------------------------------------------------------ sessions and the state of the queue


def sessions(connection: sqlite3.Connection) -> list[Session]:
    """Return every session, oldest first."""
    return [queue_rows.session_of(row) for row in connection.execute(_SELECT_SESSIONS)]


def session(connection: sqlite3.Connection, session_id: str) -> Session | None:
    """Return one session."""
    row = connection.execute(_SELECT_SESSION, (session_id,)).fetchone()
    return None if row is None else queue_rows.session_of(row)


def forget_sessions(connection: sqlite3.Connection, session_ids: Iterable[str]) -> None:
    """Delete sessions with their packages."""
    for session_id in session_ids:
        connection.execute("DELETE FROM build_swarm_package WHERE session_id = ?", (session_id,))
        connection.execute("DELETE FROM build_swarm_session WHERE session_id = ?", (session_id,))


def queue_state(connection: sqlite3.Connection) -> tuple[bool, str, int]:
    """Return whether the queue is paused, which Portage tree is expected, and the next package's id."""
    row = connection.execute(_SELECT_STATE).fetchone()
    newest = connection.execute("SELECT max(package_id) FROM build_swarm_package").fetchone()[0] or 0
    return (False, "", newest + 1) if row is None else (bool(row[0]), row[1], max(row[2], newest + 1))


# ------------------------------------------------------------------ drones


def put_heard(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Store what heartbeats have changed of drones that are there."""
    connection.executemany(_HEARD, rows)


def drones(connection: sqlite3.Connection, at: Moment) -> list[Drone]:
    """Return every drone, oldest first."""
    return [queue_rows.drone_of(row, at) for row in connection.execute(_SELECT_DRONES)]


def drone(connection: sqlite3.Connection, drone_id: str, at: Moment) -> Drone | None:
    """Return one drone."""
    row = connection.execute(_SELECT_DRONE, (drone_id,)).fetchone()
    return None if row is None else queue_rows.drone_of(row, at)


# ------------------------------------------------------------------ history


def history(connection: sqlite3.Connection) -> History:
    """Sum all builds up."""
    made = History()
    for outcome, session_id, drone_id, drone_name, count, total_s in connection.execute(_COUNTED):
        made.count(outcome, total_s, count, session_id, drone_id, drone_name)
    for atom, total_s, count in connection.execute(_TOOK):
        made.took(atom, total_s, count)
    for atom, drone_id, outcome, _ in connection.execute(_LAST_WORDS):
        if outcome != Outcome.SUCCESS:
            made.failed_on.setdefault(atom, set()).add(drone_id)
    return made


def builds(
    connection: sqlite3.Connection,
    *,
    limit: int,
    status: str,
    drone_ids: Collection[str],
    drone_name: str,
    session_id: str,
    atom: str,
    before: int,
) -> list[Build]:
    """Return builds, newest first; empty filters let all through.

    :param drone_ids: with ``drone_name``: by whom, either of them.
    """
    wheres: list[str] = ["1"]
    values: list[Any] = []
    for where, value in (("outcome = ?", status), ("session_id = ?", session_id), ("atom = ?", atom)):
        if value:
            wheres.append(where)
            values.append(value)
    if before:
        wheres.append("build_id < ?")
        values.append(before)
    if drone_name:
        wheres.append(f"(drone_name = ? OR drone_id IN ({', '.join('?' * len(drone_ids))}))")
        values += [drone_name, *drone_ids]
    sql = (
        f"SELECT build_id, {_BUILD_COLUMNS} FROM build_swarm_build"  # noqa: S608 (columns and conditions of our own)
        f" WHERE {' AND '.join(wheres)} ORDER BY build_id DESC LIMIT ?"
    )
    return [queue_rows.build_of(row) for row in connection.execute(sql, (*values, limit))]
