"""Every number of the queue's rules can be set, and does what it says."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, fields

from plugins.build_swarm.queue_settings import QueueSettings
from tests.plugins.build_swarm.queue_kit import Bench, atom, opened


async def given_out(bench: Bench, *names: str) -> None:
    await bench.beat()
    await bench.queue(*names)
    await bench.work()


async def test_silence_and_leases_last_as_long_as_is_set(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_offline_seconds=1000.0, queue_lease_seconds=10.0) as bench:
        await given_out(bench, "one")
        await bench.pass_time(9)
        assert bench.state("one") == "delegated"
        await bench.pass_time(1)
        assert (bench.state("one"), bench.swarm.drone("a").is_online) == ("needed", True)
        await bench.pass_time(990)
        assert not bench.swarm.drone("a").is_online


async def test_drone_that_builds_nothing_is_borne_with_for_as_long_as_is_set(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_idle_minutes=1.0, queue_offline_seconds=1000.0) as bench:
        await given_out(bench, "one")
        await bench.pass_time(59)
        assert bench.state("one") == "delegated"
        await bench.pass_time(1)
        assert bench.state("one") == "needed"


@pytest.mark.parametrize(("prefetch", "cores_per_package", "held"), [(1, 4, 1), (3, 4, 3), (9, 4, 4), (9, 16, 1)])
async def test_drone_holds_as_much_as_is_set(tmp_path: Path, prefetch: int, cores_per_package: int, held: int) -> None:
    async with opened(tmp_path, queue_prefetch=prefetch, queue_cores_per_package=cores_per_package) as bench:
        await given_out(bench, *(f"p{number}" for number in range(9)))
        assert len(bench.swarm.drone("a").assigned) == held


async def test_package_is_blocked_after_as_many_failures_and_for_as_long_as_is_set(tmp_path: Path) -> None:
    changed = {"queue_package_failures": 2, "queue_blocked_minutes": 1.0, "queue_blocked_returns": 1}
    async with opened(tmp_path, **changed) as bench:
        await bench.beat()
        await bench.queue("bad")
        await bench.built(outcome="failed")
        assert bench.state("bad") == "needed"
        await bench.built(outcome="failed")
        await bench.pass_time(59)
        assert bench.state("bad") == "blocked"
        await bench.pass_time(1)
        assert bench.state("bad") == "needed"
        await bench.built(outcome="masked")
        assert bench.state("bad") == "failed"


async def test_package_is_blocked_after_it_failed_on_as_many_drones_as_is_set(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_package_drones=3) as bench:
        for drone in ("a", "b", "c"):
            await bench.beat(drone)
        await bench.queue("bad")
        states = []
        for drone in ("a", "b", "c"):
            await bench.built(drone, "failed")
            states.append(bench.state("bad"))
        assert states == ["needed", "needed", "blocked"]


async def test_drone_is_grounded_after_as_many_failures_and_for_as_long_as_is_set(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_drone_failures=1, queue_grounded_minutes=0.5) as bench:
        await bench.beat()
        await bench.queue("one", "two")
        await bench.built(outcome="failed")
        bench.advance(29)
        assert await bench.given() is None
        bench.advance(1)
        assert await bench.given() is not None


async def test_failed_uploads_pause_a_drone_after_as_many_and_for_as_long_as_is_set(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_upload_failures=1, queue_upload_pause_minutes=0.5) as bench:
        await bench.beat()
        await bench.queue("one", "two")
        await bench.built(outcome="upload_failed")
        bench.advance(29)
        assert await bench.given() is None
        bench.advance(1)
        assert await bench.given() is not None


async def test_events_and_sessions_are_kept_for_as_long_as_is_set(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_events_days=1.0, queue_sessions_days=2.0, queue_events_max=1000) as bench:
        await bench.beat()
        await bench.queue("one")
        await bench.built()
        await bench.swarm.chronicle.write_behind()
        bench.advance(86_401)
        await bench.beat()
        await bench.queue("two")
        await bench.swarm.prune()
        assert bench.stored("SELECT count(*) FROM build_swarm_event") == [(0,)]
        assert len(bench.swarm.sessions()) == 2
        bench.advance(86_401)
        await bench.swarm.prune()
        assert [session.total for session in bench.swarm.sessions()] == [1]
        assert bench.swarm.packages()[0].atom == atom("two")


@pytest.mark.parametrize("name", [each.name for each in fields(QueueSettings)])
@pytest.mark.parametrize("nonsense", [-1, float("nan")])
def test_nonsense_is_refused(name: str, nonsense: Any) -> None:
    with pytest.raises(ValueError, match=name):
        evolve(QueueSettings(), **{name: nonsense})
