"""Probes and self-healing as clients are shown them: the document's fields with those of the upstream server."""

from typing import Any

from attrs import asdict

from ..ladder import LEVEL_MAX, Trouble
from ..probing import Probe
from ..states import Drone
from .moments import seconds
from .plain import plain

ACTIONS = {0: None, 1: "restart_service", 2: "kill_and_start", 3: "reboot", 4: "alert"}


def status(probe: Probe) -> str:
    """Return how a ping went: ``ok`` where the drone has answered, whatever it said."""
    if probe.is_answered:
        return "ok"
    return "timeout" if probe.status == "timeout" else "error"


def figures(probe: Probe) -> dict[str, Any]:
    """Return what a drone said of itself; empty where it said nothing."""
    if probe.vitals is None:
        return {}
    shown = asdict(probe.vitals)
    shown["disk_percent"] = _whole(probe.vitals.disk_percent)
    return shown


def ping(probe: Probe) -> dict[str, Any]:
    """Return one ping, as the answer to whoever asked for it."""
    found = figures(probe)
    return {
        "status": status(probe),
        "ok": probe.is_answered,
        "drone": probe.drone_name,
        "latency_ms": probe.latency_ms,
        "load": found.get("load"),
        "disk_percent": found.get("disk_percent"),
        "state": probe.status,
        "seq": probe.seq,
        "timestamp": seconds(probe.probed_unix_us),
        "metrics": found,
        "error": plain(probe.error) or None,
    }


def last_ping(probe: Probe | None) -> dict[str, Any]:
    """Return the last ping of a drone, as the list of all has it; ``unknown`` where it never was probed."""
    if probe is None:
        return {"last_ping_at": None, "last_pong_at": None, "ping_latency_ms": None, "status": "unknown"}
    return {
        "last_ping_at": seconds(probe.probed_unix_us),
        "last_pong_at": seconds(probe.answered_unix_us),
        "ping_latency_ms": probe.latency_ms,
        "status": status(probe),
        "state": probe.status,
        "error": plain(probe.error) or None,
    }


def probe_result(probe: Probe | None) -> dict[str, Any] | None:
    """Return what the last probe found, in the words of self-healing; ``None`` where there was none."""
    if probe is None:
        return None
    found = figures(probe)
    return {
        "status": probe.status,
        "load": found.get("load"),
        "disk_percent": found.get("disk_percent"),
        "emerge_running": found.get("emerge_running"),
        "mem_percent": found.get("mem_percent"),
        "uptime_seconds": found.get("uptime_seconds"),
        "error": plain(probe.error) or None,
    }


def escalation(drone: Drone, drone_type: str, trouble: Trouble, probe: Probe | None) -> dict[str, Any]:
    """Return where self-healing stands with a drone, as the list of all has it."""
    return {
        "name": drone.name,
        "status": drone.status,
        "drone_type": drone_type,
        "escalation_level": trouble.level,
        "last_escalation_at": seconds(trouble.last_step_unix_us),
        "last_ping_at": None if probe is None else seconds(probe.probed_unix_us),
        "ping_latency_ms": None if probe is None else probe.latency_ms,
        **raw(drone, trouble),
    }


def raw(drone: Drone, trouble: Trouble) -> dict[str, Any]:
    """Return the upstream server's own words for it."""
    return {
        "drone_id": drone.drone_id,
        "level": trouble.level,
        "last_action": plain(trouble.last_action) or ACTIONS[min(trouble.level, LEVEL_MAX)],
        "attempts": trouble.attempts,
        "consecutive_failures": trouble.failed_probes,
        "first_failure_at": seconds(trouble.first_failed_unix_us),
    }


def _whole(percent: float) -> float | int:
    return int(percent) if percent == int(percent) else percent
