"""Pings and escalation on the public surface: what was found last is for all, to look now needs the key."""

from typing import Any

from attrs import field, frozen
from attrs.validators import max_len

from appliance.plugin import Call, Role

from .callers import who
from .state import SwarmState
from .surfaces import KEYED, READERS, public
from .wire import health

_NAME: Any = max_len(255)


@frozen(kw_only=True)
class PingQuery:
    """Which drone; all where none is named."""

    id: str = field(default="", validator=_NAME)
    name: str = field(default="", validator=_NAME)


@public.get("/api/v1/ping", caller=READERS, access="open", query=PingQuery)
async def ping(call: Call[None]) -> dict[str, Any]:
    """Tell what the last probe of each drone found; of one, with ``id`` or ``name``. Nothing is connected to."""
    state: SwarmState = call.state
    asked = call.query.id or call.query.name
    if not asked:
        drones = state.swarm.drones()
        return {"drones": {drone.name: health.last_ping(state.prober.newest(drone.name)) for drone in drones}}
    drone = state.swarm.drone(asked)
    probe = state.prober.newest(drone.name)
    last = health.last_ping(probe)
    shown = {"drone": drone.name, "status": last["status"], "ok": False} if probe is None else health.ping(probe)
    return {**shown, "drones": {drone.name: last}}


@public.get("/api/v1/ping/all", caller=READERS, access="open", waits=True)
async def ping_all(call: Call[None]) -> dict[str, Any]:
    """Probe all approved drones that are online; within ten seconds, everybody is given the same round."""
    state: SwarmState = call.state
    found = await state.ssh_parts.rounds.all()
    return {
        "status": "ok",
        "pinged": len(found.probes),
        "drones": [probe.drone_name for probe in found.probes],
        "results": [health.ping(probe) for probe in found.probes],
        "not_approved": list(found.not_approved),
    }


@public.post("/api/v1/nodes/{name}/ping", caller=KEYED, role=Role.OPERATOR, waits=True)
async def ping_node(call: Call[None]) -> dict[str, Any]:
    """Probe a drone, by name or id, now. It is no heartbeat: what the drone said of itself stays as it was."""
    state: SwarmState = call.state
    return health.ping(await state.ssh_parts.rounds.one(state.swarm.drone(call.path["name"])))


@public.get("/api/v1/escalation", caller=READERS, access="open")
async def escalation(call: Call[None]) -> dict[str, Any]:
    """Tell where self-healing stands with each drone."""
    state: SwarmState = call.state
    healing = state.healing
    return {
        "monitor_running": healing.is_running,
        "drones": {
            drone.name: health.escalation(
                drone, healing.type_of(drone), healing.trouble(drone.name), state.prober.newest(drone.name)
            )
            for drone in state.swarm.drones()
        },
    }


@public.post("/api/v1/nodes/{name}/reset-escalation", caller=KEYED, role=Role.OPERATOR)
async def reset_escalation(call: Call[None]) -> dict[str, Any]:
    """Forget what self-healing has done to a drone, by name or id: it begins with the first step again."""
    state: SwarmState = call.state
    drone = state.swarm.drone(call.path["name"])
    previous = await state.healing.reset(drone.name, by=who(call.caller))
    return {
        "status": "ok",
        "ok": True,
        "state": "reset",
        "drone": drone.name,
        "name": drone.name,
        "previous_level": previous,
        "current_level": 0,
    }
