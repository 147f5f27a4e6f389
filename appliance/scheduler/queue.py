"""Which waiting jobs start now, in order of priority, fair share, deadline and submission, and where.

The order is one for all; a job that does not fit now is passed by others (backfill), but the first of those gets a
**reservation**: the earliest time at which it will fit by the expected ends of what runs, and no job passes it that
would still hold then what it needs. Higher priorities go first for as long as there are any; among equal ones no job
waits for ever.
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from appliance.jobs import Job, Needs, Placement
from appliance.scheduler.capacity import HostCapacity
from appliance.scheduler.placement import Request
from appliance.scheduler.quotas import Quotas


@frozen(kw_only=True)
class Waiting:
    """A pending job, as the queue needs it. Jobs that wait for other jobs are not in the queue yet."""

    job_id: str
    owner: str
    request: Request
    submitted_at_unix_us: int
    deadline_unix_us: int
    """When it should have ended: submitted + k * expected runtime. Also of services: it only orders."""
    expected_seconds: float | None
    """How long it will run, or its time limit if that is less; ``None`` when nobody knows (a service)."""
    priority: int = 50
    array_id: str = ""
    array_running_max: int = 0
    eligible_at_unix_us: int = 0
    """Not before: the job's own time, or the end of a retry's back-off."""

    @classmethod
    def of(
        cls,
        job: Job,
        *,
        submitted_at_unix_us: int,
        expected_seconds: float | None,
        deadline_unix_us: int,
        eligible_at_unix_us: int = 0,
    ) -> "Waiting":
        """Return a job as it waits."""
        return cls(
            job_id=job.job_id,
            owner=job.owner,
            request=Request.of(job),
            submitted_at_unix_us=submitted_at_unix_us,
            deadline_unix_us=deadline_unix_us,
            expected_seconds=expected_seconds,
            priority=job.priority,
            array_id=job.array_id,
            array_running_max=job.array_running_max,
            eligible_at_unix_us=max(eligible_at_unix_us, job.not_before_unix_us),
        )


@frozen(kw_only=True)
class Occupied:
    """An attempt that holds resources: starting, running or stopping."""

    attempt_id: str
    job_id: str
    owner: str
    needs: Needs
    placement: Placement
    priority: int
    preemptible: bool
    assigned_at_unix_us: int
    expected_end_unix_us: int | None
    """``None`` when nobody knows; reservations then count on no end of it."""
    is_stopping: bool = False
    """Was asked to end: what it holds is free within its grace."""
    array_id: str = ""


@frozen(kw_only=True)
class Start:
    """A job that starts now."""

    job_id: str
    placement: Placement


@frozen(kw_only=True)
class Reservation:
    """What the first job that cannot start is promised."""

    job_id: str
    placement: Placement
    """Where; the GPUs may be others in the end."""
    starts_at_unix_us: int | None
    """When, by the expected ends of what runs; ``None`` when those are not known."""


@frozen(kw_only=True)
class Decision:
    """What to do now. Carry all of it out, tell the queue, and ask again at `wake_at_unix_us` or at a change."""

    starts: tuple[Start, ...] = ()
    """In order."""
    preempt: tuple[str, ...] = ()
    """Attempts to stop and queue again, for `reservation`."""
    reservation: Reservation | None = None
    wake_at_unix_us: int | None = None
    """When a job becomes eligible by time; ``None`` when none will."""
    is_complete: bool = True
    """``False`` when it stopped at its bound on starts: carry it out and ask again at once."""


class Queue:
    """All pending jobs, kept in order as they come and go."""

    def __init__(self) -> None:
        """Start empty."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Return how many wait, those for their time included."""
        raise NotImplementedError

    def __contains__(self, job_id: str) -> bool:
        """Return whether a job waits here."""
        raise NotImplementedError

    def add(self, waiting: Waiting) -> None:
        """Let a job wait; one that does already waits as it is told now."""
        raise NotImplementedError

    def extend(self, many: Iterable[Waiting]) -> None:
        """Let many wait: cheaper than one by one, for the start of the appliance."""
        raise NotImplementedError

    def remove(self, job_id: str) -> bool:
        """Forget a job that started, was cancelled or timed out; ``False`` when it does not wait here."""
        raise NotImplementedError

    def pending_of(self, owner: str) -> int:
        """Return how many jobs of an owner wait here."""
        raise NotImplementedError


def decide(
    queue: Queue,
    running: Sequence[Occupied],
    hosts: Sequence[HostCapacity],
    *,
    used: Mapping[str, float],
    quotas: Quotas,
    now_unix_us: int,
) -> Decision:
    """Return what starts now. The same state gives the same decision; the queue keeps all its jobs until told.

    :param running: all attempts that hold something; `hosts` counts them as allocated already.
    :param used: `FairShare.now`.
    """
    raise NotImplementedError
