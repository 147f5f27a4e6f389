"""What needs the key on the public surface: packages to build, control actions, and single drones."""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from appliance.plugin import BadInput, Call, Role

from . import callers
from .atoms import normalised
from .state import SwarmState
from .states import DroneType, PackageNeeds, QueueRequest
from .surfaces import KEYED, public
from .wire import records, requests
from .wire.decoding import Reader

QUEUE_BYTES: Final = 8_388_608
STATES: Final = {"pause": "paused", "resume": "active", "reset": "reset"}
"""What the upstream server answers as ``status``; the document's ``status`` is always ``ok``."""
SINGLE: Final = frozenset({"block", "reclaim", "unblock"})
"""Actions that say of a single package whether anything has changed."""


@public.post(
    "/api/v1/queue",
    caller=KEYED,
    role=Role.OPERATOR,
    body=requests.Queue,
    decode=Reader(requests.Queue),
    limit_bytes=QUEUE_BYTES,
)
async def queue(call: Call[requests.Queue]) -> dict[str, Any]:
    """Queue packages in the active session, or in a new one; what waits or is being built already is passed over."""
    state: SwarmState = call.state
    body = call.body
    needs = PackageNeeds(cores=body.cores, memory_mib=body.memory_mib, capabilities=frozenset(body.capabilities))
    waits_for = {normalised(atom): tuple(map(normalised, others)) for atom, others in body.waits_for.items()}
    timestamp = "" if body.portage_timestamp is None else str(body.portage_timestamp)
    found = await state.swarm.queue(
        QueueRequest(
            atoms=tuple(body.packages),
            session_name=requests.shown(body.session_name, 200),
            session_id=body.session_id or "",
            priority=body.priority,
            needs=needs,
            waits_for=waits_for,
            portage_timestamp=timestamp,
            by=callers.who(call.caller),
        )
    )
    return {
        "status": "ok",
        "queued": len(found.packages),
        "packages": [package.atom for package in found.packages],
        "skipped": found.skipped,
        "session_id": None if found.session is None else found.session.session_id,
        "session": None if found.session is None else records.session(found.session),
        "portage_timestamp": body.portage_timestamp,
    }


@public.post(
    "/api/v1/control", caller=KEYED, role=Role.OPERATOR, body=requests.Control, decode=Reader(requests.Control)
)
async def control(call: Call[requests.Control]) -> dict[str, Any]:
    """Do a control action: pause, resume, unblock, unground, reset, rebalance (or optimize), clear_failures,
    retry_failures, clear_history; block, reclaim and unblock take a ``package``, unground a ``drone``."""
    state: SwarmState = call.state
    body = call.body
    found = await state.swarm.control(
        body.action,
        package=body.package or "",
        drone=body.drone_id or body.drone or "",
        by=callers.who(call.caller),
    )
    answer: dict[str, Any] = {"status": "ok", "action": body.action, "message": found.message, **found.counters}
    if body.action in STATES:
        answer["state"] = STATES[body.action]
    if body.package:
        answer["package"] = normalised(body.package)
        if body.action in SINGLE and not found.affected:
            answer["status"] = "no_change"
    return answer | {"ok": answer["status"] == "ok"}  # the public page shows what has changed only after this


@public.post("/api/v1/nodes/{name}/pause", caller=KEYED, role=Role.OPERATOR)
async def pause(call: Call[None]) -> dict[str, Any]:
    """Give a drone, by name or id, no further work."""
    return await _pause(call, True, "ok")


@public.post("/api/v1/nodes/{name}/resume", caller=KEYED, role=Role.OPERATOR)
async def resume(call: Call[None]) -> dict[str, Any]:
    """Give a drone, by name or id, work again."""
    return await _pause(call, False, "resumed")


async def _pause(call: Call[None], paused: bool, status: str) -> dict[str, Any]:
    state: SwarmState = call.state
    drone = await state.swarm.pause_drone(call.path["name"], paused, by=callers.who(call.caller))
    return {
        "status": status,
        "drone": drone.name,
        "name": drone.name,
        "paused": drone.paused,
        "state": "paused" if drone.paused else "resumed",
    }


_DroneType = Annotated[str, Meta(max_length=32)]


class SetType(msgspec.Struct):
    """What kind of machine a drone is; the upstream server's clients say ``type``."""

    drone_type: _DroneType | None = None
    type: _DroneType | None = None


@public.post("/api/v1/nodes/{name}/set-type", caller=KEYED, role=Role.OPERATOR, body=SetType, decode=Reader(SetType))
async def set_type(call: Call[SetType]) -> dict[str, Any]:
    """Say what kind of machine a drone is: lxc and qemu may be rebooted, bare-metal and unknown never are."""
    state: SwarmState = call.state
    said = call.body.drone_type or call.body.type
    if not said:
        raise BadInput("Missing drone_type", field="$.drone_type", hint=_types())
    try:
        drone_type = DroneType(said)
    except ValueError:
        raise BadInput("drone_type: no such type", field="$.drone_type", hint=_types()) from None
    drone = await state.swarm.set_drone_type(call.path["name"], drone_type, by=callers.who(call.caller))
    await state.approvals.set_type(drone.name, drone_type)
    return {"status": "ok", "ok": True, "drone": drone.name, "name": drone.name, "drone_type": drone.drone_type}


def _types() -> str:
    return "one of " + ", ".join(DroneType)


@public.delete("/api/v1/nodes/{name}", caller=KEYED, role=Role.OPERATOR)
async def delete(call: Call[None]) -> dict[str, Any]:
    """Forget a drone, by name or id: what it holds is free, its history stays. 409 for one that is protected."""
    state: SwarmState = call.state
    state.drone_configs.check_may_delete(state.swarm.drone(call.path["name"]).name)
    drone = await state.swarm.delete_drone(call.path["name"], by=callers.who(call.caller))
    return {"status": "deleted", "id": drone.drone_id, "name": drone.name}
