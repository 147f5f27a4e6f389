"""Lists of jobs by tag, and how many there are."""

from pathlib import Path

from appliance.engines import Exit
from appliance.jobs import EndReason, JobState

from .scheduler_kit import World, opened, running


async def test_page_is_of_one_tag_and_of_none_when_the_tag_is_empty(tmp_path: Path) -> None:
    async with opened(World(tmp_path / "data")) as run:
        trained = await run.submit(tag="ml-training")
        odd = await run.submit(tag="o'brien \" % _ ü")
        bare = await run.submit()
        for tag, wanted in (("ml-training", trained), ("o'brien \" % _ ü", odd), ("", bare)):
            assert [record.job_id for record in await run.scheduler.page(tag=tag)] == [wanted]
        assert await run.scheduler.page(tag="ml") == []
        assert await run.scheduler.page(tag="ml-training", owner="bob") == []


async def test_tally_counts_every_state_of_one_owner_or_of_all(tmp_path: Path) -> None:
    world = World(tmp_path / "data")
    world.engine.ends_at_once = Exit(exit_code=0, reason=EndReason.EXIT)
    async with running(world) as run:
        done = await run.submit(owner="bob")
        await run.reaches(done, JobState.COMPLETED)
        waits = await run.submit(not_before_unix_us=world.clock() + 3_600_000_000)
        none = dict.fromkeys(JobState, 0)
        both = {JobState.COMPLETED: 1, JobState.PENDING: 1}
        assert await run.scheduler.tally() == none | both
        assert await run.scheduler.tally(owner="ana") == none | {JobState.PENDING: 1}
        await run.scheduler.cancel(waits, who="ana")
        assert await run.scheduler.tally(owner="ana") == none | {JobState.CANCELLED: 1}
        assert await run.scheduler.tally(owner="nobody") == none
