"""What operators do to the queue, action by action."""

from pathlib import Path

import pytest

from appliance.plugin import BadInput, NotFound
from plugins.build_swarm.controls import CONTROLS
from tests.plugins.build_swarm.queue_kit import Bench, atom, opened

DOCUMENTED = ("pause", "resume", "unblock", "unground", "reset", "rebalance", "clear_failures", "retry_failures")


async def filled(bench: Bench) -> None:
    """One received, one blocked, one compiled, one waiting with a drone, one needed that failed once."""
    await bench.beat("a")
    await bench.queue("done", "bad", "built", "held", "poor")
    await bench.built()
    bench.swarm.desk.settings = bench.settings
    await bench.built(outcome="masked")
    await bench.work()
    await bench.beat("a", atom("built"))
    await bench.swarm.settle()


@pytest.mark.parametrize("action", [*DOCUMENTED, "optimize", "clear_history"])
async def test_every_action_answers_and_is_noted(tmp_path: Path, action: str) -> None:
    async with opened(tmp_path) as bench:
        await filled(bench)
        done = await bench.swarm.control(action, by="ana")
        assert done.action == action
        event = bench.swarm.chronicle.recent(type="control")[-1]
        assert (event.message, event.details["by"]) == (done.message, "ana")
        assert action in CONTROLS


@pytest.mark.parametrize("action", ["", "None", "reboot", "x" * 10_000])
async def test_unknown_action_is_refused_with_the_list_of_them(tmp_path: Path, action: str) -> None:
    async with opened(tmp_path) as bench:
        with pytest.raises(BadInput, match="Unknown action") as refused:
            await bench.swarm.control(action)
        assert all(name in refused.value.hint for name in DOCUMENTED)
        assert len(refused.value.message) < 100


async def test_actions_on_one_package_need_one_that_exists(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.queue("one")
        for action in ("block", "reclaim"):
            with pytest.raises(BadInput):
                await bench.swarm.control(action)
            with pytest.raises(NotFound):
                await bench.swarm.control(action, package="app-test/none-1")
        assert (await bench.swarm.control("reclaim", package=atom("one"))).affected == 0
        with pytest.raises(NotFound):
            await bench.swarm.control("unground", drone="nobody")


async def test_reset_makes_everything_needed_but_what_is_received(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await filled(bench)
        done = await bench.swarm.control("reset")
        assert done.counters == {"affected": 4}
        assert [bench.state(name) for name in ("done", "bad", "built", "held", "poor")] == ["received", *["needed"] * 4]
        assert bench.swarm.drone("a").assigned == []
        assert (await bench.beat("a", atom("built"))).stop_work is not None


async def test_rebalance_reclaims_what_is_not_compiled(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await filled(bench)
        for action in ("rebalance", "optimize"):
            done = await bench.swarm.control(action)
        assert [bench.state(name) for name in ("built", "held")] == ["delegated", "needed"]
        assert done.counters == {"reclaimed": 0}  # the first time there was one
        assert (await bench.beat("a", atom("built"))).revoke == (atom("held"),)


async def test_clear_failures_forgets_what_failed_and_who_failed_it(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_prefetch=1) as bench:
        await bench.beat("a")
        await bench.beat("b")
        await bench.queue("bad", "poor")
        await bench.built("a", "masked")
        await bench.built("a", "failed")
        assert await bench.given("a") is None
        await bench.swarm.control("clear_failures")
        assert {bench.package(name).failures for name in ("bad", "poor")} == {0}
        assert bench.swarm.drone("a").failures_in_row == 0
        assert await bench.given("a") == "bad"


async def test_retry_failures_queues_what_failed_for_good_again_and_its_session_is_active_again(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_blocked_returns=0) as bench:
        await bench.beat()
        await bench.queue("bad")
        await bench.built(outcome="masked")
        assert bench.state("bad") == "failed"
        assert bench.swarm.active_session() is None
        assert (await bench.swarm.control("retry_failures")).counters == {"requeued": 1}
        session = bench.swarm.active_session()
        assert session is not None
        assert (session.needed, session.failed, session.completed_unix_us) == (1, 0, None)
        assert await bench.built() == "bad"


async def test_unground_lets_a_drone_work_again(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_drone_failures=2) as bench:
        await bench.beat("a")
        await bench.queue("one", "two", "three")
        await bench.built(outcome="failed")
        await bench.built(outcome="failed")
        assert await bench.given() is None
        assert (await bench.swarm.control("unground", drone="a")).affected == 1
        assert (await bench.swarm.control("unground")).affected == 0
        assert await bench.given() is not None


async def test_cleared_history_takes_estimates_with_it_and_keeps_the_queue(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await filled(bench)
        assert bench.swarm.timing().total_builds == 2
        assert (await bench.swarm.control("clear_history")).affected == 2
        assert bench.swarm.timing().total_builds == 0
        assert await bench.swarm.builds() == []
        assert bench.state("done") == "received"
        bench.restart()
        assert bench.swarm.build_statistics().per_drone == ()


async def test_pause_survives_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        assert (await bench.swarm.control("pause")).message == "Queue paused"
        bench.restart()
        assert bench.swarm.is_paused
        await bench.swarm.control("resume")
        bench.restart()
        assert not bench.swarm.is_paused
