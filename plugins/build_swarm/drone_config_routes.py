"""The admin surface about what is set for single drones: configuration, locks, and failed uploads."""

from typing import Any, Final

import msgspec
from msgspec import UNSET

from appliance.plugin import BadInput, Call, Conflict, Head, Role

from . import callers, drone_config
from .approval import Approval
from .drone_config import DEFAULTS, DroneConfig
from .drone_locks import SECONDS_MAX
from .models import NAME_CHARACTERS, is_name
from .state import SwarmState
from .surfaces import KEYED, admin
from .wire.decoding import Reader
from .wire.moments import seconds
from .wire.plain import plain_values

CONFIG: Final = "/admin/api/drone-config/{name}"
DRONE: Final = "/admin/api/drone/{name}"
WAY_IN: Final = ("ssh_user", "ssh_port")


@admin.get("/admin/api/drone-configs", caller=KEYED)
async def configs(call: Call[None]) -> list[dict[str, Any]]:
    """List what is set for single drones."""
    state: SwarmState = call.state
    return [_shown(state, each) for each in state.drone_configs.all()]


@admin.get(CONFIG, caller=KEYED)
async def config(call: Call[None]) -> dict[str, Any]:
    """Show what is set for a drone; where nothing is, the defaults, with ``_unconfigured``."""
    state: SwarmState = call.state
    name = _name(call)
    found = state.drone_configs.find(name)
    if found is not None:
        return _shown(state, found)
    return {"node_name": name, **DEFAULTS, **_way_in(state, name), "_unconfigured": True}


class Fields(msgspec.Struct):
    """What is to be set; what is not named stays as it is, ``null`` sets what holds without."""

    ssh_user: Any = UNSET
    ssh_port: Any = UNSET
    ssh_key_path: Any = UNSET
    ssh_password: Any = UNSET
    cores_limit: Any = UNSET
    emerge_jobs: Any = UNSET
    ram_limit_gb: Any = UNSET
    auto_reboot: Any = UNSET
    protected: Any = UNSET
    max_failures: Any = UNSET
    binhost_upload_url: Any = UNSET
    display_name: Any = UNSET
    v2_name: Any = UNSET
    control_plane: Any = UNSET
    locked: Any = UNSET
    notes: Any = UNSET


@admin.post(CONFIG, caller=KEYED, role=Role.OPERATOR, body=Fields, decode=Reader(Fields))
async def set_config(call: Call[Fields]) -> dict[str, Any]:
    """Set fields of a drone's configuration; the drone need not be known yet."""
    state: SwarmState = call.state
    name = _name(call)
    given = {field: value for field in DEFAULTS if (value := getattr(call.body, field)) is not UNSET}
    fields = drone_config.read(given)
    approval = state.approvals.find(name)
    if approval is not None and state.drone_configs.find(name) is None:
        # The page begins every configuration with the defaults, which nobody has asked for.
        fields = {field: value for field, value in fields.items() if field not in WAY_IN or value != DEFAULTS[field]}
    _check_way_in(fields, approval)
    return _shown(state, await state.drone_configs.set(name, fields))


@admin.delete(CONFIG, caller=KEYED, role=Role.OPERATOR)
async def delete_config(call: Call[None]) -> dict[str, Any]:
    """Forget what is set for a drone."""
    state: SwarmState = call.state
    name = _name(call)
    await state.drone_configs.delete(name)
    return {"status": "ok", "deleted": name}


@admin.post(f"{DRONE}/lock", caller=KEYED, role=Role.OPERATOR, waits=True)
async def lock(call: Call[None]) -> dict[str, Any]:
    """Lock the world file of an approved drone against changes."""
    state: SwarmState = call.state
    drone = state.swarm.drone(call.path["name"])
    await state.drone_locks.lock(state.approvals.of(drone))
    return {"status": "ok", "drone": drone.name, "locked": True, "message": f"{drone.name} is locked"}


class Timer(msgspec.Struct):
    """For how long."""

    timer_minutes: float | None = None


_timer = Reader(Timer)


def timer_of(data: bytes, head: Head) -> Timer:
    """Return what a body says; no body says nothing, as clients send it."""
    found: Timer = _timer(data or b"{}", head)
    return found


@admin.post(f"{DRONE}/unlock", caller=KEYED, role=Role.OPERATOR, body=Timer, decode=timer_of, waits=True)
async def unlock(call: Call[Timer]) -> dict[str, Any]:
    """Allow changes of the world file of an approved drone; with ``timer_minutes`` for so long."""
    state: SwarmState = call.state
    minutes = call.body.timer_minutes or 0.0
    if not 0 <= minutes * 60 <= SECONDS_MAX:
        raise BadInput(f"timer_minutes: 0 to {SECONDS_MAX // 60}", field="timer_minutes")
    drone = state.swarm.drone(call.path["name"])
    await state.drone_locks.unlock(state.approvals.of(drone), minutes * 60)
    again = f" and locked again after {minutes:g} minutes" if minutes else ""
    message = f"{drone.name} is unlocked{again}"
    return {"status": "ok", "drone": drone.name, "locked": False, "timer": minutes, "message": message}


@admin.post(f"{DRONE}/reset-upload", caller=KEYED, role=Role.OPERATOR)
async def reset_upload(call: Call[None]) -> dict[str, Any]:
    """Forget a drone's failed uploads, so that it is given work again."""
    state: SwarmState = call.state
    drone = await state.swarm.reset_uploads(call.path["name"], by=callers.who(call.caller))
    return {"status": "ok", "drone": drone.name, "message": "Upload failures reset"}


def _name(call: Call[Any]) -> str:
    name = call.path["name"]
    if not is_name(name):
        raise BadInput(
            "name: not a drone's name",
            field="name",
            hint=f"1 to {NAME_CHARACTERS} letters, digits, dots, dashes and underscores, a letter or digit first",
        )
    return name


def _shown(state: SwarmState, config: DroneConfig) -> dict[str, Any]:
    return {
        "node_name": config.drone,
        **{field: plain_values(config[field]) for field in DEFAULTS},
        **_way_in(state, config.drone),
        "created_at": seconds(config.created_unix_us),
        "updated_at": seconds(config.updated_unix_us),
    }


def _way_in(state: SwarmState, name: str) -> dict[str, Any]:
    """Return how a drone is really entered: an approval says it, and nothing else."""
    approval = state.approvals.find(name)
    return {} if approval is None else {"ssh_user": approval.user, "ssh_port": approval.port}


def _check_way_in(fields: dict[str, Any], approval: Approval | None) -> None:
    """Raise `Conflict` for a way into an approved drone that is not the approved one."""
    if approval is None:
        return
    user, port = fields.get("ssh_user", approval.user), fields.get("ssh_port", approval.port)
    if (user, port) != (approval.user, approval.port):
        raise Conflict(
            f"{approval.drone_name} is approved as {approval.user} on port {approval.port}",
            hint=f"appliance swarm approve {approval.drone_name} --user {user} --port {port}",
        )
