"""Killed at any point and started again: no job is lost, none runs twice, no line of a log is missing or doubled.

The end of a `running` block is as abrupt as a kill: what was not committed by then is not there at the next start.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import trio

from appliance.engines import Exit, Launch, LogChunk, OutputSink
from appliance.errors import NotFound
from appliance.jobs import EndReason, JobState, Needs, RetryRule
from appliance.testing import ScriptedAttempt, ScriptedEngine, until

from .scheduler_kit import World, opened, running


class HaltingEngine(ScriptedEngine):
    """Never comes back from one method, before it has done its work or after: the moment at which we are killed."""

    def __init__(self, like: ScriptedEngine, method: str, moment: str) -> None:
        super().__init__()
        self.attempts, self.removed = like.attempts, like.removed
        self.halts_at = (method, moment)
        self.has_halted = trio.Event()

    async def _halt(self, method: str, moment: str) -> None:
        if self.halts_at == (method, moment):
            self.has_halted.set()
            await trio.sleep_forever()

    async def start(self, launch: Launch, tell: Callable[[str], None]) -> None:
        await self._halt("start", "before")
        await super().start(launch, tell)
        await self._halt("start", "after")

    async def wait(self, attempt_id: str) -> Exit:
        await self._halt("wait", "before")
        found = await super().wait(attempt_id)
        await self._halt("wait", "after")
        return found

    async def logs(self, attempt_id: str, *, skip: Mapping[str, int]) -> AsyncIterator[LogChunk]:
        await self._halt("logs", "before")
        async for chunk in super().logs(attempt_id, skip=skip):
            yield chunk
        await self._halt("logs", "after")

    async def collect(self, attempt_id: str, sink: OutputSink) -> None:
        await self._halt("collect", "before")
        await super().collect(attempt_id, sink)
        await self._halt("collect", "after")

    async def remove(self, attempt_id: str) -> None:
        await self._halt("remove", "before")
        await super().remove(attempt_id)
        await self._halt("remove", "after")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data", gpus=1)


def all_attempts(engine: ScriptedEngine) -> list[ScriptedAttempt]:
    return [*engine.attempts.values(), *engine.removed.values()]


async def plays(engine: ScriptedEngine, job_id: str) -> None:
    """Do in a job's attempt what its command would, as soon as it runs."""
    attempt = await engine.running(job_id)
    attempt.write(b"one\ntwo\n")
    attempt.write(b"oops\n", "stderr")
    attempt.files["result"] = b"42"
    attempt.end(exit_code=0)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("method", ["start", "wait", "logs", "collect", "remove"])
async def test_a_kill_at_any_step_loses_nothing_and_runs_nothing_twice(world: World, method: str, moment: str) -> None:
    halting = HaltingEngine(world.engine, method, moment)
    needs = Needs(millicores=100, milli_gpu=1000)
    async with running(world, engines=[halting]) as run, trio.open_nursery() as nursery:
        job_id = await run.submit(needs=needs)
        nursery.start_soon(plays, halting, job_id)
        with trio.fail_after(30):
            await halting.has_halted.wait()
        nursery.cancel_scope.cancel()
    async with running(world) as run, trio.open_nursery() as nursery:
        if not any(attempt.exit for attempt in all_attempts(world.engine)):
            nursery.start_soon(plays, world.engine, job_id)
        record = await run.reaches(job_id, JobState.COMPLETED)
        await run.closed()
        nursery.cancel_scope.cancel()
        assert len(record.attempts) == 1
        assert [attempt.starts for attempt in all_attempts(world.engine)] == [1]
        assert world.engine.attempts == {}
        block = await run.scheduler.logs.read(job_id)
        stdout = b"".join(piece.data for piece in block.pieces if piece.stream == "stdout")
        stderr = b"".join(piece.data for piece in block.pieces if piece.stream == "stderr")
        assert (stdout, stderr) == (b"one\ntwo\n", b"oops\n")
        assert [file.path for file in await run.scheduler.files.list_outputs(job_id)] == ["result"]
        assert run.ledger.bookings() == []
        assert run.scheduler.hosts()[0].allocated_millicores == 0
        kinds = [event.kind for event in await run.told()]
        assert kinds == ["task.submitted", "task.started", "task.completed"]


async def test_what_was_submitted_and_not_placed_is_placed_after_a_start(world: World) -> None:
    async with opened(world) as run:
        job_id = await run.submit()
    async with running(world):
        await world.engine.running(job_id)


async def test_an_attempt_that_ran_while_we_were_down_goes_on_with_its_log_and_its_gpu(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(needs=Needs(milli_gpu=1000))
        attempt = await world.engine.running(job_id)
        attempt.write(b"before\n")
        await run.reaches(job_id, JobState.RUNNING)
        waiting = await run.submit(needs=Needs(milli_gpu=1000))
    attempt.write(b"while down\n")
    async with running(world) as run:
        assert run.scheduler.get(job_id).state == JobState.RUNNING
        assert [booking.parts[0].gpu_id for booking in run.ledger.bookings()] == ["GPU-0"]
        attempt.write(b"after\n")
        assert run.scheduler.get(waiting).state == JobState.PENDING
        attempt.end()
        await run.reaches(job_id, JobState.COMPLETED)
        block = await run.scheduler.logs.read(job_id)
        assert b"".join(piece.data for piece in block.pieces) == b"before\nwhile down\nafter\n"
        await world.engine.running(waiting)


async def test_an_attempt_that_ended_while_we_were_down_has_its_exit_code(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit()
        attempt = await world.engine.running(job_id)
        await run.reaches(job_id, JobState.RUNNING)
    attempt.end(exit_code=7, at=world.clock())
    async with running(world) as run:
        record = await run.reaches(job_id, JobState.FAILED)
        assert record.exit_code == 7


async def test_an_attempt_that_its_engine_does_not_know_any_more_is_lost_and_tried_again(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(retry=RetryRule(backoff_seconds=0.0))
        attempt = await world.engine.running(job_id)
        await run.reaches(job_id, JobState.RUNNING)
    world.engine.vanish(attempt.launch.attempt_id)
    async with running(world) as run:
        second = await world.engine.running(job_id, number=2)
        assert second.launch.fencing_token > attempt.launch.fencing_token
        assert run.scheduler.get(job_id).attempts[0].reason == EndReason.ENGINE_LOST


async def test_a_cancel_that_was_asked_for_before_a_kill_is_carried_out_after_it(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(stop_grace_seconds=600.0)
        attempt = await world.engine.running(job_id)
        attempt.heeds_term = False
        await run.reaches(job_id, JobState.RUNNING)
        await run.scheduler.cancel(job_id, who="ana")
        await until(lambda: attempt.terms)
        assert run.scheduler.get(job_id).state == JobState.STOPPING
    attempt.end(exit_code=0)  # its handler of SIGTERM says that all is well
    async with running(world) as run:
        record = await run.reaches(job_id, JobState.CANCELLED)
        assert record.reason == EndReason.CANCELLED
        assert record.message == "cancelled by ana"


async def test_a_cancel_without_a_running_scheduler_is_carried_out_at_the_next_start(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit()
        attempt = await world.engine.running(job_id)
        await run.reaches(job_id, JobState.RUNNING)
    async with opened(world) as run:
        assert (await run.scheduler.cancel(job_id, who="ana")).state == JobState.STOPPING
    async with running(world) as run:
        await run.reaches(job_id, JobState.CANCELLED)
        assert attempt.terms == 1


async def test_what_an_engine_has_of_unknown_attempts_is_removed(world: World) -> None:
    stranger = Launch(attempt_id="task-1.1", job_id="task-1", fencing_token=1, image="bb:1")
    await world.engine.start(stranger, lambda text: None)
    async with running(world) as run:
        job_id = await run.submit()
        await world.engine.running(job_id)
        await until(lambda: "task-1.1" in world.engine.removed)
        assert run.scheduler.get(job_id).newest is not None
        with pytest.raises(NotFound):
            run.scheduler.get("task-1")


async def test_the_time_limit_counts_what_ran_before_a_restart(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(timeout_seconds=3600.0)
        attempt = await world.engine.running(job_id)
        await run.reaches(job_id, JobState.RUNNING)
    world.clock.advance(3601)
    async with running(world) as run:
        record = await run.reaches(job_id, JobState.FAILED)
        assert (record.reason, attempt.terms) == (EndReason.TIMEOUT, 1)


async def test_many_kills_with_a_full_queue_lose_no_job_and_run_none_twice(world: World) -> None:
    world.engine.ends_at_once = Exit(exit_code=0, reason=EndReason.EXIT)
    async with opened(world) as run:
        jobs = [run.job(needs=Needs(millicores=400)) for _ in range(60)]
        await run.scheduler.submit(jobs, who="ana")
    for kill in range(8):
        async with running(world):
            await trio.sleep(0.002 * kill * kill)  # another moment each time
    async with running(world) as run:
        await until(lambda: run.scheduler.counts()[JobState.PENDING] == 0)
        await run.closed()
        records = [run.scheduler.get(job.job_id) for job in jobs]
        assert {record.state for record in records} == {JobState.COMPLETED}
        assert {len(record.attempts) for record in records} == {1}
        attempts = all_attempts(world.engine)
        assert sorted(attempt.launch.job_id for attempt in attempts) == sorted(job.job_id for job in jobs)
        assert {attempt.starts for attempt in attempts} == {1}
        tokens = [attempt.launch.fencing_token for attempt in attempts]
        assert len(set(tokens)) == len(tokens)
