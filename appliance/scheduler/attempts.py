"""The life of one attempt: started, watched, its log and files kept, its next state decided, its leftovers removed.

Each step is stored before the next is taken, and each may be taken again: after a crash an attempt goes on from its
`Phase`. An engine that does not answer changes nothing about an attempt; it is asked again until it does.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from math import inf
from typing import Final, TypeVar

import structlog
import trio
from attrs import define, frozen

from appliance.engines import EngineLost, Exit, Launch, LaunchFailed, TaskEngine
from appliance.errors import Busy, Conflict, Forbidden, Gone, StorageFailed
from appliance.jobs import EndReason
from appliance.scheduler.admission import volumes_of
from appliance.scheduler.board import Active
from appliance.scheduler.bookings import Bookings
from appliance.scheduler.desk import Desk
from appliance.scheduler.records import Phase
from appliance.settings import SchedulerSettings
from appliance.taskfiles import TaskFiles
from appliance.tasklogs import TaskLogs

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 30.0
LOG_DRAIN_SECONDS: Final = 60.0
"""How long the rest of a log may take to be read once the attempt has ended."""
COLLECT_SECONDS: Final = 3600.0
"""How long collecting the files of an attempt may take, waits for a lost engine included."""
FAILURES_MAX: Final = 5
"""So many failures in a row that are none of the protocol's end an attempt at its start."""

T = TypeVar("T")


class _Pause:
    """Waits between two tries: doubling, and bounded."""

    def __init__(self) -> None:
        self._seconds = FIRST_PAUSE_SECONDS

    async def __call__(self) -> None:
        await trio.sleep(self._seconds)
        self._seconds = min(LONGEST_PAUSE_SECONDS, 2 * self._seconds)


class _Absent(Exception):
    """The engine of an attempt is not configured any more."""


@define(eq=False)
class _Stopped:
    """Whether this run has asked the engine to stop the attempt."""

    asked: bool = False


@frozen
class AttemptLife:
    """Sees attempts through; one for all of them."""

    desk: Desk
    bookings: Bookings
    engine: Callable[[str], TaskEngine | None]
    """Returns an engine by its name."""
    logs: TaskLogs
    files: TaskFiles
    settings: Callable[[], SchedulerSettings]

    async def run(self, active: Active) -> None:
        """Go on from the attempt's phase until nothing is left to do; to be run again after a crash."""
        if active.phase == Phase.PLACED:
            await self._begin(active)
        if active.phase == Phase.RUNNING:
            await self._see_through(active)
        if active.phase == Phase.ENDED:
            await self.bookings.release(active)
            await self._collect(active)
            await self._durably(lambda: self.desk.settle(active))
        if active.phase == Phase.SETTLED:
            await self.bookings.release(active)
            await self._clean_up(active)

    # ------------------------------------------------------------ start

    async def _begin(self, active: Active) -> None:
        try:
            await self._durably(lambda: self.bookings.book(active))
        except (Conflict, Gone) as error:
            # Between the decision and the booking somebody else took the GPU: as if it had not been placed.
            taken = error.message
            await self._durably(lambda: self.desk.withdraw(active, taken))
            active.phase = Phase.CLOSED
            return
        how: Exit | None = None
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_when_asked, active, scope)
                with trio.move_on_after(self.settings().start_seconds) as deadline:
                    how = await self._launch(active)
                if deadline.cancelled_caught:
                    words = f"it was not started within {self.settings().start_seconds:g} seconds"
                    how = Exit(exit_code=None, reason=EndReason.REFUSED, message=words)
                nursery.cancel_scope.cancel()
        if scope.cancelled_caught:
            how = Exit(exit_code=None, reason=EndReason.CANCELLED, message="stopped before it ran")
        if how is None:
            await self._durably(lambda: self.desk.started(active))
            return
        await self._remove(active)  # what was made half
        ending = how
        await self._durably(lambda: self.desk.end_attempt(active, ending, was_stopped=active.stop_asked.is_set()))

    async def _cancel_when_asked(self, active: Active, scope: trio.CancelScope) -> None:
        await active.stop_asked.wait()
        scope.cancel()

    async def _launch(self, active: Active) -> Exit | None:
        """Start the attempt; return ``None`` once it runs, else how it failed."""
        try:
            launch = self._launch_of(active)
        except Forbidden as error:  # the configuration has changed since it was submitted
            return Exit(exit_code=None, reason=EndReason.REFUSED, message=error.message)
        pause, failures = _Pause(), 0
        while True:
            try:
                await self._engine(active).start(launch, lambda text: self.desk.progress(active, text))
            except LaunchFailed as error:
                said = f"{error.message} ({error.hint})" if error.hint else error.message
                return Exit(exit_code=None, reason=error.reason, message=said)
            except (EngineLost, _Absent) as error:
                self.desk.progress(active, f"waiting for the engine: {error}")
            except Exception as error:
                failures += 1
                log.exception("task.start_failed", attempt=active.attempt_id)
                if failures >= FAILURES_MAX:
                    words = f"its engine failed: {type(error).__name__}: {error}"
                    return Exit(exit_code=None, reason=EndReason.REFUSED, message=words)
            else:
                return None
            await pause()

    def _launch_of(self, active: Active) -> Launch:
        job, attempt, settings = active.record.job, active.attempt, self.settings()
        return Launch(
            attempt_id=attempt.attempt_id,
            job_id=job.job_id,
            fencing_token=attempt.fencing_token,
            image=job.image,
            command=job.command,
            environment=job.environment,
            millicores=job.needs.millicores,
            memory_mib=job.needs.memory_mib,
            storage_mib=job.needs.storage_mib,
            pids_max=settings.pids_max,
            gpu_ids=attempt.placement.gpu_ids,
            network=job.network,
            link_local=settings.link_local,
            tty=job.tty,
            inputs=self.files.inputs(job.job_id),
            volumes=volumes_of(job, settings),
            privileges=frozenset(job.privileges) & frozenset(settings.privileges),
        )

    # ------------------------------------------------------------ while it runs

    async def _see_through(self, active: Active) -> None:
        # Asked in an earlier run, or just now: an end that is found then is one that was asked for.
        stopped, drained = _Stopped(asked=active.stop_asked.is_set()), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_log, active, drained)
            nursery.start_soon(self._stop_when_asked, active, stopped)
            nursery.start_soon(self._limit_time, active)
            how = await self._asked(active, lambda engine: engine.wait(active.attempt_id), gives_up=True)
            with trio.move_on_after(LOG_DRAIN_SECONDS if how is not None else 0) as deadline:
                await drained.wait()
            if deadline.cancelled_caught:
                log.warning("task.log_not_read", attempt=active.attempt_id, effect="the end of its log may be missing")
            nursery.cancel_scope.cancel()
        ending = how or Exit(exit_code=None, reason=EndReason.ENGINE_LOST, message="its engine is not there any more")
        was_stopped = stopped.asked or how is None
        await self._durably(lambda: self.desk.end_attempt(active, ending, was_stopped=was_stopped))

    async def _keep_log(self, active: Active, drained: trio.Event) -> None:
        """Store all that the attempt writes; after a loss of the engine, or of us, on from what is stored."""
        pause = _Pause()
        while True:
            try:
                async with self.logs.open(active.record.job_id) as writer:
                    await writer.begin(active.attempt.number)
                    known: dict[str, int] = dict(writer.written.items())
                    chunks = self._engine(active).logs(active.attempt_id, skip=known)
                    try:
                        async for chunk in chunks:
                            await writer.write(chunk)
                    finally:
                        if isinstance(chunks, AsyncGenerator):
                            await chunks.aclose()
                break
            except (EngineLost, _Absent):
                pass
            except Exception:  # an engine's mistake, or the disk: the attempt itself goes on
                log.exception("task.log_interrupted", attempt=active.attempt_id)
            await pause()
        drained.set()

    async def _stop_when_asked(self, active: Active, stopped: _Stopped) -> None:
        await active.stop_asked.wait()
        stopped.asked = True
        grace_seconds = active.record.job.stop_grace_seconds
        await self._asked(active, lambda engine: engine.stop(active.attempt_id, grace_seconds=grace_seconds))

    async def _limit_time(self, active: Active) -> None:
        limit_seconds = active.record.job.timeout_seconds
        started_at = active.attempt.started_at_unix_us
        if limit_seconds is None or started_at is None:
            return
        # Monotonic from here on; what it ran before a restart counts by the wall clock.
        before_seconds = max(0.0, (self.desk.now() - started_at) / 1_000_000)
        await trio.sleep(max(0.0, limit_seconds - before_seconds))
        words = f"stopped after its time limit of {limit_seconds:g} seconds"
        await self._durably(lambda: self.desk.ask_to_stop(active.record.job_id, EndReason.TIMEOUT, words))

    # ------------------------------------------------------------ after its end

    async def _collect(self, active: Active) -> None:
        attempt = active.attempt
        if attempt.started_at_unix_us is None or attempt.reason == EndReason.ENGINE_LOST:
            return
        problem = ""
        with trio.move_on_after(COLLECT_SECONDS) as deadline:
            try:
                gather = partial(self._gather, active)
                if not await self._asked(active, gather, gives_up=True, failures_max=2):
                    problem = "its files were not kept: its engine is not configured any more"
            except Exception as error:
                log.exception("task.collect_failed", attempt=active.attempt_id)
                problem = f"its files were not kept: {error}"
        if deadline.cancelled_caught:
            problem = f"its files were not kept: that took longer than {COLLECT_SECONDS:g} seconds"
        if problem:
            log.warning("task.files_not_kept", attempt=active.attempt_id, problem=problem)
            await self._durably(lambda: self.desk.note(active, problem))

    async def _gather(self, active: Active, engine: TaskEngine) -> bool:
        sink = await self.files.sink(active.record.job_id, active.attempt.number)
        await engine.collect(active.attempt_id, sink)
        await sink.commit()
        return True

    async def _clean_up(self, active: Active) -> None:
        await self._remove(active)
        await self._durably(lambda: self.desk.close(active))
        active.phase = Phase.CLOSED

    async def _remove(self, active: Active) -> None:
        await self._asked(active, lambda engine: engine.remove(active.attempt_id), gives_up=True)

    # ------------------------------------------------------------ asking

    def _engine(self, active: Active) -> TaskEngine:
        name = active.attempt.placement.engine
        engine = self.engine(name)
        if engine is None:
            raise _Absent(f"the engine {name} is not configured any more")
        return engine

    async def _asked(
        self,
        active: Active,
        ask: Callable[[TaskEngine], Awaitable[T]],
        *,
        gives_up: bool = False,
        failures_max: float = inf,
    ) -> T | None:
        """Ask an engine until it answers.

        :param gives_up: whether to return ``None`` when the engine is not configured any more and the job is to end:
            then nobody will ever answer.
        :param failures_max: so many failures that are none of the protocol's are tried again; the next one is raised.
        """
        pause, is_told, failures = _Pause(), False, 0
        while True:
            try:
                return await ask(self._engine(active))
            except _Absent:
                if gives_up and (active.stop_asked.is_set() or active.phase >= Phase.ENDED):
                    return None
            except EngineLost as error:
                if not is_told:
                    log.warning("task.engine_lost", attempt=active.attempt_id, reason=error.message)
                    is_told = True
            except Exception:
                failures += 1
                if failures > failures_max:
                    raise
                log.exception("task.engine_failed", attempt=active.attempt_id)
            await pause()

    async def _durably(self, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step that must be stored, however long the disk cannot take it."""
        pause = _Pause()
        while True:
            try:
                return await step()
            except (StorageFailed, Busy) as error:
                log.warning("task.not_stored", reason=error.message, effect="tried again")
            await pause()
