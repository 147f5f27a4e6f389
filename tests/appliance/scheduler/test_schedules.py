"""Jobs that come again by the clock."""

from pathlib import Path

import pytest

from appliance.errors import BadInput, NotFound, TooLarge
from appliance.jobs import JobState
from appliance.scheduler.schedules import SCHEDULES_MAX

from .scheduler_kit import World, opened, running

MINUTE = 60


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data")


async def test_a_schedule_makes_a_job_whenever_its_time_has_come(world: World) -> None:
    async with running(world) as run:
        schedules = run.scheduler.schedules
        made = await schedules.add(owner="ana", name="nightly", cron="* * * * *", job=run.job(command="date"))
        assert made.next_at_unix_us > world.clock()
        for number in range(1, 3):
            world.clock.advance(MINUTE)
            await run.look()
            found = schedules.get(made.schedule_id)
            attempt = await world.engine.running(found.last_job_id)
            assert attempt.launch.command == "date"
            record = run.scheduler.get(found.last_job_id)
            assert (record.job.schedule_id, record.job.owner) == (made.schedule_id, "ana")
            assert run.scheduler.counts()[JobState.PENDING] == 0
            assert len(world.engine.attempts) == number


async def test_what_was_due_while_we_were_down_is_made_once(world: World) -> None:
    async with opened(world) as run:
        made = await run.scheduler.schedules.add(owner="ana", name="", cron="* * * * *", job=run.job())
    world.clock.advance(600)
    async with running(world) as run:
        await run.look()
        await run.look()
        assert len(await run.scheduler.page()) == 1
        assert run.scheduler.schedules.get(made.schedule_id).next_at_unix_us > world.clock()


async def test_a_job_is_made_once_for_a_time_also_after_a_kill_before_that_was_noted(world: World) -> None:
    async with opened(world) as run:
        schedule = await run.scheduler.schedules.add(owner="ana", name="", cron="@hourly", job=run.job())
        world.clock.advance(3600)
        first = await run.scheduler._make_scheduled(schedule)
    async with opened(world) as run:
        await run.scheduler.schedules.submit_due()
        assert [record.job_id for record in await run.scheduler.page()] == [first]


async def test_a_schedule_that_may_not_make_its_job_says_why(world: World) -> None:
    async with opened(world) as run:
        made = await run.scheduler.schedules.add(owner="ana", name="", cron="* * * * *", job=run.job(image="a:1"))
        world.set(images=("b:*",))
        world.clock.advance(MINUTE)
        await run.scheduler.schedules.submit_due()
        assert "a:1" in run.scheduler.schedules.get(made.schedule_id).message
        assert await run.scheduler.page() == []


async def test_a_schedule_is_switched_off_on_and_removed(world: World) -> None:
    async with opened(world) as run:
        schedules = run.scheduler.schedules
        made = await schedules.add(owner="ana", name="", cron="* * * * *", job=run.job())
        await schedules.enable(made.schedule_id, is_enabled=False)
        world.clock.advance(600)
        await schedules.submit_due()
        assert await run.scheduler.page() == []
        on = await schedules.enable(made.schedule_id, is_enabled=True)
        assert on.next_at_unix_us > world.clock()  # what it would have made meanwhile is not made up for
    async with opened(world) as run:
        schedules = run.scheduler.schedules
        assert schedules.items() == [on]
        await schedules.remove(made.schedule_id)
        assert schedules.items() == []
        with pytest.raises(NotFound):
            await schedules.remove(made.schedule_id)


async def test_an_expression_that_is_none_and_one_schedule_too_many_are_refused(world: World) -> None:
    async with opened(world) as run:
        schedules = run.scheduler.schedules
        with pytest.raises(BadInput):
            await schedules.add(owner="ana", name="", cron="61 * * * *", job=run.job())
        made = await schedules.add(owner="ana", name="", cron="@daily", job=run.job())
        schedules._loaded().update({str(number): made for number in range(SCHEDULES_MAX)})
        with pytest.raises(TooLarge):
            await schedules.add(owner="ana", name="", cron="@daily", job=run.job())
