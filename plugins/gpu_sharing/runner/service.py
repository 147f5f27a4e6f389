"""The runner itself: what is wanted, and a task that sees to it."""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, field

from . import leftovers
from .fence import Fence, cgroup_parent, marked, send
from .processes import Seen
from .tended import Ground, Pace, Tended
from .wanted import NO_COMMAND, UNKNOWN, Wanted, WorkerState

log = structlog.get_logger(__name__)

SWEEP_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 0.02


@define(eq=False)
class Runner:
    """Runs the commands of this host's workers. All calls come from the task tree that runs it; none of them waits.

    It can be told of workers before it runs and between two runs; they start when it runs. It must run in the main
    thread: what it starts ends with the thread that started it.
    """

    folder: Path
    """Ours alone: what commands write (``WORKER.log``), and notes of what runs."""
    homes: Path
    """Where commands without a folder of their own start: to be reached by their users, and written by nobody else."""
    instance: str
    """Tells the workers of this appliance from those of another one on the same host."""
    pace: Pace = field(factory=Pace)
    environment: Mapping[str, str] = field(factory=lambda: os.environ)
    """Of the appliance: PATH and LANG are passed on."""
    cgroups: Path | None = field()
    """Under which each worker gets a cgroup; by default beneath our own, ``None`` where none can be made."""
    name: str = "local-workers"
    _tended: dict[str, Tended] = field(factory=dict, init=False)
    _ground: Ground | None = field(default=None, init=False)
    _changed: trio.Event = field(factory=trio.Event, init=False)

    @cgroups.default
    def _default_cgroups(self) -> Path | None:
        return cgroup_parent(self.instance)

    # ------------------------------------------------------------ told and asked

    def put(self, wanted: Wanted) -> None:
        """Say what shall run for a worker; to say the same again changes nothing, to say otherwise starts it anew."""
        tended = self._tended.get(wanted.worker_id)
        if tended is None:
            tended = self._tended[wanted.worker_id] = Tended(wanted.worker_id, self._shared())
        if tended.wanted != wanted:
            tended.be_told(wanted, NO_COMMAND if wanted.command is None else "")
            self._changed.set()

    def remove(self, worker_id: str, why: str = "") -> None:
        """Let nothing run for a worker any more; ``why`` is what its state says until it is gone."""
        tended = self._tended.get(worker_id)
        if tended is None:
            return
        tended.be_told(None, why)
        if tended.is_gone:
            del self._tended[worker_id]
        self._changed.set()

    def state(self, worker_id: str) -> WorkerState:
        """Return how a worker is."""
        tended = self._tended.get(worker_id)
        return WorkerState(why=UNKNOWN) if tended is None else tended.state()

    def target(self, worker_id: str) -> tuple[str, int] | None:
        """Return where a worker's command answers; ``None`` while it does not."""
        return self.state(worker_id).target

    @property
    def worker_ids(self) -> frozenset[str]:
        """The workers that are wanted, and those that are still being ended."""
        return frozenset(self._tended)

    @property
    def uses_own_uid(self) -> bool:
        """Whether a command that is wanted may run as the appliance's own user: then nobody of it is to be trusted."""
        commands = (tended.wanted.command for tended in self._tended.values() if tended.wanted)
        return any(command.unsafe_same_uid for command in commands if command)

    # ------------------------------------------------------------ the service

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; then end everything."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self._sweep()
        task_status.started()
        try:
            while True:
                await self._look()
                with trio.move_on_after(self.pace.look_seconds if self._tended else float("inf")):
                    await self._changed.wait()
                self._changed = trio.Event()
        finally:
            with trio.move_on_after(self.pace.grace_seconds + SWEEP_SECONDS, shield=True):
                await self._end_all()

    async def _look(self) -> None:
        for worker_id, tended in list(self._tended.items()):
            await tended.step()
            if tended.wanted is None and tended.is_gone:
                del self._tended[worker_id]

    async def _end_all(self) -> None:
        wanted = {worker_id: tended.wanted for worker_id, tended in self._tended.items()}
        for tended in self._tended.values():
            tended.wanted = None
        try:
            while not all(tended.is_gone for tended in self._tended.values()):
                for tended in self._tended.values():
                    await tended.step()
                await trio.sleep(self.pace.look_seconds / 4)
        finally:
            for worker_id, tended in self._tended.items():  # for the next run, should there be one
                tended.wanted = wanted.get(worker_id)
            if self.cgroups:
                with suppress(OSError):  # there was none, or something in it still lives
                    self.cgroups.rmdir()

    async def _sweep(self) -> None:
        """End what an earlier run has left, which was killed."""
        running = {worker_id for worker_id, tended in self._tended.items() if not tended.is_gone}
        ground = self._shared()
        noted = leftovers.left(self.folder)
        fenced = [each.parent.name for each in ground.cgroups.glob("*/cgroup.procs")] if ground.cgroups else []
        with trio.move_on_after(SWEEP_SECONDS):
            for worker_id in {*noted, *fenced} - running:
                leader = noted.get(worker_id)
                await _end_left(Fence.of(f"{self.instance}:{worker_id}", worker_id, ground.cgroups), leader)
                leftovers.forget(self.folder, worker_id)
            if not running:
                await send(await trio.to_thread.run_sync(marked, self.instance), signal.SIGKILL)

    def _shared(self) -> Ground:
        if self._ground is None:
            self._ground = Ground(
                folder=self.folder,
                homes=self.homes,
                instance=self.instance,
                cgroups=self.cgroups,
                pace=self.pace,
                environment=self.environment,
                ports=lambda: frozenset(each.port for each in self._tended.values()),
            )
        return self._ground


async def _end_left(fence: Fence, leader: Seen | None) -> None:
    leader_pid = leader.pid if leader else 0
    while await fence.members(leader_pid):  # bounded by whoever calls
        await fence.kill(leader_pid)
        await trio.sleep(AGAIN_SECONDS)
    fence.take_down()
