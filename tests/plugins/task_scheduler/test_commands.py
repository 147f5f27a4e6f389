"""``appliance task`` and ``appliance run`` beside a running appliance, over its control socket."""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from attrs import frozen

from plugins.task_scheduler.command_options import command_line
from plugins.task_scheduler.commands import _below
from tests.appliance.cli.conftest import Said, Terminal, alone
from tests.plugins.task_scheduler.kit import PATIENCE_SECONDS, Tasks, tasks

ROOT = Path(__file__).parents[3]
SMALL = ("--cpus", "0.1", "--memory", "16M", "--storage", "16M")


__all__ = ["alone"]


@frozen
class Shell:
    """A shell on the host of a running appliance whose tasks do as they are told."""

    api: Tasks

    async def __call__(self, *words: str, **environment: str) -> Said:
        return await Terminal(self.api.appliance)(*words, COLUMNS="200", **environment)


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Shell]:
    async with tasks(tmp_path) as api:
        yield Shell(api)


def said(done: Said) -> str:
    assert done.status == 0, done.err
    return done.out


async def test_task_is_submitted_listed_explained_and_cancelled(terminal: Shell) -> None:
    task_id = said(
        await terminal(
            "task", "submit", *SMALL, "--name", "night", "-e", "A=1", "-e", "FROM", "busybox", "echo", "a b", FROM="x"
        )
    ).strip()
    attempt = await terminal.api.engine.running(task_id)
    assert attempt.launch.command == "echo 'a b'"
    assert attempt.launch.environment == {"A": "1", "FROM": "x"}
    line = said(await terminal("task", "list")).splitlines()[1]
    assert line.split()[:2] == [task_id, "running"]
    assert "night" in line
    blocked = said(await terminal("task", "submit", "--cpus", "90000", "busybox")).strip()
    assert "core" in said(await terminal("task", "why", blocked))
    assert said(await terminal("task", "cancel", blocked)) == f"{blocked} is cancelled\n"
    shown = json.loads(said(await terminal("--json", "task", "list", "--state", "cancelled")))
    assert [item["id"] for item in shown["items"]] == [blocked]
    refused = await terminal("task", "cancel", blocked)
    assert (refused.status, "cancelled" in refused.err) == (1, True)


async def test_inputs_are_uploaded_and_files_fetched(terminal: Shell, tmp_path: Path) -> None:
    source = tmp_path / "set.bin"
    source.write_bytes(b"\x00\xff" * 500_000)
    words = ("--input", str(source), "--input", f"{source}=deep/copy.bin", "busybox")
    task_id = said(await terminal("task", "submit", *SMALL, *words)).strip()
    attempt = await terminal.api.engine.running(task_id)
    assert attempt.launch.inputs is not None
    for name in ("set.bin", "deep/copy.bin"):
        assert (attempt.launch.inputs / name).read_bytes() == source.read_bytes()
    attempt.files = {"results/out.txt": b"done\n"}
    attempt.end()
    await terminal.api.until(task_id, "completed")
    assert "results/out.txt" in said(await terminal("task", "files", task_id))
    target = tmp_path / "fetched"
    said(await terminal("task", "files", task_id, "--get", str(target)))
    assert (target / "results/out.txt").read_bytes() == b"done\n"
    again = await terminal("task", "files", task_id, "--get", str(target))
    assert (again.status, "is there already" in again.err) == (1, True)


async def test_input_that_is_missing_leaves_no_task_behind(terminal: Shell) -> None:
    failed = await terminal("task", "submit", *SMALL, "--input", "/nonexistent", "busybox")
    assert failed.status == 1
    (item,) = json.loads(said(await terminal("--json", "task", "list")))["items"]
    assert item["state"] == "cancelled"


async def test_logs_print_what_was_written_on_the_stream_it_was_written_to(terminal: Shell) -> None:
    task_id, attempt = await terminal.api.running()
    attempt.write(b"one\n")
    attempt.write(b"two\n", "stderr")
    attempt.end(exit_code=4)
    await terminal.api.until(task_id, "failed")
    for words in (("task", "logs", task_id), ("task", "logs", "-f", task_id)):
        done = await terminal(*words)
        assert said(done) == "one\n"
        assert done.err.startswith("two\n")


async def test_run_follows_a_task_and_ends_with_its_exit_code(terminal: Shell) -> None:
    async def work() -> None:
        attempt = await terminal.api.engine.until(lambda: next(iter(terminal.api.engine.attempts.values()), None))
        attempt.write(b"hello\n")
        attempt.end(exit_code=7)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        done = await terminal("run", *SMALL, "busybox", "echo hello; exit 7")
    assert (done.status, done.out) == (7, "hello\n")
    assert next(iter(terminal.api.engine.removed.values())).launch.command == "echo hello; exit 7"


async def test_interrupted_run_cancels_its_task(terminal: Shell) -> None:
    engine, data_dir = terminal.api.engine, terminal.api.appliance.data_dir
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            [sys.executable, "-m", "appliance", "--data-dir", str(data_dir), "run", *SMALL, "busybox", "sleep 1000"],
            check=False,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        process = await nursery.start(start)
        attempt = await engine.until(lambda: next((one for one in engine.attempts.values() if one.is_running), None))
        attempt.write(b"begun\n")
        with trio.fail_after(PATIENCE_SECONDS):
            assert process.stdout is not None
            assert await process.stdout.receive_some() == b"begun\n"
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
    assert attempt.terms == 1
    await terminal.api.until(attempt.launch.job_id, "cancelled")


async def test_wrong_use_is_told_with_the_usage_and_ends_with_two(terminal: Shell) -> None:
    for words in (
        ("task",),
        ("task", "submit"),
        ("task", "submit", "--memory", "lots", "busybox"),
        ("run",),
        ("run", "--array", "3", "busybox"),
    ):
        done = await terminal(*words)
        assert done.status == 2, words
        assert f"usage: appliance {words[0]}" in done.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], ""),
        (["echo hi; exit 3"], "echo hi; exit 3"),
        (["echo", "a b"], "echo 'a b'"),
        (["sh", "-c", "x"], "sh -c x"),
    ],
)
def test_words_become_one_line_for_a_shell(words: list[str], line: str) -> None:
    assert command_line(words) == line


def test_tasks_are_queued_and_listed_with_nothing_running(alone: Callable[..., Said]) -> None:
    task_id = alone("task", "submit", "--gpus", "0.0001", "busybox").out.strip()
    (item,) = json.loads(alone("task", "list", "--json").out)["items"]
    assert (item["id"], item["state"], item["milli_gpu"]) == (task_id, "pending", 1)
    assert alone("task", "cancel", task_id).out == f"{task_id} is cancelled\n"
    needs_it = alone("task", "submit", "--input", __file__, "busybox")
    assert (needs_it.status, "is not running" in needs_it.err) == (1, True)


def test_path_that_leads_out_of_the_folder_is_not_written(tmp_path: Path) -> None:
    class Said(Exception):
        """What a command fails with."""

    class Other:
        """The API of a server that is up to no good."""

        def fail(self, message: str, *, hint: str = "") -> Exception:
            return Said(message)

    for path in ("../x", "/etc/x", "a//b", "a/./b", "\0"):
        with pytest.raises(Said):
            _below(cast(Any, Other()), tmp_path, path)
