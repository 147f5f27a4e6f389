"""Cron expressions: known tables, and every minute against the plain reading of the five fields."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.errors import BadInput
from appliance.scheduler.cron import NAMED, Cron


def unix(text: str) -> int:
    """An ISO time; UTC unless it says otherwise."""
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def following(text: str, after: str, *, zone: str = "UTC", count: int = 1) -> list[str]:
    cron, at, times = Cron.parse(text, zone), unix(after), []
    for _ in range(count):
        at = cron.next_after(at)
        times.append(datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M"))
    return times


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        ("* * * * *", "2026-11-21T14:00:30", ["2026-11-21T14:01", "2026-11-21T14:02"]),
        ("*/15 * * * *", "2026-11-21T14:45:00", ["2026-11-21T15:00", "2026-11-21T15:15"]),
        ("5/20 * * * *", "2026-11-21T14:00:00", ["2026-11-21T14:05", "2026-11-21T14:25", "2026-11-21T14:45"]),
        ("0 9-17/4 * * mon-fri", "2026-11-20T13:00:00", ["2026-11-20T17:00", "2026-11-23T09:00"]),
        ("30 4 1,15 * 5", "2026-11-13T05:00:00", ["2026-11-15T04:30", "2026-11-20T04:30", "2026-11-27T04:30"]),
        ("0 0 29 2 *", "2026-01-01T00:00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 0 29 2 *", "2096-03-01T00:00:00", ["2104-02-29T00:00"]),
        ("0 0 * * 7", "2026-11-21T00:00:00", ["2026-11-22T00:00", "2026-11-29T00:00"]),
        ("0 0 * * sun", "2026-11-21T00:00:00", ["2026-11-22T00:00"]),
        ("0 0 31 JAN,Mar *", "2026-02-01T00:00:00", ["2026-03-31T00:00", "2027-01-31T00:00"]),
        ("0 0 */10 * 1", "2026-11-01T00:00:00", ["2026-12-21T00:00"]),
        ("@hourly", "2026-11-21T23:00:00", ["2026-11-22T00:00"]),
        ("@daily", "2026-12-31T00:00:00", ["2027-01-01T00:00"]),
        ("@midnight", "2026-12-31T00:00:00", ["2027-01-01T00:00"]),
        ("@weekly", "2026-11-21T00:00:00", ["2026-11-22T00:00"]),
        ("@monthly", "2026-11-21T00:00:00", ["2026-12-01T00:00"]),
        ("@yearly", "2026-11-21T00:00:00", ["2027-01-01T00:00"]),
        ("@annually", "2026-11-21T00:00:00", ["2027-01-01T00:00"]),
    ],
)
def test_expression_comes_at_the_known_times(text: str, after: str, expected: list[str]) -> None:
    assert following(text, after, count=len(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "-5 * * * *",
        "1,,2 * * * *",
        "1- * * * *",
        "* * * foo *",
        "mon * * * *",
        "* * * * jan",
        "\u0661 * * * *",
        "@reboot",
        "0 0 31 2 *",
        "0 0 30 feb *",
        "0 0 31 4,6,9,11 *",
        "1" * 5000,
        ",".join(["1"] * 200) + " * * * *",
    ],
)
def test_what_is_no_expression_or_never_comes_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        Cron.parse(text)
    assert len(refused.value.message) < 400


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "\0"])
def test_zone_that_is_not_known_is_refused(zone: str) -> None:
    with pytest.raises(BadInput, match="no time zone"):
        Cron.parse("@daily", zone)


def test_time_out_of_range_is_refused() -> None:
    for unix_s in (2**63, -(2**63), unix("9995-01-01T00:00:00")):
        with pytest.raises(BadInput):
            Cron.parse("@daily").next_after(unix_s)


def test_fixed_hour_is_that_of_the_zone() -> None:
    assert following("0 9 * * *", "2026-07-01T00:00", zone="Europe/Berlin") == ["2026-07-01T07:00"]
    assert following("0 9 * * *", "2026-12-01T00:00", zone="Europe/Berlin") == ["2026-12-01T08:00"]


def test_time_that_the_clock_leaps_over_comes_at_the_end_of_the_leap_once() -> None:
    # On 2026-03-29 Berlin goes from 01:59:59 (+1) to 03:00:00 (+2), which is 01:00 UTC.
    times = following("*/20 2 * * *", "2026-03-28T12:00", zone="Europe/Berlin", count=2)
    assert times == ["2026-03-29T01:00", "2026-03-30T00:00"]


def test_time_that_is_shown_twice_comes_once_unless_it_comes_every_hour() -> None:
    # On 2026-10-25 Berlin shows 02:00 to 02:59 at 00:00 UTC and again at 01:00 UTC.
    fixed = following("30 2 * * *", "2026-10-24T12:00", zone="Europe/Berlin", count=2)
    assert fixed == ["2026-10-25T00:30", "2026-10-26T01:30"]
    hourly = following("30 * * * *", "2026-10-24T23:31", zone="Europe/Berlin", count=3)
    assert hourly == ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"]
    leap = following("30 * * * *", "2026-03-29T00:00", zone="Europe/Berlin", count=3)
    assert leap == ["2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T02:30"]


def test_first_time_after_midnight_of_a_zone_ahead_is_not_missed() -> None:
    assert following("0 0 * * *", "2026-11-20T23:00", zone="Pacific/Kiritimati") == ["2026-11-21T10:00"]
    assert following("0 0 * * *", "2026-11-20T23:00", zone="Pacific/Pago_Pago") == ["2026-11-21T11:00"]


def numbers(least: int, most: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """A field as text, and the numbers that it stands for."""
    everything = frozenset(range(least, most + 1))
    one = st.integers(least, most)
    return st.one_of(
        st.just(("*", everything)),
        st.integers(1, 40).map(lambda step: (f"*/{step}", frozenset(range(least, most + 1, step)))),
        st.lists(one, min_size=1, max_size=4).map(lambda some: (",".join(map(str, some)), frozenset(some))),
        st.tuples(one, one, st.integers(1, 9)).map(
            lambda drawn: (
                f"{min(drawn[:2])}-{max(drawn[:2])}/{drawn[2]}",
                frozenset(range(min(drawn[:2]), max(drawn[:2]) + 1, drawn[2])),
            )
        ),
    )


@settings(max_examples=50, deadline=None)
@given(
    st.tuples(numbers(0, 59), numbers(0, 23), numbers(1, 28), st.just(("*", frozenset(range(1, 13)))), numbers(0, 6)),
    st.integers(0, 4_000_000_000),
)
@example(
    (
        ("0", frozenset({0})),
        ("0", frozenset({0})),
        ("1", frozenset({1})),
        ("*", frozenset(range(1, 13))),
        ("*", frozenset(range(7))),
    ),
    0,
)
def test_next_time_is_the_first_minute_that_the_fields_name(
    drawn: tuple[tuple[str, frozenset[int]], ...], after: int
) -> None:
    (minute, hour, month_day, _, week_day) = drawn
    found = Cron.parse(" ".join(text for text, _ in drawn)).next_after(after)
    either = not month_day[0].startswith("*") and not week_day[0].startswith("*")

    def is_day(at: datetime) -> bool:
        days = (at.day in month_day[1], at.isoweekday() % 7 in week_day[1])
        return any(days) if either else all(days)

    at = datetime.fromtimestamp(after // 60 * 60, UTC)
    while True:
        at += timedelta(minutes=1)
        while not is_day(at):
            at = at.replace(hour=0, minute=0) + timedelta(days=1)
        if at.hour in hour[1] and at.minute in minute[1]:
            break
    assert found == int(at.timestamp())


def test_every_name_stands_for_an_expression() -> None:
    for name, text in NAMED.items():
        assert Cron.parse(name).next_after(0) == Cron.parse(text).next_after(0)
