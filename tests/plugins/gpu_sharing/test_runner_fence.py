"""Ending processes: all of a worker's, nobody else's, and also where root may not signal other users."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.testing import until
from plugins.gpu_sharing.runner import processes
from plugins.gpu_sharing.runner.fence import Fence, cgroup_parent, send
from tests.plugins.gpu_sharing.runners import PYTHON, is_alive, needs_root, open_folder, program

RESTRICTED = """
import sys, structlog, trio
from pathlib import Path
from plugins.gpu_sharing.runner import Pace, Runner, Wanted
from plugins.gpu_sharing.settings import CommandSettings
folder = Path(sys.argv[1])
command = CommandSettings(argv=(sys.argv[2], "-c", sys.argv[3], "{port}"), user="nobody", folder=sys.argv[4])
structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
runner = Runner(folder / "own", folder / "homes", "restricted", pace=Pace(grace_seconds=0.3, look_seconds=0.02))
runner.cgroups = None
async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(runner.run)
        runner.put(Wanted(worker_id="w", name="w", command=command))
        with trio.fail_after(20):
            while not runner.target("w"):
                if "cannot" in runner.state("w").why:
                    print(runner.state("w").why)
                    nursery.cancel_scope.cancel()
                await trio.sleep(0.02)
            print(runner.state("w").pid, flush=True)
            runner.remove("w")
            while runner.worker_ids:
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
trio.run(main)
"""
STUBBORN = """
import signal, socket, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(99)
"""


def restricted(without: str, start_in: str) -> str:
    """Run a worker under a root that lacks a capability, as under the hardened unit; return what it says."""
    with open_folder() as folder:
        (folder / "own").mkdir()
        done = subprocess.run(
            [
                *("setpriv", f"--bounding-set=-{without}", f"--inh-caps=-{without}", sys.executable, "-c", RESTRICTED),
                *(str(folder), PYTHON, STUBBORN, start_in),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=Path.cwd(),
        )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@needs_root
async def test_root_that_may_not_signal_others_ends_a_command_as_its_user() -> None:
    said = await trio.to_thread.run_sync(restricted, "kill", "/usr")
    assert not is_alive(int(said))


@needs_root
async def test_root_that_may_not_give_folders_away_says_which_one() -> None:
    said = await trio.to_thread.run_sync(restricted, "chown", "")
    assert said.startswith("its command cannot be started: ")
    assert said.endswith("w.65534: Operation not permitted")


async def test_processes_are_members_by_session_or_by_mark_and_others_are_not() -> None:
    with ExitStack() as stack:

        def sleeping(mark: str, **more: Any) -> "subprocess.Popen[bytes]":
            return stack.enter_context(program("/bin/sleep", "99", env={"APPLIANCE_WORKER": mark}, **more))

        leader, marked = sleeping("", start_new_session=True), sleeping("i:w")
        others = [sleeping(mark) for mark in ("i:w2", "i2:w", "i:")]
        fence = Fence.of("i:w", "w", None)
        assert sorted(await fence.members(leader.pid)) == sorted([leader.pid, marked.pid])
        assert await fence.members(0) == [marked.pid]
        await fence.kill(leader.pid)
        await until(lambda: not is_alive(leader.pid) and not is_alive(marked.pid))
        assert await fence.members(leader.pid) == []
        assert all(is_alive(each.pid) for each in others)


async def test_signal_to_those_who_are_gone_reaches_the_others() -> None:
    with program("/bin/true") as gone, program("/bin/sleep", "99", start_new_session=True) as there:
        gone.wait()
        await send([gone.pid, -there.pid], signal.SIGTERM)
        await until(lambda: there.poll() == -signal.SIGTERM)


async def test_cgroup_is_taken_down_with_its_worker_and_one_with_life_in_it_stays() -> None:
    parent = cgroup_parent("fence-test")
    fence = Fence.of("i:w", "w", parent)
    if parent is None or fence.cgroup is None:
        pytest.skip("no cgroup can be made here")
    with program("/bin/sleep", "99") as process:
        (fence.cgroup / "cgroup.procs").write_text(str(process.pid))
        fence.take_down()
        assert await fence.members(0) == [process.pid]
        await fence.kill(0)
        assert process.wait() == -signal.SIGKILL
        fence.take_down()
        assert not fence.cgroup.exists()
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
        with program(str(file), "99", start_new_session=True) as process:
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
