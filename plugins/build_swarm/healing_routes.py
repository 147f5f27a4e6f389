"""Self-healing, pings and logs of drones on the admin surface."""

from typing import Any, Final, Literal

from attrs import field, frozen
from attrs.validators import and_, ge, le

from appliance.plugin import Call, Role

from .ladder import LEVEL_MAX
from .state import SwarmState
from .surfaces import KEYED, admin
from .syslog import read_syslog
from .wire import health
from .wire.moments import seconds
from .wire.plain import plain

LINES_MAX: Final = 5000


@admin.get("/admin/api/self-healing/status", caller=KEYED)
async def status(call: Call[None]) -> dict[str, Any]:
    """Tell how self-healing is doing as a whole, and each drone that it has to do with."""
    state: SwarmState = call.state
    healing, drones = state.healing, state.swarm.drones()
    levels = [healing.trouble(drone.name).level for drone in drones]
    return {
        "monitor_running": healing.is_running,
        "probe_interval_s": _plain(state.settings.healing_probe_seconds),
        "last_probe_at": seconds(healing.last_round_unix_us),
        "escalation_summary": {f"level_{level}": levels.count(level) for level in range(LEVEL_MAX + 1)},
        "enabled": state.settings.healing_enabled,
        "dry_run": state.settings.healing_dry_run,
        "drones": {
            drone.name: health.raw(drone, trouble)
            for drone in drones
            if not (trouble := healing.trouble(drone.name)).is_clear
        },
    }


@admin.get("/admin/api/drones/{name}/escalation", caller=KEYED)
async def escalation(call: Call[None]) -> dict[str, Any]:
    """Tell where self-healing stands with a drone, by name or id, and what the last probe found."""
    state: SwarmState = call.state
    drone = state.swarm.drone(call.path["name"])
    trouble, probe = state.healing.trouble(drone.name), state.prober.newest(drone.name)
    return {
        "drone": drone.name,
        "status": drone.status,
        "drone_type": state.healing.type_of(drone),
        "escalation_level": trouble.level,
        "last_escalation_at": seconds(trouble.last_step_unix_us),
        "escalation_attempts": trouble.attempts,
        "last_probe_result": health.probe_result(probe),
        "last_probe_at": None if probe is None else seconds(probe.probed_unix_us),
        "escalation": health.raw(drone, trouble),
        "health": {
            "failures": drone.failures_in_row,
            "grounded_until": seconds(drone.grounded_until_unix_us),
            "groundings": drone.groundings,
        },
        "last_probe": None if probe is None else health.ping(probe),
    }


@admin.post("/admin/api/drones/{name}/ping", caller=KEYED, role=Role.OPERATOR, waits=True)
async def ping(call: Call[None]) -> dict[str, Any]:
    """Probe a drone, by name or id, now."""
    return await _ping(call)


@admin.get("/admin/api/drones/{name}/ping", caller=KEYED, role=Role.OPERATOR, waits=True)
async def ping_by_get(call: Call[None]) -> dict[str, Any]:
    """Probe a drone now: the same as by POST, as the upstream server's clients ask."""
    return await _ping(call)


async def _ping(call: Call[None]) -> dict[str, Any]:
    state: SwarmState = call.state
    probe = await state.ssh_parts.rounds.one(state.swarm.drone(call.path["name"]))
    return {**health.ping(probe), "probe_result": health.probe_result(probe)}


@frozen(kw_only=True)
class SyslogQuery:
    """Which log, and how much of its end."""

    lines: int = field(default=100, validator=and_(ge(1), le(1_000_000)))
    """More than 5,000 are held to that."""
    type: Literal["swarm-drone", "emerge", "portage", "messages", "dmesg"] = "messages"


@admin.get("/admin/api/drones/{name}/syslog", caller=KEYED, role=Role.OPERATOR, query=SyslogQuery, waits=True)
async def syslog(call: Call[None]) -> dict[str, Any]:
    """Read the end of a log on a drone, by name or id."""
    state: SwarmState = call.state
    drone = state.swarm.drone(call.path["name"])
    approval = state.approvals.of(drone)
    count = min(call.query.lines, LINES_MAX)
    found = await read_syslog(
        state.ssh, approval, call.query.type, count, deadline_s=state.settings.ssh_command_seconds
    )
    lines = [plain(line) for line in found.lines]
    return {
        "drone": drone.name,
        "lines": lines,
        "log_type": call.query.type,
        "line_count": len(lines),
        "content": "\n".join(lines),
        "is_cut": found.is_cut,
        "error": plain(found.error) or None,
    }


def _plain(number: float) -> float | int:
    return int(number) if number == int(number) else number
