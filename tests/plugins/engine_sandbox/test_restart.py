"""Tasks and an appliance that is killed: nothing ends, nothing is started twice, nothing of the log is missing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.engines import Found
from appliance.jobs import EndReason
from tests.plugins.engine_sandbox.sandboxes import (
    data_folder,
    engine_at,
    launch,
    needs_sandbox,
    output,
    run,
    sandboxes,
    silent,
    started,
    until,
)

pytestmark = needs_sandbox

ROOT = Path(__file__).parents[3]
OTHER = """
import sys, trio
from pathlib import Path
from tests.plugins.engine_sandbox.sandboxes import engine_at, launch, printed, silent, started

async def main():
    engine = engine_at(Path(sys.argv[1]))
    async with started(engine):
        for number in range(3):
            await engine.start(launch(sys.argv[2], f"task-{number}.1", image="host"), silent)
            await printed(engine, b"line 3", f"task-{number}.1")
        print("running", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""
COMMAND = "for i in 1 2 3; do echo line $i; done; until [ -e /tmp/go ]; do sleep 0.05; done; echo line 4; exit 7"


def kill_once_running(argv: list[str]) -> None:
    """Start a program, and kill it when it says that it runs."""
    started = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)
    assert started.stdout is not None
    with started.stdout as said:
        while (line := said.readline()) != b"running\n":
            assert line, "it ended before it ran"
        started.kill()
    started.wait()


def sleeper() -> "subprocess.Popen[bytes]":
    """Start a process that has nothing to do with any task."""
    return subprocess.Popen(["sleep", "1000"])


async def test_tasks_outlive_a_killed_appliance_and_are_found_again(tmp_path: Path) -> None:
    folder = data_folder(tmp_path)
    kill_once_running([sys.executable, "-c", OTHER, str(folder), COMMAND])
    async with sandboxes(tmp_path) as engine:
        found = await engine.found()
        assert sorted(each.attempt_id for each in found) == [f"task-{number}.1" for number in range(3)]
        assert all(each.is_running for each in found)
        for number in range(3):
            attempt_id = f"task-{number}.1"
            await engine.start(launch("echo again", attempt_id), silent)  # as it is asked after a start cut off
            (engine.attempts.at(attempt_id).path / "tmp" / "go").touch()
            assert await output(engine, attempt_id, stdout=7) == (b"line 2\nline 3\nline 4\n", b"")
            assert (await engine.wait(attempt_id)).exit_code == 7
        assert (await run(engine, "true", "task-9.1"))[0].exit_code == 0  # with another's user id than theirs
        uids = [engine.attempts.at(f"task-{number}.1").record() for number in (0, 1, 2, 9)]
        assert len({record.uid for record in uids if record is not None}) == 4


async def test_task_that_ended_while_nobody_looked_is_told_of_as_if_somebody_had(tmp_path: Path) -> None:
    folder = data_folder(tmp_path)
    async with started(engine_at(folder)) as before:
        await before.start(launch("echo on; exit 4", image="host"), silent)
    keeper = before.attempts.at("task-1.1")
    await until(lambda: keeper.exit() is not None)
    async with sandboxes(tmp_path) as engine:
        found = await engine.found()
        assert found == [Found(attempt_id="task-1.1", job_id="task-1", fencing_token=7, is_running=False)]
        assert (await engine.wait("task-1.1")).exit_code == 4
        assert await output(engine) == (b"on\n", b"")


async def test_task_of_another_run_of_this_host_is_lost(tmp_path: Path) -> None:
    async with sandboxes(tmp_path) as engine:
        await run(engine, "true")
        folder = engine.attempts.at("task-1.1").path
        (folder / "exit").unlink()
        (folder / "keeper").write_text('{"pid": 1, "ticks": 0, "boot_id": "another"}')
        ended = await engine.wait("task-1.1")
        assert (ended.exit_code, ended.reason) == (None, EndReason.ENGINE_LOST)
        assert "started anew" in ended.message
        assert [each.is_running for each in await engine.found()] == [False]


async def test_process_with_the_pid_of_a_keeper_that_is_gone_is_left_alone(tmp_path: Path) -> None:
    async with sandboxes(tmp_path) as engine:
        await run(engine, "true")
        folder = engine.attempts.at("task-1.1")
        keeper = folder.keeper()
        assert keeper is not None
        (folder.path / "exit").unlink()
        stranger = sleeper()
        try:
            told = f'{{"pid": {stranger.pid}, "ticks": {keeper.ticks - 1}, "boot_id": "{keeper.boot_id}"}}'
            (folder.path / "keeper").write_text(told)
            (folder.path / "running").write_text(f'{{"init_pid": {stranger.pid}, "init_ticks": 1}}')
            assert (await engine.wait("task-1.1")).reason == EndReason.ENGINE_LOST
            await engine.stop("task-1.1", grace_seconds=0)
            await engine.remove("task-1.1")
            assert stranger.poll() is None
        finally:
            os.kill(stranger.pid, signal.SIGKILL)
            stranger.wait()


@pytest.mark.parametrize("left", ["folder", "record"])
async def test_start_that_was_cut_off_is_made_good_or_forgotten(tmp_path: Path, left: str) -> None:
    folder = data_folder(tmp_path)
    async with sandboxes(tmp_path) as engine:
        await run(engine, "true")
        cut_off = engine.attempts.at("task-2.1").path
        record = (engine.attempts.at("task-1.1").path / "attempt").read_bytes().replace(b"task-1", b"task-2")
    cut_off.mkdir()
    if left == "record":
        (cut_off / "attempt").write_bytes(record)
    async with started(engine_at(folder)) as engine:
        found = [each.attempt_id for each in await engine.found()]
        assert found == (["task-2.1"] if left == "record" else [])
        if left == "record":
            assert (await engine.wait("task-2.1")).reason == EndReason.ENGINE_LOST
        assert (await run(engine, "exit 3", "task-2.1", image="host"))[0].exit_code == 3
        await engine.remove("task-2.1")
