"""What brought the older server to a standstill gets a right answer here, and the next write is as good as before."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from plugins.build_swarm.states import Report
from tests.plugins.build_swarm.queue_kit import Bench, atom, opened


async def unknown_drone_asks(bench: Bench) -> None:
    work = await bench.swarm.work("nobody")
    assert (work.package, work.sync_timestamp) == (None, None)
    assert "register" in work.reason
    done = await bench.swarm.complete(Report(drone="nobody", atom=atom("one"), outcome="success"))
    assert (done.accepted, done.is_stale, done.reason) == (False, True, "unknown drone")


async def drone_is_reinstalled(bench: Bench) -> None:
    await bench.beat("a", drone_id="another-id")
    await bench.beat("a", drone_id="id-a")
    await bench.swarm.delete_drone("another-id")


async def drone_with_history_is_deleted(bench: Bench) -> None:
    await bench.built("a")
    await bench.swarm.delete_drone("a")
    await bench.beat("a")


async def reports_come_at_once(bench: Bench) -> None:
    await bench.work("a")
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(bench.report, "a", "one")
    assert len(await bench.swarm.builds()) == 1


async def atoms_are_nonsense(bench: Bench) -> None:
    for said in ("", "\0", "x" * 100_000, "app-test/one-1'; DROP TABLE build_swarm_package"):
        assert (await bench.swarm.complete(Report(drone="a", atom=said, outcome="success"))).is_stale
    await bench.beat("a", "\ud7ff" * 1000)


DEFECTS = [
    unknown_drone_asks,
    drone_is_reinstalled,
    drone_with_history_is_deleted,
    reports_come_at_once,
    atoms_are_nonsense,
]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
async def test_next_write_is_as_good_as_before(tmp_path: Path, defect: Callable[[Bench], Awaitable[None]]) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.queue("one", "two", "three")
        await defect(bench)
        tables = ("drone", "session", "package", "build")
        counted = [bench.stored(f"SELECT count(*) FROM build_swarm_{table}") for table in tables]
        writes = bench.disk.writes
        await bench.queue("four")
        assert bench.disk.writes == writes + 1
        for drone in bench.swarm.drones():
            while (package := (await bench.swarm.work(drone.drone_id)).package) is not None:
                report = Report(drone=drone.drone_id, atom=package.atom, outcome="success")
                assert (await bench.swarm.complete(report)).accepted
        assert bench.swarm.active_session() is None
        assert counted[0] == bench.stored("SELECT count(*) FROM build_swarm_drone")
