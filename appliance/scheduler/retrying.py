"""What becomes of a job when an attempt of it has ended."""

import math
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from appliance.jobs import Attempt, EndReason, JobState, RetryRule

BACKOFF_MAX_SECONDS: Final = 3600.0
LOST: Final = frozenset({EndReason.ENGINE_LOST, EndReason.HOST_LOST})
"""No fault of the job's: tried again whatever the rule lists, and counted apart."""
OWN: Final = frozenset(
    {
        EndReason.EXIT,
        EndReason.OOM,
        EndReason.IMAGE,
        EndReason.REFUSED,
        EndReason.DISK_FULL,
        EndReason.TIMEOUT,
        EndReason.IDLE_GPU,
    }
)
"""The job's own: tried again if the rule lists them. What is in neither set is never tried again."""
WORDS: Final = {
    EndReason.OOM: "out of memory",
    EndReason.IMAGE: "its image is missing, refused or broken",
    EndReason.REFUSED: "the engine refused it",
    EndReason.DISK_FULL: "the disk is full",
    EndReason.ENGINE_LOST: "lost with its engine",
    EndReason.HOST_LOST: "lost with its host",
    EndReason.TIMEOUT: "over its time limit",
    EndReason.IDLE_GPU: "its GPUs were idle",
}


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

    :param attempts: all of the job, oldest first, at least one; each has ended.
    :param is_cancelled: somebody cancelled the job: it is over, unless it had completed before.
    """
    last = attempts[-1]
    reason = last.reason or EndReason.ENGINE_LOST
    if reason is EndReason.EXIT and last.exit_code == 0:
        return Ended(state=JobState.COMPLETED, reason=reason, message=last.message)
    if is_cancelled or reason is EndReason.CANCELLED:
        return Ended(state=JobState.CANCELLED, reason=EndReason.CANCELLED, message=last.message)
    if reason is EndReason.PREEMPTED:
        message = "stopped for a job of higher priority; waits for room again"
        return TryAgain(eligible_at_unix_us=now_unix_us, message=message)
    lost, own = _count(attempts, LOST), _count(attempts, OWN)
    if reason in LOST:
        made, again, most = lost, lost <= rule.lost_max, rule.lost_max + 1
    else:
        made, again, most = own, reason in rule.reasons and reason in OWN and own < rule.attempts_max, rule.attempts_max
    said = last.message or _words(last)
    if not again:
        several = f"{said}; it was the last of {len(attempts)} attempts" if len(attempts) > 1 else said
        return Ended(state=JobState.FAILED, reason=reason, message=several)
    wait_seconds = backoff_seconds(rule, lost + own)
    return TryAgain(
        eligible_at_unix_us=now_unix_us + int(wait_seconds * 1_000_000),
        message=f"{said}; attempt {made} of {most}, the next in {wait_seconds:g} s at the earliest",
    )


def backoff_seconds(rule: RetryRule, failures: int) -> float:
    """Return how long to wait after so many failed attempts, counting from 1."""
    first = float(rule.backoff_seconds)
    # Doubling 40 times is more than enough for the longest; a first wait of more than that stays as it was asked for.
    return max(first, min(math.ldexp(first, min(failures - 1, 40)), BACKOFF_MAX_SECONDS))


def _count(attempts: Sequence[Attempt], reasons: frozenset[EndReason]) -> int:
    return sum((attempt.reason or EndReason.ENGINE_LOST) in reasons for attempt in attempts)


def _words(attempt: Attempt) -> str:
    if attempt.reason is EndReason.EXIT:
        return "ended without an exit code" if attempt.exit_code is None else f"exit code {attempt.exit_code}"
    return WORDS.get(attempt.reason or EndReason.ENGINE_LOST, "it ended")
