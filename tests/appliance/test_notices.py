"""Notices: which events become one, and how often."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.database import Database
from appliance.errors import BadInput, NotFound
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


async def test_a_notice_has_the_cool_down_that_its_raiser_gives_it(
    made: tuple[Notices, EventBus], clock: SteppingClock
) -> None:
    notices, _ = made
    assert await notices.raise_one("gpu_added", "one", cool_down_seconds=3600)
    clock.advance(3599)
    assert not await notices.raise_one("gpu_added", "two", cool_down_seconds=3600)
    clock.advance(1)
    assert await notices.raise_one("gpu_added", "three", cool_down_seconds=3600)
    assert await notices.raise_one("gpu_added", "four", cool_down_seconds=0)


async def test_flood_of_events_that_are_no_notices_hides_none(made: tuple[Notices, EventBus]) -> None:
    notices, events = made
    async with trio.open_nursery() as nursery:
        await nursery.start(notices.run)
        for _ in range(5000):
            events.announce("task.changed", {})
        await events.publish("gpu.lost", "GPU 0 is gone", level="critical")
        with trio.fail_after(30):
            while not await notices.newest():  # noqa: ASYNC110  the table knows no events
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert [one.message for one in await notices.newest()] == ["GPU 0 is gone"]


async def test_sources_do_not_cool_each_other_down(made: tuple[Notices, EventBus]) -> None:
    notices, _ = made
    assert await notices.raise_one("high_cpu", "ours", subject="box", source="metrics_ingest")
    assert await notices.raise_one("high_cpu", "theirs", subject="box", source="acme")
    assert not await notices.raise_one("high_cpu", "ours", subject="box", source="metrics_ingest")


async def test_a_clock_that_was_set_back_silences_nothing(made: tuple[Notices, EventBus], clock: SteppingClock) -> None:
    notices, _ = made
    clock.advance(86_400)
    await notices.raise_one("gpu.hot", "tomorrow")
    clock.advance(-86_400)
    assert await notices.raise_one("gpu.hot", "today")


async def test_a_cool_down_lasts_beyond_a_restart(tmp_path: Path, clock: SteppingClock) -> None:
    raised = []
    for _ in range(2):
        migrations = {"events": EVENTS, "notices": MIGRATIONS}
        async with Database.open(tmp_path / "a.db", inline=True, migrations=migrations) as database:
            raised.append(await Notices(database, EventBus(database, clock), clock).raise_one("high_cpu", "97 %"))
        clock.advance(60)
    assert raised == [True, False]


async def test_a_plugins_notice_keeps_its_title_level_and_source(made: tuple[Notices, EventBus]) -> None:
    notices, _ = made
    await notices.raise_one("lost", "GPU 1 is gone", level="critical")
    await notices.raise_one("disk_added", "5 disks", title="New disk", level="info", subject="box", source="acme")
    newest, oldest = await notices.newest()
    assert (newest.title, newest.level, newest.source, newest.subject) == ("New disk", "info", "acme", "box")
    assert (oldest.title, oldest.level, oldest.source, oldest.subject) == ("", "critical", "core", "")


async def test_the_newest_of_one_source_are_told_apart(made: tuple[Notices, EventBus]) -> None:
    notices, _ = made
    for number in range(4):
        await notices.raise_one(f"kind{number}", "x", source="acme" if number % 2 else "core")
    assert [one.kind for one in await notices.newest(source="acme")] == ["kind3", "kind1"]
    assert [one.kind for one in await notices.newest(1, "core")] == ["kind2"]
    assert await notices.newest(source="nobody") == []


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("level", {"level": "fatal"}),
        ("title", {"title": "t" * 201}),
        ("subject", {"subject": "s" * 201}),
        ("source", {"source": "s" * 201}),
        ("kind", {"kind": "k" * 201}),
        ("message", {"message": "m" * 2001}),
    ],
)
async def test_a_notice_that_is_too_large_or_of_no_level_is_refused(
    made: tuple[Notices, EventBus], field: str, given: dict[str, Any]
) -> None:
    notices, _ = made
    with pytest.raises(BadInput) as caught:
        await notices.raise_one(**{"kind": "k", "message": "m", **given})
    assert caught.value.field == field
    assert await notices.newest() == []


async def test_a_new_notice_is_announced_and_one_that_is_counted_up_is_not(made: tuple[Notices, EventBus]) -> None:
    notices, events = made
    with events.subscribe("notice") as subscription:
        await notices.raise_one("high_cpu", "CPU at 97%", title="High CPU", subject="box", source="acme")
        await notices.raise_one("high_cpu", "CPU at 98%", title="High CPU", subject="box", source="acme")
        await notices.raise_one("high_mem", "Memory at 97%", level="info")
        first, second = [await anext(aiter(subscription)) for _ in range(2)]
    assert (first.kind, first.subject, first.source) == ("notice", "box", "acme")
    assert first.data == {"notice_id": 1, "level": "warning", "title": "High CPU", "message": "CPU at 97%"}
    assert (second.data["message"], second.data["level"]) == ("Memory at 97%", "info")


async def test_many_are_marked_as_read_and_those_that_exist_are_counted(made: tuple[Notices, EventBus]) -> None:
    notices, _ = made
    for number in range(5):
        await notices.raise_one(f"kind{number}", "x")
    assert await notices.mark_many_read([2]) == 1
    assert await notices.mark_many_read([2, 4, 4, 99, 0, -1, 2**63, 10**5000]) == 2
    assert [one.notice_id for one in await notices.newest() if one.is_read] == [4, 2]
    assert await notices.mark_many_read([]) == 0
    assert await notices.mark_many_read(range(100_000)) == 5


async def test_notices_of_the_version_without_titles_get_an_empty_one(tmp_path: Path, clock: SteppingClock) -> None:
    old = {"events": EVENTS, "notices": MIGRATIONS[:1]}
    async with Database.open(tmp_path / "a.db", inline=True, migrations=old) as database:
        await database.write(
            lambda connection: (
                connection.execute(
                    "INSERT INTO notices_notice (kind, subject, source, level, message, first_unix_us, last_unix_us, "
                    "event_count) VALUES ('gpu.lost', 'GPU-1', 'core', 'critical', 'gone', 1, 2, 3)"
                ).rowcount
            )
        )
    new = {"events": EVENTS, "notices": MIGRATIONS}
    async with Database.open(tmp_path / "a.db", inline=True, migrations=new) as database:
        [found] = await Notices(database, EventBus(database, clock), clock).newest()
    assert (found.kind, found.title, found.message, found.event_count) == ("gpu.lost", "", "gone", 3)


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
    with trio.fail_after(30):
        while not (found := await notices.newest()):  # noqa: ASYNC110  the table knows no events
            await trio.sleep(0.01)
    assert [(one.kind, one.level, one.is_read) for one in found] == [("gpu.lost", "critical", False)]


ALONE = "[plugins.metrics_ingest]\nenabled = false\n"
"""Without the plugin that raises notices of this host's own load."""


async def test_a_notice_is_marked_as_read_over_the_api(tmp_path: Path) -> None:
    async with running(tmp_path, config=ALONE) as appliance:
        await appliance.state.notices.raise_one("gpu.hot", "91 C", title="GPU is hot")
        [item] = (await appliance.get("/api/appliance/notices")).json["items"]
        assert (item["title"], item["message"], item["is_read"]) == ("GPU is hot", "91 C", False)
        assert (await appliance.post(f"/api/appliance/notices/{item['notice_id']}/read")).status == 200
        assert (await appliance.get("/api/appliance/notices")).json["items"][0]["is_read"] is True
        assert (await appliance.post("/api/appliance/notices/999/read")).status == 404
        assert (await appliance.post(f"/api/appliance/notices/{'9' * 50}/read")).status == 404


async def test_a_notice_that_is_not_there_cannot_be_read(made: tuple[Notices, EventBus]) -> None:
    with pytest.raises(NotFound):
        await made[0].mark_read(7)


RAISER = """
import trio
from appliance.plugin import Core, Parts, hookimpl

appliance_api = 1


class Raiser:
    name = "raiser"

    def __init__(self, core):
        self.core = core

    async def run(self, *, task_status):
        await self.core.notices.raise_one("odd", "it is odd", title="Odd", level="info", source=self.core.name)
        task_status.started()
        await trio.sleep_forever()


@hookimpl
def appliance_setup(core: Core) -> Parts:
    return Parts(services=[Raiser(core)])
"""


async def test_a_plugin_raises_notices_through_core(tmp_path: Path) -> None:
    async with running(tmp_path, plugins={"odd": RAISER}, config=ALONE) as appliance:
        [item] = (await appliance.get("/api/appliance/notices")).json["items"]
    assert (item["kind"], item["title"], item["level"], item["source"]) == ("odd", "Odd", "info", "odd")
