"""Workers of this host to try, with commands that say what they find."""

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
from plugins.gpu_sharing.models import Agent, Gpu, Worker
from plugins.gpu_sharing.mps import Mps
from plugins.gpu_sharing.running import Pace, Running, WorkerState
from plugins.gpu_sharing.settings import CommandSettings, SharingSettings

PYTHON: Final = shutil.which("python3", path="/usr/bin:/usr/local/bin:/bin") or "python3"
"""One that every user may run."""
PERSON: Final = "nobody"
INSTANCE: Final = "test-instance"
QUICK: Final = Pace(
    look_seconds=0.02, backoff_seconds=(0.05, 30.0), grace_seconds=0.5, probe_seconds=0.02, recheck_seconds=0.02
)
WORKER: Final = "w-1"
SECONDS: Final = 30.0

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


def local_agent() -> Agent:
    """Return the agent of a host with one GPU."""
    gpu = Gpu(gpu_id="GPU-1", gpu_index=0, vendor="nvidia", model="H200", vram_mb=1000)
    names: dict[str, Any] = {
        "agent_id": "a",
        "owner": "",
        "hostname": "box",
        "os": "linux",
        "arch": "amd64",
        "host_id": INSTANCE,
    }
    return Agent(**names, gpus=(gpu,), is_local=True, created_unix_us=1)


@define(eq=False)
class Bench:
    """Workers in a folder of their own."""

    folder: Path
    is_fenced: bool = True
    """Whether workers get cgroups, where there can be any."""
    running: Running = field(init=False)

    def __attrs_post_init__(self) -> None:
        mps = Mps(self.folder / "mps", INSTANCE, run_folder=self.folder / "run")
        own, homes = self.folder / "own", self.folder / "homes"
        self.running = Running(SharingSettings(), own, homes, INSTANCE, mps, QUICK)
        if not self.is_fenced:
            self.running.cgroups = None

    def want(self, wanted: CommandSettings | None, worker_id: str = WORKER, **changes: Any) -> None:
        """Let a worker run a command."""
        commands = dict(self.running.settings.commands) | ({worker_id: wanted} if wanted else {})
        named = dict(self.running.settings.worker_commands) | ({worker_id: worker_id} if wanted else {})
        self.running.settings = SharingSettings(commands=commands, worker_commands=named)
        made: dict[str, Any] = {"agent_id": "a", "name": "one", "listen_port": 9001, "gpu_ids": ("GPU-1",)}
        worker = Worker(worker_id=worker_id, created_unix_us=1, **made | changes)
        self.running.want(worker, local_agent(), is_there=True)

    def remove(self) -> None:
        """Let no worker run any more."""
        self.running.forget_all_but(())

    async def gone(self) -> None:
        """Wait until the last of them has ended."""

        def is_gone() -> bool:
            self.remove()
            return not self.running._tended

        await until(is_gone, seconds=SECONDS)

    @property
    def state(self) -> WorkerState:
        """How the worker is."""
        return self.running.state(WORKER)

    async def up(self, worker_id: str = WORKER) -> WorkerState:
        """Wait until the worker runs."""
        await until(lambda: self.running.target(worker_id), seconds=SECONDS)
        return self.running.state(worker_id)

    async def written_to(self, name: str) -> str:
        """Wait until the command has written a file into its folder; return what."""

        def found() -> str:
            places = [one for where in ("homes", "own/homes") for one in self.folder.glob(f"{where}/*/{name}")]
            return places[0].read_text() if places else ""

        return str(await until(found, seconds=SECONDS))

    async def report(self) -> dict[str, Any]:
        """Return what the command has found."""
        found: dict[str, Any] = json.loads(await self.written_to("report.json"))
        return found

    def written(self) -> str:
        """Return what the command has written to its output."""
        log = self.folder / "own" / f"{WORKER}.log"
        return log.read_text() if log.exists() else ""


@asynccontextmanager
async def bench(*, is_fenced: bool = True) -> AsyncIterator[Bench]:
    """Run workers; when it is left, all that they have started is gone."""
    with open_folder() as folder:
        it = Bench(folder, is_fenced)
        async with trio.open_nursery() as nursery:
            await nursery.start(it.running.run)
            yield it
            nursery.cancel_scope.cancel()


@contextmanager
def program(*argv: str, **more: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program that has nothing to do with any worker."""
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
    except (FileNotFoundError, ProcessLookupError):
        return False
