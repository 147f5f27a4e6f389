from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.plugin import BadInput
from plugins.metrics_ingest.times import LAST_UNIX_US, read_time, time_text

FIELD = "$.sample.collected_at"


def unix_us(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type, misc]


def test_agents_own_form_is_repeated_as_it_was_sent() -> None:
    sent = "2026-02-26T02:37:49.120000+00:00"
    assert read_time(sent, field=FIELD) == (unix_us(2026, 2, 26, 2, 37, 49) + 120_000, sent)


@pytest.mark.parametrize(
    ("sent", "offset_us", "echo"),
    [
        ("2026-02-26T02:37:49+00:00", 0, "2026-02-26T02:37:49+00:00"),
        ("2026-02-26 02:37:49Z", 0, "2026-02-26T02:37:49+00:00"),
        ("2026-02-26T02:37:49", 0, "2026-02-26T02:37:49+00:00"),
        ("2026-02-26T04:37:49+02:00", 0, "2026-02-26T04:37:49+02:00"),
        ("2026-02-25T21:07:49-0530", 0, "2026-02-25T21:07:49-05:30"),
        ("2026-02-26T02:37:49,5", 500_000, "2026-02-26T02:37:49.500000+00:00"),
        ("2026-02-26T02:37:49.1234567891", 123_456, "2026-02-26T02:37:49.123456+00:00"),
        ("2026-02-26T02:37:49.000000Z", 0, "2026-02-26T02:37:49+00:00"),
        ("20260226T023749Z", 0, "2026-02-26T02:37:49+00:00"),
        ("2026-2-26 2:37:49 +02", -7_200_000_000, "2026-02-26T02:37:49+02:00"),
        ("2026-2-26 2:37:49.5 -0130", 5_400_500_000, "2026-02-26T02:37:49.500000-01:30"),
        ("2026-2-26T2:37", -49_000_000, "2026-02-26T02:37:00+00:00"),
    ],
)
def test_every_documented_form_is_read_with_its_offset(sent: str, offset_us: int, echo: str) -> None:
    assert read_time(sent, field=FIELD) == (unix_us(2026, 2, 26, 2, 37, 49) + offset_us, echo)


@pytest.mark.parametrize("sent", ["2026-02-26", "20260226", "2026-W09-4"])
def test_a_bare_date_is_its_midnight(sent: str) -> None:
    assert read_time(sent, field=FIELD) == (unix_us(2026, 2, 26), "2026-02-26T00:00:00+00:00")


@pytest.mark.parametrize(
    "sent",
    [
        *(None, "", " ", "yesterday", "12:00", 0, 1_772_073_469, 1_772_073_469.12, 20_260_226, True, [], {}, ["2026"]),
        *("1772073469", "1712010312345", "1772073469.12", "0" * 5000, "2026-02-26T02:37:49Z" + " " * 5000, "\ud800"),
        *("20261326", "2026-02-26T02:37:49 CET", " 2026-02-26T02:37:49Z"),
    ],
)
def test_what_is_no_time_means_now(sent: Any) -> None:
    assert read_time(sent, field=FIELD) is None


@pytest.mark.parametrize(
    "sent",
    [
        *("2026-13-26T02:37:49Z", "2026-02-30T02:37:49Z", "2026-02-26T25:37:49Z", "2026-02-26T02:37:61Z"),
        *("2026-02-26T02:37:49+99:00", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59.9Z"),
        *("9999-12-31T23:59:59-01:00", "1970-01-01T00:00:00+00:01"),
    ],
)
def test_what_looks_like_a_time_and_is_none_is_refused_by_name(sent: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_time(sent, field=FIELD)
    assert refused.value.field == FIELD
    assert refused.value.message == "Ingest processing failed."
    assert sent in refused.value.hint
    assert "expected a time that exists" in refused.value.hint


def test_the_first_and_the_last_moment_are_taken() -> None:
    assert read_time("1970-01-01T00:00:00Z", field=FIELD) == (0, "1970-01-01T00:00:00+00:00")
    assert read_time("9999-12-31T23:59:59.999999Z", field=FIELD) == (LAST_UNIX_US, time_text(LAST_UNIX_US))


@given(st.integers(min_value=0, max_value=LAST_UNIX_US))
def test_a_time_is_read_back_as_it_was_written(at_unix_us: int) -> None:
    text = time_text(at_unix_us)
    assert read_time(text, field=FIELD) == (at_unix_us, text)


@given(
    st.text(max_size=40)
    | st.from_regex(r"\d{4}-\d{1,2}-\d{1,2}[T ]\d{1,2}:\d{1,2}(:\d\d[.,]\d{1,9})?([+-]\d\d:?\d\d)?")
)
def test_any_text_is_a_time_or_now_or_refused(text: str) -> None:
    found = None
    with suppress(BadInput):
        found = read_time(text, field=FIELD)
    if found is not None:
        at_unix_us, echo = found
        assert int(datetime.fromisoformat(echo).timestamp()) == at_unix_us // 1_000_000
        assert echo.isascii()
