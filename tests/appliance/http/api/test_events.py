"""Events over the API: pages of history, and a stream that loses nothing."""

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing
from attrs import frozen

from appliance.database import Database
from appliance.errors import BadInput
from appliance.events import MIGRATIONS, OWNER, Event, EventBus
from appliance.http.api import events as api
from appliance.surface import Call, Head, ServerEvent

NOW_UNIX_US = 1_795_236_300_250_000


@frozen
class State:
    events: EventBus


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[EventBus]:
    async with Database.open(tmp_path / "a.db", inline=True, migrations={OWNER: MIGRATIONS}) as database:
        yield EventBus(database, lambda: NOW_UNIX_US)


def call(bus: EventBus, query: Any, *headers: tuple[bytes, bytes]) -> Call[None]:
    head = Head(
        method="GET",
        path="/api/appliance/events",
        raw_query=b"",
        headers=headers,
        peer=None,
        local="",
        listener="",
        scheme="http",
    )
    return Call(head=head, body=None, query=query, state=State(bus))


def stream_of(call: Call[None]) -> AsyncGenerator[ServerEvent, None]:
    return cast("AsyncGenerator[ServerEvent, None]", api.stream(call))


async def publish(bus: EventBus, count: int, kind: str = "test.kind") -> list[Event]:
    return [await bus.publish(kind, f"event {number}", level="warning", subject="GPU-1") for number in range(count)]


async def told(stream: AsyncIterator[ServerEvent], count: int) -> list[ServerEvent]:
    with trio.fail_after(30):
        return [await anext(stream) for _ in range(count)]


async def test_history_gives_every_field_with_times_in_seconds(bus: EventBus) -> None:
    made = (await publish(bus, 1))[0]
    page = await api.history(call(bus, api.EventQuery()))
    assert page.next is None
    assert page.items == [
        api.EventItem(
            event_id=made.event_id or 0,
            kind="test.kind",
            message="event 0",
            at_unix_s=1_795_236_300.25,
            level="warning",
            subject="GPU-1",
            source="core",
            data={},
        )
    ]


async def test_history_comes_in_pages_that_meet_without_gap_or_double(bus: EventBus) -> None:
    await publish(bus, 5)
    seen, after = list[str](), 0
    for _ in range(10):
        page = await api.history(call(bus, api.EventQuery(after=after, limit=2)))
        seen += [item.message for item in page.items]
        if page.next is None:
            break
        after = page.next
    assert seen == [f"event {number}" for number in range(5)]


async def test_newest_history_gives_the_last_ones_oldest_first(bus: EventBus) -> None:
    await publish(bus, 5)
    page = await api.history(call(bus, api.EventQuery(newest=True, limit=2)))
    assert [item.message for item in page.items] == ["event 3", "event 4"]
    assert page.next is None


async def test_history_is_limited_to_kinds_that_begin_as_asked(bus: EventBus) -> None:
    await publish(bus, 1, "gpu.lost")
    await publish(bus, 1, "plugin.failed")
    await publish(bus, 1, "person.login")
    page = await api.history(call(bus, api.EventQuery(kinds="gpu., plugin.")))
    assert [item.kind for item in page.items] == ["gpu.lost", "plugin.failed"]


@pytest.mark.parametrize(
    "values", [{"after": -1}, {"after": 2**63}, {"limit": 0}, {"limit": 1001}, {"kinds": "x" * 2001}]
)
def test_query_refuses_what_is_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        api.EventQuery(**values)


async def test_stream_begins_with_where_it_stands_and_tells_what_happens_then(bus: EventBus) -> None:
    old = await publish(bus, 2)
    stream = stream_of(call(bus, api.StreamQuery()))
    ready = (await told(stream, 1))[0]
    assert (ready.event, ready.data) == ("ready", {"last_event_id": old[-1].event_id})
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            live = (await told(stream, 1))[0]
            assert live.event == "event"
            assert live.data.message == "event 0"
            assert live.event_id == str((old[-1].event_id or 0) + 1)

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        await publish(bus, 1)
    await stream.aclose()


async def test_stream_resumes_after_the_last_event_a_browser_saw(bus: EventBus) -> None:
    old = await publish(bus, 4)
    header = (b"last-event-id", str(old[1].event_id).encode())
    stream = stream_of(call(bus, api.StreamQuery(), header))
    events = await told(stream, 3)
    assert [event.data.message for event in events[1:]] == ["event 2", "event 3"]
    await stream.aclose()


@pytest.mark.parametrize("junk", [b"", b"-1", b"x", b"9" * 30, "²".encode()])
async def test_stream_starts_from_now_when_the_browsers_id_is_none_of_ours(bus: EventBus, junk: bytes) -> None:
    await publish(bus, 2)
    stream = stream_of(call(bus, api.StreamQuery(), (b"last-event-id", junk)))
    await told(stream, 1)
    with trio.move_on_after(0.05) as scope:
        await anext(stream)
    assert scope.cancelled_caught
    await stream.aclose()


async def test_stream_tells_new_events_when_the_given_id_lies_in_the_future(bus: EventBus) -> None:
    await publish(bus, 1)
    stream = stream_of(call(bus, api.StreamQuery(after=1_000_000)))
    await told(stream, 1)
    await publish(bus, 1)
    assert (await told(stream, 1))[0].data.message == "event 0"
    await stream.aclose()


async def test_stream_refuses_an_impossible_id(bus: EventBus) -> None:
    stream = stream_of(call(bus, api.StreamQuery(after=-1)))
    with pytest.raises(BadInput):
        await anext(stream)


async def test_slow_reader_gets_every_event_once_after_falling_behind(bus: EventBus) -> None:
    following = api.follow(bus, 0, ())
    await publish(bus, 1)
    seen = [(await anext(following)).event_id]
    await publish(bus, 600)  # more than its queue holds: it is dropped, and reads the rest from storage
    with trio.fail_after(30):
        seen += [(await anext(following)).event_id for _ in range(600)]
    assert seen == list(range(1, 602))
    await following.aclose()


async def test_live_announcements_are_not_part_of_the_stream(bus: EventBus) -> None:
    following = api.follow(bus, 0, ())
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            assert (await anext(following)).kind == "stored.one"

        nursery.start_soon(listen)
        await trio.testing.wait_all_tasks_blocked()
        bus.announce("sample", {"x": 1})
        await bus.publish("stored.one", "a thing")
    await following.aclose()
