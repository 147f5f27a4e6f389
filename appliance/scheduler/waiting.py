"""A pending job as the queue sees it, and where it stands."""

import math
from typing import Final

from attrs import frozen

from appliance.jobs import Job
from appliance.scheduler.placement import Request

DURATION_STEP: Final = 1.25
"""Expected runtimes are rounded up to powers of this, so that many jobs share a shape."""
LATE_FACTOR: Final = 10
LATE_MAX_US: Final = 300_000_000

LineKey = tuple[int, str]
"""Priority and owner."""
Place = tuple[int, int, str, "Waiting"]
"""Deadline (a later one for those that miss theirs), submission, job id: the order within a line.

No two have the same id, so jobs are never compared.
"""


@frozen(kw_only=True, eq=False)
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
    """How many jobs of the array may run at once; 0 for any number."""
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

    @property
    def line(self) -> LineKey:
        """The line that it stands in."""
        return (self.priority, self.owner)

    @property
    def late_at_unix_us(self) -> int | None:
        """From when on it can no longer end by its deadline; ``None`` for a service."""
        if self.expected_seconds is None:
            return None
        return self.deadline_unix_us - int(self.expected_seconds * 1e6)

    def place(self, *, is_late: bool) -> Place:
        """Return where it stands in its line.

        One that cannot make its deadline any more makes way for those that can, and for a bounded time only: it
        stands as if it had ten times as long, or five minutes more.
        """
        stands_by = self.deadline_unix_us
        if is_late:
            allowed_us = self.deadline_unix_us - self.submitted_at_unix_us
            stands_by += min((LATE_FACTOR - 1) * allowed_us, LATE_MAX_US)
        return (stands_by, self.submitted_at_unix_us, self.job_id, self)


def rounded_up(seconds: float | None) -> float | None:
    """Return an expected runtime on the scale of shapes; ``None`` stays so."""
    if seconds is None:
        return None
    return float(DURATION_STEP ** math.ceil(math.log(max(seconds, 0.001), DURATION_STEP)))
