"""The scheduler's own task: whenever something is new it decides who starts, and sees all attempts through.

At most one decision is being made or carried out at any time, so each knows what the one before has done.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

import structlog
import trio
from attrs import define

from appliance.errors import Busy, StorageFailed
from appliance.jobs import EndReason
from appliance.scheduler.admission import quotas_of
from appliance.scheduler.attempts import AttemptLife
from appliance.scheduler.board import Active
from appliance.scheduler.capacity import HostCapacity
from appliance.scheduler.desk import Desk
from appliance.scheduler.queue import Decision, decide
from appliance.scheduler.records import Phase
from appliance.scheduler.upkeep import Upkeep
from appliance.settings import SchedulerSettings

log = structlog.get_logger(__name__)

LONGEST_PAUSE_SECONDS: Final = 5.0
"""At least so often it is looked who can start; whatever can change that wakes it at once."""
SHORTEST_PAUSE_SECONDS: Final = 0.01
AGAIN_SECONDS: Final = 5.0
"""After a mistake of ours."""


@define(eq=False)
class Placer:
    """Decides, places, and sees attempts through."""

    desk: Desk
    life: AttemptLife
    upkeep: Upkeep
    hosts: Callable[[], Sequence[HostCapacity]]
    settings: Callable[[], SchedulerSettings]
    last: Decision | None = None
    """The newest decision."""
    problem: str = ""
    """Why nothing can be placed now, in words."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Work until cancelled; run again, it goes on with the attempts that are there."""
        board = self.desk.board
        async with trio.open_nursery() as nursery:
            await self.upkeep.bookings.resume(list(board.active.values()))
            for active in list(board.active.values()):
                nursery.start_soon(self._see_through, active, name=f"attempt {active.attempt_id}")
            nursery.start_soon(self.upkeep.run)
            task_status.started()
            while True:
                self.desk.clear()
                pause_seconds = await self._look(nursery)
                with trio.move_on_after(pause_seconds):
                    await self.desk.woken()

    async def _look(self, nursery: trio.Nursery) -> float:
        """Start what can start; return in how many seconds to look again at the latest."""
        try:
            await self._give_up_on()
            decision = self._decide()
            starts = [(one.job_id, one.placement) for one in decision.starts]
            for active in await self.desk.place(starts) if starts else ():
                nursery.start_soon(self._see_through, active, name=f"attempt {active.attempt_id}")
            for attempt_id in decision.preempt:
                await self._preempt(attempt_id, decision)
        except (Busy, StorageFailed) as error:
            if error.message != self.problem:
                log.warning("tasks.not_placed", reason=error.message)
            self.problem = error.message
            return 1.0
        except Exception as error:
            # A mistake of ours must not end what watches the attempts that run.
            log.exception("tasks.not_placed")
            self.problem = f"deciding who starts failed: {type(error).__name__}: {error}"
            return AGAIN_SECONDS
        self.problem = ""
        return self._pause_seconds(decision) if decision.is_complete else 0.0

    def _decide(self) -> Decision:
        desk, settings = self.desk, self.settings()
        at, began = desk.now(), perf_counter()
        self.last = decide(
            desk.board.queue,
            desk.board.occupied(preemption=settings.preemption),
            self.hosts(),
            used=desk.used.now(at),
            quotas=quotas_of(settings),
            now_unix_us=at,
        )
        desk.figures.passes += 1
        desk.figures.decided_seconds += perf_counter() - began
        return self.last

    async def _give_up_on(self) -> None:
        """Fail those that have waited too long, and those that can never run since what they depend on has failed."""
        board = self.desk.board
        for job_id in board.overdue(self.desk.now()):
            words = "it waited longer than it may for its first attempt"
            await self.desk.fail_pending(job_id, EndReason.QUEUE_TIMEOUT, words)
        while board.doomed:  # each may doom others
            job_id, words = board.doomed[-1]
            await self.desk.fail_pending(job_id, EndReason.DEPENDENCY, words)
            board.doomed.remove((job_id, words))

    async def _preempt(self, attempt_id: str, decision: Decision) -> None:
        active = self.desk.board.active.get(attempt_id)
        if active is not None:
            by = f" {decision.reservation.job_id}" if decision.reservation is not None else ""
            words = f"stopped to make room for the task{by} of higher priority"
            await self.desk.ask_to_stop(active.record.job_id, EndReason.PREEMPTED, words)

    def _pause_seconds(self, decision: Decision) -> float:
        due = [at for at in (decision.wake_at_unix_us, self.desk.board.next_overdue_unix_us) if at is not None]
        left_seconds = (min(due) - self.desk.now()) / 1_000_000 if due else LONGEST_PAUSE_SECONDS
        return max(SHORTEST_PAUSE_SECONDS, min(LONGEST_PAUSE_SECONDS, left_seconds))

    async def _see_through(self, active: Active) -> None:
        """See an attempt through; a mistake of ours costs this attempt some seconds, and no other anything."""
        while active.phase < Phase.CLOSED:
            try:
                await self.life.run(active)
            except Exception:
                log.exception("task.attempt_interrupted", attempt=active.attempt_id, phase=active.phase.name)
                await trio.sleep(AGAIN_SECONDS)
