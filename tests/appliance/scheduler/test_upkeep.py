"""What is kept of jobs that have ended, what is learned from them, and the figures."""

from pathlib import Path

import pytest

from appliance.errors import NotFound
from appliance.jobs import JobState
from appliance.testing import until

from .scheduler_kit import World, opened, running


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data")


async def ended(world: World, count: int) -> list[str]:
    async with running(world) as run:
        ids = []
        for _ in range(count):
            ids.append(await run.submit())
            attempt = await world.engine.running(ids[-1])
            attempt.write(b"x\n")
            attempt.end()
            await run.reaches(ids[-1], JobState.COMPLETED)
        await run.closed()
    return ids


async def test_ended_jobs_go_by_age_with_their_logs_and_files(world: World) -> None:
    world.set(keep_days=1.0)
    [old] = await ended(world, 1)
    world.clock.advance(86_000)
    [young] = await ended(world, 1)
    world.clock.advance(1_000)
    async with opened(world) as run:
        await run.scheduler._placer.upkeep.prune()
        with pytest.raises(NotFound):
            run.scheduler.get(old)
        assert not (world.folder / "files" / old).exists()
        assert run.scheduler.get(young).state == JobState.COMPLETED
        assert (world.folder / "files" / young / "log").exists()


async def test_ended_jobs_go_by_number_and_waiting_ones_stay(world: World) -> None:
    world.set(keep_jobs_max=1)
    ids = await ended(world, 3)
    async with opened(world) as run:
        waiting = await run.submit()
        await run.scheduler._placer.upkeep.prune()
        assert [record.job_id for record in await run.scheduler.page()] == [waiting, ids[-1]]


async def test_runtimes_and_use_are_learned_from_completions_and_outlive_a_restart(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(tag="batch-job")
        attempt = await world.engine.running(job_id)
        await run.reaches(job_id, JobState.RUNNING)
        world.clock.advance(100)
        attempt.end()
        await run.closed()
        [row] = run.scheduler.runtimes()
        assert (row.tag, row.image, row.observations) == ("batch-job", "bb:1", 1)
        await until(
            lambda: run.database.read_now(lambda read: read.execute("SELECT * FROM scheduler_runtime").fetchall())
        )
    async with opened(world) as run:
        assert run.scheduler.runtimes() == [row]
        again = run.scheduler.get(await run.submit(tag="batch-job"))
        assert again.expected_seconds == row.tau_seconds
        assert again.deadline_unix_us == again.submitted_at_unix_us + int(2 * row.tau_seconds * 1_000_000)
        [used] = run.scheduler._desk.used.rows()
        assert (used.owner, used.millicore_seconds) == ("ana", pytest.approx(100 * 100, rel=0.1))


async def test_the_figures_count_states_ends_and_waits(world: World) -> None:
    await ended(world, 1)
    async with running(world) as run:
        (await world.engine.running(await run.submit())).end(exit_code=1)
        await run.closed()
        await world.engine.running(await run.submit())
        await until(lambda: run.scheduler.counts()[JobState.RUNNING])
        text = run.scheduler.prometheus()
    assert 'appliance_tasks{state="running"} 1\n' in text
    assert "appliance_tasks_submitted_total 2\n" in text
    assert 'appliance_task_attempts_total{engine="scripted",end="exit"} 1\n' in text
    assert "appliance_task_wait_seconds_count 2\n" in text
