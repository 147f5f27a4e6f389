import tracemalloc

import pytest

from appliance.people.throttle import FORGET_SECONDS, PAIRS_MAX, US, Throttle, pause_seconds
from appliance.rate import network_of

NOW = 1_795_000_000 * US


def test_five_tries_are_free_then_the_pause_doubles_up_to_five_minutes() -> None:
    assert [pause_seconds(tries) for tries in range(15)] == [
        0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300,
    ]  # fmt: skip
    assert pause_seconds(10_000) == 300


def test_sixth_try_waits_and_then_is_taken() -> None:
    throttle = Throttle()
    assert [throttle.attempt("ana", "10.0.0.1", now_unix_us=NOW) for _ in range(6)] == [0, 0, 0, 0, 0, 1.0]
    assert throttle.attempt("ana", "10.0.0.1", now_unix_us=NOW + US) == 0
    assert throttle.attempt("ana", "10.0.0.1", now_unix_us=NOW + US) == 2.0


def test_nobody_is_locked_out_by_somebody_elses_tries() -> None:
    throttle = Throttle()
    for _ in range(100):
        throttle.attempt("ana", "10.0.0.66", now_unix_us=NOW)
    assert throttle.attempt("ana", "10.0.0.1", now_unix_us=NOW) == 0
    assert throttle.attempt("bo", "10.0.0.66", now_unix_us=NOW) == 0


def test_refused_tries_do_not_make_the_pause_longer() -> None:
    throttle = Throttle()
    for _ in range(1000):
        throttle.attempt("ana", "a", now_unix_us=NOW)
    assert throttle.attempt("ana", "a", now_unix_us=NOW + US) == 0


def test_right_password_and_an_hour_of_rest_forget_the_tries() -> None:
    throttle = Throttle()
    for _ in range(6):
        throttle.attempt("ana", "a", now_unix_us=NOW)
    throttle.succeeded("ana", "a")
    assert [throttle.attempt("ana", "a", now_unix_us=NOW) for _ in range(5)] == [0] * 5
    later = NOW + int((FORGET_SECONDS + 1) * US)
    assert [throttle.attempt("ana", "a", now_unix_us=later) for _ in range(5)] == [0] * 5


def test_clock_set_back_does_not_make_anybody_wait_longer() -> None:
    throttle = Throttle()
    for _ in range(6):
        throttle.attempt("ana", "a", now_unix_us=NOW)
    assert throttle.attempt("ana", "a", now_unix_us=NOW - 86_400 * US) <= 1.0
    assert throttle.attempt("ana", "a", now_unix_us=NOW - 86_399 * US) == 0


def test_memory_is_bounded() -> None:
    throttle = Throttle()
    for number in range(PAIRS_MAX + 100):
        throttle.attempt(f"n{number}", "a", now_unix_us=NOW)
    assert len(throttle._tries) == PAIRS_MAX


def test_memory_is_bounded_however_long_the_names_are() -> None:
    throttle = Throttle()
    tracemalloc.start()
    try:
        for number in range(2_000):
            throttle.attempt(f"{number}" + "\U0001f600" * 1_000, "a", now_unix_us=NOW)
        held_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held_bytes < 2_000 * 500


def test_pairs_are_told_apart_by_both_halves() -> None:
    throttle = Throttle()
    for name, address in (("ana", "a"), ("ana", "b"), ("bo", "a")):
        assert [throttle.attempt(name, address, now_unix_us=NOW) for _ in range(6)] == [0, 0, 0, 0, 0, 1.0]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:0:1:aaaa::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("local", "local"),
    ],
)
def test_one_customer_is_one_address_or_one_64(address: str, network: str) -> None:
    assert network_of(address) == network
