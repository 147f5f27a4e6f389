"""Ending processes: all of a worker's, nobody else's, and also where root may not signal other users."""

import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from appliance.testing import until
from plugins.gpu_sharing import processes
from plugins.gpu_sharing.fencing import Fence, cgroup_parent, marked, send, sweep
from tests.plugins.gpu_sharing.runners import SECONDS, is_alive, open_folder, program


async def test_processes_are_members_by_session_or_by_mark_and_others_are_not() -> None:
    with ExitStack() as stack:

        def sleeping(mark: str, **more: Any) -> "subprocess.Popen[bytes]":
            return stack.enter_context(program("/bin/sleep", "600", env={"APPLIANCE_WORKER": mark}, **more))

        leader, marked_one = sleeping("", start_new_session=True), sleeping("i:w")
        others = [sleeping(mark) for mark in ("i:w2", "i2:w", "i:")]
        fence = Fence("i:w")
        assert sorted(await fence.members(leader.pid)) == sorted([leader.pid, marked_one.pid])
        assert await fence.members(0) == [marked_one.pid]
        assert sorted(marked("i:")) == sorted([marked_one.pid, others[0].pid, others[2].pid])
        await fence.kill(leader.pid)
        await until(lambda: not is_alive(leader.pid) and not is_alive(marked_one.pid), seconds=SECONDS)
        assert await fence.is_empty(leader.pid)
        assert all(is_alive(each.pid) for each in others)


async def test_what_an_earlier_run_has_left_is_gone_when_the_sweep_is_over() -> None:
    with (
        program("/bin/sleep", "600", env={"APPLIANCE_WORKER": "sweep:w"}, start_new_session=True) as left,
        program("/bin/sleep", "600", env={"APPLIANCE_WORKER": "sweep-not:w"}) as other,
    ):
        await sweep("sweep:")
        assert not is_alive(left.pid)
        assert is_alive(other.pid)


async def test_signal_to_those_who_are_gone_reaches_the_others() -> None:
    with program("/bin/true") as gone, program("/bin/sleep", "600", start_new_session=True) as there:
        gone.wait()
        await send([gone.pid, -there.pid], signal.SIGTERM)
        await until(lambda: there.poll() == -signal.SIGTERM, seconds=SECONDS)


async def test_cgroup_is_taken_down_with_its_worker_and_one_with_life_in_it_stays() -> None:
    parent = cgroup_parent(f"fence-test-{os.getpid()}")
    fence = Fence.of("i:w", "w", parent)
    if parent is None or fence.cgroup is None:
        pytest.skip("no cgroup can be made here")
    with program("/bin/sleep", "600") as process:
        (fence.cgroup / "cgroup.procs").write_text(str(process.pid))
        fence.take_down()
        assert await fence.members(0) == [process.pid]
        assert not await fence.is_empty(0)
        await fence.kill(0)
        assert process.wait() == -signal.SIGKILL
        assert await fence.is_empty(0)
        fence.take_down()
        assert not fence.cgroup.exists()
    assert await fence.is_empty(0), "what is not there holds nobody"
    parent.rmdir()


async def test_fence_without_a_place_for_its_cgroup_does_without() -> None:
    with open_folder() as folder:
        (folder / "file").touch()
        assert Fence.of("i:w", "w", folder / "file").cgroup is None


def test_process_whose_name_has_parentheses_and_spaces_is_read() -> None:
    with open_folder() as folder:
        file = folder / "a) R 1 (b"
        file.write_bytes(Path("/bin/sleep").read_bytes())
        file.chmod(0o755)
        with program(str(file), "600", start_new_session=True) as process:
            found = processes.seen(process.pid)
            assert found is not None
            assert (found.session, found.is_alive) == (process.pid, True)
            assert processes.uid_of(process.pid) == os.geteuid()
            process.kill()
            while found is not None and found.is_alive:
                found = processes.seen(process.pid)
            assert found is not None, "it waits to be collected"
        assert processes.seen(process.pid) is None
        assert processes.uid_of(process.pid) is None
        assert processes.variable_of(process.pid, "PATH") is None
