"""How long jobs take: tau per tag and image, learned from those that completed."""

from collections.abc import Iterable
from typing import Final

from attrs import define, frozen

from appliance.jobs import Job, Needs

LEARN_FROM: Final = 0.2
"""Share of the newest runtime in the learned one."""
ROWS_MAX: Final = 10_000
"""Pairs of tag and image that are kept; the one that was not learned for longest goes first."""


@frozen(kw_only=True)
class Expected:
    """What is expected of a job."""

    job_class: str
    """One of `CLASS_SECONDS`."""
    is_service: bool
    """Runs until it is stopped: has no deadline, and nobody knows its end."""
    tau_seconds: float
    observations: int
    """How many completions it is learned from; 0 is the default of the class."""

    def deadline_unix_us(self, job: Job, *, submitted_at_unix_us: int) -> int:
        """Return by when the job should have ended: k * tau after its submission."""
        return submitted_at_unix_us + int(job.k_milli * self.tau_seconds * 1000)

    def end_after_seconds(self, job: Job) -> float | None:
        """Return how long an attempt is expected to run, no longer than its time limit; ``None``: nobody knows."""
        known = None if self.is_service else self.tau_seconds
        if known is None or job.timeout_seconds is None:
            return job.timeout_seconds if known is None else known
        return min(known, job.timeout_seconds)


@frozen(kw_only=True)
class Runtime:
    """What was learned of one tag and image, as it is stored and shown."""

    tag: str
    image: str
    job_class: str
    tau_seconds: float
    observations: int
    learned_at_unix_us: int


def job_class(tag: str, needs: Needs) -> str:
    """Return the class of a job by its tag, or by its needs when the tag says nothing."""
    raise NotImplementedError


@define
class Runtimes:
    """The table of learned runtimes."""

    def expected(self, job: Job) -> Expected:
        """Return what is expected of a job now."""
        raise NotImplementedError

    def learn(self, job: Job, seconds: float, *, now_unix_us: int) -> Runtime:
        """Learn from an attempt that completed with exit code 0; return the row to store."""
        raise NotImplementedError

    def rows(self) -> list[Runtime]:
        """Return all that was learned, the newest first."""
        raise NotImplementedError

    @classmethod
    def restored(cls, rows: Iterable[Runtime]) -> "Runtimes":
        """Return what was stored."""
        raise NotImplementedError
