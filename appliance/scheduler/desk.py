"""Every step of a job's life, each in one transaction: stored, written down as an event, then taken over in memory.

What follows from a step is told to whoever waits for it (`Desk.woken`, the event bus) after its commit, in the order of
the commits.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress

import trio
from attrs import define, field

from appliance.clock import Now
from appliance.database import Database
from appliance.engines import Exit
from appliance.errors import ApplianceError
from appliance.events import EventBus
from appliance.events.model import Event
from appliance.jobs import EndReason, JobState, Placement
from appliance.scheduler import learned, store
from appliance.scheduler.board import Active, Board
from appliance.scheduler.fair_share import FairShare
from appliance.scheduler.figures import Figures
from appliance.scheduler.records import JobRecord, Phase
from appliance.scheduler.retrying import Ended
from appliance.scheduler.runtimes import Runtimes
from appliance.scheduler.telling import CHANGED, ENDS, REQUEUED, STARTED, Told, of_record, of_submission

ANNOUNCE_SECONDS = 0.5
"""Progress of a start (an image being fetched) is announced at most so often."""


@define(eq=False)
class Desk:
    """Takes the steps; reads nothing that it does not change."""

    database: Database
    events: EventBus
    board: Board
    runtimes: Runtimes
    used: FairShare
    now: Now
    figures: Figures = field(factory=Figures)
    ended: Callable[[str], None] = lambda job_id: None
    """Told the id of each job that has ended."""
    _wake: trio.Event = field(factory=trio.Event)

    # ------------------------------------------------------------ waking

    def wake(self) -> None:
        """Have the scheduler look again who can start."""
        self._wake.set()

    async def woken(self) -> None:
        """Wait until there is something new to decide; what came since the last time counts."""
        await self._wake.wait()

    def clear(self) -> None:
        """Begin to look: what comes from now on wakes again."""
        self._wake = trio.Event()

    # ------------------------------------------------------------ jobs

    async def submit(
        self, jobs: Sequence[store.NewJob], *, who: str, before: Callable[[sqlite3.Connection], None]
    ) -> store.Inserted:
        """Store jobs, all or none.

        :param before: run first, in the same transaction; what it raises keeps everything out.
        """

        def write(connection: sqlite3.Connection) -> tuple[store.Inserted, Event | None]:
            before(connection)
            made = store.insert(connection, jobs)
            new = [one for one in made.records if one.job_id in made.new]
            return made, self._store(connection, of_submission(new, who=who, at_unix_us=self.now())) if new else None

        def take(done: tuple[store.Inserted, Event | None]) -> None:
            made, event = done
            for record in made.records:
                if record.job_id in made.new:
                    self.board.keep(record)
                    self._announce(record)
            self.figures.submitted += len(made.new)
            self._tell(event)
            self.wake()

        made, _ = await self.database.write(write, on_commit=take)
        return made

    async def release(self, job_id: str) -> JobRecord:
        """Let a held job go on."""
        return await self._step(lambda connection: store.release(connection, job_id))

    async def cancel(self, job_id: str, message: str) -> JobRecord:
        """Cancel a job; errors as of `store.cancel`."""
        return await self._step(
            lambda connection: store.cancel(connection, job_id, message, now_unix_us=self.now()), told=_end_of
        )

    async def fail_pending(self, job_id: str, reason: EndReason, message: str) -> None:
        """Fail a job that waits; nothing happens when it does not wait any more."""
        how = Ended(state=JobState.FAILED, reason=reason, message=message)
        await self._maybe(
            lambda connection: store.end_pending(connection, job_id, how, now_unix_us=self.now()), told=_end_of
        )

    async def ask_to_stop(self, job_id: str, reason: EndReason, message: str) -> None:
        """Have a job's attempt end, unless it has ended or was asked to."""
        await self._maybe(lambda connection: store.ask_to_stop(connection, job_id, reason, message))

    # ------------------------------------------------------------ attempts

    async def place(self, starts: Sequence[tuple[str, Placement]]) -> list[Active]:
        """Give jobs their next attempt; those that do not wait any more are left out."""
        placed: list[Active] = []

        def take(records: list[JobRecord]) -> None:
            for record in records:
                placed.append(self.board.place(record))
                self.figures.placed(record)
                self._announce(record)

        await self.database.write(
            lambda connection: store.place(connection, starts, now_unix_us=self.now()), on_commit=take
        )
        return placed

    async def started(self, active: Active) -> None:
        """Note that the command of an attempt runs."""
        at = self.now()

        def take(record: JobRecord) -> None:
            active.phase = max(active.phase, Phase.RUNNING)
            active.progress = ""

        await self._step(
            lambda connection: store.started(connection, active.record.job_id, active.attempt_id, now_unix_us=at),
            told=lambda _: STARTED,
            also=take,
        )

    async def end_attempt(self, active: Active, how: Exit, *, was_stopped: bool) -> None:
        """Note how an attempt ended, and give back what it held."""
        at = self.now()

        def write(connection: sqlite3.Connection) -> JobRecord:
            return store.ended(
                connection, active.record.job_id, active.attempt_id, how, was_stopped=was_stopped, now_unix_us=at
            )

        def take(record: JobRecord) -> None:
            if active.phase < Phase.ENDED:
                active.phase = Phase.ENDED
                self._account(active, record)
            self.board.free(active)
            self.wake()

        await self._step(write, also=take)

    async def note(self, active: Active, text: str) -> None:
        """Add to what is said of an attempt."""
        await self._step(lambda connection: store.note(connection, active.record.job_id, active.attempt_id, text))

    async def settle(self, active: Active) -> None:
        """Decide what follows the end of an attempt."""

        def take(record: JobRecord) -> None:
            active.phase = max(active.phase, Phase.SETTLED)
            self.wake()

        await self._maybe(
            lambda connection: store.settle(
                connection, active.record.job_id, active.attempt_id, now_unix_us=self.now()
            ),
            told=lambda record: ENDS.get(record.state, REQUEUED),
            also=take,
        )
        active.phase = max(active.phase, Phase.SETTLED)

    async def withdraw(self, active: Active, message: str) -> None:
        """Take an attempt back that was never started."""

        def write(connection: sqlite3.Connection) -> JobRecord:
            job_id = active.record.job_id
            return store.withdraw(connection, job_id, active.attempt_id, message, now_unix_us=self.now())

        def take(record: JobRecord) -> None:
            self.board.drop(active)
            self.wake()

        await self._step(write, told=_end_of, first=take)

    async def close(self, active: Active) -> None:
        """Note that nothing is left of an attempt."""
        await self.database.write(
            lambda connection: store.close(connection, active.attempt_id), on_commit=lambda _: self.board.drop(active)
        )

    def progress(self, active: Active, text: str) -> None:
        """Note how a start gets on; in memory alone."""
        active.progress = text[:400]
        now = trio.current_time()
        if now - active.announced_at >= ANNOUNCE_SECONDS:
            active.announced_at = now
            self._announce(active.record)

    # ------------------------------------------------------------ how a step is taken

    async def _step(
        self,
        fn: Callable[[sqlite3.Connection], JobRecord],
        *,
        told: Callable[[JobRecord], Told | None] = lambda _: None,
        first: Callable[[JobRecord], None] = lambda _: None,
        also: Callable[[JobRecord], None] = lambda _: None,
    ) -> JobRecord:
        found = await self._maybe(fn, told=told, first=first, also=also)
        assert found is not None
        return found

    async def _maybe(
        self,
        fn: Callable[[sqlite3.Connection], JobRecord | None],
        *,
        told: Callable[[JobRecord], Told | None] = lambda _: None,
        first: Callable[[JobRecord], None] = lambda _: None,
        also: Callable[[JobRecord], None] = lambda _: None,
    ) -> JobRecord | None:
        """Take a step; ``fn`` returns ``None`` for one that is not to be taken, and nothing follows then."""

        def write(connection: sqlite3.Connection) -> tuple[JobRecord | None, Event | None]:
            record = fn(connection)
            what = told(record) if record is not None else None
            if record is None or what is None:
                return record, None
            return record, self._store(connection, of_record(what, record, at_unix_us=self.now()))

        def take(done: tuple[JobRecord | None, Event | None]) -> None:
            record, event = done
            if record is not None:
                first(record)
                self.board.keep(record)
                also(record)
                self._announce(record)
                if record.state.is_final:
                    self.ended(record.job_id)
                if self.board.doomed or record.state == JobState.PENDING:
                    self.wake()
            self._tell(event)

        record, _ = await self.database.write(write, on_commit=take)
        return record

    def _store(self, connection: sqlite3.Connection, event: Event) -> Event:
        return self.events.store(connection, event)

    def _tell(self, event: Event | None) -> None:
        if event is not None:
            self.events.tell(event)

    def _announce(self, record: JobRecord) -> None:
        data = {"state": record.state.value, "owner": record.job.owner}
        self.events.announce(CHANGED, data, subject=record.job_id)

    def _account(self, active: Active, record: JobRecord) -> None:
        """Charge what an attempt has used, and learn from one that completed."""
        attempt, at = active.attempt, self.now()
        self.figures.ended(attempt.placement.engine, attempt.reason, attempt.exit_code)
        if attempt.started_at_unix_us is None or attempt.ended_at_unix_us is None:
            return
        seconds = max(0, attempt.ended_at_unix_us - attempt.started_at_unix_us) / 1_000_000
        self.used.charge(record.job.owner, record.job.needs, seconds, now_unix_us=at)
        if attempt.reason == EndReason.EXIT and attempt.exit_code == 0:
            row = self.runtimes.learn(record.job, seconds, now_unix_us=at)
            with suppress(ApplianceError):  # it is learned again from the next one
                self.database.write_soon(lambda connection: learned.put_runtime(connection, row))


def _end_of(record: JobRecord) -> Told | None:
    return ENDS.get(record.state)
