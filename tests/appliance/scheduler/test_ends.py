"""Every way in which a job ends before its command says so: cancelled, over a limit, preempted, never run."""

from pathlib import Path

import pytest

from appliance.engines import Exit
from appliance.errors import Conflict, NotFound
from appliance.jobs import Dependency, DependencyKind, EndReason, JobState, Needs, RetryRule
from appliance.testing import until

from .scheduler_kit import World, running


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data", gpus=1)


WHOLE = Needs(millicores=4000)


async def test_a_waiting_job_is_cancelled_at_once_and_never_starts(world: World) -> None:
    async with running(world) as run:
        first = await run.submit(needs=WHOLE)
        attempt = await world.engine.running(first)
        second = await run.submit(needs=WHOLE)
        record = await run.scheduler.cancel(second, who="ana")
        assert (record.state, record.reason, record.message) == (
            JobState.CANCELLED,
            EndReason.CANCELLED,
            "cancelled by ana",
        )
        third = await run.submit(needs=WHOLE)
        attempt.end()
        await world.engine.running(third)
        assert run.scheduler.get(second).attempts == ()


async def test_a_starting_job_is_cancelled_while_its_image_is_fetched(world: World) -> None:
    world.engine.hold_starts()
    world.engine.progress = ("fetching bb:1",)
    async with running(world) as run:
        job_id = await run.submit()
        await until(lambda: run.scheduler.progress(job_id) == "fetching bb:1")
        assert run.scheduler.why(job_id).sentence == "It is starting: fetching bb:1"
        await run.scheduler.cancel(job_id, who="ana")
        record = await run.reaches(job_id, JobState.CANCELLED)
        await run.closed()
        assert record.started_at_unix_us is None
        assert ("remove", f"{job_id}.1") in world.engine.calls
        assert world.engine.attempts == {}


async def test_a_running_job_is_asked_to_end_and_then_is_cancelled(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit()
        attempt = await world.engine.running(job_id)
        await run.reaches(job_id, JobState.RUNNING)
        record = await run.scheduler.cancel(job_id, who="ana")
        assert record.state == JobState.STOPPING
        again = await run.scheduler.cancel(job_id, who="bob")
        assert again.stop_message == "cancelled by ana"
        record = await run.reaches(job_id, JobState.CANCELLED)
        assert (attempt.terms, record.exit_code) == (1, 143)
        with pytest.raises(Conflict, match="cancelled already"):
            await run.scheduler.cancel(job_id, who="ana")


async def test_a_job_that_ignores_the_request_is_killed_after_its_grace(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(stop_grace_seconds=0.01)
        attempt = await world.engine.running(job_id)
        attempt.heeds_term = False
        await run.reaches(job_id, JobState.RUNNING)
        await run.scheduler.cancel(job_id, who="ana")
        record = await run.reaches(job_id, JobState.CANCELLED)
        assert record.exit_code == 137


async def test_a_cancel_during_a_back_off_ends_the_job(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(retry=RetryRule(attempts_max=3, backoff_seconds=3600.0))
        (await world.engine.running(job_id)).end(exit_code=1)
        await run.reaches(job_id, JobState.PENDING)
        assert (await run.scheduler.cancel(job_id, who="ana")).state == JobState.CANCELLED


async def test_what_is_not_there_cannot_be_cancelled(world: World) -> None:
    async with running(world) as run:
        with pytest.raises(NotFound):
            await run.scheduler.cancel("task-0", who="ana")


async def test_a_job_over_its_time_limit_is_stopped_and_has_failed(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(timeout_seconds=0.01, retry=RetryRule(attempts_max=3))
        record = await run.reaches(job_id, JobState.FAILED)
        assert record.reason == EndReason.TIMEOUT
        assert "time limit of 0.01 seconds" in record.message
        assert len(record.attempts) == 1


async def test_a_job_that_waits_longer_than_it_may_has_failed(world: World) -> None:
    async with running(world) as run:
        await world.engine.running(await run.submit(needs=WHOLE))
        job_id = await run.submit(needs=WHOLE, max_queue_seconds=60.0)
        world.clock.advance(61)
        run.scheduler._desk.wake()
        record = await run.reaches(job_id, JobState.FAILED)
        assert (record.reason, record.attempts) == (EndReason.QUEUE_TIMEOUT, ())


async def test_a_start_that_takes_too_long_is_given_up_and_leaves_nothing(world: World) -> None:
    world.engine.hold_starts()
    world.set(start_seconds=1.0)
    async with running(world) as run:
        job_id = await run.submit()
        record = await run.reaches(job_id, JobState.FAILED)
        assert record.reason == EndReason.REFUSED
        assert "not started within 1 seconds" in record.message
        await run.closed()
        assert world.engine.attempts == {}


async def test_an_engine_with_a_mistake_fails_the_start_and_not_the_scheduler(world: World) -> None:
    world.engine.breaks["start"] = RuntimeError("no such thing")
    async with running(world) as run:
        job_id = await run.submit()
        await until(lambda: world.engine.calls.count(("start", f"{job_id}.1")) >= 2)
        await run.scheduler.cancel(job_id, who="ana")
        await run.reaches(job_id, JobState.CANCELLED)
        world.engine.breaks.clear()
        await world.engine.running(await run.submit())


async def test_files_that_cannot_be_kept_are_told_and_the_job_keeps_its_end(world: World) -> None:
    world.engine.breaks["collect"] = RuntimeError("bad tar")
    async with running(world) as run:
        job_id = await run.submit()
        (await world.engine.running(job_id)).end(exit_code=0)
        record = await run.reaches(job_id, JobState.COMPLETED)
        assert record.newest is not None
        assert "its files were not kept: bad tar" in record.newest.message


async def test_a_lower_priority_that_may_be_preempted_makes_room_and_comes_again(world: World) -> None:
    async with running(world) as run:
        low = await run.submit(needs=WHOLE, priority=10, preemptible=True)
        first = await world.engine.running(low)
        await run.reaches(low, JobState.RUNNING)
        high = await run.submit(needs=WHOLE, priority=90)
        urgent = await world.engine.running(high)
        assert first.terms == 1
        record = await run.reaches(low, JobState.PENDING)
        assert record.attempts[0].reason == EndReason.PREEMPTED
        urgent.end()
        again = await world.engine.running(low, number=2)
        again.end()
        await run.reaches(low, JobState.COMPLETED)


async def test_nothing_is_preempted_where_the_configuration_says_so(world: World) -> None:
    world.set(preemption=False)
    async with running(world) as run:
        low = await run.submit(needs=WHOLE, priority=10, preemptible=True)
        attempt = await world.engine.running(low)
        await run.reaches(low, JobState.RUNNING)
        high = await run.submit(needs=WHOLE, priority=90)
        small = await run.submit(needs=Needs(), priority=95)
        await world.engine.running(small)
        assert (attempt.terms, run.scheduler.get(high).state) == (0, JobState.PENDING)


async def test_a_job_that_depends_on_one_that_failed_fails_and_those_on_it_too(world: World) -> None:
    async with running(world) as run:
        first = await run.submit()
        second = await run.submit(dependencies=(Dependency(job_id=first),))
        third = await run.submit(dependencies=(Dependency(job_id=second),))
        whatever = await run.submit(dependencies=(Dependency(job_id=first, kind=DependencyKind.AFTER_ANY),))
        assert run.scheduler.why(second).code == "dependency"
        (await world.engine.running(first)).end(exit_code=1)
        for job_id in (second, third):
            record = await run.reaches(job_id, JobState.FAILED)
            assert record.reason == EndReason.DEPENDENCY
        await world.engine.running(whatever)


async def test_a_job_starts_once_what_it_depends_on_has_completed_also_across_a_restart(world: World) -> None:
    async with running(world) as run:
        first = await run.submit()
        second = await run.submit(dependencies=(Dependency(job_id=first),))
        attempt = await world.engine.running(first)
        await run.reaches(first, JobState.RUNNING)
    async with running(world) as run:
        assert run.scheduler.why(second).code == "dependency"
        attempt.end()
        await world.engine.running(second)


async def test_a_doomed_job_is_failed_also_when_its_doom_came_just_before_a_kill(world: World) -> None:
    async with running(world) as run:
        first = await run.submit()
        second = await run.submit(dependencies=(Dependency(job_id=first),))
        attempt = await world.engine.running(first)
        await run.reaches(first, JobState.RUNNING)
        attempt.end(exit_code=1)
        await run.reaches(first, JobState.FAILED)
    async with running(world) as run:
        await run.reaches(second, JobState.FAILED)


async def test_an_array_runs_no_more_at_once_than_it_may(world: World) -> None:
    async with running(world) as run:
        jobs = [
            run.job(array_id="array-1", array_index=index, array_running_max=2, needs=Needs()) for index in range(5)
        ]
        await run.scheduler.submit(jobs, who="ana")
        await until(lambda: len(world.engine.attempts) == 2)
        single = await run.submit(needs=Needs())
        await world.engine.running(single)
        assert len(world.engine.attempts) == 3
        world.engine.ends_at_once = Exit(exit_code=0, reason=EndReason.EXIT)
        for attempt in list(world.engine.attempts.values()):
            attempt.end()
        for job in jobs:
            await run.reaches(job.job_id, JobState.COMPLETED)
