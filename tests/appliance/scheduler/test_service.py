"""Jobs from submission to their end, on a real database and an engine that does as it is told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from appliance.engines import LaunchFailed
from appliance.errors import BadInput, Conflict, NotFound
from appliance.jobs import EndReason, JobState, Needs, RetryRule
from appliance.testing import until

from .scheduler_kit import World, opened, running


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data")


async def test_a_job_runs_and_its_log_and_files_are_kept(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(command="echo hello", environment={"A": "b"})
        attempt = await world.engine.running(job_id)
        assert (attempt.launch.command, attempt.launch.environment) == ("echo hello", {"A": "b"})
        assert (attempt.launch.millicores, attempt.launch.memory_mib) == (100, 16)
        await run.reaches(job_id, JobState.RUNNING)
        attempt.write(b"hello\n")
        attempt.files["result/a.txt"] = b"42"
        attempt.end(exit_code=0)
        record = await run.reaches(job_id, JobState.COMPLETED)
        assert (record.exit_code, record.reason) == (0, EndReason.EXIT)
        assert [file.path for file in await run.scheduler.files.list_outputs(job_id)] == ["result/a.txt"]
        block = await run.scheduler.logs.read(job_id)
        assert b"".join(piece.data for piece in block.pieces) == b"hello\n"
        await run.closed()
        assert world.engine.attempts == {}
        assert [event.kind for event in await run.told()] == ["task.submitted", "task.started", "task.completed"]


async def test_a_job_whose_command_fails_has_failed_with_its_exit_code(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit()
        (await world.engine.running(job_id)).end(exit_code=3)
        record = await run.reaches(job_id, JobState.FAILED)
        assert (record.reason, record.exit_code) == (EndReason.EXIT, 3)


async def test_a_job_is_tried_again_by_its_rule_and_then_fails(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(retry=RetryRule(attempts_max=2, backoff_seconds=0.0))
        (await world.engine.running(job_id, number=1)).end(exit_code=1)
        (await world.engine.running(job_id, number=2)).end(exit_code=2)
        record = await run.reaches(job_id, JobState.FAILED)
        assert [attempt.exit_code for attempt in record.attempts] == [1, 2]
        first, second = record.attempts
        assert second.fencing_token > first.fencing_token
        assert [event.kind for event in await run.told("task.requeued")] == ["task.requeued"]


async def test_a_retry_waits_for_its_back_off(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(retry=RetryRule(attempts_max=2, backoff_seconds=3600.0))
        (await world.engine.running(job_id)).end(exit_code=1)
        record = await run.reaches(job_id, JobState.PENDING)
        assert record.eligible_at_unix_us > world.clock()
        world.clock.advance(3600)
        run.scheduler._desk.wake()
        await world.engine.running(job_id, number=2)


async def test_a_refused_image_is_told_with_the_hint(world: World) -> None:
    world.engine.refuses = LaunchFailed("there is no image bb:2", reason=EndReason.IMAGE, hint="import it")
    async with running(world) as run:
        job_id = await run.submit(image="bb:2")
        record = await run.reaches(job_id, JobState.FAILED)
        assert record.reason == EndReason.IMAGE
        assert "there is no image bb:2 (import it)" in record.message


async def test_a_job_that_does_not_fit_waits_and_says_why_until_there_is_room(world: World) -> None:
    async with running(world) as run:
        first = await run.submit(needs=Needs(millicores=3000))
        attempt = await world.engine.running(first)
        second = await run.submit(needs=Needs(millicores=2000))
        explained = run.scheduler.why(second)
        assert explained.code in {"resources", "reserved"}
        assert run.scheduler.get(second).state == JobState.PENDING
        attempt.end()
        await world.engine.running(second)


async def test_the_same_job_submitted_again_is_answered_as_it_is_and_another_of_its_id_is_refused(
    world: World,
) -> None:
    async with opened(world) as run:
        job = run.job(job_id="mine", command="true")
        [first] = await run.scheduler.submit([job], who="ana")
        [again] = await run.scheduler.submit([job], who="bob")
        assert again == first
        with pytest.raises(Conflict, match="mine"):
            await run.scheduler.submit([run.job(job_id="mine", command="false")], who="ana")
        assert run.scheduler.counts()[JobState.PENDING] == 1


async def test_what_was_submitted_together_is_taken_or_refused_together(world: World) -> None:
    async with opened(world) as run:
        await run.scheduler.submit([run.job(job_id="taken")], who="ana")
        with pytest.raises(Conflict):
            await run.scheduler.submit([run.job(job_id="new"), run.job(job_id="taken", command="x")], who="ana")
        with pytest.raises(NotFound):
            run.scheduler.get("new")
        with pytest.raises(BadInput):
            await run.scheduler.submit([run.job(job_id="a"), run.job(job_id="a")], who="ana")


async def test_ids_made_here_rise_and_are_never_the_same(world: World) -> None:
    async with opened(world) as run:
        ids = [run.scheduler.new_job_id() for _ in range(1000)]
        assert len(set(ids)) == 1000
        assert ids == sorted(ids)
        assert all(one.startswith("task-") for one in ids)


async def test_a_held_job_waits_for_its_release(world: World) -> None:
    async with running(world) as run:
        [record] = await run.scheduler.submit([run.job()], who="ana", hold=True)
        other = await run.submit()
        await world.engine.running(other)
        assert run.scheduler.get(record.job_id).state == JobState.PENDING
        assert run.scheduler.why(record.job_id).code == "held"
        await run.scheduler.release(record.job_id)
        await world.engine.running(record.job_id)


async def test_an_ended_job_is_tried_again_as_a_new_one_and_both_name_each_other(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(command="false", environment={"KEY": "value"})
        with pytest.raises(Conflict, match="only an ended one"):
            await run.scheduler.retry(job_id, owner="ana", who="ana")
        (await world.engine.running(job_id)).end(exit_code=1)
        await run.reaches(job_id, JobState.FAILED)
        again = await run.scheduler.retry(job_id, owner="ana", who="ana")
        assert again.job.retry_of == job_id
        assert (again.job.command, again.job.environment) == ("false", {"KEY": "value"})
        assert run.scheduler.get(job_id).retried_by == again.job_id
        (await world.engine.running(again.job_id)).end(exit_code=0)
        await run.reaches(again.job_id, JobState.COMPLETED)


async def test_a_job_tried_again_is_given_the_same_inputs(world: World) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"hello"

    async with running(world) as run:
        [record] = await run.scheduler.submit([run.job()], who="ana", hold=True)
        await run.scheduler.files.put_input(record.job_id, "in.txt", chunks())
        await run.scheduler.release(record.job_id)
        (await world.engine.running(record.job_id)).end(exit_code=1)
        await run.reaches(record.job_id, JobState.FAILED)
        again = await run.scheduler.retry(record.job_id, owner="ana", who="ana")
        inputs = (await world.engine.running(again.job_id)).launch.inputs
        assert inputs is not None
        assert await trio.Path(inputs / "in.txt").read_bytes() == b"hello"


async def test_pages_go_newest_first_and_by_state_and_owner(world: World) -> None:
    async with opened(world) as run:
        ids = [await run.submit(owner=owner) for owner in ("ana", "bob", "ana", "bob", "ana")]
        first = await run.scheduler.page(limit=2)
        assert [record.job_id for record in first] == ids[:2:-1]
        rest = await run.scheduler.page(limit=10, before=first[-1].number)
        assert [record.job_id for record in rest] == ids[2::-1]
        assert [record.job_id for record in await run.scheduler.page(owner="bob")] == [ids[3], ids[1]]
        await run.scheduler.cancel(ids[0], who="ana")
        assert [record.job_id for record in await run.scheduler.page(states=[JobState.CANCELLED])] == [ids[0]]
        assert await run.scheduler.page(states=[]) == []


async def test_changes_tell_the_ids_of_jobs_about_which_anything_is_new(world: World) -> None:
    async with running(world) as run:
        with run.scheduler.changes() as changes:
            job_id = await run.submit()
            (await world.engine.running(job_id)).end()
            states = []
            async for changed in changes:
                assert changed == job_id
                states.append(run.scheduler.get(changed).state)
                if states[-1] == JobState.COMPLETED:
                    break


async def test_a_job_that_has_ended_is_deleted_with_its_log_and_files(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit()
        attempt = await world.engine.running(job_id)
        with pytest.raises(Conflict):
            await run.scheduler.forget(job_id)
        attempt.write(b"x\n")
        attempt.files["a"] = b"1"
        attempt.end()
        await run.closed()
        assert (world.folder / "files" / job_id).exists()
        await run.scheduler.forget(job_id)
        with pytest.raises(NotFound):
            run.scheduler.get(job_id)
        assert not (world.folder / "files" / job_id).exists()


async def test_a_mistake_in_deciding_ends_nothing_that_runs_and_is_told(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit()
        attempt = await world.engine.running(job_id)
        machine, world.machine = world.machine, None  # type: ignore[assignment]
        world.clock.advance(60)  # the disk is looked at again
        waiting = await run.submit()
        await until(lambda: run.scheduler.problem is not None)
        assert run.scheduler.problem is not None
        assert "deciding who starts failed" in run.scheduler.problem
        attempt.end()
        await run.reaches(job_id, JobState.COMPLETED)
        world.machine = machine
        run.scheduler._desk.wake()
        await world.engine.running(waiting)
