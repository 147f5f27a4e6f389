"""An engine that goes away and comes back: what runs goes on, and nobody is told an untruth meanwhile."""

from pathlib import Path

import pytest

from appliance.errors import Forbidden
from appliance.jobs import EndReason, JobState, RetryRule
from appliance.testing import ScriptedEngine, until

from .scheduler_kit import World, running


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data")


async def test_a_job_goes_on_while_its_engine_does_not_answer(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit()
        attempt = await world.engine.running(job_id)
        attempt.write(b"before\n")
        await run.reaches(job_id, JobState.RUNNING)
        world.engine.lose()
        attempt.write(b"meanwhile\n")
        await run.look()
        assert run.scheduler.get(job_id).state == JobState.RUNNING
        attempt.end(exit_code=0)
        world.engine.come_back()
        record = await run.reaches(job_id, JobState.COMPLETED)
        assert len(record.attempts) == 1
        block = await run.scheduler.logs.read(job_id)
        assert b"".join(piece.data for piece in block.pieces) == b"before\nmeanwhile\n"


async def test_nothing_is_placed_on_an_engine_that_does_not_answer_and_why_says_so(world: World) -> None:
    world.engine.lose()
    async with running(world) as run:
        job_id = await run.submit()
        await run.look()
        assert run.scheduler.get(job_id).state == JobState.PENDING
        assert "scripted: unavailable" in " ".join(reason.message for reason in run.scheduler.why(job_id).reasons)
        assert run.scheduler.problem is not None
        assert "no engine can run them" in run.scheduler.problem
        world.engine.come_back()
        await run.look()
        await world.engine.running(job_id)
        assert run.scheduler.problem is None


async def test_an_attempt_that_the_engine_lost_is_tried_again(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(retry=RetryRule(backoff_seconds=0.0, lost_max=1))
        first = await world.engine.running(job_id)
        await run.reaches(job_id, JobState.RUNNING)
        world.engine.vanish(first.launch.attempt_id)
        second = await world.engine.running(job_id, number=2)
        await run.reaches(job_id, JobState.RUNNING)
        world.engine.vanish(second.launch.attempt_id)
        record = await run.reaches(job_id, JobState.FAILED)
        assert record.reason == EndReason.ENGINE_LOST
        [event] = await run.told("task.failed")
        assert event.level == "warning"


async def test_a_cancel_reaches_an_engine_once_it_is_back(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit()
        attempt = await world.engine.running(job_id)
        await run.reaches(job_id, JobState.RUNNING)
        world.engine.lose()
        await run.scheduler.cancel(job_id, who="ana")
        assert run.scheduler.get(job_id).state == JobState.STOPPING
        world.engine.come_back()
        await run.reaches(job_id, JobState.CANCELLED)
        assert attempt.terms == 1


async def test_a_start_on_a_lost_engine_is_made_once_it_is_back(world: World) -> None:
    world.engine.hold_starts()
    async with running(world) as run:
        job_id = await run.submit()
        await until(lambda: ("start", f"{job_id}.1") in world.engine.calls)
        world.engine.lose()
        await until(lambda: "waiting for the engine" in run.scheduler.progress(job_id))
        world.engine.hold_starts(False)
        world.engine.come_back()
        attempt = await world.engine.running(job_id)
        assert attempt.starts == 1


async def test_attempts_of_an_engine_that_is_not_configured_any_more_wait_for_it_or_a_cancel(world: World) -> None:
    async with running(world) as run:
        job_id, other_id = await run.submit(), await run.submit()
        attempt, other = await world.engine.running(job_id), await world.engine.running(other_id)
        await run.reaches(job_id, JobState.RUNNING)
        await run.reaches(other_id, JobState.RUNNING)
    async with running(world, engines=[]) as run:
        await run.look()
        assert run.scheduler.get(job_id).state == JobState.RUNNING
        await run.scheduler.cancel(job_id, who="ana")
        await run.reaches(job_id, JobState.CANCELLED)
    async with running(world) as run:
        await until(lambda: not attempt.is_running)  # a leftover, by then
        assert other.is_running
        assert run.scheduler.get(other_id).state == JobState.RUNNING


async def test_the_first_engine_that_can_is_taken_and_a_job_may_name_another(world: World) -> None:
    second = ScriptedEngine(name="second")
    world.further_engines = (second,)
    async with running(world) as run:
        await world.engine.running(await run.submit())
        await second.running(await run.submit(engine="second"))


async def test_an_engine_that_keeps_nothing_apart_is_used_only_where_the_configuration_says_so(world: World) -> None:
    world.engine.unsafe = "runs commands as the appliance's own user"
    async with running(world) as run:
        job_id = await run.submit()
        await run.look()
        assert run.scheduler.get(job_id).state == JobState.PENDING
        world.set(unsafe_same_uid=True)
        await run.look()
        await world.engine.running(job_id)


async def test_what_the_configuration_took_away_meanwhile_is_refused_at_the_start(world: World) -> None:
    world.engine.lose()
    world.set(privileges=("SYS_PTRACE",))
    async with running(world) as run:
        with pytest.raises(Forbidden, match="NET_ADMIN"):
            await run.submit(privileges=("NET_ADMIN",))
        job_id = await run.submit(privileges=("SYS_PTRACE",))
        world.set(privileges=())
        world.engine.come_back()
        await run.look()
        assert (await world.engine.running(job_id)).launch.privileges == frozenset()
