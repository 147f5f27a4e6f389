"""The event bus: stored events survive and are bounded; subscribers miss nothing or are told that they did."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define

from appliance.database import Database
from appliance.errors import BadInput
from appliance.events import MIGRATIONS, OWNER, EventBus, Lagged
from appliance.events.model import Event, Events


@define
class Clock:
    now_us: int = 1_000_000_000_000_000

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "appliance.db", inline=True, migrations={OWNER: MIGRATIONS}) as database:
        yield database


async def taken(reader: Any, count: int) -> list[Event]:
    events = []
    with trio.fail_after(30):
        async for event in reader:
            events.append(event)
            if len(events) == count:
                break
    return events


async def test_published_event_is_stored_and_told_with_its_id(database: Database) -> None:
    bus: Events = EventBus(database, Clock())
    with bus.subscribe() as reader:
        event = await bus.publish("gpu.lost", "GPU 0 is gone", level="critical", subject="GPU-1", data={"xid": 79})
        assert await taken(reader, 1) == [event]
    assert event.event_id == 1
    assert await bus.history() == [event]


async def test_stored_events_are_there_after_a_restart(tmp_path: Path) -> None:
    for number in range(2):
        async with Database.open(tmp_path / "a.db", migrations={OWNER: MIGRATIONS}) as database:
            bus = EventBus(database, Clock())
            await bus.publish("a.b", f"{number}")
            assert [event.message for event in await bus.history()] == [str(count) for count in range(number + 1)]


async def test_announcement_is_told_at_once_and_not_stored(database: Database) -> None:
    bus = EventBus(database, Clock())
    bus.announce("sample", {"a": 1})  # nobody listens
    with bus.subscribe("sample") as reader:
        bus.announce("sample", {"a": 2}, subject="host")
        (event,) = await taken(reader, 1)
    assert (event.data, event.subject, event.event_id, event.message) == ({"a": 2}, "host", None, "")
    assert await bus.history() == []


async def test_subscription_is_by_prefix_of_the_kind(database: Database) -> None:
    bus = EventBus(database, Clock())
    with bus.subscribe("gpu.", "plugin.failed") as reader:
        for kind in ("gpu.lost", "gpux", "plugin.failed", "plugin.started", "gpu.returned"):
            bus.announce(kind, {})
        assert [event.kind for event in await taken(reader, 3)] == ["gpu.lost", "plugin.failed", "gpu.returned"]


async def test_slow_reader_gets_what_was_queued_then_is_told_and_nobody_else_suffers(database: Database) -> None:
    bus = EventBus(database, Clock())
    with bus.subscribe(backlog=3) as slow, bus.subscribe(backlog=100) as quick:
        for number in range(5):
            bus.announce("sample", {"n": number})
        assert [event.data["n"] for event in await taken(slow, 3)] == [0, 1, 2]
        with pytest.raises(Lagged):
            await taken(slow, 1)
        assert [event.data["n"] for event in await taken(quick, 5)] == [0, 1, 2, 3, 4]


async def test_subscription_ends_with_its_context(database: Database) -> None:
    bus = EventBus(database, Clock())
    with bus.subscribe() as reader:
        pass
    bus.announce("sample", {})
    assert [event async for event in reader] == []


async def test_event_of_a_cancelled_publisher_is_still_told(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "a.db", migrations={OWNER: MIGRATIONS}) as database:
        bus = EventBus(database, Clock())
        with bus.subscribe() as reader:
            for number in range(50):
                with trio.move_on_after(0.0002):
                    await bus.publish("a.b", str(number))
            last = await bus.publish("a.b", "last")
            told = await taken(reader, len(await bus.history(limit=1000)))
        assert told == await bus.history(limit=1000)
        assert told[-1] == last


async def test_history_pages_by_id_and_kind(database: Database) -> None:
    bus = EventBus(database, Clock())
    for number in range(10):
        await bus.publish("even.x" if number % 2 == 0 else "odd.x", str(number))
    assert [event.message for event in await bus.history(after_id=3, limit=2)] == ["3", "4"]
    assert [event.message for event in await bus.history(kinds=("odd.",))] == ["1", "3", "5", "7", "9"]
    assert [event.message for event in await bus.newest(limit=2, kinds=("odd.", "even."))] == ["8", "9"]
    assert await bus.history(after_id=2**200) == []
    assert len(await bus.history(after_id=-5, limit=-1)) == 1
    assert await bus.history(kinds=("%", "'; DROP TABLE events_event; --")) == []
    with pytest.raises(BadInput):
        await bus.history(kinds=("a",) * 33)


async def test_events_are_kept_for_seven_days(database: Database) -> None:
    clock = Clock()
    bus = EventBus(database, clock)
    for _ in range(9):
        await bus.publish("a.b", "")
        clock.now_us += 86_400 * 1_000_000
    first = (await bus.history())[0]
    assert first.at_unix_us == clock.now_us - 8 * 86_400 * 1_000_000


async def test_events_are_bounded_in_bytes_and_the_newest_stay(database: Database) -> None:
    bus = EventBus(database, Clock(), kept_bytes=20_000)
    for number in range(100):
        await bus.publish("a.b", "x" * 1000, data={"n": number})
    stored = await bus.history(limit=1000)
    assert 10 <= len(stored) < 20
    assert stored[-1].data == {"n": 99}
    sums = database.read_now(
        lambda read: read.execute(
            "SELECT SUM(size_bytes), (SELECT size_bytes FROM events_total) FROM events_event"
        ).fetchone()
    )
    assert sums[0] == sums[1] <= 20_000


async def test_ids_rise_also_when_all_events_have_gone(database: Database) -> None:
    clock = Clock()
    bus = EventBus(database, clock)
    await bus.publish("a.b", "")
    await database.write(lambda write: write.execute("DELETE FROM events_event").close())
    assert (await bus.publish("a.b", "")).event_id == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "k" * 201},
        {"message": "m" * 2001},
        {"level": "fatal"},
        {"subject": "s" * 201},
        {"data": {"a": "x" * 20_000}},
        {"data": {"a": object()}},
        {"data": {"a": "\ud800"}},
        {"message": "\ud800"},
    ],
)
async def test_event_that_cannot_be_kept_is_bad_input(database: Database, wrong: dict[str, Any]) -> None:
    bus = EventBus(database, Clock())
    with bus.subscribe() as reader:
        with pytest.raises(BadInput):
            await bus.publish(**({"kind": "a.b", "message": ""} | wrong))
        await bus.publish("a.b", "good")
        assert [event.message for event in await taken(reader, 1)] == ["good"]


async def test_nothing_is_missed_between_history_and_subscription(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "a.db", migrations={OWNER: MIGRATIONS}) as database:
        bus = EventBus(database, Clock())

        async def publisher() -> None:
            for number in range(100):
                await bus.publish("a.b", str(number))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publisher)
            await trio.sleep(0.005)
            with bus.subscribe() as reader:
                seen = {event.event_id for event in await bus.history(limit=1000)}
                with trio.fail_after(30):
                    async for event in reader:
                        seen.add(event.event_id)
                        if event.message == "99":
                            break
        assert seen == set(range(1, 101))


async def test_an_event_stored_within_a_transaction_is_there_with_it_or_not_at_all(database: Database) -> None:
    bus = EventBus(database, Clock())
    event = Event(kind="task.started", message="it runs", subject="task-1", at_unix_us=5, data={"attempt": 1})

    def fails(connection: sqlite3.Connection) -> None:
        bus.store(connection, event)
        raise BadInput("no")

    with bus.subscribe() as reader:
        with pytest.raises(BadInput):
            await database.write(fails)
        assert await bus.history() == []
        stored = await database.write(lambda connection: bus.store(connection, event), on_commit=bus.tell)
        assert stored.event_id is not None
        assert await taken(reader, 1) == [stored]
        assert await bus.history() == [stored]


async def test_an_event_that_could_not_be_published_cannot_be_stored_within_a_transaction(database: Database) -> None:
    bus = EventBus(database, Clock())
    for wrong in (
        Event(kind="k" * 201, message="", at_unix_us=1),
        Event(kind="k", message="", level="x", at_unix_us=1),
    ):
        with pytest.raises(BadInput):
            await database.write(lambda connection, wrong=wrong: bus.store(connection, wrong))  # type: ignore[misc]
