"""A server that answers as it is told, and a drone that works for it."""

import subprocess
import sys
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define, evolve, field

from plugins.build_swarm.drone.drone import Drone
from plugins.build_swarm.drone.host import Figures
from plugins.build_swarm.drone.leftovers import MARK
from plugins.build_swarm.drone.models import Assignment, Options, Orders, Unreachable, Verdict
from plugins.build_swarm.drone.spool import Owed, Spool

PATIENCE_SECONDS = 30.0
ATOM = "=app-swarm/one-1.0"
LOG_ID = uuid.uuid4().hex
"""Of this run alone: a second one on this machine ends what has the same mark."""


async def until(check: Callable[[], Any]) -> Any:
    """Look again and again until ``check`` returns something true, and return that."""
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            if found := check():
                return found
            await trio.sleep(0.01)


@define(eq=False)
class ScriptedServer:
    """Gives out ``packages`` one after the other, and notes all that it is told."""

    packages: deque[str] = field(factory=deque, converter=deque)
    beats: list[Mapping[str, Any]] = field(factory=list)
    reports: list[Mapping[str, Any]] = field(factory=list)
    uploads: dict[str, bytes] = field(factory=dict)
    logs: dict[str, bytes] = field(factory=dict)
    log_outcomes: dict[str, str] = field(factory=dict)
    orders: Orders = field(factory=Orders)
    """Said with every answer to a heartbeat."""
    work_orders: Orders = field(factory=Orders)
    """Said with every answer to a request for work."""
    verdict: Verdict = field(factory=lambda: Verdict(accepted=True))
    failures: dict[str, list[Exception]] = field(factory=dict)
    """By what is asked (register, work, complete, upload, log): raised one after the other, then no more."""
    is_away: bool = False
    work_requests: int = 0

    async def _asked(self, what: str) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_away:
            raise Unreachable("away")
        if self.failures.get(what):
            raise self.failures[what].pop(0)

    async def register(self, beat: Mapping[str, Any]) -> Orders:
        """Take a heartbeat."""
        await self._asked("register")
        self.beats.append(beat)
        return self.orders

    async def work(self) -> Assignment:
        """Give out the next package."""
        await self._asked("work")
        self.work_requests += 1
        package = self.packages.popleft() if self.packages else None
        return Assignment(package=package, session_id="session-1", orders=self.work_orders)

    async def complete(self, report: Mapping[str, Any]) -> Verdict:
        """Take a report."""
        await self._asked("complete")
        self.reports.append(report)
        return self.verdict

    async def upload(self, path: str, file: Path, sha256: str) -> None:
        """Take a binary package."""
        await self._asked("upload")
        self.uploads[path] = await trio.Path(file).read_bytes()

    async def log(self, log_id: str, package: str, offset: int, data: bytes, outcome: str) -> int:
        """Take a part of a log as the real server does."""
        await self._asked("log")
        known = self.logs.get(log_id, b"")
        if offset <= len(known):
            known += data[len(known) - offset :]
            self.logs[log_id] = known
        if outcome and len(known) == offset + len(data):
            self.log_outcomes[log_id] = outcome
        return len(known)

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """Package and outcome of each report."""
        return [(one["package"], one["status"]) for one in self.reports]


def script(text: str, *arguments: str) -> tuple[str, ...]:
    """Return a build command that runs some Python."""
    return (sys.executable, "-I", "-c", text, *arguments)


def options(folder: Path, **changed: Any) -> Options:
    """Return options that wait for nothing for long."""
    packages = folder / "pkgs"
    packages.mkdir(exist_ok=True)
    made = Options(
        drone_id="id-1",
        name="drone-1",
        build_argv=script("print('built')"),
        state_dir=folder / "state",
        pkgdir=packages,
        cores=4,
        ram_gb=8.0,
        heartbeat_seconds=0.05,
        poll_seconds=0.05,
        retry_seconds=0.05,
        stop_seconds=10.0,
    )
    return evolve(made, **changed)


@define(eq=False)
class Working:
    """A drone that runs."""

    drone: Drone
    server: ScriptedServer
    spool: Spool
    said: list[str]
    status: int | None = None


def made(folder: Path, server: ScriptedServer, **changed: Any) -> Working:
    """Return a drone that nobody has started."""
    said: list[str] = []
    chosen = options(folder, **changed)
    spool = Spool(chosen.state_dir)
    spool.open()
    drone = Drone(options=chosen, server=server, spool=spool, figures=Figures(folder), tell=said.append)
    return Working(drone, server, spool, said)


@asynccontextmanager
async def working(folder: Path, server: ScriptedServer, **changed: Any) -> AsyncIterator[Working]:
    """Run a drone; in the end it is stopped as by a signal."""
    one = made(folder, server, **changed)
    try:
        with trio.fail_after(PATIENCE_SECONDS * 2):
            async with trio.open_nursery() as nursery:

                async def run() -> None:
                    one.status = await one.drone.run()

                nursery.start_soon(run)
                yield one
                one.drone.stop()
    finally:
        one.spool.close()


@contextmanager
def left_running(mark: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of a build, as a drone that was killed leaves it."""
    process = subprocess.Popen(
        script("import time; print('here', flush=True); time.sleep(600)"),
        env={MARK: mark},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def owed(folder: Path, **said: Any) -> Owed:
    """Leave something owed, as a drone that was killed does."""
    spool = Spool(folder / "state")
    spool.open()
    one = Owed(**({"package": ATOM, "log_id": LOG_ID} | said))
    spool.write(one)
    spool.close()
    return one
