"""Programs of this host: bounded output, and nothing left of them."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from plugins.build_swarm.processes import Finished, own_environment, run_process


async def shell(script: str, **options: object) -> Finished:
    return await run_process(["sh", "-c", script], **options)  # type: ignore[arg-type]


async def test_program_is_given_its_input_and_its_outputs_are_kept_apart() -> None:
    ended = await shell("cat; echo err >&2; exit 3", stdin=b"in")
    assert ended == Finished(status=3, stdout=b"in", stderr=b"err\n", is_cut=False)


async def test_input_may_come_in_pieces_and_be_larger_than_any_pipe() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 65_536

    assert (await shell("wc -c", stdin=pieces())).stdout.strip() == b"4194304"


async def test_program_that_reads_nothing_of_its_input_ends_as_it_would() -> None:
    assert (await shell("exit 5", stdin=b"x" * 1_000_000)).status == 5


async def test_failure_of_the_input_ends_the_program_and_is_raised_as_it_is() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        raise ValueError("the disk is gone")

    with pytest.raises(ValueError, match="the disk is gone"):
        await shell("cat; sleep 600", stdin=pieces())


async def test_output_beyond_the_limit_is_dropped_without_holding_the_program_up() -> None:
    ended = await shell("head -c 1000000 /dev/zero; echo end >&2", limit_bytes=10)
    assert (ended.stdout, ended.stderr, ended.is_cut, ended.status) == (bytes(10), b"end\n", True, 0)


async def test_child_that_keeps_the_pipe_open_holds_nobody_up(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with trio.fail_after(60):
        ended = await shell(
            f"setsid sh -c 'echo $$ > {pid}; exec sleep 600' & while [ ! -s {pid} ]; do :; done; echo out"
        )
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert ended.stdout == b"out\n"


@pytest.mark.parametrize("prelude", ["", "trap '' TERM; "])
async def test_cancelled_program_is_gone_with_all_its_group_even_where_it_will_not_go(
    tmp_path: Path, prelude: str
) -> None:
    pids = tmp_path / "pids"
    async with trio.open_nursery() as nursery:
        script = f"{prelude}sleep 600 & echo $! $$ > {pids}; while :; do sleep 1; done"
        nursery.start_soon(lambda: shell(script))
        with trio.fail_after(60):
            while not (pids.exists() and pids.read_text().endswith("\n")):  # noqa: ASYNC110  another process writes it
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    with trio.fail_after(60):
        while any(is_alive(int(pid)) for pid in pids.read_text().split()):  # noqa: ASYNC110
            await trio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_program_that_is_not_there_is_an_oserror() -> None:
    with pytest.raises(FileNotFoundError):
        await run_process(["/nowhere/at/all"])


def test_programs_get_nothing_of_our_environment_but_where_programs_are() -> None:
    assert set(own_environment(TERM="x")) <= {"LC_ALL", "PATH", "LD_LIBRARY_PATH", "TERM"}
    assert own_environment()["LC_ALL"] == "C"
