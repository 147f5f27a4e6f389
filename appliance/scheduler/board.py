"""What the scheduler has in memory: who waits, who waits for whom, which attempts are there.

It holds the jobs that have not ended, as slim as can be, since there may be a hundred thousand of them: a job that
waits is known by its place in the queue alone, and read from the database when its turn comes. It changes only as the
database does, after each commit and in the same order.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import trio
from attrs import define, field

from appliance.jobs import FINAL, Attempt, JobState
from appliance.scheduler.capacity import Holdings
from appliance.scheduler.dependencies import Dependencies, Released
from appliance.scheduler.queue import Occupied, Queue, Waiting
from appliance.scheduler.records import JobRecord, Phase


@define(eq=False)
class Active:
    """A job whose newest attempt is not closed yet."""

    record: JobRecord
    attempt_id: str
    phase: Phase
    progress: str = ""
    """What its engine does to start it, in words."""
    is_booked: bool = False
    """Whether the ledger has its parts of GPUs."""
    stop_asked: trio.Event = field(factory=trio.Event)
    """Set once it is to end; `JobRecord.stop_reason` says why."""
    idle_since: float | None = None
    """Since when all its GPUs are idle, by trio's clock."""
    announced_at: float = float("-inf")
    """When its progress was announced last, by trio's clock."""
    missing_since: float | None = None
    """Since when one of its GPUs is gone."""

    @property
    def attempt(self) -> Attempt:
        """The attempt itself."""
        return next(one for one in self.record.attempts if one.attempt_id == self.attempt_id)

    @property
    def holds(self) -> bool:
        """Whether it holds cores, memory and GPUs."""
        return self.phase < Phase.ENDED


def waiting_of(record: JobRecord) -> Waiting:
    """Return a pending job as the queue has it."""
    return Waiting.of(
        record.job,
        submitted_at_unix_us=record.submitted_at_unix_us,
        expected_seconds=record.expected_seconds,
        deadline_unix_us=record.deadline_unix_us,
        eligible_at_unix_us=record.eligible_at_unix_us,
    )


@define(eq=False)
class Board:
    """All jobs that have not ended, and all attempts that are not closed."""

    state_of: Callable[[str], JobState | None]
    """Looks a job's state up in the database; ``None`` when it is not there."""
    read: Callable[[str], JobRecord | None]
    """Reads a job from the database."""
    queue: Queue = field(factory=Queue)
    dependencies: Dependencies = field(factory=Dependencies)
    holdings: Holdings = field(factory=Holdings)
    active: dict[str, Active] = field(factory=dict)
    """By attempt id, oldest first."""
    doomed: list[tuple[str, str]] = field(factory=list)
    """Jobs that can never run, each with the reason in words; to be failed by the service."""
    _owners: dict[str, str] = field(factory=dict)
    """Owner by id of the jobs that wait, for whatever."""
    _pending: Counter[str] = field(factory=Counter)
    _held: set[str] = field(factory=set)
    _impatient: list[tuple[int, str]] = field(factory=list)
    """Until when jobs may wait for their first attempt: a heap, with some that have started or ended meanwhile."""
    _of_job: dict[str, Active] = field(factory=dict)

    @property
    def pending_count(self) -> int:
        """How many jobs wait, for whatever."""
        return len(self._owners)

    def pending_of(self, owner: str) -> int:
        """Return how many jobs of an owner wait, for whatever."""
        return self._pending[owner]

    def is_pending(self, job_id: str) -> bool:
        """Whether a job waits, for whatever."""
        return job_id in self._owners

    def is_held(self, job_id: str) -> bool:
        """Whether a job waits to be released."""
        return job_id in self._held

    def of_job(self, job_id: str) -> Active | None:
        """Return the newest attempt of a job, if it is not closed."""
        return self._of_job.get(job_id)

    def counts(self) -> dict[JobState, int]:
        """Return how many jobs are in each state that is not final."""
        found = {JobState.PENDING: self.pending_count}
        found |= dict.fromkeys((JobState.STARTING, JobState.RUNNING, JobState.STOPPING), 0)
        for one in self.active.values():
            if one.record.state in found and one.record.state != JobState.PENDING:
                found[one.record.state] += 1
        return found

    def occupied(self, *, preemption: bool = True) -> list[Occupied]:
        """Return the attempts that hold something, oldest first."""
        return [_occupied(one, preemption=preemption) for one in self.active.values() if one.holds]

    # ------------------------------------------------------------ changes

    def restore(self, records: Iterable[JobRecord], phases: dict[str, Phase]) -> None:
        """Take over all jobs that have not ended, and those whose attempts are not closed.

        :param phases: of open attempts, by id.
        """
        self.queue.extend(self._restored(records, phases))

    def _restored(self, records: Iterable[JobRecord], phases: dict[str, Phase]) -> Iterator[Waiting]:
        # One after the other: all at once would be several times what is kept of them.
        for record in records:
            for attempt in record.attempts:
                phase = phases.get(attempt.attempt_id)
                if phase is not None:
                    self._activate(record, attempt, phase)
            if record.state == JobState.PENDING and self._note_pending(record):
                yield waiting_of(record)

    def keep(self, record: JobRecord) -> None:
        """Take over how a job stands now."""
        active = self._of_job.get(record.job_id)
        if active is not None:
            active.record = record
            if record.stop_reason is not None and record.state == JobState.STOPPING:
                active.stop_asked.set()
        if record.state == JobState.PENDING:
            if self._note_pending(record):
                self.queue.add(waiting_of(record))
        else:
            self._note_gone(record.job_id)
        if record.state in FINAL:
            self.dependencies.forget(record.job_id)
            self._follow(self.dependencies.ended(record.job_id, record.state))

    def place(self, record: JobRecord) -> Active:
        """Take over that a job has its next attempt."""
        self.keep(record)
        return self._activate(record, record.attempts[-1], Phase.PLACED)

    def free(self, active: Active) -> None:
        """Give back what an attempt holds of cores, memory and storage; a second time changes nothing."""
        self.holdings.release(active.attempt_id)

    def drop(self, active: Active) -> None:
        """Forget an attempt that is closed or was withdrawn."""
        self.free(active)
        self.active.pop(active.attempt_id, None)
        if self._of_job.get(active.record.job_id) is active:
            del self._of_job[active.record.job_id]

    def overdue(self, now_unix_us: int) -> list[str]:
        """Return jobs that have waited for their first attempt for longer than they may, each once."""
        found = []
        while self._impatient and self._impatient[0][0] <= now_unix_us:
            _, job_id = heapq.heappop(self._impatient)
            if job_id in self._owners:
                found.append(job_id)
        return found

    @property
    def next_overdue_unix_us(self) -> int | None:
        """When `overdue` may have something to tell."""
        return self._impatient[0][0] if self._impatient else None

    def _activate(self, record: JobRecord, attempt: Attempt, phase: Phase) -> Active:
        active = Active(record, attempt.attempt_id, phase)
        if record.stop_reason is not None and record.state == JobState.STOPPING:
            active.stop_asked.set()
        self.active[attempt.attempt_id] = active
        self._of_job[record.job_id] = active
        if active.holds:
            self.holdings.hold(attempt.attempt_id, record.job.needs, attempt.placement)
        return active

    def _note_pending(self, record: JobRecord) -> bool:
        """Note that a job waits; return whether it waits for nothing but room and time, and belongs in the queue."""
        job = record.job
        if job.job_id not in self._owners:
            self._owners[job.job_id] = job.owner
            self._pending[job.owner] += 1
            if job.max_queue_seconds is not None and not record.attempts:
                until = record.submitted_at_unix_us + int(job.max_queue_seconds * 1_000_000)
                heapq.heappush(self._impatient, (until, job.job_id))
            if job.dependencies and not record.attempts:
                released = self.dependencies.add(job, self.state_of)
                self._doom(released)
        if record.is_held:
            self._held.add(job.job_id)
            return False
        self._held.discard(job.job_id)
        return not self.dependencies.missing(job.job_id)

    def _note_gone(self, job_id: str) -> None:
        owner = self._owners.pop(job_id, None)
        if owner is not None:
            self.queue.remove(job_id)
            self._held.discard(job_id)
            self._pending[owner] -= 1
            if not self._pending[owner]:
                del self._pending[owner]

    def _follow(self, released: Released) -> None:
        self._doom(released)
        for job_id in released.ready:
            record = self.read(job_id) if job_id in self._owners and job_id not in self._held else None
            if record is not None:
                self.queue.add(waiting_of(record))

    def _doom(self, released: Released) -> None:
        for job_id, dependency, state in released.doomed:
            self.doomed.append((job_id, f"it depends on {dependency.job_id} ({dependency.kind}), which is {state}"))


def _occupied(one: Active, *, preemption: bool) -> Occupied:
    job, attempt = one.record.job, one.attempt
    since = attempt.started_at_unix_us or attempt.assigned_at_unix_us
    expected = one.record.expected_seconds
    return Occupied(
        attempt_id=one.attempt_id,
        job_id=job.job_id,
        owner=job.owner,
        needs=job.needs,
        placement=attempt.placement,
        priority=job.priority,
        preemptible=job.preemptible and preemption,
        assigned_at_unix_us=attempt.assigned_at_unix_us,
        expected_end_unix_us=None if expected is None else since + int(expected * 1_000_000),
        is_stopping=one.record.state == JobState.STOPPING,
        array_id=job.array_id,
    )
