"""Events: the last 200 at once, seven days on disk, with ids that never come twice."""

from pathlib import Path

import pytest

from appliance.plugin import StorageFailed
from tests.plugins.build_swarm.queue_kit import Bench, opened


async def test_ring_keeps_the_last_two_hundred_and_filters_by_id_time_and_type(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        chronicle = bench.swarm.chronicle
        assert chronicle.latest_id == 0
        for number in range(250):
            bench.wall.advance(1)
            chronicle.note("odd" if number % 2 else "even", f"event {number}")
        found = chronicle.recent()
        assert [each.message for each in found] == [f"event {number}" for number in range(50, 250)]
        assert chronicle.latest_id == found[-1].event_id
        assert [each.message for each in chronicle.recent(after_id=found[-3].event_id)] == ["event 248", "event 249"]
        assert [each.message for each in chronicle.recent(since_unix_us=found[-1].unix_us)] == ["event 249"]
        assert [each.message for each in chronicle.recent(type="odd", limit=2)] == ["event 247", "event 249"]
        assert chronicle.recent(limit=0) == chronicle.recent(limit=-1) == []


async def test_history_has_events_that_are_not_written_yet_and_each_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        chronicle = bench.swarm.chronicle
        chronicle.note("a", "one", drone="drone-1", details={"drone_id": "x"})
        assert await chronicle.write_behind() == 1
        chronicle.note("b", "two", drone="drone-2")
        assert [each.message for each in await chronicle.history()] == ["two", "one"]
        assert [each.message for each in await chronicle.history(type="a")] == ["one"]
        assert [each.message for each in await chronicle.history(drone="drone-1")] == ["one"]
        assert [each.message for each in await chronicle.history(drone="x")] == ["one"]
        two = (await chronicle.history(limit=1))[0]
        assert two.message == "two"
        assert [each.message for each in await chronicle.history(before_id=two.event_id)] == ["one"]
        assert await chronicle.write_behind() == 1
        assert await chronicle.write_behind() == 0
        assert [each.message for each in await chronicle.history(limit=10**30, since_unix_us=-1)] == ["two", "one"]


async def test_ids_go_on_rising_after_a_power_cut_that_took_unwritten_events(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        bench.swarm.chronicle.note("a", "stored", details={"list": [1, {"deep": None}]})
        await bench.swarm.chronicle.write_behind()
        shown = [bench.swarm.chronicle.note("a", f"lost {number}").event_id for number in range(100)]
        bench.restart()
        chronicle = bench.swarm.chronicle
        assert [each.message for each in chronicle.recent()] == ["stored"]
        assert chronicle.recent()[0].details == {"list": [1, {"deep": None}]}
        assert chronicle.note("a", "after").event_id > max(shown)


async def test_events_that_cannot_be_written_are_written_later(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        bench.swarm.chronicle.note("a", "one")
        bench.disk.fails = True
        with pytest.raises(StorageFailed):
            await bench.swarm.chronicle.write_behind()
        bench.disk.fails = False
        assert await bench.swarm.chronicle.write_behind() == 1


async def test_old_events_are_deleted(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await noted_a_week_apart(bench)
        await bench.swarm.prune()
        assert bench.stored("SELECT message FROM build_swarm_event") == [("new",)]


async def test_only_so_many_events_are_kept_however_young(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_events_max=200) as bench:
        for number in range(500):
            bench.swarm.chronicle.note("a", f"event {number}")
        await bench.swarm.chronicle.write_behind()
        await bench.swarm.prune()
        assert bench.stored("SELECT count(*), max(message) FROM build_swarm_event") == [(200, "event 499")]


async def noted_a_week_apart(bench: Bench) -> None:
    bench.swarm.chronicle.note("a", "old")
    bench.advance(7 * 86_400 + 1)
    bench.swarm.chronicle.note("a", "new")
    await bench.swarm.chronicle.write_behind()
