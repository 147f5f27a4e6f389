"""What has happened, over our own API: a live stream and the stored past.

``GET /api/appliance/events`` (server-sent events) tells of every stored event as it happens. First comes
``event: ready`` with ``{"last_event_id": 41}``, the newest event there was when the stream began; then, for each::

    id: 42
    event: event
    data: {"event_id": 42, "kind": "gpu.lost", "message": "GPU 1 (NVIDIA H200) is gone", "at_unix_s": 1795236300.25,
           "level": "critical", "subject": "GPU-6f0e...", "source": "core", "data": {}}

A client that comes back sends ``Last-Event-ID`` (browsers do so by themselves; others may say ``?after=41``) and is
given first what it missed. A client that is too slow loses nothing: what did not fit its queue is read from storage.
``?kinds=gpu.,plugin.`` limits the stream to kinds that begin so.

``GET /api/appliance/events/history?after=0&limit=100&kinds=gpu.`` gives the stored events (7 days) with an id greater
than ``after``, oldest first, as ``{"items": [event, ...], "next": 141}``; ``next`` is the ``after`` of the next page,
or ``null`` at the end. ``?newest=true`` gives the newest ``limit`` instead, oldest of them first, without ``next``.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, Protocol

from attrs import field, frozen
from attrs.validators import and_, ge, le, max_len
from msgspec import Struct

from appliance.clock import to_unix_s
from appliance.credentials.kinds import PERSON
from appliance.errors import BadInput
from appliance.events import Event, EventBus, Lagged
from appliance.surface import Call, ServerEvent, Surface

PAGE_MAX: Final = 1000
KINDS_MAX_CHARS: Final = 2000
ID_MAX: Final = 2**63 - 1

api = Surface("core", prefixes=("/api/appliance",), unknown_fields="refuse")


class HasEvents(Protocol):
    """What these endpoints need of core's state."""

    @property
    def events(self) -> EventBus:
        """The bus."""
        ...


class EventItem(Struct, frozen=True, kw_only=True):
    """One stored event as the API shows it."""

    event_id: int
    kind: str
    message: str
    at_unix_s: float
    level: str
    subject: str
    source: str
    data: Mapping[str, Any]


class EventPage(Struct, frozen=True, kw_only=True):
    """A page of events, and where the next one begins."""

    items: list[EventItem]
    next: int | None = None


@frozen(kw_only=True)
class EventQuery:
    """Which stored events are wanted."""

    after: int = field(default=0, validator=and_(ge(0), le(ID_MAX)))
    limit: int = field(default=100, validator=and_(ge(1), le(PAGE_MAX)))
    kinds: str = field(default="", validator=max_len(KINDS_MAX_CHARS))
    """Comma-separated beginnings of kinds; empty means all."""
    newest: bool = False


@frozen(kw_only=True)
class StreamQuery:
    """Which events are to be told, and from where."""

    after: int | None = field(default=None)
    kinds: str = field(default="", validator=max_len(KINDS_MAX_CHARS))


def item(event: Event) -> EventItem:
    """Return a stored event as the API shows it."""
    return EventItem(
        event_id=event.event_id or 0,
        kind=event.kind,
        message=event.message,
        at_unix_s=to_unix_s(event.at_unix_us),
        level=event.level,
        subject=event.subject,
        source=event.source,
        data=event.data,
    )


@api.get("/api/appliance/events/history", caller=PERSON, query=EventQuery, answer=EventPage)
async def history(call: Call[None]) -> EventPage:
    """List stored events."""
    state: HasEvents = call.state
    wanted: EventQuery = call.query
    kinds = _kinds(wanted.kinds)
    if wanted.newest:
        newest = await state.events.newest(limit=wanted.limit, kinds=kinds)
        return EventPage(items=[item(event) for event in newest])
    found = await state.events.history(after_id=wanted.after, limit=wanted.limit, kinds=kinds)
    more = len(found) == wanted.limit
    return EventPage(items=[item(event) for event in found], next=found[-1].event_id if more else None)


@api.stream("/api/appliance/events", caller=PERSON, query=StreamQuery, answer=EventItem)
async def stream(call: Call[None]) -> AsyncGenerator[ServerEvent, None]:
    """Tell events as they happen, after those missed since ``Last-Event-ID``."""
    state: HasEvents = call.state
    kinds = _kinds(call.query.kinds)
    after = _resume_after(call)
    newest = await state.events.newest(limit=1)
    last = newest[-1].event_id or 0 if newest else 0
    yield ServerEvent(event="ready", data={"last_event_id": last})
    # An id from before a restored backup may lie in the future; from there nothing would ever be told.
    async with aclosing(follow(state.events, last if after is None else min(after, last), kinds)) as following:
        async for event in following:
            yield ServerEvent(event="event", event_id=str(event.event_id), data=item(event))


async def follow(events: EventBus, after_id: int, kinds: tuple[str, ...]) -> AsyncGenerator[Event, None]:
    """Yield every stored event after ``after_id``, each once, in order, for ever; a slow reader loses none."""
    while True:
        with events.subscribe(*kinds) as subscription:
            # Subscribed first, read second: an event between the two comes twice, and its id says so.
            while missed := await events.history(after_id=after_id, limit=PAGE_MAX, kinds=kinds):
                for event in missed:
                    after_id = event.event_id or after_id
                    yield event
            try:
                async for event in subscription:
                    if event.event_id is not None and event.event_id > after_id:
                        after_id = event.event_id
                        yield event
            except Lagged:
                continue
            return


def _kinds(text: str) -> tuple[str, ...]:
    return tuple(kind.strip() for kind in text.split(",") if kind.strip())


def _resume_after(call: Call[None]) -> int | None:
    given = call.head.header(b"last-event-id")
    if given is None:
        after: int | None = call.query.after
    else:
        # A browser sends back what we once gave; anything else starts from now rather than failing for ever.
        after = int(given) if given.isascii() and given.isdigit() and len(given) < 20 else None
    if after is not None and not 0 <= after <= ID_MAX:
        raise BadInput("an event id lies between 0 and 2^63 - 1", field="after")
    return after
