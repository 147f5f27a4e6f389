"""Our own API about the queue, drones, sessions and history: viewers read, operators change."""

from typing import Any, Final

import trio

from appliance.plugin import Call, Role

from . import callers
from . import own_models as own
from .atoms import normalised
from .own_render import build_item, drone_item, event_item, package_item, session_item
from .state import SwarmState
from .states import DroneType, Package, PackageNeeds, PackageState, QueueRequest
from .surfaces import KEYED
from .surfaces import own as api

PREFIX: Final = "/api/appliance/swarm"
DRONE: Final = f"{PREFIX}/drones/{{name}}"
QUEUE_BYTES: Final = 8_388_608
ITEMS_BETWEEN_TURNS: Final = 50
"""Why a package waits takes up to a tenth of a millisecond to say, and drones wait meanwhile."""
WAITS: Final = "waits or is being built already"


@api.get(f"{PREFIX}/overview", caller=KEYED, answer=own.Overview)
async def overview(call: Call[None]) -> own.Overview:
    """Show the swarm at a glance."""
    state: SwarmState = call.state
    swarm = state.swarm
    figures, drones = swarm.status(), swarm.drones()
    online = [drone for drone in drones if drone.is_online]
    now = state.core.now()
    timing = swarm.build_statistics().timing
    session = None if figures.session is None else session_item(state, figures.session)
    return own.Overview(
        is_paused=figures.paused,
        revision=swarm.revision,
        session=session,
        counts=own.Counts(
            needed=figures.needed,
            delegated=figures.delegated,
            received=figures.received,
            blocked=figures.blocked,
            failed=figures.failed,
        ),
        drones=own.DroneCounts(
            total=figures.drones,
            online=figures.drones_online,
            paused=sum(drone.paused for drone in drones),
            grounded=sum((drone.grounded_until_unix_us or 0) > now for drone in drones),
            cores_online=sum(drone.cores for drone in online),
        ),
        builds=own.BuildCounts(
            total=timing.total_builds,
            successful=timing.successful,
            failed=timing.failed,
            success_rate=round(timing.success_rate, 1),
            avg_duration_s=round(timing.avg_duration_s, 1),
        ),
        eta_unix_s=None if session is None else session.eta_unix_s,
        has_tree=swarm.tree is not None,
        require_binary=state.settings.require_binary,
        expected_timestamp=swarm.expected_timestamp,
    )


@api.get(f"{PREFIX}/packages", caller=KEYED, query=own.PackageQuery, answer=own.PackagePage)
async def packages(call: Call[None]) -> own.PackagePage:
    """List packages of the queue: delegated, needed, blocked, failed, received, each in the order of queueing.

    Without ``session`` those of the active session (when none is, all); ``session=*``: all.
    """
    state: SwarmState = call.state
    asked: own.PackageQuery = call.query
    found = _packages(state, asked)
    if asked.search:
        wanted = asked.search.lower()
        found = [each for each in found if wanted in each.atom.lower()]
    if asked.drone:
        known = state.swarm.find_drone(asked.drone)
        drone_id = asked.drone if known is None else known.drone_id
        found = [each for each in found if each.drone_id == drone_id]
    end = asked.offset + asked.limit
    items = []
    for number, each in enumerate(found[asked.offset : end], 1):
        items.append(package_item(state, each))
        if number % ITEMS_BETWEEN_TURNS == 0:
            await trio.lowlevel.checkpoint()
    return own.PackagePage(
        items=tuple(items),
        total=len(found),
        next=end if end < len(found) else None,
    )


def _packages(state: SwarmState, asked: own.PackageQuery) -> list[Package]:
    states = {PackageState(each) for each in asked.state} or None
    return state.swarm.packages(states=states, session=asked.session or None)


@api.post(
    f"{PREFIX}/packages",
    caller=KEYED,
    role=Role.OPERATOR,
    body=own.NewPackages,
    answer=own.MadePackages,
    status=201,
    limit_bytes=QUEUE_BYTES,
)
async def queue(call: Call[own.NewPackages]) -> own.MadePackages:
    """Queue packages in the active session, or in a new one."""
    state: SwarmState = call.state
    asked = call.body
    waits_for = tuple(normalised(atom) for atom in asked.waits_for)
    done = await state.swarm.queue(
        QueueRequest(
            atoms=asked.packages,
            session_name=asked.session_name,
            session_id=asked.session_id,
            priority=asked.priority,
            needs=PackageNeeds(
                cores=asked.cores, memory_mib=asked.memory_mib, capabilities=frozenset(asked.capabilities)
            ),
            waits_for={normalised(atom): waits_for for atom in asked.packages} if waits_for else {},
            by=callers.who(call.caller),
        )
    )
    return own.MadePackages(
        queued=tuple(each.atom for each in done.packages),
        skipped=tuple(own.Skipped(atom=atom, reason=WAITS) for atom in done.skipped),
        session=None if done.session is None else session_item(state, done.session),
    )


@api.post(f"{PREFIX}/control", caller=KEYED, role=Role.OPERATOR, body=own.Action, answer=own.Done)
async def control(call: Call[own.Action]) -> own.Done:
    """Do a control action: pause, resume, unblock, unground, reset, rebalance, clear_failures, retry_failures,
    clear_history; block, reclaim and unblock take a ``package``, unground a ``drone``."""
    state: SwarmState = call.state
    asked = call.body
    done = await state.swarm.control(
        asked.action, package=asked.package, drone=asked.drone, by=callers.who(call.caller)
    )
    return own.Done(action=done.action, affected=done.affected, message=done.message)


@api.get(f"{PREFIX}/drones", caller=KEYED, query=own.DroneQuery, answer=own.DronePage)
async def drones(call: Call[None]) -> own.DronePage:
    """List drones by name, with what they build, and whether they may be entered."""
    state: SwarmState = call.state
    found = state.swarm.drones(offline=call.query.offline)
    return own.DronePage(items=tuple(drone_item(state, each) for each in found))


@api.get(DRONE, caller=KEYED, answer=own.DroneItem)
async def drone(call: Call[None]) -> own.DroneItem:
    """Show one drone, by name or id."""
    state: SwarmState = call.state
    return drone_item(state, state.swarm.drone(call.path["name"]))


@api.post(f"{DRONE}/pause", caller=KEYED, role=Role.OPERATOR, answer=own.DroneItem)
async def pause(call: Call[None]) -> own.DroneItem:
    """Give a drone no further work."""
    return await _paused(call, True)


@api.post(f"{DRONE}/resume", caller=KEYED, role=Role.OPERATOR, answer=own.DroneItem)
async def resume(call: Call[None]) -> own.DroneItem:
    """Give a drone work again."""
    return await _paused(call, False)


async def _paused(call: Call[Any], paused: bool) -> own.DroneItem:
    state: SwarmState = call.state
    changed = await state.swarm.pause_drone(call.path["name"], paused, by=callers.who(call.caller))
    return drone_item(state, changed)


@api.post(f"{DRONE}/type", caller=KEYED, role=Role.OPERATOR, body=own.NewType, answer=own.DroneItem)
async def set_type(call: Call[own.NewType]) -> own.DroneItem:
    """Say what kind of machine a drone is; only containers and virtual machines are ever rebooted."""
    state: SwarmState = call.state
    drone_type = DroneType(call.body.drone_type)
    changed = await state.swarm.set_drone_type(call.path["name"], drone_type, by=callers.who(call.caller))
    await state.approvals.set_type(changed.name, drone_type.value)
    return drone_item(state, changed)


@api.delete(DRONE, caller=KEYED, role=Role.OPERATOR, answer=own.DroneItem)
async def delete(call: Call[None]) -> own.DroneItem:
    """Forget a drone: what it holds is free, its history stays."""
    state: SwarmState = call.state
    known = state.swarm.drone(call.path["name"])
    state.drone_configs.check_may_delete(known.name)
    shown = drone_item(state, known)
    await state.swarm.delete_drone(known.drone_id, by=callers.who(call.caller))
    return shown


@api.get(f"{PREFIX}/sessions", caller=KEYED, query=own.LimitQuery, answer=own.SessionPage)
async def sessions(call: Call[None]) -> own.SessionPage:
    """List sessions, newest first."""
    state: SwarmState = call.state
    found = state.swarm.sessions(limit=call.query.limit)
    return own.SessionPage(items=tuple(session_item(state, each) for each in found))


@api.get(f"{PREFIX}/builds", caller=KEYED, query=own.BuildQuery, answer=own.BuildPage)
async def builds(call: Call[None]) -> own.BuildPage:
    """List history, newest first."""
    state: SwarmState = call.state
    asked: own.BuildQuery = call.query
    found = await state.swarm.builds(
        limit=asked.limit,
        status=asked.status,
        drone=asked.drone,
        session=asked.session,
        package=asked.package,
        before=asked.before,
    )
    log_ids = await state.build_logs.log_ids(found)
    return own.BuildPage(
        items=tuple(build_item(each, log_id) for each, log_id in zip(found, log_ids, strict=True)),
        next=found[-1].build_id if len(found) == asked.limit else None,
    )


@api.get(f"{PREFIX}/events", caller=KEYED, query=own.EventQuery, answer=own.EventPage)
async def events(call: Call[None]) -> own.EventPage:
    """List what happened, newest first."""
    state: SwarmState = call.state
    asked: own.EventQuery = call.query
    found = await state.swarm.chronicle.history(
        limit=asked.limit, type=asked.type, drone=asked.drone, before_id=asked.before
    )
    return own.EventPage(
        items=tuple(event_item(each) for each in found),
        next=found[-1].event_id if len(found) == asked.limit else None,
    )
