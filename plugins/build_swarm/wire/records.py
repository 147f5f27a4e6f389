"""Sessions, builds, events and packages as clients are shown them."""

from collections.abc import Iterable
from typing import Any

import msgspec

from ..states import Build, BuildStatistics, Package, Session, SwarmEvent, Timing
from .moments import seconds, whole_seconds
from .plain import plain, plain_values


def session(found: Session) -> dict[str, Any]:
    """Return a session; ``failed_packages`` are those that are blocked or failed for good."""
    return {
        "id": found.session_id,
        "name": plain(found.name),
        "status": found.status,
        "total_packages": found.total,
        "completed_packages": found.completed,
        "failed_packages": found.failed,
        "completed": found.completed,  # what the admin page reads
        "started_at": whole_seconds(found.started_unix_us),
        "completed_at": whole_seconds(found.completed_unix_us),
    }


def timing(found: Timing) -> dict[str, Any]:
    """Return builds in figures; what was given back without building is no build."""
    return {
        "total_builds": found.total_builds,
        "successful": found.successful,
        "failed": found.failed,
        "success_rate": round(found.success_rate, 1),
        "avg_duration_s": round(found.avg_duration_s, 1),
        "total_duration_s": round(found.total_duration_s, 1),
    }


def statistics(found: BuildStatistics) -> dict[str, Any]:
    """Return all of history in figures, of each drone too."""
    each = [
        {"drone_id": one.drone_id, "drone_name": one.drone_name, **timing(one.timing)} | _older(one.timing)
        for one in found.per_drone
    ]
    return {**timing(found.timing), "per_drone": each}


def _older(found: Timing) -> dict[str, Any]:
    return {"total": found.total_builds, "success": found.successful, "avg_duration": round(found.avg_duration_s, 1)}


def build(found: Build) -> dict[str, Any]:
    """Return one accepted report."""
    return {
        "id": found.build_id,
        "package": found.atom,
        "drone_id": found.drone_id,
        "drone_name": found.drone_name,
        "status": plain(found.outcome),
        "duration_seconds": round(found.duration_s, 3),
        "error_message": plain(found.error) or None,
        "session_id": found.session_id,
        "built_at": seconds(found.built_unix_us),
    }


def event(found: SwarmEvent) -> dict[str, Any]:
    """Return an event; its details have the document's names and the upstream server's."""
    details = dict(found.details)
    if found.drone:
        details.setdefault("drone", found.drone)
    for name, other in (("duration_s", "duration"), ("duration", "duration_s")):
        if name in details:
            details.setdefault(other, details[name])
    return {
        "id": found.event_id,
        "timestamp": seconds(found.unix_us),
        "type": found.type,
        "message": plain(found.message),
        "details": plain_values(details),
    }


class PackageRow(msgspec.Struct, gc=False):
    """A package in the listing of the queue: 10,000 of them must not set off the garbage collector."""

    package: str
    status: str
    assigned_to: str | None
    failures: int
    error_message: str
    assigned_at: float | None
    completed_at: float | None
    id: int
    session_id: str
    priority: int
    created_at: float | None


def package(found: Package, drone_name: str | None) -> PackageRow:
    """Return a package of the queue."""
    return PackageRow(
        found.atom,
        found.state.value,
        drone_name,
        found.failures,
        plain(found.error),
        seconds(found.delegated_unix_us),
        seconds(found.completed_unix_us),
        found.package_id,
        found.session_id,
        found.priority,
        seconds(found.queued_unix_us),
    )


def joined(pieces: Iterable[bytes]) -> bytes:
    """Return JSON values as one array."""
    return b"[%b]" % b",".join(pieces)
