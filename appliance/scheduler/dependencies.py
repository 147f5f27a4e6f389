"""Jobs that wait for other jobs. A job may only name jobs that are there before it, so there are no cycles."""

from collections.abc import Callable, Sequence

from attrs import define, frozen

from appliance.jobs import Dependency, Job, JobState


def refuse(jobs: Sequence[Job], exists: Callable[[str], bool]) -> str | None:
    """Return in words why jobs submitted together name others that they may not; ``None`` when all is well.

    Each may depend on jobs that ``exists`` knows and on those before it in ``jobs``, once on each, not on itself.
    """
    raise NotImplementedError


@frozen(kw_only=True)
class Released:
    """What the end of a job, or the arrival of one, decides about others."""

    ready: tuple[str, ...] = ()
    """Jobs that wait for no other any more."""
    doomed: tuple[tuple[str, Dependency, JobState], ...] = ()
    """Jobs that can never run: the one it depends on, as it ended. Fail each, and tell `ended` of each in turn."""


@define
class Dependencies:
    """Who waits for whom."""

    def add(self, job: Job, state_of: Callable[[str], JobState | None]) -> Released:
        """Let a job wait for what it depends on; it is in the answer if that is decided already.

        :param state_of: ``None`` for a job that is forgotten; that one counts as failed.
        """
        raise NotImplementedError

    def ended(self, job_id: str, state: JobState) -> Released:
        """Tell that a job has ended for good; a second time changes nothing."""
        raise NotImplementedError

    def forget(self, job_id: str) -> None:
        """Let a job wait no more: it was cancelled or timed out."""
        raise NotImplementedError

    def missing(self, job_id: str) -> tuple[Dependency, ...]:
        """Return what a job still waits for; empty when it does not wait."""
        raise NotImplementedError
