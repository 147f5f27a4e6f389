"""One worker of this host: its command, running, waiting to be started again, or being ended."""

import math
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, field, frozen

from . import dwelling, fencing, launching, listening
from .fencing import Fence
from .life import WorkerStatus
from .models import Worker
from .settings import CommandSettings
from .starting import Launched, Start, launch

log = structlog.get_logger(__name__)

LOG_BYTES: Final = 16 * 2**20
LOG_KEPT_BYTES: Final = 2**16
MISSES_MAX: Final = 2
"""Looks in a row at which nobody may listen: the kernel's table is read while it changes."""
STARTING: Final = "starting: nothing answers on its port yet"
STOPPING: Final = "stopping"
INTRUDER: Final = "another user's program listens on its port, so no guest is let through to it"
FOR_ALL: Final = "its command listens on every address of this host, so the relay can be gone round"


@frozen(kw_only=True)
class Pace:
    """How long the workers of this host wait for what."""

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
    recheck_seconds: float = 5.0
    """Between two looks whether it still does."""


@frozen(kw_only=True)
class WorkerState:
    """How a worker of this host is."""

    status: WorkerStatus = WorkerStatus.STOPPED
    pid: int | None = None
    restarts: int = 0
    why: str = ""
    """Why it does not run, or what is wrong though it does, in plain words; empty for one that is well."""
    target: tuple[str, int] | None = None
    """Where its command answers."""


@frozen(kw_only=True)
class Wanted:
    """What shall run, in the form in which a change of it means to start anew."""

    argv: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    command: CommandSettings
    worker: Worker = field(eq=False)
    identity: launching.Identity
    folder: Path
    """Where it starts."""
    mps_generation: int = 0
    """Of the MPS daemon that holds it: once another answers, processes that it does not know are started anew."""


@frozen(kw_only=True)
class Ground:
    """What all workers of an appliance share."""

    folder: Path
    """Ours alone: what commands write."""
    instance: str
    """Tells the workers of this appliance from those of another on the same host."""
    cgroups: Path | None
    """Under which each worker gets a cgroup; ``None`` where none can be made."""
    pace: Pace
    ports: Callable[[], frozenset[int]]
    """The ports that workers have."""


@define(eq=False)
class Tended:
    """One worker. `step` does what is due; nothing else waits."""

    worker_id: str
    ground: Ground
    wanted: Wanted | None = None
    why: str = ""
    """Why it shall not run."""
    problem: str = ""
    """Why it does not, though it shall, or what is wrong with it."""
    running: Wanted | None = field(default=None, init=False)
    """As what it was started."""
    port: int = field(default=0, init=False)
    restarts: int = field(default=0, init=False)
    is_ready: bool = field(default=False, init=False)
    probe_at: float = field(default=math.inf, init=False)
    """When `judge` is due."""
    _launched: Launched | None = field(default=None, init=False)
    _fence: Fence | None = field(default=None, init=False)
    _ends: int = field(default=0, init=False)
    """How often in a row it has ended soon."""
    _misses: int = field(default=0, init=False)
    _started_at: float = field(default=0.0, init=False)
    _start_at: float = field(default=-math.inf, init=False)
    _kill_at: float = field(default=math.inf, init=False)

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it is left to be ended."""
        return self._launched is None

    @property
    def is_resting(self) -> bool:
        """Whether there is nothing to do for it until something shall run."""
        return self._launched is None and self.wanted is None

    @property
    def _is_ending(self) -> bool:
        return math.isfinite(self._kill_at)

    def state(self) -> WorkerState:
        """Return how it is."""
        if self._launched is None:
            return WorkerState(restarts=self.restarts, why=self.why or self.problem)
        status, why, target = WorkerStatus.PENDING, self.problem or STARTING, None
        if self._is_ending:
            status, why = WorkerStatus.STOPPING, self.why or STOPPING
        elif self.is_ready:
            status, why, target = WorkerStatus.RUNNING, self.problem, (listening.HOST, self.port)
        return WorkerState(status=status, pid=self._launched.pid, restarts=self.restarts, why=why, target=target)

    async def step(self) -> None:
        """Do what is due now."""
        now = trio.current_time()
        if self._launched is None:
            if self.wanted is not None and now >= self._start_at:
                self._start(self.wanted, now)
        elif self._is_ending:
            await self._end(self._launched, now)
        elif self._launched.has_ended():
            self._ended_by_itself(self._launched, now)
            await self._end(self._launched, now)
        elif self.wanted != self.running:
            await self._ask_to_end(self._launched, now)
        else:
            self._bound_log()

    # ------------------------------------------------------------ starting

    def _start(self, wanted: Wanted, now: float) -> None:
        self.port = listening.free_port(self.ground.ports())
        mark = mark_of(self.ground.instance, self.worker_id)
        log_fd, fence = -1, Fence(mark)
        try:
            log_fd = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if not wanted.command.folder:
                dwelling.dwell(wanted.folder, wanted.identity)
            fence = Fence.of(mark, self.worker_id, self.ground.cgroups)
            start = Start(
                argv=launching.arguments(wanted.command, wanted.worker, self.port),
                variables=dict(wanted.variables),
                identity=wanted.identity,
                folder=str(wanted.folder),
                cgroup=str(fence.cgroup or ""),
            )
            self._launched = launch(start, log_fd)
        except OSError as error:
            self.problem = f"its command cannot be started: {error.filename or 'no process'}: {error.strerror}"
            fence.take_down()
            self._again_later(now)
            return
        finally:
            if log_fd >= 0:
                os.close(log_fd)
        self.running, self._fence, self.problem = wanted, fence, ""
        self._started_at, self.probe_at, self.is_ready, self._misses, self._kill_at = now, now, False, 0, math.inf
        log.info("worker.started", worker=self.worker_id, pid=self._launched.pid, port=self.port)

    def judge(self, found: Sequence[listening.Listener], now: float) -> None:
        """Take over who listens on its port."""
        pace = self.ground.pace
        if self._launched is None or self.running is None or self._is_ending:
            self.probe_at = math.inf
            return
        # A model takes minutes to load, and the kernel's table is long where there are many connections.
        slow = (now - self._started_at) / 8
        self.probe_at = now + min(max(pace.probe_seconds, slow), pace.probe_max_seconds)
        if not found:
            self._misses += 1
            if self._misses >= MISSES_MAX:
                self.is_ready, self.problem = False, ""
            return
        self._misses = 0
        # Root may stand in front of a command, as the proxy of a container engine does.
        self.is_ready = all(each.uid in {self.running.identity.uid, 0} for each in found)
        if self.is_ready:
            self.problem = FOR_ALL if any(each.is_for_all for each in found) else ""
            self.probe_at = now + pace.recheck_seconds
        elif self.problem != INTRUDER:
            self.problem = INTRUDER
            log.warning("worker.port_taken", worker=self.worker_id, port=self.port, uids=[each.uid for each in found])

    # ------------------------------------------------------------ ending

    def _ended_by_itself(self, launched: Launched, now: float) -> None:
        self.problem = f"its command {launched.problem or _words(launched.status)}"
        if launched.problem and self.running is not None and not self.running.command.folder:
            self.problem += f" (it starts in {self.running.folder}, unless its command has a folder)"
        if not launched.problem:
            self.problem += "; it is started again"
        self.restarts += 1
        if now - self._started_at >= self.ground.pace.calm_seconds:
            self._ends = 0
        self._again_later(now)
        self._kill_at = now  # whatever it has left ends now
        log.warning("worker.ended", worker=self.worker_id, status=launched.status, reason=launched.problem)

    def _again_later(self, now: float) -> None:
        pauses = self.ground.pace.backoff_seconds
        self._start_at = now + pauses[min(self._ends, len(pauses) - 1)]
        self._ends += 1

    async def _ask_to_end(self, launched: Launched, now: float) -> None:
        self._kill_at, self._start_at, self._ends = now + self.ground.pace.grace_seconds, -math.inf, 0
        self.is_ready, self.problem = False, ""
        await fencing.send([-launched.pid], signal.SIGTERM)

    async def _end(self, launched: Launched, now: float) -> None:
        """See all of it ended, then collect it: until then its pid, by which its session is known, is nobody else's."""
        self.is_ready = False
        fence = self._fence or Fence(mark_of(self.ground.instance, self.worker_id))
        has_ended = launched.has_ended()
        if now >= self._kill_at or has_ended:
            await fence.kill(launched.pid)
        if not has_ended or not await fence.is_empty(launched.pid):
            return
        fence.take_down()
        launched.close()
        log.info("worker.is_gone", worker=self.worker_id, pid=launched.pid)
        self._launched, self._fence, self.running, self._kill_at, self.port = None, None, None, math.inf, 0

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


def mark_of(instance: str, worker_id: str) -> str:
    """Return what the processes of a worker are marked with."""
    return f"{instance}:{worker_id}"


def _words(status: int | None) -> str:
    if status is not None and status < 0 and -status in set(signal.Signals):
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
