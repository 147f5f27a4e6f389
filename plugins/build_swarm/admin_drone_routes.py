"""The admin surface about single drones: what they have, what they did, and how they are made clean."""

from typing import Any, Final

import msgspec
from attrs import field, frozen
from attrs.validators import and_, ge, le

from appliance.plugin import Call, Conflict, Gone, Role

from . import drone_config_store as store
from .approval import Approval
from .drone_world import (
    DEPCLEAN,
    DEPCLEAN_LOG,
    PROTECTED,
    READ,
    WRITE,
    Difference,
    DroneWorld,
    command,
    proposed_world,
    read_world,
)
from .ssh_command import SshFailed
from .state import SwarmState
from .states import Drone
from .surfaces import KEYED, admin
from .wire import records
from .wire.decoding import Reader
from .wire.moments import SECOND_US, seconds
from .wire.plain import plain

DRONES: Final = "/admin/api/drones"
ONE: Final = f"{DRONES}/{{name}}"
HOURS_MAX: Final = 24 * 366
ROWS_MAX: Final = 2000
CONNECTIONS: Final = frozenset({"register", "stale", "control"})
"""Types of events that tell when a drone was there."""
TOKEN_SECONDS: Final = 300


@admin.get(f"{ONE}/packages", caller=KEYED, role=Role.OPERATOR, waits=True)
async def packages(call: Call[None]) -> dict[str, Any]:
    """List what is installed on an approved drone, read over ssh now."""
    state: SwarmState = call.state
    drone, approval = _approved(call)
    found = await _world(state, approval)
    return {
        "drone": drone.name,
        "ip": approval.address,
        "installed_count": len(found.installed),
        "installed": found.installed,
        "world_count": len(found.world),
        "world": found.world,
        "profile": found.profile,
    }


@admin.get(f"{ONE}/audit", caller=KEYED, role=Role.OPERATOR, waits=True)
async def audit(call: Call[None]) -> dict[str, Any]:
    """Compare what an approved drone has with what it may have."""
    state: SwarmState = call.state
    drone, approval = _approved(call)
    found = await _world(state, approval)
    allowed, world = _allowed(state, drone), frozenset(found.world)
    excess, missing = sorted(world - allowed), sorted(allowed - world)
    return {
        "drone": drone.name,
        "ip": approval.address,
        "total_installed": len(found.installed),
        "world_count": len(found.world),
        "world": found.world,
        "profile": found.profile,
        "is_base_profile": found.is_base_profile,
        "allowed_count": len(allowed),
        "allowed": sorted(allowed),
        "excess_count": len(excess),
        "excess": excess,
        "missing_count": len(missing),
        "missing": missing,
        "clean": not excess and found.is_base_profile,
    }


@frozen
class LogQuery:
    """How far back, and how much."""

    hours: float = field(default=24.0, validator=and_(ge(0.0), le(float(HOURS_MAX))))
    limit: int = field(default=200, validator=ge(1))


@admin.get(f"{ONE}/log", caller=KEYED, query=LogQuery)
async def log(call: Call[None]) -> dict[str, Any]:
    """Show what happened to a drone and what it built, newest first."""
    state: SwarmState = call.state
    drone = state.swarm.drone(call.path["name"])
    since = state.core.now() - round(call.query.hours * 3600 * SECOND_US)
    limit = min(call.query.limit, ROWS_MAX)
    events = await state.swarm.chronicle.history(since_unix_us=since, limit=limit, drone=drone.name)
    builds = await state.swarm.builds(limit=limit, drone=drone.drone_id)
    shown = [records.event(each) for each in events]
    return {
        "drone": drone.name,
        "drone_id": drone.drone_id,
        "since": seconds(since),
        "events": shown,
        "builds": [records.build(each) for each in builds if each.built_unix_us >= since],
        "connections": [each for each in shown if each["type"] in CONNECTIONS],
    }


@admin.get(f"{DRONES}/versions", caller=KEYED)
async def versions(call: Call[None]) -> dict[str, Any]:
    """List the versions that drones say they run, and which of the drone program is the newest here."""
    state: SwarmState = call.state
    now = state.core.now()
    newest = (await state.payloads.matrix()).newest
    program = newest.get("drone_binary")
    return {
        "drones": [
            {
                "name": drone.name,
                "id": drone.drone_id,
                "ip": drone.address,
                "version": plain(drone.version) or None,
                "status": drone.status,
                "last_seen_ago_s": max(0, round((now - drone.last_seen_unix_us) / SECOND_US)),
            }
            for drone in state.swarm.drones()
        ],
        "payload": {
            "available": bool(newest),
            "version": None if program is None else program.version,
            "component_count": len(newest),
        },
    }


@admin.get(f"{DRONES}/payload", caller=KEYED)
async def payload(call: Call[None]) -> dict[str, Any]:
    """List the newest version of each payload."""
    state: SwarmState = call.state
    newest = (await state.payloads.matrix()).newest
    program = newest.get("drone_binary")
    return {
        "available": bool(newest),
        "version": None if program is None else program.version,
        "components": {
            name: {"version": each.version, "hash": each.sha256, "created_at": seconds(each.created_unix_us)}
            for name, each in sorted(newest.items())
        },
    }


# -------------------------------------------------------------------- cleaning


@admin.post(f"{ONE}/clean", caller=KEYED, role=Role.OPERATOR, audit=False)
async def clean(call: Call[None]) -> None:
    """Say that cleaning has two steps."""
    raise Gone(
        "The /clean endpoint has been replaced",
        hint="POST clean/preflight shows what will change, clean/execute does it",
    )


@admin.post(f"{ONE}/clean/preflight", caller=KEYED, role=Role.OPERATOR, waits=True, audit=False)
async def preflight(call: Call[None]) -> dict[str, Any]:
    """Look whether an approved drone can be made clean, and show what that changes; the token does it, once."""
    state: SwarmState = call.state
    drone, approval = _approved(call)
    checks = [_check("not_building", not is_busy(drone), f"Currently building: {_task(drone)}", "Idle")]
    place = f"ssh to {approval.user}@{approval.address}"
    try:
        found = await _world(state, approval)
    except SshFailed as failure:
        checks.append(_check("ssh_reachable", False, f"{place}: {plain(failure.text)}", ""))
        words = "Cannot reach drone via SSH"
        return {"status": "preflight_failed", "drone": drone.name, "checks": checks, "error": words}
    checks.append(_check("ssh_reachable", True, "", f"{place}: OK"))
    difference = Difference(current=frozenset(found.world), proposed=proposed_world(_allowed(state, drone)))
    critical = [
        {"package": each, "in_current": each in difference.current, "in_proposed": True} for each in sorted(PROTECTED)
    ]
    checks += _world_checks(found, difference, critical)
    shown = {"drone": drone.name, "checks": checks, "diff": difference.shown(), "critical_packages": critical}
    if not all(check["passed"] for check in checks):
        return {"status": "preflight_failed", **shown, "error": "One or more pre-flight checks failed"}
    token = state.cleaning.add(drone.name, difference, is_immutable=found.is_immutable)
    return {
        "status": "preflight_ok",
        **shown,
        "preflight_token": token,
        "expires_in_s": TOKEN_SECONDS,
        "confirm_instructions": f'POST clean/execute with preflight_token and confirm_name="{drone.name}"',
    }


class Execute(msgspec.Struct):
    """Which plan, and whose name was typed."""

    preflight_token: str = ""
    confirm_name: str = ""


@admin.post(f"{ONE}/clean/execute", caller=KEYED, role=Role.OPERATOR, body=Execute, decode=Reader(Execute), waits=True)
async def execute(call: Call[Execute]) -> dict[str, Any]:
    """Do what a preflight has shown: write the drone's world, and begin to remove what nothing needs any more."""
    state: SwarmState = call.state
    drone, approval = _approved(call)
    plan = state.cleaning.take(call.body.preflight_token, drone.name, call.body.confirm_name)
    if is_busy(drone):
        raise Conflict(f"{drone.name} is building {_task(drone)} now", hint="pause it, and try again when it is idle")
    world, path = sorted(plan.difference.proposed), state.settings.admin_world_file
    flag = "yes" if plan.is_immutable else "no"
    await _done(
        state,
        approval,
        command(WRITE, path, str(len(world)), flag),
        stdin="".join(f"{each}\n" for each in world).encode(),
    )
    steps = [f"Wrote {len(world)} packages to @world"]
    if plan.is_immutable:
        steps.append("The world file is immutable again")
    await _done(state, approval, command(DEPCLEAN, path))
    steps.append(f"Started depclean in background ({DEPCLEAN_LOG} beside the world file has what it says)")
    shown = plan.difference.shown()
    state.swarm.chronicle.note(
        "clean",
        f"Cleaned {drone.name}: wrote {len(world)} packages to @world",
        drone=drone.name,
        details={"drone": drone.name, "removed": shown["removing"], "added": shown["adding"]},
    )
    return {"status": "ok", "drone": drone.name, "steps": steps, "diff": shown, "world_packages": world}


def is_busy(drone: Drone) -> bool:
    """Whether a drone builds something, as far as it says."""
    return bool(drone.current_task) or any(each.is_building for each in drone.assigned)


def _task(drone: Drone) -> str:
    return plain(drone.current_task) or next((each.atom for each in drone.assigned if each.is_building), "")


def _check(name: str, passed: bool, wrong: str, right: str) -> dict[str, Any]:
    return {"name": name, "passed": passed, "detail": right if passed else wrong}


def _world_checks(found: DroneWorld, difference: Difference, critical: list[dict[str, Any]]) -> list[dict[str, Any]]:
    flags = "immutable (taken off while it is written)" if found.is_immutable else "mutable"
    sane = len(difference.proposed) >= len(PROTECTED)
    count = f"{len(difference.proposed)} packages in proposed @world ({len(PROTECTED)} critical guaranteed)"
    return [
        {**_check("immutable_flags", True, "", f"World file is {flags}"), "immutable": found.is_immutable},
        _check("allowlist_sanity", sane, count, count),
        {**_check("critical_packages", True, "", "All critical packages are in it"), "packages": critical},
    ]


def _approved(call: Call[Any]) -> tuple[Drone, Approval]:
    state: SwarmState = call.state
    drone = state.swarm.drone(call.path["name"])
    return drone, state.approvals.of(drone)


def _allowed(state: SwarmState, drone: Drone) -> frozenset[str]:
    found = state.core.database.read_now(lambda connection: store.allowed(connection, drone.name))
    return frozenset(each.package for each in found)


async def _world(state: SwarmState, approval: Approval) -> DroneWorld:
    # Plain: a drone that was taken over must not reach the page of who looks at it. No package has such a sign.
    return read_world(plain(await _done(state, approval, command(READ, state.settings.admin_world_file))))


async def _done(state: SwarmState, approval: Approval, argv: list[str], *, stdin: bytes = b"") -> str:
    """Run a command on a drone and return what it printed; raise `SshFailed` also where it fails."""
    ran = await state.ssh.run(approval, argv, stdin=stdin, deadline_s=state.settings.ssh_command_seconds)
    if ran.status != 0:
        said = plain(ran.stderr.strip()[:300]) or f"status {ran.status}"
        raise SshFailed("command", said, drone_name=approval.drone_name)
    return ran.stdout
