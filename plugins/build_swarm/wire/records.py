"""Sessions, builds, events and packages as clients are shown them."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ..states import Build, BuildStatistics, Package, Session, SwarmEvent, Timing
from .moments import seconds, whole_seconds

_encode: Final = msgspec.json.encode


def session(found: Session) -> dict[str, Any]:
    """Return a session; ``failed_packages`` are those that are blocked or failed for good."""
    return {
        "id": found.session_id,
        "name": found.name,
        "status": found.status,
        "total_packages": found.total,
        "completed_packages": found.completed,
        "failed_packages": found.failed,
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
        "status": found.outcome,
        "duration_seconds": round(found.duration_s, 3),
        "error_message": found.error or None,
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
        "message": found.message,
        "details": details,
    }


def package(found: Package, drone_name: str | None) -> bytes:
    """Return a package of the queue as JSON."""
    return _encode(
        {
            "package": found.atom,
            "status": found.state,
            "assigned_to": drone_name,
            "failures": found.failures,
            "error_message": found.error,
            "assigned_at": seconds(found.delegated_unix_us),
            "completed_at": seconds(found.completed_unix_us),
            "id": found.package_id,
            "session_id": found.session_id,
            "priority": found.priority,
            "created_at": seconds(found.queued_unix_us),
        }
    )


def joined(pieces: Iterable[bytes]) -> bytes:
    """Return JSON values as one array."""
    return b"[%b]" % b",".join(pieces)
