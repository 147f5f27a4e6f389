"""What drones call: they say that they live, ask for work, and report what became of it.

Drones of two generations call: one names itself by ``id`` and asks at ``/work``, the other by its name and asks at
``/poll``. Both are answered the same.
"""

from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from appliance.plugin import BadInput, Call, Head, Kind

from . import callers
from .atoms import normalised
from .rules import kind_of
from .state import SwarmState
from .states import DroneKind, Heartbeat, Outcome, Report, Work
from .surfaces import DRONES, public
from .wire import requests
from .wire.decoding import Reader, kept_object, number_of
from .wire.requests import TASK_CHARACTERS, VERSION_CHARACTERS, address_of, name_of, shown

HEARTBEAT_BYTES: Final = 65_536
CORES_MAX: Final = 4096
RAM_MAX_GB: Final = 1_048_576
FIGURES: Final = ("cpu_percent", "ram_percent", "load_1m")
"""Of the metrics, those that clients count on being numbers."""
FIGURE_MAX: Final = 1e9
ORCHESTRATORS: Final = "orchestrator"
_encode: Final = msgspec.json.encode
_NO_WORK: Final = msgspec.Raw(b'{"package":null}')


@public.post(
    "/api/v1/register",
    caller=DRONES,
    access="open",
    body=requests.Register,
    decode=Reader(requests.Register),
    limit_bytes=HEARTBEAT_BYTES,
    hot=True,
    audit=False,
)
async def register(call: Call[requests.Register]) -> msgspec.Raw | dict[str, str]:
    """Register a drone, or take its heartbeat; every 30 seconds or so.

    The address that counts is the one that the request comes from; ``ip`` is only shown.
    """
    state: SwarmState = call.state
    body = call.body
    if body.type == ORCHESTRATORS:
        return {"status": "ignored", "message": "this server is the orchestrator, and knows no others"}
    beat = _heartbeat(body, call.head, is_proven=call.caller.kind is Kind.DRONE)
    callers.check_may_be(call.caller, beat.name, state.swarm.find_drone(beat.drone_id))
    found = await state.swarm.register(beat)
    more = b""
    if found.revoke:
        more = b',"revoke":' + _encode(found.revoke)
    if (stop := found.stop_work) is not None:
        told = {"package": stop.package, "reason": stop.reason, "reassigned_to": stop.reassigned_to}
        more += b',"stop_work":' + _encode(told)
    paused = b"true" if found.drone.paused else b"false"
    return msgspec.Raw(state.way_in.introduction(call.head) + paused + more + b"}")


def _heartbeat(body: requests.Register, head: Head, *, is_proven: bool) -> Heartbeat:
    drone_id = name_of(body.id or body.node_name, "id")
    name = body.name or body.node_name or f"unknown-{drone_id[:8]}"
    capabilities = kept_object(bytes(body.capabilities), "capabilities")
    metrics = kept_object(bytes(body.metrics), "metrics")
    number_of(capabilities, "capabilities", "cores", CORES_MAX)
    number_of(capabilities, "capabilities", "ram_gb", RAM_MAX_GB)
    for figure in FIGURES:
        number_of(metrics, "metrics", figure, FIGURE_MAX)
    return Heartbeat(
        drone_id=drone_id,
        name=name_of(name, "name"),
        address=callers.peer_address(head),
        claimed_ip=address_of(body.ip),
        tailscale_ip=address_of(body.tailscale_ip),
        kind=kind_of(name, DroneKind.SWEEPER if body.type == DroneKind.SWEEPER else DroneKind.DRONE),
        capabilities=capabilities,
        metrics=metrics,
        current_task=shown(body.current_task, TASK_CHARACTERS),
        version=shown(body.version, VERSION_CHARACTERS),
        is_proven=is_proven,
    )


@public.get("/api/v1/work", caller=DRONES, access="open", hot=True, audit=False)
async def work(call: Call[None]) -> msgspec.Raw:
    """Ask for a package to build: ``id`` (or name) of the drone; ``cores`` is read and passed over.

    What a drone holds already it is given again. ``package`` is null when there is nothing for it.
    """
    return await _work(call, ("id", "name", "node"))


@public.get("/api/v1/poll", caller=DRONES, access="open", hot=True, audit=False)
async def poll(call: Call[None]) -> msgspec.Raw:
    """Ask for a package to build, as drones do that name themselves by ``node``."""
    return await _work(call, ("node", "name", "id"))


async def _work(call: Call[None], fields: tuple[str, ...]) -> msgspec.Raw:
    state: SwarmState = call.state
    query = _query(call.head)
    field = next((name for name in fields if query.get(name)), fields[0])
    drone = name_of(query.get(field), field)
    if (cores := query.get("cores")) and not (cores.isascii() and cores.isdigit() and len(cores) <= 6):
        raise BadInput("cores: expected a count", field="$.cores", hint="leave it out, or send a whole number")
    known = state.swarm.find_drone(drone)
    callers.check_may_be(call.caller, drone if known is None else known.name, known)
    return _worded(await state.swarm.work(drone))


def _worded(found: Work) -> msgspec.Raw:
    if found.package is None and not found.revoke and found.sync_timestamp is None:
        return _NO_WORK
    answer: dict[str, Any] = {"package": None if found.package is None else found.package.atom}
    if found.package is not None:
        answer["session_id"] = found.package.session_id
    if found.sync_timestamp is not None:
        answer |= {"action": "sync_portage", "expected_timestamp": found.sync_timestamp}
    if found.revoke:
        answer["revoke"] = found.revoke
    return msgspec.Raw(_encode(answer))


def _query(head: Head) -> dict[str, str]:
    """Return the query's parameters, the last of each name."""
    try:
        return dict(parse_qsl(head.raw_query.decode("latin-1"), keep_blank_values=True, max_num_fields=32))
    except ValueError:
        raise BadInput("the query has too many fields", hint="send id alone") from None


_REPORTED: Final[dict[str, Any]] = {
    "caller": DRONES,
    "access": "open",
    "body": requests.Complete,
    "decode": Reader(requests.Complete),
    "hot": True,
    "audit": False,
}
"""How a report is declared, at both of its paths."""


@public.post("/api/v1/complete", **_REPORTED)
async def complete(call: Call[requests.Complete]) -> dict[str, Any]:
    """Report what became of a package: ``success``, ``failed``, ``returned`` or another word, which is a failure.

    A report counts once, and only while the package is delegated to this drone; ``stale`` says that it did not.
    ``accepted`` is true for a success that counted.
    """
    return await _complete(call)


@public.post("/api/v1/report", **_REPORTED)
async def report(call: Call[requests.Complete]) -> dict[str, Any]:
    """Report what became of a package, as drones do that name themselves by ``node``."""
    return await _complete(call)


async def _complete(call: Call[requests.Complete]) -> dict[str, Any]:
    state: SwarmState = call.state
    body = call.body
    drone = name_of(body.drone, "id")
    known = state.swarm.find_drone(drone)
    callers.check_may_be(call.caller, drone if known is None else known.name, known)
    atom = normalised(body.package)
    found = await state.swarm.complete(
        Report(drone=drone, atom=atom, outcome=body.status, duration_s=body.duration_s, error=body.error_text)
    )
    answer: dict[str, Any] = {
        "status": "ok",
        "package": atom if found.package is None else found.package.atom,
        "accepted": found.accepted and found.outcome == Outcome.SUCCESS,
    }
    if found.is_stale:
        answer |= {
            "stale": True,
            "action": "stop_work",
            "reason": found.reason,
            "reassigned_to": found.reassigned_to,
        }
    elif found.outcome and found.outcome != body.status:
        answer |= {"outcome": found.outcome, "reason": found.reason}
    return answer


@public.get("/api/v1/orchestrator", caller=DRONES, access="open")
async def orchestrator(call: Call[None]) -> dict[str, Any]:
    """Tell where drones ask for work: the address and port that this request came in on."""
    state: SwarmState = call.state
    host, port = state.way_in.of(call.head)
    return {"ip": host, "name": state.settings.orchestrator_name, "port": port}


@public.get("/api/v1/portage-config", caller=DRONES, access="open")
async def portage_config(call: Call[None]) -> dict[str, str]:
    """Give what ``[plugins.build_swarm.portage_config]`` says; nothing unless it is set."""
    state: SwarmState = call.state
    return dict(state.settings.portage_config)
