"""What the scheduler looks at by the clock: engines, leases, GPUs of running jobs, schedules, old jobs."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from math import inf
from typing import Final

import structlog
import trio
from attrs import define, field

from appliance.engines import EngineLost, TaskEngine
from appliance.errors import ApplianceError, Conflict, NotFound
from appliance.inventory.store import Inventory
from appliance.jobs import EndReason
from appliance.scheduler import learned, store
from appliance.scheduler.board import Active
from appliance.scheduler.bookings import RENEW_SECONDS, Bookings
from appliance.scheduler.desk import Desk
from appliance.scheduler.records import Phase
from appliance.scheduler.runtimes import ROWS_MAX
from appliance.scheduler.schedules import Schedules
from appliance.settings import SchedulerSettings

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
IDLE_PERCENT: Final = 1.0
"""A GPU below that is idle."""
MISSING_SECONDS: Final = 30.0
"""A GPU that is gone for so long does not come back while its attempt runs."""
PRUNE_SECONDS: Final = 600.0
FORGOTTEN_AT_ONCE: Final = 200
GRACE_SECONDS: Final = 2.0
DAY_US: Final = 86_400_000_000


@define(eq=False)
class Upkeep:
    """Looks every second, and does each thing when it is due; a failure of one is told and stops no other."""

    desk: Desk
    bookings: Bookings
    inventory: Inventory
    engines: Mapping[str, TaskEngine]
    schedules: Schedules
    settings: Callable[[], SchedulerSettings]
    forget: Callable[[str], Awaitable[None]]
    gpu_utilization: Callable[[str], float | None] = lambda gpu_id: None
    """How busy a GPU is, in percent; ``None`` where nobody knows."""
    monotonic: Callable[[], float] = trio.current_time
    """Seconds that never go back."""
    _due: dict[str, float] = field(factory=dict)
    _states: dict[str, str] = field(factory=dict)
    _tidied: set[str] = field(factory=set)

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                # Apart: an engine that takes long for an answer holds up nothing else.
                nursery.start_soon(self._every_second, self.look_at_engines)
                nursery.start_soon(self._every_second, self.look)
        finally:
            with trio.move_on_after(GRACE_SECONDS, shield=True):
                await self._guarded("use", self._keep_used)

    async def _every_second(self, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            await look()
            await trio.sleep(LOOK_SECONDS)

    async def look_at_engines(self) -> None:
        """Look once how the engines are, and remove what they have of attempts that are over."""
        await self._guarded("engines", self._look_at_engines)

    async def look(self) -> None:
        """Look once at everything else, and do what is due."""
        await self._guarded("gpus", self._look_at_gpus)
        await self._guarded("schedules", self.schedules.submit_due)
        if self._is_due("leases", RENEW_SECONDS):
            await self._guarded("leases", self._renew)
        if self._is_due("old tasks", PRUNE_SECONDS):
            await self._guarded("old tasks", self.prune)

    def _is_due(self, what: str, every_seconds: float) -> bool:
        now = self.monotonic()
        if now < self._due.get(what, -inf):
            return False
        self._due[what] = now + every_seconds
        return True

    async def _guarded(self, what: str, do: Callable[[], Awaitable[None]]) -> None:
        try:
            await do()
        except ApplianceError as error:
            log.warning("tasks.upkeep_failed", what=what, reason=error.message)
        except Exception:
            log.exception("tasks.upkeep_failed", what=what)

    # ------------------------------------------------------------ engines

    async def _look_at_engines(self) -> None:
        for name, engine in self.engines.items():
            state = engine.status.state
            if self._states.get(name) != state:
                self._states[name] = state
                self.desk.wake()
                if state != "ok":
                    self._tidied.discard(name)
            if state == "ok" and name not in self._tidied:
                await self._tidy(name, engine)

    async def _tidy(self, name: str, engine: TaskEngine) -> None:
        """Remove what an engine has of attempts that are over: left by a crash, or by going back to a backup."""
        try:
            with trio.fail_after(60.0):
                for found in await engine.found():
                    active = self.desk.board.active.get(found.attempt_id)
                    if active is None or active.attempt.fencing_token != found.fencing_token:
                        log.warning("task.leftover_removed", engine=name, attempt=found.attempt_id)
                        await engine.remove(found.attempt_id)
        except EngineLost:
            return
        except trio.TooSlowError:
            log.warning("task.leftovers_not_looked_at", engine=name, reason="its engine took longer than a minute")
        self._tidied.add(name)

    # ------------------------------------------------------------ GPUs

    async def _renew(self) -> None:
        await self.bookings.renew(list(self.desk.board.active.values()))
        await self._keep_used()

    async def _look_at_gpus(self) -> None:
        for active in list(self.desk.board.active.values()):
            if active.phase == Phase.RUNNING and not active.stop_asked.is_set() and active.attempt.placement.parts:
                await self._look_for_lost(active)
                await self._look_for_idle(active)

    async def _look_for_lost(self, active: Active) -> None:
        gone = [gpu_id for gpu_id in active.attempt.placement.gpu_ids if not self._is_present(gpu_id)]
        if not gone:
            active.missing_since = None
            return
        if active.missing_since is None:
            active.missing_since = self.monotonic()
        if self.monotonic() - active.missing_since >= MISSING_SECONDS:
            words = f"its GPU {gone[0]} is gone: the driver does not see it any more"
            await self.desk.ask_to_stop(active.record.job_id, EndReason.HOST_LOST, words)

    async def _look_for_idle(self, active: Active) -> None:
        limit_seconds = active.record.job.idle_gpu_seconds
        if limit_seconds is None:
            return
        busy = [self.gpu_utilization(gpu_id) for gpu_id in active.attempt.placement.gpu_ids]
        if any(percent is None or percent >= IDLE_PERCENT for percent in busy):
            active.idle_since = None
            return
        if active.idle_since is None:
            active.idle_since = self.monotonic()
        if self.monotonic() - active.idle_since >= limit_seconds:
            words = f"stopped because its GPUs were idle for {limit_seconds:g} seconds"
            await self.desk.ask_to_stop(active.record.job_id, EndReason.IDLE_GPU, words)

    def _is_present(self, gpu_id: str) -> bool:
        try:
            return self.inventory.gpu(gpu_id).present
        except NotFound:
            return False

    # ------------------------------------------------------------ what is kept

    async def _keep_used(self) -> None:
        used = self.desk.used.rows()
        await self.desk.database.write(lambda connection: learned.put_used(connection, used))

    async def prune(self) -> None:
        """Delete ended jobs that are too old or too many, with their logs and files."""
        settings = self.settings()
        before = self.desk.now() - int(settings.keep_days * DAY_US)
        await self.desk.database.write(lambda connection: learned.prune_runtimes(connection, kept=ROWS_MAX))
        while True:
            old = await self.desk.database.read(
                lambda connection: store.superfluous(
                    connection, ended_before_unix_us=before, kept=settings.keep_jobs_max, limit=FORGOTTEN_AT_ONCE
                )
            )
            gone = 0
            for job_id in old:
                with suppress(Conflict, NotFound):  # still being cleaned up: the next time
                    await self.forget(job_id)
                    gone += 1
            if gone < FORGOTTEN_AT_ONCE:
                return
