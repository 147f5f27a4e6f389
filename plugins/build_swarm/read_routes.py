"""What anybody may read: the status, drones, the queue, sessions, history and events."""

import math
from typing import Any, Final

import msgspec
from attrs import field, frozen
from attrs.validators import and_, ge, le, max_len, optional

from appliance.plugin import Call

from . import history_store
from .models import ORCHESTRATOR, VERSION
from .state import SwarmState
from .surfaces import READERS, public
from .wire import records
from .wire.moments import SECOND_US
from .wire.plain import plain

TIMES_FROM: Final = 1_000_000_000
"""A ``since`` from here on is a Unix time, below it the id of an event."""
SINCE_MAX: Final = 253_402_300_799
"""The last second of the year 9999."""
EVENTS_MAX: Final = 2000
RECORDS_MAX: Final = 5000
SESSIONS_MAX: Final = 1000
_COUNT: Final = and_(ge(1), le(2**31))
"""Of what is asked for; how much is given has a bound of its own."""
_WORD: Final[Any] = max_len(64)
_NAME: Final[Any] = max_len(255)
_SINCE: Final = optional(and_(ge(0), le(SINCE_MAX)))


@public.get("/api/v1/status", caller=READERS, access="open", hot=True)
async def status(call: Call[None]) -> msgspec.Raw:
    """Show queue, session and drones at a glance."""
    state: SwarmState = call.state
    return msgspec.Raw(state.views.status())


@frozen
class NodesQuery:
    """Which drones, and how."""

    all: str = field(default="false", validator=max_len(8))
    """``true`` includes drones that are offline."""
    format: str = field(default="", validator=_WORD)


@public.get("/api/v1/nodes", caller=READERS, access="open", query=NodesQuery, hot=True)
async def nodes(call: Call[None]) -> msgspec.Raw:
    """List the drones; ``format=legacy`` as the generation before did."""
    state: SwarmState = call.state
    found = state.views.nodes(offline=call.query.all.lower() in {"true", "1", "yes"})
    if call.query.format == "legacy":
        return msgspec.Raw(b'{"drones":%b,"orchestrators":[]}' % found)
    return msgspec.Raw(found)


@public.get("/api/v1/queue", caller=READERS, access="open")
async def queue(call: Call[None]) -> msgspec.Raw:
    """List the packages of the active session (without one: all that are kept): delegated, needed, blocked, failed,
    received, each in the order of queueing."""
    state: SwarmState = call.state
    return msgspec.Raw(state.views.queue())


@frozen
class EventsQuery:
    """Which events."""

    limit: int = field(default=200, validator=_COUNT)
    since: float | None = field(default=None, validator=_SINCE)
    """A Unix time, or (below 1e9) the id of the last event that the caller has."""
    type: str = field(default="", validator=_WORD)


@public.get("/api/v1/events", caller=READERS, access="open", query=EventsQuery)
async def events(call: Call[None]) -> dict[str, Any]:
    """List the newest events of the last 200, oldest first."""
    state: SwarmState = call.state
    query: EventsQuery = call.query
    after_id, since_unix_us = _since(query.since)
    chronicle = state.swarm.chronicle
    found = chronicle.recent(
        after_id=after_id, since_unix_us=since_unix_us, limit=min(query.limit, EVENTS_MAX), type=query.type
    )
    return {"events": [records.event(each) for each in found], "latest_id": chronicle.latest_id}


def _since(value: float | None) -> tuple[int, int]:
    """Return the id after which, and the time in microseconds since which events are wanted."""
    if value is None:
        return 0, 0
    return (0, round(value * SECOND_US)) if value >= TIMES_FROM else (math.floor(value), 0)


@frozen
class EventHistoryQuery(EventsQuery):
    """Which stored events."""

    limit: int = field(default=500, validator=_COUNT)
    drone: str = field(default="", validator=_NAME)
    """Name or id."""


@public.get("/api/v1/events/history", caller=READERS, access="open", query=EventHistoryQuery)
async def event_history(call: Call[None]) -> dict[str, Any]:
    """List the newest stored events that fit, oldest first."""
    state: SwarmState = call.state
    query: EventHistoryQuery = call.query
    after_id, since_unix_us = _since(query.since)
    found = await state.swarm.chronicle.history(
        since_unix_us=since_unix_us, limit=min(query.limit, EVENTS_MAX), type=query.type, drone=query.drone
    )
    listed = [records.event(each) for each in reversed(found) if each.event_id > after_id]
    return {"events": listed, "total": len(listed)}


@frozen
class HistoryQuery:
    """Which builds."""

    limit: int = field(default=100, validator=_COUNT)
    status: str = field(default="", validator=_WORD)
    drone: str = field(default="", validator=_NAME)
    """Name or id."""
    session: str = field(default="", validator=_NAME)
    package: str = field(default="", validator=_NAME)
    """Ours."""
    before: int = field(default=0, validator=and_(ge(0), le(2**62)))
    """Ours: only builds with a smaller id."""


@public.get("/api/v1/history", caller=READERS, access="open", query=HistoryQuery)
async def history(call: Call[None]) -> dict[str, Any]:
    """List accepted reports, newest first, with all of history in figures."""
    state: SwarmState = call.state
    query: HistoryQuery = call.query
    found = await state.swarm.builds(
        limit=min(query.limit, RECORDS_MAX),
        status=query.status,
        drone=query.drone,
        session=query.session,
        package=query.package,
        before=query.before,
    )
    listed = [records.build(each) for each in found]
    return {"builds": listed, "history": listed, "stats": records.statistics(state.swarm.build_statistics())}


@frozen
class SessionsQuery:
    """How many sessions."""

    limit: int = field(default=50, validator=_COUNT)


@public.get("/api/v1/sessions", caller=READERS, access="open", query=SessionsQuery)
async def sessions(call: Call[None]) -> dict[str, Any]:
    """List the newest sessions, newest first."""
    state: SwarmState = call.state
    return {"sessions": [records.session(each) for each in state.swarm.sessions(min(call.query.limit, SESSIONS_MAX))]}


@public.get("/api/v1/versions", caller=READERS, access="open")
async def versions(call: Call[None]) -> dict[str, Any]:
    """Tell the version of this API and of each drone."""
    state: SwarmState = call.state
    drones = [
        {
            "name": drone.name,
            "ip": drone.claimed_ip or drone.address,
            "version": plain(drone.version) or "unknown",
            "online": drone.is_online,
        }
        for drone in state.swarm.drones()
    ]
    return {"control_plane": {"name": ORCHESTRATOR, "version": VERSION, "status": "online"}, "drones": drones}


@public.get("/api/v1/build-stats/by-package", caller=READERS, access="open")
async def builds_by_package(call: Call[None]) -> dict[str, Any]:
    """Count the builds of each package, the most tried first, at most 5000 packages."""
    state: SwarmState = call.state
    found = await state.core.database.read(lambda connection: history_store.by_package(connection, RECORDS_MAX))
    return {"packages": found}
