"""What the swarm does by itself, once a second and less often: watches, writes behind, forgets what is old."""

from collections.abc import Callable
from typing import Any, Final

import structlog
import trio
from attrs import define, field

from appliance.plugin import Busy, StorageFailed

from . import queue_store
from .durable import Durable
from .passing import pass_time
from .rules import DAY_US
from .saving import put_aside

TICK_SECONDS: Final = 5.0
STEP_SECONDS: Final = 1.0
PRUNE_SECONDS: Final = 300.0
GRACE_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


@define(eq=False)
class Tending(Durable):
    """The service that `Swarm` is."""

    _announced: int = field(default=-1, init=False)
    _is_failing: bool = field(default=False, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch leases, silence, sessions and blocked packages; write behind what drones say of themselves."""
        task_status.started()
        next_tick = next_prune = trio.current_time()
        try:
            while True:
                await self._guarded(self._step)
                if trio.current_time() >= next_tick:
                    next_tick = trio.current_time() + TICK_SECONDS
                    await self._guarded(self.tick)
                if trio.current_time() >= next_prune:
                    next_prune = trio.current_time() + PRUNE_SECONDS
                    await self._guarded(self.prune)
                await trio.sleep(STEP_SECONDS)
        finally:
            with trio.move_on_after(GRACE_SECONDS, shield=True):
                await self._guarded(self._step)
                await self._guarded(self.write_heard)

    async def _guarded(self, work: Callable[[], Any]) -> None:
        """Do something; a disk that cannot be written now is tried again, and nothing is lost by it."""
        try:
            await work()
        except (StorageFailed, Busy) as failure:
            if not self._is_failing:
                log.warning("build_swarm.cannot_write", problem=failure.message, hint=failure.hint)
            self._is_failing = True
        else:
            self._is_failing = False

    async def _step(self) -> None:
        if self.revision != self._announced:
            self._announced = self.revision
            self.core.events.announce("swarm.changed", {"revision": self.revision}, source=self.core.name)
        await self.settle()
        await self.chronicle.write_behind()

    async def tick(self) -> None:
        """Do what time has made due: offline drones, lost work, blocked packages, sessions."""
        pass_time(self.desk, self.moment())
        await self.settle()
        await self.write_heard()

    async def write_heard(self) -> None:
        """Store what drones have said of themselves since the last time."""
        with put_aside(self.desk.fleet) as rows:
            if rows:
                await self.core.database.write(lambda connection: queue_store.put_heard(connection, rows))

    async def prune(self) -> None:
        """Delete events and sessions that are older than they are kept."""
        now = self.core.now()
        events_before = now - int(self.settings.queue_events_days * DAY_US)
        await self.chronicle.prune(events_before, self.settings.queue_events_max)
        before = now - int(self.settings.queue_sessions_days * DAY_US)
        shown = {package.session_id for package in self.desk.book.packages.values()}
        old = [
            session
            for session in self.desk.book.sessions.values()
            if session.completed_unix_us is not None
            and session.completed_unix_us < before
            and not session.is_active
            and session.session_id not in shown
        ]
        if old:
            ids = [session.session_id for session in old]
            await self.core.database.write(lambda connection: queue_store.forget_sessions(connection, ids))
            for session in old:
                if not session.is_active:
                    self.desk.book.sessions.pop(session.session_id, None)
