"""Between the rows of the queue's tables and what memory keeps: how each column is written and read."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from . import atoms
from .rules import Moment, cores_of, ram_gb_of
from .states import (
    NO_NEEDS,
    Build,
    Drone,
    DroneKind,
    DroneStatus,
    DroneType,
    Package,
    PackageNeeds,
    PackageState,
    Session,
    SessionStatus,
)

_PLAIN: Final = "{}"
_NOTHING: Final = "[]"
_STATES: Final = {each.value: each for each in PackageState}

Row = tuple[Any, ...]


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


def _texts(text: str) -> tuple[str, ...]:
    return () if text == _NOTHING else tuple(msgspec.json.decode(text))


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


def package_of(row: Sequence[Any], at: Moment) -> Package:
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


def session_of(row: Sequence[Any]) -> Session:
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
        *_place(drone),
        drone.drone_type.value,
        *_words(drone),
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
    return (*_place(drone), *_words(drone), drone.last_seen_unix_us, drone.drone_id)


def _place(drone: Drone) -> Row:
    return (drone.address, drone.claimed_ip, drone.tailscale_ip, drone.kind.value)


def _words(drone: Drone) -> Row:
    return (_told(drone.capabilities), _told(drone.metrics), drone.current_task, drone.version)


def drone_of(row: Sequence[Any], at: Moment) -> Drone:
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


def build_row(build: Build) -> Row:
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


def build_of(row: Sequence[Any]) -> Build:
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
