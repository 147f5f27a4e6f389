"""What becomes of a job when an attempt has ended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.jobs import Attempt, EndReason, JobState, Placement, RetryRule
from appliance.scheduler.retrying import BACKOFF_MAX_SECONDS, LOST, OWN, Ended, TryAgain, after, backoff_seconds

NOW = 1_000_000
HERE = Placement(host_id="a", engine="docker")


def attempts(*reasons: EndReason | None, exit_code: int | None = 1) -> list[Attempt]:
    return [
        Attempt(
            attempt_id=f"j.{number}",
            number=number,
            placement=HERE,
            fencing_token=number,
            assigned_at_unix_us=0,
            ended_at_unix_us=1,
            reason=reason,
            exit_code=exit_code,
        )
        for number, reason in enumerate(reasons, 1)
    ]


def ends(rule: RetryRule, *reasons: EndReason | None, exit_code: int | None = 1, cancelled: bool = False) -> Ended:
    answer = after(rule, attempts(*reasons, exit_code=exit_code), is_cancelled=cancelled, now_unix_us=NOW)
    assert isinstance(answer, Ended), answer
    return answer


def again(rule: RetryRule, *reasons: EndReason | None) -> TryAgain:
    answer = after(rule, attempts(*reasons), is_cancelled=False, now_unix_us=NOW)
    assert isinstance(answer, TryAgain), answer
    return answer


def test_exit_code_0_completes_even_a_job_that_was_cancelled_meanwhile() -> None:
    answer = ends(RetryRule(), EndReason.EXIT, exit_code=0, cancelled=True)
    assert (answer.state, answer.reason) == (JobState.COMPLETED, EndReason.EXIT)


@pytest.mark.parametrize("reason", list(EndReason))
def test_cancelled_job_is_cancelled_whatever_ended_its_attempt(reason: EndReason) -> None:
    answer = ends(RetryRule(attempts_max=9), reason, cancelled=True)
    assert (answer.state, answer.reason) == (JobState.CANCELLED, EndReason.CANCELLED)


@pytest.mark.parametrize("reason", sorted(OWN))
def test_own_end_fails_a_job_of_one_attempt_and_says_how(reason: EndReason) -> None:
    answer = ends(RetryRule(), reason)
    assert (answer.state, answer.reason) == (JobState.FAILED, reason)
    assert answer.message


@pytest.mark.parametrize("reason", sorted(OWN))
def test_own_end_is_tried_again_only_when_the_rule_lists_it(reason: EndReason) -> None:
    rule = RetryRule(attempts_max=2, reasons=frozenset({reason}))
    assert again(rule, reason).eligible_at_unix_us == NOW + 10_000_000
    assert ends(rule, reason, reason).message.endswith("; it was the last of 2 attempts")
    others = RetryRule(attempts_max=2, reasons=OWN - {reason})
    assert ends(others, reason).reason is reason


@pytest.mark.parametrize("reason", [EndReason.QUEUE_TIMEOUT, EndReason.DEPENDENCY])
def test_end_without_an_attempt_is_never_tried_again(reason: EndReason) -> None:
    assert ends(RetryRule(attempts_max=9, reasons=frozenset(EndReason)), reason).state is JobState.FAILED


@pytest.mark.parametrize("reason", [*sorted(LOST), None])
def test_lost_attempts_are_tried_again_and_count_apart(reason: EndReason | None) -> None:
    rule = RetryRule(attempts_max=2, lost_max=2)
    own = EndReason.EXIT
    assert again(rule, reason, reason)
    assert again(rule, own, reason, reason)
    assert again(rule, reason, reason, own).message == "exit code 1; attempt 1 of 2, the next in 40 s at the earliest"
    assert ends(rule, reason, own, reason, reason).reason in LOST
    assert ends(RetryRule(lost_max=0), reason).state is JobState.FAILED


def test_preempted_attempt_waits_again_at_once_however_often() -> None:
    rule = RetryRule(lost_max=0)
    assert again(rule, *[EndReason.PREEMPTED] * 200).eligible_at_unix_us == NOW
    assert ends(rule, EndReason.PREEMPTED, EndReason.EXIT).state is JobState.FAILED


def test_cancelled_attempt_ends_the_job() -> None:
    assert ends(RetryRule(attempts_max=9), EndReason.CANCELLED).state is JobState.CANCELLED


def test_wait_doubles_up_to_an_hour() -> None:
    rule = RetryRule(backoff_seconds=10)
    assert [backoff_seconds(rule, failures) for failures in (1, 2, 3, 9, 10, 10_000)] == [10, 20, 40, 2560, 3600, 3600]
    assert backoff_seconds(RetryRule(backoff_seconds=0), 50) == 0
    assert backoff_seconds(RetryRule(backoff_seconds=7200), 3) == 7200


@given(st.floats(0, BACKOFF_MAX_SECONDS), st.integers(1, 5000))
def test_wait_never_shrinks_nor_passes_an_hour(first: float, failures: int) -> None:
    rule = RetryRule(backoff_seconds=first)
    assert first <= backoff_seconds(rule, failures) <= backoff_seconds(rule, failures + 1) <= BACKOFF_MAX_SECONDS


@given(st.lists(st.sampled_from(sorted(OWN | LOST)), max_size=60), st.integers(1, 8), st.integers(0, 8))
def test_job_that_always_fails_is_over_after_a_bounded_number_of_attempts(
    reasons: list[EndReason], attempts_max: int, lost_max: int
) -> None:
    rule = RetryRule(attempts_max=attempts_max, lost_max=lost_max, reasons=OWN)
    for made in range(1, len(reasons) + 1):
        answer = after(rule, attempts(*reasons[:made]), is_cancelled=False, now_unix_us=NOW)
        if isinstance(answer, Ended):
            return
        assert made < attempts_max + lost_max + 1
