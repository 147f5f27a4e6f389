"""The engine that tests drive keeps the protocol as a real one does: the same checks on both."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import define

from appliance.engines import EngineLost, Launch, TaskEngine
from appliance.jobs import EndReason
from appliance.testing import ScriptedAttempt, ScriptedEngine, until
from tests.plugins.engine_sandbox.sandboxes import IMAGE, Kept, needs_sandbox, sandboxes, silent

COMMAND = "echo one; echo two; echo oops >&2; echo 42 > /output/result; exit 3"
FOREVER = "echo ready; sleep 3600"


def ends_by_itself(attempt: ScriptedAttempt) -> None:
    """Do as ``COMMAND`` does."""
    attempt.write(b"one\ntwo\n")
    attempt.write(b"oops\n", "stderr")
    attempt.files["result"] = b"42\n"
    attempt.end(exit_code=3)


def goes_on(attempt: ScriptedAttempt) -> None:
    """Do as ``FOREVER`` does."""
    attempt.write(b"ready\n")


@define
class Subject:
    """An engine, and how it is made to run a command."""

    engine: TaskEngine

    async def runs(self, attempt_id: str, command: str, as_scripted: Callable[[ScriptedAttempt], None]) -> Launch:
        launch = Launch(
            attempt_id=attempt_id,
            job_id=attempt_id.partition(".")[0],
            fencing_token=7,
            image=IMAGE,
            command=command,
            memory_mib=64,
            storage_mib=16,
        )
        await self.engine.start(launch, silent)
        if isinstance(self.engine, ScriptedEngine):
            as_scripted(self.engine.attempts[attempt_id])
        return launch

    async def log(self, attempt_id: str, **skip: int) -> dict[str, bytes]:
        read = {"stdout": b"", "stderr": b""}
        async for chunk in self.engine.logs(attempt_id, skip=skip):
            read[chunk.stream] += chunk.data
        return read


@asynccontextmanager
async def scripted(tmp_path: Path) -> AsyncIterator[TaskEngine]:
    yield ScriptedEngine()


@pytest.fixture(params=["scripted", pytest.param("sandbox", marks=needs_sandbox)])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    made = scripted if request.param == "scripted" else sandboxes
    async with made(tmp_path) as engine:
        yield Subject(engine)


async def test_an_attempt_runs_once_however_often_it_is_started(subject: Subject) -> None:
    launch = await subject.runs("task-1.1", COMMAND, ends_by_itself)
    with trio.fail_after(30):
        ended = await subject.engine.wait("task-1.1")
        assert (ended.exit_code, ended.reason) == (3, EndReason.EXIT)
        await subject.engine.start(launch, silent)
        assert (await subject.engine.wait("task-1.1")).exit_code == 3
        assert await subject.log("task-1.1") == {"stdout": b"one\ntwo\n", "stderr": b"oops\n"}
        kept = Kept()
        await subject.engine.collect("task-1.1", kept)
        assert kept.files == {"result": b"42\n"}


async def test_a_log_is_read_from_where_it_is_known_to(subject: Subject) -> None:
    await subject.runs("task-1.1", COMMAND, ends_by_itself)
    with trio.fail_after(30):
        assert await subject.log("task-1.1", stdout=4) == {"stdout": b"two\n", "stderr": b"oops\n"}
        assert await subject.log("task-1.1", stdout=8, stderr=5) == {"stdout": b"", "stderr": b""}


async def test_what_runs_is_found_and_what_was_removed_is_not(subject: Subject) -> None:
    await subject.runs("task-1.1", FOREVER, goes_on)
    [found] = await subject.engine.found()
    assert (found.attempt_id, found.job_id, found.fencing_token, found.is_running) == ("task-1.1", "task-1", 7, True)
    assert await subject.engine.usage("task-1.1") is not None
    with trio.fail_after(30):
        await subject.engine.remove("task-1.1")
        assert await subject.engine.found() == []
        await subject.engine.remove("task-1.1")
        ended = await subject.engine.wait("task-1.1")
    assert (ended.exit_code, ended.reason) == (None, EndReason.ENGINE_LOST)
    assert await subject.engine.usage("task-1.1") is None


async def test_a_stopped_attempt_has_ended_when_the_stop_returns_and_a_second_stop_does_nothing(
    subject: Subject,
) -> None:
    await subject.runs("task-1.1", FOREVER, goes_on)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subject.engine.wait, "task-1.1")
            await subject.engine.stop("task-1.1", grace_seconds=0.2)
        ended = await subject.engine.wait("task-1.1")
        assert ended.exit_code in {137, 143}
        await subject.engine.stop("task-1.1", grace_seconds=0.2)
        await subject.engine.stop("task-9.9", grace_seconds=0.2)
        assert [one.is_running for one in await subject.engine.found()] == [False]


async def test_an_engine_that_was_lost_answers_nobody_and_ends_nothing() -> None:
    subject = Subject(ScriptedEngine())
    await subject.runs("task-1.1", FOREVER, goes_on)
    engine = subject.engine
    assert isinstance(engine, ScriptedEngine)
    waits: list[str] = []

    async def waiter() -> None:
        try:
            await engine.wait("task-1.1")
        except EngineLost:
            waits.append("lost")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter)
        await trio.testing.wait_all_tasks_blocked()
        engine.lose()
        await until(lambda: waits)
    with pytest.raises(EngineLost):
        await engine.found()
    assert engine.status.state == "unavailable"
    engine.come_back()
    assert [one.is_running for one in await engine.found()] == [True]
