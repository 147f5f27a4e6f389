"""Runs the workers of this host: each one's command, started again when it ends, stopped when it is not wanted.

A command runs as a user of its own (`launching`), enters its place without any rights of ours (`entering`), in a folder
of its own (`dwelling`) and behind a fence that holds whatever it starts (`fencing`); guests are let through only while
it is that user who listens on its port (`listening`).
"""

from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, field

from . import dwelling, fencing, launching, listening
from .fencing import AGAIN_SECONDS, SWEEP_SECONDS, Fence
from .life import WorkerStatus
from .models import Agent, Worker
from .mps import Mps, MpsState
from .settings import CommandSettings, SharingSettings
from .tended import STARTING, Ground, Pace, Tended, Wanted, WorkerState, mark_of

log = structlog.get_logger(__name__)

DISABLED: Final = "disabled"
GPU_GONE: Final = "a GPU of it is not there"

__all__ = ["Pace", "Running", "WorkerState"]


@define(eq=False)
class Running:
    """The service that starts and stops workers' commands; told by `want` and `forget_all_but`, asked by `state`.

    It must run in the main thread: what it starts ends with the thread that started it.
    """

    settings: SharingSettings
    folder: Path
    """Ours alone: what commands write is kept in it, and folders of commands of our own user."""
    homes: Path
    """Where commands of other users have folders of their own: all may pass through it and those above it."""
    instance: str
    """Tells the workers of this appliance from those of another on the same host."""
    mps: Mps
    pace: Pace = field(factory=Pace)
    cgroups: Path | None = field()
    """Under which each worker gets a cgroup; by default beneath our own, ``None`` where none can be made."""
    name: str = "local-workers"
    _tended: dict[str, Tended] = field(factory=dict, init=False)
    _needless: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    """Where the service waits while nothing runs here, and nothing shall."""

    @cgroups.default
    def _default_cgroups(self) -> Path | None:
        return fencing.cgroup_parent(self.instance)

    # ------------------------------------------------------------ told and asked

    def want(self, worker: Worker, agent: Agent, *, is_there: bool) -> None:
        """Say how a worker shall be now; quick, to be called again and again.

        :param is_there: whether all its GPUs are there.
        """
        tended = self._tended.get(worker.worker_id)
        if tended is None:
            tended = self._tended[worker.worker_id] = Tended(worker.worker_id, self._ground())
        command = self.settings.command(worker.worker_id, worker.name)
        tended.wanted, tended.why = None, self._why_not(worker, command, is_there=is_there)
        if tended.why or command is None:
            self.mps.release(worker.worker_id)
            return
        identity = launching.identity_of(command)
        if isinstance(identity, str):
            self.mps.release(worker.worker_id)
            tended.why = identity
            return
        held = self.mps.want(worker, agent, identity) or MpsState()
        if held.is_starting:
            tended.why = held.why
            return
        tended.wanted = self._wanted(worker, agent, command, identity, held)
        self._needless.unpark_all()

    def _why_not(self, worker: Worker, command: CommandSettings | None, *, is_there: bool) -> str:
        if not worker.enabled:
            return DISABLED
        if command is None:
            return launching.NO_COMMAND
        return "" if is_there else GPU_GONE

    def _wanted(
        self, worker: Worker, agent: Agent, command: CommandSettings, identity: launching.Identity, held: MpsState
    ) -> Wanted:
        homes = self.folder / "homes" if identity.is_own else self.homes
        folder = Path(command.folder) if command.folder else dwelling.place(homes, worker.worker_id, identity)
        variables = launching.environment(
            command, worker, agent, home=folder, mark=mark_of(self.instance, worker.worker_id), mps_pipe=held.pipe
        )
        return Wanted(
            argv=tuple(launching.arguments(command, worker, 0)),
            variables=tuple(sorted(variables.items())),
            command=command,
            worker=worker,
            identity=identity,
            folder=folder,
            mps_generation=held.generation,
        )

    def forget_all_but(self, worker_ids: Container[str]) -> None:
        """Stop the workers that are not among these, and forget them once they have."""
        for worker_id, tended in list(self._tended.items()):
            if worker_id not in worker_ids:
                self.mps.release(worker_id)
                tended.wanted, tended.why = None, "deleted"
                if tended.is_gone:
                    del self._tended[worker_id]

    def state(self, worker_id: str) -> WorkerState:
        """Return how a worker is."""
        tended = self._tended.get(worker_id)
        return WorkerState(status=WorkerStatus.PENDING, why=STARTING) if tended is None else tended.state()

    def target(self, worker_id: str) -> tuple[str, int] | None:
        """Return where a worker answers, ``None`` while it does not run."""
        return self.state(worker_id).target

    def is_held_by_mps(self, worker_id: str) -> bool:
        """Whether a worker runs, and was started under the daemon of ours that answers now."""
        tended, held = self._tended.get(worker_id), self.mps.state(worker_id)
        if tended is None or tended.running is None or held is None or not held.is_ready:
            return False
        return tended.running.mps_generation == held.generation

    @property
    def uses_own_uid(self) -> bool:
        """Whether a command may run as the appliance's own user: then nobody of that user is trusted any more."""
        return any(command.unsafe_same_uid for command in self.settings.commands.values())

    # ------------------------------------------------------------ the service

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; then stop everything."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._sweep()
        log.info("local_workers.ready", cgroups=str(self.cgroups or "none can be made: told by session and mark"))
        task_status.started()
        try:
            while True:
                await self._look()
                if all(tended.is_resting for tended in self._tended.values()):
                    await self._needless.park()
                else:
                    await trio.sleep(self.pace.look_seconds)
        finally:
            with trio.CancelScope(shield=True):
                await self._stop_all()

    async def _look(self) -> None:
        for tended in list(self._tended.values()):
            await tended.step()
        now = trio.current_time()
        due = [tended for tended in self._tended.values() if now >= tended.probe_at]
        if due:  # one look at the kernel's table for all
            found = await trio.to_thread.run_sync(listening.listeners)
            for tended in due:
                tended.judge(found.get(tended.port, ()), now)

    async def _stop_all(self) -> None:
        for tended in self._tended.values():
            tended.wanted = None
        with trio.move_on_after(self.pace.grace_seconds + SWEEP_SECONDS):
            while not all(tended.is_gone for tended in self._tended.values()):
                for tended in self._tended.values():
                    await tended.step()
                await trio.sleep(min(self.pace.look_seconds, AGAIN_SECONDS * 2))
        await self._sweep()
        if self.cgroups is not None:
            with suppress(OSError):  # there was none, or something in it will not be ended
                self.cgroups.rmdir()
        self.mps.release_all()

    async def _sweep(self) -> None:
        """End what is left of commands: by a run that was killed, or in spite of us."""
        with trio.move_on_after(SWEEP_SECONDS):
            for events in self.cgroups.glob("*/cgroup.events") if self.cgroups else ():
                fence = Fence(mark_of(self.instance, events.parent.name), events.parent)
                while not await fence.is_empty(0):
                    await fence.kill(0)
                    await trio.sleep(AGAIN_SECONDS)
                fence.take_down()
        await fencing.sweep(f"{self.instance}:")

    def _ground(self) -> Ground:
        return Ground(
            folder=self.folder,
            instance=self.instance,
            cgroups=self.cgroups,
            pace=self.pace,
            ports=lambda: frozenset(each.port for each in self._tended.values()),
        )
