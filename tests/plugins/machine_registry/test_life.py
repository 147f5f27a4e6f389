"""The life of a machine as pure rules: no test waits."""

import pytest

from plugins.machine_registry.life import (
    GRACE_SECONDS,
    US,
    State,
    Status,
    deadline,
    is_forgotten,
    is_listed,
    moved,
    state,
)

NOW = 1_000 * US


@pytest.mark.parametrize(
    ("status", "age_seconds", "expected"),
    [
        (Status.PENDING, 0, State.PENDING),
        (Status.PENDING, 3599, State.PENDING),
        (Status.PENDING, 3600, State.EXPIRED),
        (Status.REGISTERED, 299, State.REGISTERED),
        (Status.REGISTERED, 300, State.EXPIRED),
        (Status.READY, 0, State.READY),
        (Status.READY, 125, State.READY),
        (Status.READY, 126, State.LATE),
        (Status.READY, 299, State.LATE),
        (Status.READY, 300, State.EXPIRED),
    ],
)
def test_machine_goes_through_its_states_as_time_passes(status: Status, age_seconds: int, expected: State) -> None:
    assert state(status, deadline(status, NOW), NOW, NOW + age_seconds * US) is expected


def test_nobody_is_late_for_beats_that_could_not_be_heard() -> None:
    until = NOW + 180 * US
    started = NOW
    assert state(Status.READY, until, started, NOW + 60 * US) is State.READY
    assert state(Status.READY, until, started, NOW + 130 * US) is State.LATE


def test_only_ready_and_late_machines_are_listed() -> None:
    assert {each for each in State if is_listed(each)} == {State.READY, State.LATE}


def test_time_does_not_run_while_we_are_down_and_whoever_lived_then_has_at_least_the_grace() -> None:
    down = NOW
    started = 7 * US  # another clock, another epoch
    assert moved(down + 300 * US, down, started) == started + 300 * US
    assert moved(down + 1, down, started) == started + GRACE_SECONDS * US
    assert moved(down, down, started) is None
    assert moved(down - 50 * US, down, started) is None


def test_machine_is_forgotten_once_it_has_been_expired_for_long_enough() -> None:
    assert not is_forgotten(NOW, NOW + 3600 * US, 3600)
    assert is_forgotten(NOW, NOW + 3601 * US, 3600)
