"""Runs the workers of this host: each one's command, started again when it ends, stopped when it is not wanted."""

import math
import os
import signal
import subprocess
from collections.abc import Container
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, field, frozen

from . import launching
from .life import WorkerStatus
from .models import Agent, Worker
from .mps import Mps, MpsState
from .settings import CommandSettings, SharingSettings

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.2
BACKOFF_SECONDS: Final = (3.0, 6.0, 12.0, 24.0, 48.0, 60.0)
CALM_SECONDS: Final = 60.0
"""After so long a run the next end counts as the first again."""
STOP_SECONDS: Final = 5.0
PROBE_SECONDS: Final = 1.0
LOG_BYTES: Final = 16 * 2**20
HOST: Final = "127.0.0.1"
DISABLED: Final = "disabled"
GPU_GONE: Final = "a GPU of it is not there"
STARTING: Final = "starting: nothing answers on its port yet"


@frozen(kw_only=True)
class WorkerState:
    """How a worker of this host is."""

    status: WorkerStatus = WorkerStatus.STOPPED
    pid: int | None = None
    restarts: int = 0
    why: str = ""
    """Why it does not run, in plain words; empty for one that does."""
    target: tuple[str, int] | None = None
    """Where its command answers."""


@define(eq=False)
class _Wanted:
    """What shall run, in the form in which a change of it means to start anew."""

    argv: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    command: CommandSettings
    worker: Worker
    agent: Agent
    identity: launching.Identity
    mps_generation: int = 0
    """Of the MPS daemon that holds it: once another answers, processes that it does not know are started anew."""

    @property
    def recipe(self) -> tuple[object, ...]:
        """Equal for what can go on as it runs."""
        return self.argv, self.variables, self.identity, self.mps_generation


@define(eq=False)
class _Process:
    """One worker's command, running, waiting to be started again, or not wanted."""

    worker_id: str
    wanted: _Wanted | None = None
    why: str = ""
    """Why it shall not run."""
    problem: str = ""
    """Why it does not, though it shall."""
    running: "subprocess.Popen[bytes] | None" = None
    recipe: tuple[object, ...] = ()
    mps_generation: int = 0
    """Of the MPS daemon under which it was started; 0: under none."""
    port: int = 0
    is_ready: bool = False
    restarts: int = 0
    ends: int = 0
    """How often in a row it has ended soon."""
    started_at: float = 0.0
    start_at: float = -math.inf
    kill_at: float = math.inf
    probe_at: float = 0.0

    def state(self) -> WorkerState:
        if self.running is None:
            return WorkerState(restarts=self.restarts, why=self.why or self.problem)
        pid, is_stopping = self.running.pid, math.isfinite(self.kill_at)
        if is_stopping:
            return WorkerState(status=WorkerStatus.STOPPING, pid=pid, restarts=self.restarts, why=self.why)
        if not self.is_ready:
            return WorkerState(status=WorkerStatus.PENDING, pid=pid, restarts=self.restarts, why=STARTING)
        target = (HOST, self.port)
        return WorkerState(status=WorkerStatus.RUNNING, pid=pid, restarts=self.restarts, target=target)


@define(eq=False)
class Running:
    """The service that starts and stops workers' commands; told by `want` and `forget_all_but`, asked by `state`."""

    settings: SharingSettings
    folder: Path
    """Where what commands write is kept."""
    instance: str
    """Tells the workers of this appliance from those of another on the same host."""
    mps: Mps
    name: str = "local-workers"
    _processes: dict[str, _Process] = field(factory=dict, init=False)

    # ------------------------------------------------------------ told and asked

    def want(self, worker: Worker, agent: Agent, *, is_there: bool) -> None:
        """Say how a worker shall be now; quick, to be called again and again.

        :param is_there: whether all its GPUs are there.
        """
        process = self._processes.setdefault(worker.worker_id, _Process(worker.worker_id))
        command = self.settings.command(worker.worker_id, worker.name)
        process.wanted, process.why = None, self._why_not(worker, command, is_there=is_there)
        if process.why or command is None:
            self.mps.release(worker.worker_id)
            return
        identity = launching.identity_of(command)
        if isinstance(identity, str):
            self.mps.release(worker.worker_id)
            process.why = identity
            return
        held = self.mps.want(worker, agent, identity) or MpsState()
        if held.is_starting:
            process.why = held.why
            return
        process.wanted = _Wanted(
            argv=tuple(launching.arguments(command, worker, 0)),
            variables=tuple(sorted(self._variables(worker, agent, command, identity, held.pipe).items())),
            command=command,
            worker=worker,
            agent=agent,
            identity=identity,
            mps_generation=held.generation,
        )

    def _why_not(self, worker: Worker, command: CommandSettings | None, *, is_there: bool) -> str:
        if not worker.enabled:
            return DISABLED
        if command is None:
            return launching.NO_COMMAND
        return "" if is_there else GPU_GONE

    def _variables(
        self,
        worker: Worker,
        agent: Agent,
        command: CommandSettings,
        identity: launching.Identity,
        mps_pipe: Path | None,
    ) -> dict[str, str]:
        mark = f"{self.instance}:{worker.worker_id}"
        return launching.environment(command, worker, agent, identity=identity, mark=mark, mps_pipe=mps_pipe)

    def forget_all_but(self, worker_ids: Container[str]) -> None:
        """Stop the workers that are not among these, and forget them once they have."""
        for worker_id, process in list(self._processes.items()):
            if worker_id not in worker_ids:
                self.mps.release(worker_id)
                process.wanted, process.why = None, "deleted"
                if process.running is None:
                    del self._processes[worker_id]

    def state(self, worker_id: str) -> WorkerState:
        """Return how a worker is."""
        process = self._processes.get(worker_id)
        return WorkerState(status=WorkerStatus.PENDING, why=STARTING) if process is None else process.state()

    def target(self, worker_id: str) -> tuple[str, int] | None:
        """Return where a worker answers, ``None`` while it does not run."""
        return self.state(worker_id).target

    def is_held_by_mps(self, worker_id: str) -> bool:
        """Whether a worker runs, and was started under the daemon of ours that answers now."""
        process, held = self._processes.get(worker_id), self.mps.state(worker_id)
        if process is None or process.running is None or held is None or not held.is_ready:
            return False
        return process.mps_generation == held.generation

    @property
    def uses_own_uid(self) -> bool:
        """Whether a command may run as the appliance's own user: then nobody of that user is trusted any more."""
        return any(command.unsafe_same_uid for command in self.settings.commands.values())

    # ------------------------------------------------------------ the service

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; then stop everything."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._sweep(f"{self.instance}:*")  # what a run has left that was killed
        task_status.started()
        try:
            while True:
                for process in list(self._processes.values()):
                    await self._step(process)
                await trio.sleep(LOOK_SECONDS)
        finally:
            with trio.CancelScope(shield=True):
                await self._stop_all()

    async def _step(self, process: _Process) -> None:
        running, wanted, now = process.running, process.wanted, trio.current_time()
        if running is None:
            if wanted is not None and now >= process.start_at:
                self._start(process, wanted, now)
            return
        if running.poll() is not None:
            await self._ended(process, running, now)
        elif wanted is None or wanted.recipe != process.recipe:
            await self._stop(process, running, now)
        else:
            self._bound_log(process)
            if not process.is_ready and now >= process.probe_at:
                process.is_ready = await _answers(process.port)
                process.probe_at = now + PROBE_SECONDS

    def _start(self, process: _Process, wanted: _Wanted, now: float) -> None:
        process.port = launching.free_port()
        argv = launching.arguments(wanted.command, wanted.worker, process.port)
        folder = Path(wanted.command.folder) if wanted.command.folder else wanted.identity.home
        output = os.open(self._log(process), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            process.running = launching.start(argv, dict(wanted.variables), wanted.identity, folder, output)
        except OSError as error:
            process.problem = f"its command cannot be started: {error.filename or argv[0]}: {error.strerror}"
            self._again_later(process, now)
            return
        finally:
            os.close(output)
        process.recipe, process.started_at, process.is_ready, process.probe_at = wanted.recipe, now, False, now
        process.kill_at, process.mps_generation = math.inf, wanted.mps_generation
        log.info("worker.started", worker=process.worker_id, pid=process.running.pid, port=process.port)

    async def _ended(self, process: _Process, running: "subprocess.Popen[bytes]", now: float) -> None:
        was_stopped = math.isfinite(process.kill_at)
        process.running, process.is_ready, process.kill_at = None, False, math.inf
        await self._sweep(f"{self.instance}:{process.worker_id}")
        if was_stopped:
            process.start_at = now
            return
        process.problem = f"its command ended with status {running.returncode}; it is started again"
        process.restarts += 1
        log.warning("worker.ended", worker=process.worker_id, status=running.returncode)
        if now - process.started_at >= CALM_SECONDS:
            process.ends = 0
        self._again_later(process, now)

    def _again_later(self, process: _Process, now: float) -> None:
        process.start_at = now + BACKOFF_SECONDS[min(process.ends, len(BACKOFF_SECONDS) - 1)]
        process.ends += 1

    async def _stop(self, process: _Process, running: "subprocess.Popen[bytes]", now: float) -> None:
        if not math.isfinite(process.kill_at):
            process.kill_at = now + STOP_SECONDS
            _signal(running.pid, signal.SIGTERM)
        elif now >= process.kill_at:
            _signal(running.pid, signal.SIGKILL)

    async def _stop_all(self) -> None:
        for process in self._processes.values():
            process.wanted = None
        with trio.move_on_after(STOP_SECONDS + 1):
            while any(process.running is not None for process in self._processes.values()):
                for process in self._processes.values():
                    await self._step(process)
                await trio.sleep(LOOK_SECONDS / 4)
        await self._sweep(f"{self.instance}:*")
        self.mps.release_all()

    async def _sweep(self, mark: str) -> None:
        """Kill what is left of a worker, also what has left its session."""
        for pid in await trio.to_thread.run_sync(launching.processes_of, mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            except PermissionError:
                log.warning("worker.process_not_ours", pid=pid)

    def _log(self, process: _Process) -> Path:
        return self.folder / f"{process.worker_id}.log"

    def _bound_log(self, process: _Process) -> None:
        path = self._log(process)
        if path.exists() and path.stat().st_size > LOG_BYTES:  # appended to: what comes next begins at its start
            os.truncate(path, 0)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        log.debug("worker.group_is_gone", pid=pid)


async def _answers(port: int) -> bool:
    with trio.move_on_after(PROBE_SECONDS):
        try:
            stream = await trio.open_tcp_stream(HOST, port)
        except OSError:
            return False
        await stream.aclose()
        return True
    return False
