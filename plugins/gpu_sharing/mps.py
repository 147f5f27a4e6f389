"""MPS control daemons of ours: one for each set of GPUs and user whose workers want soft limits.

CUDA's Multi-Process Service holds each process that connects to it to the part that its variables name. A control
daemon serves the processes of its own user, so each user has one, with a pipe and a log directory that nobody else can
enter. It runs in the foreground as our child, is asked now and then whether it still answers, is started again with
back-off when it does not, and is told to ``quit`` once no worker has wanted it for a while. Daemons of others are never
spoken to: we know ours by the directories that we made for them.

A worker can reach one daemon only, so one on several GPUs has a daemon of its own for that set of GPUs. All processes
of a daemon share one fault domain: a fatal fault of one ends the others.

Source: NVIDIA's guide to the Multi-Process Service (deploy/mps), ``nvidia-cuda-mps-control(1)``.
"""

import hashlib
import itertools
import math
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, field, frozen

from . import fencing, launching
from .fencing import Fence
from .models import Agent, Worker
from .mps_folder import Folder, bound_logs, clear, make_folder
from .starting import Launched, Start, launch

log = structlog.get_logger(__name__)

PROGRAM: Final = "nvidia-cuda-mps-control"
MISSING: Final = f"not available because {PROGRAM} is missing"
STARTING: Final = "its MPS control daemon is starting"
LOOK_SECONDS: Final = 0.2
READY_SECONDS: Final = 10.0
"""Within which a daemon answers for the first time."""
ASK_SECONDS: Final = 10.0
"""Between two looks at one that runs."""
ANSWER_SECONDS: Final = 5.0
LINGER_SECONDS: Final = 15.0
"""For which one stays that nobody wants: longer than a worker takes to stop."""
QUIT_SECONDS: Final = 5.0
STOP_SECONDS: Final = 8.0
"""For which the workers are waited for when everything stops."""
BACKOFF_SECONDS: Final = (3.0, 6.0, 12.0, 30.0, 60.0, 300.0)
CALM_SECONDS: Final = 60.0
"""After so long a run the next end counts as the first again."""
MISSES_MAX: Final = 2
"""Looks in a row that a daemon may leave unanswered."""


@frozen(kw_only=True)
class MpsState:
    """What MPS is for a worker now."""

    pipe: Path | None = None
    """The directory that its processes are told of; ``None`` where no daemon can be."""
    is_ready: bool = False
    """Whether its daemon answers."""
    is_starting: bool = False
    """Whether it is worth waiting for: it has not been seen to fail."""
    generation: int = 0
    """Of the daemon that answered last; processes started under another one are not held. 0: none ever did."""
    why: str = ""
    """Why its daemon does not hold it, in words; empty for one that answers."""


def is_missing() -> bool:
    """Whether there is no MPS on this host."""
    return shutil.which(PROGRAM) is None


def wants(worker: Worker, agent: Agent) -> bool:
    """Whether a worker wants soft limits that MPS can set: a part of whole GPUs of NVIDIA."""
    if not worker.claim.is_fraction or worker.isolation_mode not in (None, "soft") or not worker.gpu_ids:
        return False
    vendors = {gpu.gpu_id: gpu.vendor for gpu in agent.gpus}
    return all(vendors.get(one) == "nvidia" and not one.startswith("MIG-") for one in worker.gpu_ids)


@define(eq=False)
class _Daemon:
    """One control daemon, running, waiting to be started again, or not wanted."""

    key: str
    gpu_ids: tuple[str, ...]
    identity: launching.Identity
    wanted_by: set[str] = field(factory=set)
    folder: Folder | None = None
    running: Launched | None = None
    is_ready: bool = False
    generation: int = 0
    problem: str = ""
    ends: int = 0
    misses: int = 0
    started_at: float = 0.0
    start_at: float = -math.inf
    ask_at: float = 0.0
    unwanted_since: float = math.inf

    def state(self) -> MpsState:
        if self.folder is None and self.problem:  # nothing can be, or not yet
            return MpsState(generation=self.generation, why=self.problem)
        pipe = None if self.folder is None else self.folder.pipe
        is_starting = not self.generation and not self.problem
        why = "" if self.is_ready else self.problem or STARTING
        return MpsState(pipe=pipe, is_ready=self.is_ready, is_starting=is_starting, generation=self.generation, why=why)


@define(eq=False)
class Mps:
    """The service that runs the daemons; told by `want` and `release`."""

    folder: Path
    """Ours; daemons of our own user have their directories in it."""
    instance: str
    """Tells our daemons from those of another appliance on the same host."""
    run_folder: Path = Path("/run")
    """Where daemons of other users have theirs, which cannot enter ``folder``."""
    linger_seconds: float = LINGER_SECONDS
    ready_seconds: float = READY_SECONDS
    ask_seconds: float = ASK_SECONDS
    backoff_seconds: tuple[float, ...] = BACKOFF_SECONDS
    name: str = "mps-daemons"
    _daemons: dict[str, _Daemon] = field(factory=dict, init=False)
    _generations: Iterator[int] = field(factory=lambda: itertools.count(1), init=False)
    _needless: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    """Where the service waits while no daemon is wanted."""

    # ------------------------------------------------------------ told and asked

    def want(self, worker: Worker, agent: Agent, identity: launching.Identity) -> MpsState | None:
        """Say that a worker shall run as somebody; quick, to be called again and again.

        Return what MPS is for it now, ``None`` where it wants none.
        """
        if not wants(worker, agent):
            self.release(worker.worker_id)
            return None
        if is_missing():
            self.release(worker.worker_id)
            return MpsState(why=MISSING)
        gpu_ids = tuple(sorted(worker.gpu_ids))
        key = f"{identity.uid}-{hashlib.sha256(','.join(gpu_ids).encode()).hexdigest()[:12]}"
        daemon = self._daemons.get(key)
        if daemon is None:
            daemon = self._daemons[key] = _Daemon(key, gpu_ids, identity)
            self._needless.unpark_all()
        if worker.worker_id not in daemon.wanted_by:
            self.release(worker.worker_id)
            daemon.wanted_by.add(worker.worker_id)
        return daemon.state()

    def release(self, worker_id: str) -> None:
        """Say that a worker wants no daemon any more."""
        for daemon in self._daemons.values():
            daemon.wanted_by.discard(worker_id)

    def release_all(self) -> None:
        """Say that no worker runs any more."""
        for daemon in self._daemons.values():
            daemon.wanted_by.clear()

    def state(self, worker_id: str) -> MpsState | None:
        """Return what MPS is for a worker, ``None`` where none is wanted for it."""
        return next((each.state() for each in self._daemons.values() if worker_id in each.wanted_by), None)

    # ------------------------------------------------------------ the service

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; then wait until the workers have stopped, and stop every daemon."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await fencing.sweep(self._mark(""))  # what a run has left that was killed
        await trio.to_thread.run_sync(partial(clear, own=self.folder, run=self.run_folder, instance=self.instance))
        task_status.started()
        try:
            while True:
                for daemon in list(self._daemons.values()):
                    await self._step(daemon)
                if not self._daemons:
                    await self._needless.park()
                else:
                    await trio.sleep(LOOK_SECONDS)
        finally:
            with trio.CancelScope(shield=True):
                await self._stop_all()

    async def _step(self, daemon: _Daemon) -> None:
        now = trio.current_time()
        if daemon.wanted_by:
            daemon.unwanted_since = math.inf
        elif math.isinf(daemon.unwanted_since):
            daemon.unwanted_since = now
        if daemon.running is None:
            if daemon.wanted_by and now >= daemon.start_at:
                await self._start(daemon, now)
            elif now - daemon.unwanted_since >= self.linger_seconds:
                await self._forget(daemon)
        elif daemon.running.has_ended():
            how = daemon.running.problem or f"ended with status {daemon.running.status}"
            await self._failed(daemon, f"its MPS control daemon {how}", now)
        elif now - daemon.unwanted_since >= self.linger_seconds:
            await self._quit(daemon)
            await self._forget(daemon)
        else:
            await self._look(daemon, now)

    async def _start(self, daemon: _Daemon, now: float) -> None:
        places = {"own": self.folder, "run": self.run_folder}
        make = partial(make_folder, daemon.key, daemon.identity, **places, instance=self.instance)
        try:
            daemon.folder = await trio.to_thread.run_sync(make)
            output = os.open(
                self.folder / f"{daemon.key}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
            )
            try:
                argv = [shutil.which(PROGRAM) or PROGRAM, "-f"]
                variables = self._variables(daemon)
                start = Start(argv=argv, variables=variables, identity=daemon.identity, folder="/")
                daemon.running = launch(start, output)
            finally:
                os.close(output)
        except OSError as error:
            daemon.problem = f"its MPS control daemon cannot be started: {error.filename or ''} {error.strerror}"
            self._again_later(daemon, now)
            return
        daemon.started_at, daemon.ask_at, daemon.misses = now, now, 0
        log.info("mps.started", uid=daemon.identity.uid, gpus=daemon.gpu_ids, pid=daemon.running.pid)

    def _variables(self, daemon: _Daemon) -> dict[str, str]:
        found = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "HOME": str(daemon.identity.home),
            launching.MARK: self._mark(daemon.key),
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            # By uuid: the server numbers anew what it is shown, and clients that name theirs by uuid do not mind.
            "CUDA_VISIBLE_DEVICES": ",".join(daemon.gpu_ids),
        }
        if daemon.folder is not None:
            found["CUDA_MPS_PIPE_DIRECTORY"] = str(daemon.folder.pipe)
            found["CUDA_MPS_LOG_DIRECTORY"] = str(daemon.folder.log)
        return found

    def _mark(self, key: str) -> str:
        return f"mps:{self.instance}:{key}"

    async def _look(self, daemon: _Daemon, now: float) -> None:
        if now < daemon.ask_at or daemon.folder is None:
            return
        if not daemon.is_ready:
            if (daemon.folder.pipe / "control").exists() and await self._ask(daemon, "get_server_list"):
                daemon.is_ready, daemon.problem, daemon.generation = True, "", next(self._generations)
                daemon.ask_at = now + self.ask_seconds
                log.info("mps.ready", uid=daemon.identity.uid, gpus=daemon.gpu_ids)
            elif now - daemon.started_at >= self.ready_seconds:
                await self._failed(
                    daemon, f"its MPS control daemon did not answer within {self.ready_seconds:g} s", now
                )
            return
        await trio.to_thread.run_sync(bound_logs, daemon.folder, daemon.identity)
        daemon.ask_at = now + self.ask_seconds
        daemon.misses = 0 if await self._ask(daemon, "get_server_list") else daemon.misses + 1
        if daemon.misses >= MISSES_MAX:
            await self._failed(daemon, "its MPS control daemon did not answer any more", now)

    async def _ask(self, daemon: _Daemon, command: str) -> bool:
        """Give a daemon a command through its own pipe, as its own user; return whether it took it."""
        with trio.move_on_after(ANSWER_SECONDS):
            try:
                done = await trio.run_process(
                    [shutil.which(PROGRAM) or PROGRAM],
                    stdin=f"{command}\n".encode(),
                    env=self._variables(daemon),
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                    cwd="/",
                    **launching.as_user(daemon.identity),
                )
            except OSError as error:
                log.warning("mps.cannot_ask", reason=str(error))
                return False
            return done.returncode == 0
        return False

    async def _failed(self, daemon: _Daemon, problem: str, now: float) -> None:
        log.warning("mps.failed", uid=daemon.identity.uid, gpus=daemon.gpu_ids, reason=problem)
        daemon.problem = f"{problem}; it is started again"
        await self._kill(daemon)
        if now - daemon.started_at >= CALM_SECONDS:
            daemon.ends = 0
        self._again_later(daemon, now)

    def _again_later(self, daemon: _Daemon, now: float) -> None:
        daemon.start_at = now + self.backoff_seconds[min(daemon.ends, len(self.backoff_seconds) - 1)]
        daemon.ends += 1

    async def _quit(self, daemon: _Daemon) -> None:
        """Let a daemon end by itself; what has not within its time is killed."""
        running = daemon.running
        if running is not None and not running.has_ended() and await self._ask(daemon, "quit"):
            with trio.move_on_after(QUIT_SECONDS):
                while not running.has_ended():  # noqa: ASYNC110  a child has no event here
                    await trio.sleep(LOOK_SECONDS / 4)
        await self._kill(daemon)
        log.info("mps.stopped", uid=daemon.identity.uid, gpus=daemon.gpu_ids)

    async def _kill(self, daemon: _Daemon) -> None:
        """Kill a daemon with the servers that it has started."""
        running, daemon.running, daemon.is_ready = daemon.running, None, False
        if running is None:
            return
        fence = Fence(self._mark(daemon.key))
        with trio.move_on_after(QUIT_SECONDS):
            while True:
                await fence.kill(running.pid)
                if running.has_ended() and await fence.is_empty(running.pid):
                    break
                await trio.sleep(LOOK_SECONDS / 10)
        if running.has_ended():
            running.close()
        else:  # in a driver that does not come back: the kernel collects it when it does
            log.warning("mps.will_not_end", pid=running.pid)

    async def _forget(self, daemon: _Daemon) -> None:
        del self._daemons[daemon.key]
        if daemon.folder is not None:
            await trio.to_thread.run_sync(daemon.folder.remove)

    async def _stop_all(self) -> None:
        with trio.move_on_after(STOP_SECONDS):
            while any(daemon.wanted_by for daemon in self._daemons.values()):  # noqa: ASYNC110  workers still stopping
                await trio.sleep(LOOK_SECONDS / 4)
        async with trio.open_nursery() as nursery:
            for daemon in self._daemons.values():
                nursery.start_soon(self._quit, daemon)
        for daemon in list(self._daemons.values()):
            await self._forget(daemon)
