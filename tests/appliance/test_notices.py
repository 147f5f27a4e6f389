"""Notices: which events become one, and how often."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from appliance.database import Database
from appliance.errors import NotFound
from appliance.events import MIGRATIONS as EVENTS
from appliance.events import EventBus
from appliance.notices import KEPT, MIGRATIONS, Notices
from appliance.testing import SteppingClock, running


@pytest.fixture
async def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
async def made(tmp_path: Path, clock: SteppingClock) -> AsyncIterator[tuple[Notices, EventBus]]:
    migrations = {"events": EVENTS, "notices": MIGRATIONS}
    async with Database.open(tmp_path / "a.db", inline=True, migrations=migrations) as database:
        events = EventBus(database, clock)
        yield Notices(database, events, clock), events


async def test_a_notice_is_raised_once_in_its_cool_down_and_counts_the_rest(
    made: tuple[Notices, EventBus], clock: SteppingClock
) -> None:
    notices, _ = made
    assert await notices.raise_one("gpu.hot", "91 C", subject="GPU-1")
    clock.advance(599)
    assert not await notices.raise_one("gpu.hot", "93 C", subject="GPU-1")
    assert await notices.raise_one("gpu.hot", "95 C", subject="GPU-2")
    clock.advance(2)
    assert await notices.raise_one("gpu.hot", "97 C", subject="GPU-1")
    found = await notices.newest()
    assert [(one.subject, one.message, one.event_count) for one in found] == [
        ("GPU-1", "97 C", 1),
        ("GPU-2", "95 C", 1),
        ("GPU-1", "93 C", 2),
    ]
    assert found[2].last_unix_us - found[2].first_unix_us == 599_000_000


async def test_only_the_newest_thousand_are_kept(made: tuple[Notices, EventBus]) -> None:
    notices, _ = made
    for number in range(KEPT + 5):
        await notices.raise_one("x", "y", subject=str(number))
    found = await notices.newest(limit=5000)
    assert len(found) == KEPT
    assert found[0].subject == str(KEPT + 4)


async def test_warnings_become_notices_and_other_events_do_not(
    made: tuple[Notices, EventBus], nursery: trio.Nursery
) -> None:
    notices, events = made
    await nursery.start(notices.run)
    await events.publish("gpu.returned", "it is back", level="info", subject="GPU-1")
    await events.publish("gpu.lost", "it is gone", level="critical", subject="GPU-1")
    with trio.fail_after(5):
        while not (found := await notices.newest()):  # noqa: ASYNC110  the table knows no events
            await trio.sleep(0.01)
    assert [(one.kind, one.level, one.is_read) for one in found] == [("gpu.lost", "critical", False)]


async def test_a_notice_is_marked_as_read_over_the_api(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        await appliance.state.notices.raise_one("gpu.hot", "91 C")
        [item] = (await appliance.get("/api/appliance/notices")).json["items"]
        assert (item["message"], item["is_read"]) == ("91 C", False)
        assert (await appliance.post(f"/api/appliance/notices/{item['notice_id']}/read")).status == 200
        assert (await appliance.get("/api/appliance/notices")).json["items"][0]["is_read"] is True
        assert (await appliance.post("/api/appliance/notices/999/read")).status == 404
        assert (await appliance.post(f"/api/appliance/notices/{'9' * 50}/read")).status == 404


async def test_a_notice_that_is_not_there_cannot_be_read(made: tuple[Notices, EventBus]) -> None:
    with pytest.raises(NotFound):
        await made[0].mark_read(7)
