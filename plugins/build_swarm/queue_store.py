"""All SQL of the queue. Functions that write are given the connection of a transaction."""

import math
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from attrs import define, field

from . import atoms
from .desk import Told
from .estimates import History
from .rules import Moment, cores_of, ram_gb_of
from .states import (
    NO_NEEDS,
    Build,
    Drone,
    DroneKind,
    DroneStatus,
    DroneType,
    Outcome,
    Package,
    PackageNeeds,
    PackageState,
    Session,
    SessionStatus,
)

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

_PLAIN: Final = "{}"
_NOTHING: Final = "[]"
_STATES: Final = {each.value: each for each in PackageState}

Row = tuple[Any, ...]


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
            connection.executemany(_INSERT_BUILD, [_build_row(build) for build in self.told.builds])


# ------------------------------------------------------------------ packages


def _listed(values: Collection[str]) -> str:
    return msgspec.json.encode(sorted(values) if isinstance(values, frozenset) else values).decode() if values else "[]"


def _needs_text(needs: PackageNeeds) -> str:
    if needs is NO_NEEDS or needs == NO_NEEDS:
        return _PLAIN
    told = {"cores": needs.cores, "memory_mib": needs.memory_mib, "capabilities": sorted(needs.capabilities)}
    return msgspec.json.encode(told).decode()


def _needs(text: str) -> PackageNeeds:
    if text == _PLAIN:
        return NO_NEEDS
    told = msgspec.json.decode(text)
    return PackageNeeds(
        cores=told["cores"], memory_mib=told["memory_mib"], capabilities=frozenset(told["capabilities"])
    )


def new_package_row(package: Package) -> Row:
    """Return all of a package."""
    return (
        package.package_id,
        package.atom,
        package.session_id,
        package.state.value,
        package.priority,
        _needs_text(package.needs),
        _listed(package.waits_for),
        package.drone_id,
        package.delegated_unix_us,
        package.building_since_unix_us,
        package.failures,
        _listed(package.failed_drones),
        _listed(package.avoided_drones),
        package.returns,
        package.is_absolved,
        package.error,
        package.queued_unix_us,
        package.blocked_unix_us,
        package.completed_unix_us,
    )


def package_row(package: Package) -> Row:
    """Return what of a package can change."""
    return (
        package.session_id,
        package.state.value,
        _listed(package.waits_for),
        package.drone_id,
        package.delegated_unix_us,
        package.building_since_unix_us,
        package.failures,
        _listed(package.failed_drones),
        _listed(package.avoided_drones),
        package.returns,
        package.is_absolved,
        package.error,
        package.blocked_unix_us,
        package.completed_unix_us,
        package.package_id,
    )


def _package(row: Sequence[Any], at: Moment) -> Package:
    """Make a package of a row; every lease begins anew, and nothing lies in the future."""
    state, blocked, building = _STATES[row[3]], row[17], row[9]
    return Package(
        package_id=row[0],
        atom=row[1],
        key=atoms.key(row[1]),
        session_id=row[2],
        state=state,
        priority=row[4],
        needs=_needs(row[5]),
        waits_for=_texts(row[6]),
        drone_id=row[7],
        delegated_unix_us=row[8],
        building_since_unix_us=building,
        failures=row[10],
        failed_drones=_texts(row[11]),
        avoided_drones=frozenset(_texts(row[12])),
        returns=row[13],
        is_absolved=bool(row[14]),
        error=row[15],
        queued_unix_us=row[16],
        blocked_unix_us=blocked,
        completed_unix_us=row[18],
        delegated_us=at.us,
        building_since_us=None if building is None else at.us - max(0, at.unix_us - building),
        blocked_us=at.us - max(0, at.unix_us - (blocked or 0)),
    )


def _texts(text: str) -> tuple[str, ...]:
    return () if text == _NOTHING else tuple(msgspec.json.decode(text))


def packages(connection: sqlite3.Connection, session_id: str, at: Moment) -> list[Package]:
    """Return every package that is not final, and all of one session."""
    return [_package(row, at) for row in connection.execute(_SELECT_PACKAGES, (session_id,))]


def package(connection: sqlite3.Connection, package_id: int, at: Moment) -> Package | None:
    """Return one package."""
    row = connection.execute(_SELECT_PACKAGE, (package_id,)).fetchone()
    return None if row is None else _package(row, at)


# ------------------------------------------------------------------ sessions and the state of the queue


def session_row(session: Session) -> Row:
    """Return all of a session."""
    return (
        session.session_id,
        session.name,
        session.status.value,
        session.started_unix_us,
        session.completed_unix_us,
        session.total,
        session.needed,
        session.delegated,
        session.completed,
        session.blocked,
        session.ended_failed,
    )


def _session(row: Sequence[Any]) -> Session:
    return Session(
        session_id=row[0],
        name=row[1],
        status=SessionStatus(row[2]),
        started_unix_us=row[3],
        completed_unix_us=row[4],
        total=row[5],
        needed=row[6],
        delegated=row[7],
        completed=row[8],
        blocked=row[9],
        ended_failed=row[10],
    )


def sessions(connection: sqlite3.Connection) -> list[Session]:
    """Return every session, oldest first."""
    return [_session(row) for row in connection.execute(_SELECT_SESSIONS)]


def session(connection: sqlite3.Connection, session_id: str) -> Session | None:
    """Return one session."""
    row = connection.execute(_SELECT_SESSION, (session_id,)).fetchone()
    return None if row is None else _session(row)


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


def _told(value: Mapping[str, Any]) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):  # deeper than can be written
        return _PLAIN


def counter_row(drone: Drone) -> Row:
    """Return the counters of a drone."""
    return (*_counters(drone), drone.builds_completed, drone.builds_failed, drone.drone_id)


def _counters(drone: Drone) -> Row:
    return (
        drone.failures_in_row,
        msgspec.json.encode(drone.streak).decode() if drone.streak else _NOTHING,
        drone.grounded_until_us,
        drone.grounded_until_unix_us,
        drone.groundings,
        drone.upload_failures,
        drone.upload_failed_us,
    )


def drone_row(drone: Drone) -> Row:
    """Return all of a drone."""
    return (
        drone.drone_id,
        drone.name,
        drone.address,
        drone.claimed_ip,
        drone.tailscale_ip,
        drone.kind.value,
        drone.drone_type.value,
        _told(drone.capabilities),
        _told(drone.metrics),
        drone.current_task,
        drone.version,
        drone.status.value,
        drone.paused,
        drone.last_seen_unix_us,
        drone.created_unix_us,
        *_counters(drone),
        drone.builds_completed,
        drone.builds_failed,
    )


def heard_row(drone: Drone) -> Row:
    """Return what a heartbeat changes of a drone."""
    return (
        drone.address,
        drone.claimed_ip,
        drone.tailscale_ip,
        drone.kind.value,
        _told(drone.capabilities),
        _told(drone.metrics),
        drone.current_task,
        drone.version,
        drone.last_seen_unix_us,
        drone.drone_id,
    )


def put_heard(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Store what heartbeats have changed of drones that are there."""
    connection.executemany(_HEARD, rows)


def _drone(row: Sequence[Any], at: Moment) -> Drone:
    """Make a drone of a row; it was heard of just now, for nobody could be heard before."""
    capabilities = msgspec.json.decode(row[7])
    return Drone(
        drone_id=row[0],
        name=row[1],
        address=row[2],
        claimed_ip=row[3],
        tailscale_ip=row[4],
        kind=DroneKind(row[5]),
        drone_type=DroneType(row[6]),
        capabilities=capabilities,
        metrics=msgspec.json.decode(row[8]),
        current_task=row[9],
        version=row[10],
        status=DroneStatus(row[11]),
        paused=bool(row[12]),
        last_seen_unix_us=row[13],
        created_unix_us=row[14],
        failures_in_row=row[15],
        streak=msgspec.json.decode(row[16]),
        grounded_until_us=row[17],
        grounded_until_unix_us=row[18],
        groundings=row[19],
        upload_failures=row[20],
        upload_failed_us=row[21],
        builds_completed=row[22],
        builds_failed=row[23],
        cores=cores_of(capabilities),
        ram_gb=ram_gb_of(capabilities),
        heard_us=at.us,
        asked_us=at.us,
        busy_us=at.us,
    )


def drones(connection: sqlite3.Connection, at: Moment) -> list[Drone]:
    """Return every drone, oldest first."""
    return [_drone(row, at) for row in connection.execute(_SELECT_DRONES)]


def drone(connection: sqlite3.Connection, drone_id: str, at: Moment) -> Drone | None:
    """Return one drone."""
    row = connection.execute(_SELECT_DRONE, (drone_id,)).fetchone()
    return None if row is None else _drone(row, at)


# ------------------------------------------------------------------ history


def _build_row(build: Build) -> Row:
    return (
        build.atom,
        build.package_id,
        build.session_id,
        build.drone_id,
        build.drone_name,
        build.outcome,
        build.duration_s if math.isfinite(build.duration_s) else 0.0,
        build.error,
        build.built_unix_us,
    )


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
    return [_build(row) for row in connection.execute(sql, (*values, limit))]


def _build(row: Sequence[Any]) -> Build:
    return Build(
        build_id=row[0],
        atom=row[1],
        package_id=row[2],
        session_id=row[3],
        drone_id=row[4],
        drone_name=row[5],
        outcome=row[6],
        duration_s=row[7],
        error=row[8],
        built_unix_us=row[9],
    )
