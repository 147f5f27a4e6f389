"""What becomes of a job when an attempt of it has ended."""

from collections.abc import Sequence

from attrs import frozen

from appliance.jobs import Attempt, EndReason, JobState, RetryRule


@frozen(kw_only=True)
class TryAgain:
    """Another attempt is made."""

    eligible_at_unix_us: int
    message: str
    """Why and when, in words."""


@frozen(kw_only=True)
class Ended:
    """The job is over."""

    state: JobState
    reason: EndReason
    message: str
    """In words; says how many attempts were made when there were several."""


def after(rule: RetryRule, attempts: Sequence[Attempt], *, is_cancelled: bool, now_unix_us: int) -> TryAgain | Ended:
    """Return what follows the end of the newest of a job's attempts.

    :param attempts: all of the job, oldest first; each has ended.
    :param is_cancelled: somebody cancelled the job: it is over, unless it had completed before.
    """
    raise NotImplementedError
