"""A restart brings everything back, gives nothing out twice, and hears drones before it counts them as silent."""

from pathlib import Path
from typing import Any

import pytest
from attrs import asdict

from plugins.build_swarm.states import DroneStatus, PackageNeeds
from tests.plugins.build_swarm.queue_kit import Bench, atom, opened

VOLATILE = {
    *("revision", "heard_us", "asked_us", "busy_us", "assigned", "taken", "revoke"),
    *("delegated_us", "building_since_us", "blocked_us", "lost_by"),
}
"""What a restart forgets or moves to its own clock."""


async def a_lot_happened(bench: Bench) -> None:
    await bench.beat("a", capabilities={"cores": 8, "ram_gb": 16, "portage_timestamp": "x"}, metrics={"load_1m": 1})
    await bench.beat("b")
    needs = PackageNeeds(cores=2, memory_mib=100, capabilities=frozenset({"portage_timestamp=x"}))
    await bench.queue("one", "two", "three", priority=3, needs=needs)
    await bench.queue("bad", "later", waits_for={atom("later"): (atom("three"),)}, session_name="joined")
    await bench.built("a", duration_s=10)
    await bench.built("b", "masked")
    await bench.work("a")
    await bench.beat("a", atom("two"))
    await bench.swarm.settle()
    await bench.swarm.write_heard()


async def test_everything_acknowledged_is_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await a_lot_happened(bench)
        before = bench.swarm
        bench.restart()
        after = bench.swarm
        assert [asdict(each) for each in after.sessions()] == [asdict(each) for each in before.sessions()]
        assert [shown(each) for each in after.drones()] == [shown(each) for each in before.drones()]
        assert [each.assigned_atoms for each in after.drones()] == [each.assigned_atoms for each in before.drones()]
        assert [shown(each) for each in after.packages()] == [shown(each) for each in before.packages()]
        assert after.build_statistics() == before.build_statistics()
        assert after.status().timing == before.status().timing
        assert after.desk.history.estimate_s(atom("one")) == 10
        assert [each.atom for each in after.next_packages(9)] == [atom("three")]
        assert bench.swarm.why(bench.package("later")) == "It waits for app-test/three-1."


def shown(thing: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(thing).items() if name not in VOLATILE}


async def test_package_that_is_being_built_is_given_to_nobody_else_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("one")
        await bench.work("a")
        await bench.beat("a", atom("one"))
        bench.advance(3600)  # for so long nobody could be heard
        bench.restart()
        await bench.swarm.tick()
        assert await bench.given("b") is None
        bench.advance(90)
        await bench.swarm.tick()
        assert bench.swarm.drone("a").status is DroneStatus.ONLINE
        await bench.beat("a", atom("one"))
        assert (await bench.report("a", "one")).accepted


async def test_work_of_a_drone_that_never_comes_back_is_free_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.queue("one")
        await bench.work("a")
        bench.restart()
        await bench.pass_time(121)
        assert bench.state("one") == "needed"
        await bench.beat("b")
        assert await bench.given("b") == "one"


@pytest.mark.parametrize("days", [-3650, 3650])
async def test_grounding_and_blocking_end_in_time_whatever_the_clock_said_before(tmp_path: Path, days: int) -> None:
    async with opened(tmp_path, queue_drone_failures=2, queue_prefetch=1) as bench:
        await bench.beat()
        await bench.queue("bad", "good", "other")
        await bench.built(outcome="masked")
        await bench.built(outcome="failed")
        assert await bench.given() is None
        bench.wall.advance(days * 86_400)
        bench.steady.unix_us = bench.wall.unix_us  # a new run begins with the wall clock
        bench.restart()
        bench.advance(301)
        await bench.beat()
        assert await bench.given() is not None
        await bench.pass_time(1800)
        assert bench.state("bad") != "blocked"


async def test_package_of_a_drone_that_is_not_there_is_needed(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.queue("one")
        await bench.work("a")
        await bench.disk.write(lambda connection: connection.execute("DELETE FROM build_swarm_drone").rowcount)
        bench.restart()
        assert bench.state("one") == "needed"
        await bench.swarm.tick()
        assert bench.stored("SELECT state, drone_id FROM build_swarm_package") == [("needed", None)]
