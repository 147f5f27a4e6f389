import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.plugin import BadInput
from plugins.gpu_sharing.wire.times import iso, iso_of, read_time

GO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
"""What Go's time.Time reads: RFC 3339, with a zone that has a colon or is Z."""


@pytest.mark.parametrize(
    ("unix_us", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_795_226_848_721_552, "2026-11-21T02:07:28.721552Z"),
        (1_795_226_848_000_000, "2026-11-21T02:07:28Z"),
        (1_795_226_848_000_100, "2026-11-21T02:07:28.000100Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_times_are_written_as_go_reads_them(unix_us: int, text: str) -> None:
    assert iso(unix_us) == iso_of(unix_us) == text
    assert GO.fullmatch(text)


def test_no_time_is_null_and_never_an_empty_text() -> None:
    assert iso(None) is None


@pytest.mark.parametrize(
    ("text", "unix_us"),
    [
        ("2026-11-21T02:07:28.72155238Z", 1_795_226_848_721_552),  # nanoseconds, as Go sends them
        ("2026-11-21T03:07:28.72155238+01:00", 1_795_226_848_721_552),
        ("2026-11-21T02:07:28Z", 1_795_226_848_000_000),
        ("2026-11-21t02:07:28z", 1_795_226_848_000_000),
        ("2026-11-21 02:07:28Z", 1_795_226_848_000_000),
        ("2026-11-21T02:07Z", 1_795_226_820_000_000),
        ("2026-11-20T21:07:28-0500", 1_795_226_848_000_000),
        ("2026-11-20T21:07:28-05", 1_795_226_848_000_000),
        ("2026-11-21T02:07:28,5Z", 1_795_226_848_500_000),
        ("2026-11-21T02:07:28.000Z", 1_795_226_848_000_000),  # JavaScript
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),  # Go's zero
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000_000),
    ],
)
def test_times_with_a_zone_are_read(text: str, unix_us: int) -> None:
    assert read_time(text, field="$.t") == unix_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-21",
        "2026-11-21T02:07:28",  # whose zone?
        "2026-W47-6T00:00:00Z",
        "20261121T020728Z",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "2026-11-21T02:07:28.Z",
        "2026-11-21T02:07:28+25:00",
        "2026-11-21T02:07:28 +01:00",
        " 2026-11-21T02:07:28Z",
        "2026-11-21T02:07:28Z\n",
        "\u0662026-11-21T02:07:28Z",
        "1784709281",
        "9999-12-31T23:59:59-23:59",  # in UTC the year 10000, which cannot be written
        "2026-11-21T02:07:28." + "1" * 100_000 + "Z",
    ],
)
def test_what_is_no_time_or_has_no_zone_is_refused_by_its_path(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_time(text, field="$.t")
    assert refused.value.field == "$.t"
    assert len(refused.value.message) < 200


@given(
    st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),
    st.integers(-1439, 1439),
)
def test_every_time_is_read_and_written_back(moment: datetime, minutes: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    unix_us = read_time(aware.isoformat(), field="$.t")
    assert unix_us == (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    written = iso_of(unix_us)
    assert GO.fullmatch(written)
    assert read_time(written, field="$.t") == unix_us
