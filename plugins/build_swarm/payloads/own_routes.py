"""Our own endpoints for what the documented ones lack: rolls that nobody waits for, and taking a version away."""

from typing import Any, Final

import trio
from attrs import field, frozen
from attrs.validators import and_, ge, le, matches_re
from msgspec import Struct

from appliance.plugin import Call, Role

from ..state import SwarmState
from ..surfaces import KEYED, own
from .models import TYPE_PATTERN, VERSION_PATTERN, named_type, named_version
from .rolling import Roll
from .routes import asked_by
from .service import DRONES_MAX, RollRequest
from .wire import DRONE_CHARACTERS

ROLLS: Final = "/api/appliance/swarm/payload-rolls"
PAYLOADS: Final = "/api/appliance/swarm/payloads"
WAIT_SECONDS_MAX: Final = 30.0


def _names(instance: Any, attribute: Any, value: tuple[str, ...] | None) -> None:
    if value is not None and (len(value) > DRONES_MAX or not all(0 < len(one) <= DRONE_CHARACTERS for one in value)):
        raise ValueError(f"'drones' must be at most {DRONES_MAX} names of 1 to {DRONE_CHARACTERS} characters")


@frozen(kw_only=True)
class NewRoll:
    """A version to be put on drones, one after the other."""

    payload_type: str = field(validator=matches_re(TYPE_PATTERN))
    version: str = field(validator=matches_re(VERSION_PATTERN))
    drones: tuple[str, ...] | None = field(default=None, validator=_names)
    """Names or ids; null: every approved drone that lacks the version."""
    health_check: bool = True
    """Restart drones after a program or an init script, and have them come back."""
    rollback_on_fail: bool = True
    """The first failure brings back what each drone of the roll had, and ends it."""
    verify: bool = True
    """Compare what is on the drone with what was sent."""


class RollResultItem(Struct, frozen=True, kw_only=True):
    """How it went with one drone."""

    drone: str
    success: bool
    message: str
    hint: str


class RollItem(Struct, frozen=True, kw_only=True):
    """A roll, and how far it is."""

    id: str
    payload_type: str
    version: str
    is_over: bool
    revision: int
    """Rises with every change; ask for what is beyond it."""
    current_drone: str
    """Empty before the first and after the last."""
    drone_count: int
    results: tuple[RollResultItem, ...]
    """Of the drones that have one by now; of all of them once it is over."""


@frozen(kw_only=True)
class RollQuery:
    """What to wait for."""

    revision: int = field(default=-1, validator=ge(-1))
    """Answer when the roll is beyond it; -1: at once."""
    wait_seconds: float = field(default=0.0, validator=and_(ge(0.0), le(WAIT_SECONDS_MAX)))


@own.post(ROLLS, caller=KEYED, role=Role.OPERATOR, body=NewRoll, answer=RollItem, status=202, audit=False)
async def start(call: Call[NewRoll]) -> RollItem:
    """Begin to put a version on drones; each deploy is in the deploy log and the audit log."""
    state: SwarmState = call.state
    body = call.body
    request = RollRequest(
        payload_type=body.payload_type,
        version=body.version,
        drones=body.drones,
        health_check=body.health_check,
        rollback_on_fail=body.rollback_on_fail,
        verify=body.verify,
        by=asked_by(call, None),
    )
    return _item(*await state.payloads.start_roll(request))


@own.get(f"{ROLLS}/{{roll_id}}", caller=KEYED, query=RollQuery, answer=RollItem, waits=True)
async def roll(call: Call[None]) -> RollItem:
    """Say how far a roll is, at once or when that has changed; rolls are forgotten when the appliance ends."""
    state: SwarmState = call.state
    found = state.payloads.find_roll(call.path["roll_id"])
    with trio.move_on_after(call.query.wait_seconds):
        await found.changed(call.query.revision)
    return _item(call.path["roll_id"], found)


@own.delete(f"{PAYLOADS}/{{type}}/{{version}}", caller=KEYED, role=Role.OPERATOR)
async def remove(call: Call[None]) -> dict[str, Any]:
    """Take away a version that no drone has."""
    state: SwarmState = call.state
    payload_type = named_type(call.path["type"])
    found = await state.payloads.remove(payload_type, named_version(payload_type, call.path["version"]))
    return {"deleted": found.label}


def _item(roll_id: str, one: Roll) -> RollItem:
    return RollItem(
        id=roll_id,
        payload_type=one.plan.version.payload_type,
        version=one.plan.version.version,
        is_over=one.is_over,
        revision=one.revision,
        current_drone=one.current,
        drone_count=len(one.plan.drones) + len(one.plan.unknown),
        results=tuple(
            RollResultItem(drone=each.drone, success=each.success, message=each.message, hint=each.hint)
            for each in one.results
        ),
    )
