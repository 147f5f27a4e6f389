"""One worker: its command, running, waiting to be started again, or being ended."""

import math
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, field, frozen

from ..life import WorkerStatus
from . import dwelling, leftovers, listening
from .fence import Fence, send
from .identity import Identity, identity_of
from .launch import Launched, Start, launch
from .variables import arguments, variables
from .wanted import NO_COMMAND, Wanted, WorkerState

log = structlog.get_logger(__name__)

LOG_BYTES: Final = 16 * 2**20
LOG_KEPT_BYTES: Final = 2**16
STARTING: Final = "starting: nothing answers on its port yet"
STOPPING: Final = "stopping"
FOR_ALL: Final = "its command listens on every address of this host, so the relay can be gone round"
INTRUDER: Final = "another user's program listens on its port"


@frozen(kw_only=True)
class Pace:
    """How long the runner waits for what."""

    look_seconds: float = 0.2
    backoff_seconds: tuple[float, ...] = (3.0, 6.0, 12.0, 24.0, 48.0, 60.0)
    """Before the next start, after so many ends in a row; the last for all further ones."""
    calm_seconds: float = 60.0
    """After so long a run the next end counts as the first again."""
    grace_seconds: float = 5.0
    """From being asked to end to being ended."""
    probe_seconds: float = 0.25
    """Between two looks whether it listens, at first; seldomer the longer it takes."""
    probe_max_seconds: float = 2.0


@frozen(kw_only=True)
class Ground:
    """What all workers of an appliance share."""

    folder: Path
    """Ours alone: what commands write, and notes of what runs."""
    homes: Path
    """Where commands start."""
    instance: str
    cgroups: Path | None
    pace: Pace
    environment: Mapping[str, str]
    """Of the appliance."""
    ports: Callable[[], frozenset[int]]
    """The ports that workers have."""


@define(eq=False)
class Tended:
    """One worker. `step` does what is due; nothing else waits."""

    worker_id: str
    ground: Ground
    wanted: Wanted | None = None
    why: str = ""
    """Why it does not run."""
    warning: str = ""
    port: int = 0
    restarts: int = 0
    is_ready: bool = False
    _running: Wanted | None = field(default=None, init=False)
    _identity: Identity | None = field(default=None, init=False)
    _launched: Launched | None = field(default=None, init=False)
    _fence: Fence | None = field(default=None, init=False)
    _ends: int = field(default=0, init=False)
    _started_at: float = field(default=0.0, init=False)
    _start_at: float = field(default=-math.inf, init=False)
    _kill_at: float = field(default=math.inf, init=False)
    _probe_at: float = field(default=0.0, init=False)

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it is left to be ended."""
        return self._launched is None and self._fence is None

    def state(self) -> WorkerState:
        """Return how it is."""
        found = WorkerState(restarts=self.restarts)
        pid = self._launched.pid if self._launched else None
        if math.isfinite(self._kill_at):
            return _with(found, WorkerStatus.STOPPING, pid, why=self.why or STOPPING)
        if self._launched is None:
            is_due = self.wanted is not None and not self.why
            return _with(found, WorkerStatus.PENDING if is_due else WorkerStatus.STOPPED, None, why=self.why)
        if not self.is_ready:
            return _with(found, WorkerStatus.PENDING, pid, why=self.why or STARTING)
        return WorkerState(
            status=WorkerStatus.RUNNING,
            pid=pid,
            restarts=self.restarts,
            target=(listening.HOST, self.port),
            warning=self.warning,
        )

    def be_told(self, wanted: Wanted | None, why: str) -> None:
        """Take over what shall run, and why nothing shall; a start that was put off is due now."""
        self.wanted, self.why, self._start_at, self._ends = wanted, why, -math.inf, 0

    async def step(self) -> None:
        """Do what is due now."""
        now = trio.current_time()
        if math.isfinite(self._kill_at):
            await self._end(now)
        elif self._launched is None:
            if self.wanted is not None and now >= self._start_at:
                self._start(self.wanted, now)
        elif self._launched.has_ended():
            self._ended_by_itself(self._launched, now)
            await self._end(now)
        elif self.wanted != self._running:
            await self._ask_to_end(self._launched, now)
        else:
            self._bound_log()
            if not self.is_ready and now >= self._probe_at:
                await self._probe(now)

    # ------------------------------------------------------------ starting

    def _start(self, wanted: Wanted, now: float) -> None:
        self.why, self.warning = self._refusal(wanted), ""
        if self.why or wanted.command is None or not isinstance(found := identity_of(wanted.command), Identity):
            # What refuses it may change without us: a user is made, a folder is opened.
            self._start_at = now + self.ground.pace.backoff_seconds[0]
            return
        self.port = listening.free_port(self.ground.ports())
        mark = f"{self.ground.instance}:{self.worker_id}"
        fence = Fence.of(mark, self.worker_id, self.ground.cgroups)
        log_fd = -1
        try:
            log_fd = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            folder = dwelling.dwelling(self.ground.homes, wanted, found)
            self._launched = launch(
                Start(
                    argv=arguments(wanted.command, port=self.port, worker_id=self.worker_id, name=wanted.name),
                    variables=variables(
                        wanted,
                        ours=self.ground.environment,
                        home=found.home if os.path.isdir(found.home) else folder,
                        user=found.name,
                        mark=mark,
                    ),
                    identity=found,
                    folder=folder,
                    cgroup=str(fence.cgroup or ""),
                ),
                log_fd,
            )
        except OSError as error:
            self.why = f"its command cannot be started: {error.filename or 'no process'}: {error.strerror}"
            fence.take_down()
            self._again_later(now)
            return
        finally:
            if log_fd >= 0:
                os.close(log_fd)
        self._running, self._identity, self._fence = wanted, found, fence
        self._started_at, self._probe_at, self.is_ready, self._kill_at = now, now, False, math.inf
        try:
            leftovers.note(self.ground.folder, self.worker_id, self._launched.pid)
        except OSError as error:  # a full disk: by its mark it is found all the same
            log.warning("worker.not_noted", worker=self.worker_id, reason=error.strerror)
        log.info("worker.started", worker=self.worker_id, pid=self._launched.pid, port=self.port)

    def _refusal(self, wanted: Wanted) -> str:
        if wanted.command is None:
            return NO_COMMAND
        found = identity_of(wanted.command)
        if isinstance(found, str):
            return found
        closed = "" if found.is_own or wanted.command.folder else dwelling.closed_above(self.ground.homes)
        return f"not available because {closed} keeps its user out: set folder for its command" if closed else ""

    async def _probe(self, now: float) -> None:
        # A model takes minutes to load, and the kernel's table is long where there are many connections.
        slow = (now - self._started_at) / 8
        self._probe_at = now + min(max(self.ground.pace.probe_seconds, slow), self.ground.pace.probe_max_seconds)
        found = await trio.to_thread.run_sync(listening.listeners, self.port)
        if not found or self._identity is None:
            return
        # A port is free to all users until its command has it: guests are not sent to a stranger. Root may stand in
        # front of a command, as the proxy of a container engine does.
        if any(each.uid not in {self._identity.uid, 0} for each in found):
            self.why = INTRUDER
            return
        self.is_ready, self.why = True, ""
        self.warning = FOR_ALL if any(each.is_for_all for each in found) else ""

    # ------------------------------------------------------------ ending

    def _ended_by_itself(self, launched: Launched, now: float) -> None:
        status = launched.process.returncode
        self.why = launched.problem or f"its command ended ({_words(status)}); it is started again"
        self.restarts += 1
        if now - self._started_at >= self.ground.pace.calm_seconds:
            self._ends = 0
        self._again_later(now)
        self._kill_at = now  # whatever it has left ends now
        log.warning("worker.ended", worker=self.worker_id, pid=launched.pid, status=status, reason=launched.problem)

    def _again_later(self, now: float) -> None:
        pauses = self.ground.pace.backoff_seconds
        self._start_at = now + pauses[min(self._ends, len(pauses) - 1)]
        self._ends += 1

    async def _ask_to_end(self, launched: Launched, now: float) -> None:
        self._kill_at, self._start_at, self._ends = now + self.ground.pace.grace_seconds, -math.inf, 0
        self.is_ready = False
        await send([-launched.pid], signal.SIGTERM)

    async def _end(self, now: float) -> None:
        """See all of it ended. While anything is in its session, the kernel gives the pid to nobody else."""
        fence, launched = self._fence, self._launched
        self.is_ready = False
        if fence is None or launched is None:
            self._kill_at = math.inf
            return
        if now >= self._kill_at:
            await fence.kill(launched.pid)
        has_ended = launched.has_ended()
        if await fence.members(launched.pid) or not has_ended:
            return
        fence.take_down()
        launched.close()
        leftovers.forget(self.ground.folder, self.worker_id)
        log.info("worker.is_gone", worker=self.worker_id, pid=launched.pid)
        self._launched, self._fence, self._running, self._kill_at, self.port = None, None, None, math.inf, 0

    # ------------------------------------------------------------ what it writes

    @property
    def _log(self) -> Path:
        return self.ground.folder / f"{self.worker_id}.log"

    def _bound_log(self) -> None:
        try:
            if self._log.stat().st_size <= LOG_BYTES:
                return
            with self._log.open("rb+") as file:
                file.seek(-LOG_KEPT_BYTES, os.SEEK_END)
                kept = file.read(LOG_KEPT_BYTES)
                file.truncate(0)  # the command appends: what it writes next comes after this
            self._log.with_suffix(".log.1").write_bytes(kept)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("worker.log_not_kept", worker=self.worker_id, reason=error.strerror)


def _with(found: WorkerState, status: WorkerStatus, pid: int | None, *, why: str) -> WorkerState:
    return WorkerState(status=status, pid=pid, restarts=found.restarts, why=why)


def _words(status: int) -> str:
    if status < 0:
        return f"ended by {signal.Signals(-status).name}" if -status in set(signal.Signals) else f"signal {-status}"
    return f"status {status}"
