"""Drones as clients are shown them; each is the document's fields with those of the upstream server."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from ..states import Drone, Package, Progress
from .moments import seconds, whole_seconds
from .plain import plain, plain_values

_encode: Final = msgspec.json.encode
ProgressOf = Callable[[Package], Progress | None]


def progress(found: Progress) -> dict[str, Any]:
    """Return how far a package is: no time or percentage before it has started."""
    return {
        "package": found.package,
        "building_since": whole_seconds(found.building_since_unix_us),
        "elapsed_s": round(found.elapsed_s, 1),
        "estimated_s": None if found.estimated_s is None else round(found.estimated_s, 1),
        "progress_pct": found.percent,
    }


def progress_piece(packages: Iterable[Package], progress_of: ProgressOf) -> bytes:
    """Return the progress of what a drone holds, as JSON: it changes with every moment."""
    found = [progress(each) for package in packages if (each := progress_of(package)) is not None]
    return _encode(found)


def node_head(drone: Drone) -> bytes:
    """Return a drone in the list as JSON that is still open: what changes only when the drone does.

    ``ip`` is what the drone says of itself, else where it calls from; ``address`` is always the latter.
    """
    model = {
        "id": drone.drone_id,
        "name": drone.name,
        "ip": drone.claimed_ip or drone.address,
        "address": drone.address,
        "tailscale_ip": drone.tailscale_ip or None,
        "type": drone.kind,
        "drone_type": drone.drone_type,
        "cores": drone.cores,
        "ram_gb": drone.ram_gb,
        "status": drone.status,
        "online": drone.is_online,
        "paused": drone.paused,
        "last_seen": seconds(drone.last_seen_unix_us),
        "created_at": seconds(drone.created_unix_us),
        "version": plain(drone.version),
        "cpu_percent": _number(drone, "cpu_percent"),
        "ram_percent": _number(drone, "ram_percent"),
        "current_task": _task(drone),
        "capabilities": _told(drone.capabilities),
        "metrics": _told(drone.metrics),
        "assigned_packages": drone.assigned_atoms,
        "builds_completed": drone.builds_completed,
        "builds_failed": drone.builds_failed,
        "failures": drone.failures_in_row,
        "grounded_until": seconds(drone.grounded_until_unix_us),
    }
    return _encode(model)[:-1] + b',"build_progress":'


def short_head(drone: Drone) -> bytes:
    """Return a drone in ``/status`` as JSON that is still open, its name as key before it."""
    model = {
        "name": drone.name,
        "ip": drone.claimed_ip or drone.address,
        "status": drone.status,
        "cores": drone.cores,
        "paused": drone.paused,
        "current_task": _task(drone),
        "assigned_packages": drone.assigned_atoms,
        "capabilities": _told(drone.capabilities),
        "metrics": _told(drone.metrics),
        "last_seen": seconds(drone.last_seen_unix_us),
    }
    return b'%b:%b,"build_progress":' % (_encode(drone.name), _encode(model)[:-1])


def health(drone: Drone) -> dict[str, Any]:
    """Return what ``/status`` says of a drone in trouble."""
    return {
        "failures": drone.failures_in_row,
        "grounded_until": seconds(drone.grounded_until_unix_us),
        "groundings": drone.groundings,
        "upload_failures": drone.upload_failures,
    }


def is_in_trouble(drone: Drone) -> bool:
    """Whether `health` is worth showing."""
    return bool(drone.failures_in_row or drone.upload_failures or drone.grounded_until_unix_us is not None)


def _task(drone: Drone) -> str | None:
    """Return what a drone works on; nothing once it is offline: what it held is free, or built by another."""
    return (plain(drone.current_task) or None) if drone.is_online else None


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a drone says of itself without what it says nothing of: programs format these as numbers."""
    return {name: value for name, value in plain_values(values).items() if value is not None}


def _number(drone: Drone, name: str) -> float:
    value = drone.metrics.get(name)
    return value if isinstance(value, int | float) else 0
