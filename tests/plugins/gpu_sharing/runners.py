"""A runner to try, with commands that say what they find."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import trio
from attrs import define, field

from appliance.testing import until
from plugins.gpu_sharing.runner import Pace, Runner, Wanted, WorkerState
from plugins.gpu_sharing.settings import CommandSettings

PYTHON: Final = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or "python3"
"""One that every user may run."""
PERSON: Final = "nobody"
INSTANCE: Final = "test-instance"
QUICK: Final = Pace(look_seconds=0.02, backoff_seconds=(0.05, 30.0), grace_seconds=0.5, probe_seconds=0.02)
WORKER: Final = "w-1"

HTTP: Final = (PYTHON, "-m", "http.server", "{port}", "--bind", "127.0.0.1")
REPORT: Final = """
import json, os, signal, socket, sys
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
found = {
    "uids": os.getresuid(), "gids": os.getresgid(), "groups": os.getgroups(), "environ": dict(os.environ),
    "cwd": os.getcwd(), "mode": os.stat(".").st_mode & 0o777, "session": os.getsid(0), "pid": os.getpid(),
    "no_new_privs": status["NoNewPrivs"], "blocked": status["SigBlk"],
    "capabilities": status["CapEff"], "fds": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
    "argv": sys.argv[1:], "umask": status["Umask"], "oom": open("/proc/self/oom_score_adj").read().strip(),
    "stdin": os.readlink("/proc/self/fd/0"),
}
open("report.tmp", "w").write(json.dumps(found))
os.rename("report.tmp", "report.json")
listening = socket.create_server((sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1", int(sys.argv[1])))
while True:
    listening.accept()[0].close()
"""
"""Writes what it finds into its folder, then listens."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs a command as another user")


def command(*argv: str, user: str = PERSON, **more: Any) -> CommandSettings:
    """Return a command as another user where we may; else as ourselves."""
    if os.geteuid() != 0:
        return CommandSettings(argv=argv, unsafe_same_uid=True, **more)
    return CommandSettings(argv=argv, user=user, **more)


def python(script: str, *arguments: str, **more: Any) -> CommandSettings:
    """Return a command that runs a script."""
    return command(PYTHON, "-c", script, *(arguments or ("{port}",)), **more)


@contextmanager
def open_folder() -> Iterator[Path]:
    """Give a folder that every user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="runner-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@define(eq=False)
class Bench:
    """A runner in a folder of its own."""

    folder: Path
    is_fenced: bool = True
    """Whether workers get cgroups, where there can be any."""
    runner: Runner = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.runner = self.again()

    def again(self, pace: Pace = QUICK) -> Runner:
        """Return a runner that follows the one before, as after a start of the appliance."""
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "SECRET": "ours"}
        runner = Runner(self.folder / "own", self.folder / "homes", INSTANCE, pace=pace, environment=environment)
        if not self.is_fenced:
            runner.cgroups = None
        return runner

    def want(self, wanted: CommandSettings | None, worker_id: str = WORKER, **more: Any) -> None:
        """Let a worker run a command."""
        self.runner.put(Wanted(worker_id=worker_id, name="one", command=wanted, **more))

    @property
    def state(self) -> WorkerState:
        """How the worker is."""
        return self.runner.state(WORKER)

    async def running(self, worker_id: str = WORKER) -> WorkerState:
        """Wait until the worker runs."""
        await until(lambda: self.runner.target(worker_id), seconds=10)
        return self.runner.state(worker_id)

    def report(self) -> dict[str, Any]:
        """Return what the command has found."""
        path = next(self.folder.glob("homes/*/report.json"))
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def written(self) -> str:
        """Return what the command has written."""
        return (self.folder / "own" / f"{WORKER}.log").read_text()


@asynccontextmanager
async def bench(*, is_fenced: bool = True) -> AsyncIterator[Bench]:
    """Run a runner; when it is left, all that it has started is gone."""
    with open_folder() as folder:
        it = Bench(folder, is_fenced)
        async with trio.open_nursery() as nursery:
            await nursery.start(it.runner.run)
            yield it
            nursery.cancel_scope.cancel()


@contextmanager
def program(*argv: str, **more: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program that has nothing to do with any runner."""
    process: subprocess.Popen[bytes] = subprocess.Popen(argv, **more)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def text(path: str) -> str:
    """Return what a file of the kernel says."""
    return Path(path).read_text()


def owner(pid: int | None) -> int:
    """Return whose a process is."""
    return Path(f"/proc/{pid}").stat().st_uid


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
