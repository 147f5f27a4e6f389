"""The time of a sample as agents write it.

The rules are those of Django's ``parse_datetime``, which reads what Python's ``datetime.fromisoformat`` does and,
where that declines, a form with one-digit parts. Text that is no time is nobody's fault and means "now", as a missing
time does; text that has the form of a time and cannot be one (month 13) is an error.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from appliance.plugin import BadInput

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST_UNIX_US: Final = (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
"""The last microsecond that can be written as a date."""

_FORM: Final = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})"
    r"[T ](?P<hour>\d{1,2}):(?P<minute>\d{1,2})"
    r"(?::(?P<second>\d{1,2})(?:[.,](?P<microsecond>\d{1,6})\d{0,6})?)?"
    r"\s*(?P<zone>Z|[+-]\d{2}(?::?\d{2})?)?$"
)
_LONGEST: Final = 128
_DATE_DIGITS: Final = 8


def read_time(value: object, *, field: str) -> tuple[int, str] | None:
    """Return the microseconds since 1970 and the time in ISO 8601 with the sender's offset; ``None`` means "now".

    A time without an offset is UTC, digits past microseconds are cut, a bare date is its midnight.

    :param field: the value's path, for the error.
    :raises BadInput: the value has the form of a time and is none, or lies before 1970 or after 9999.
    """
    # A number is no time: whether it counts seconds or milliseconds is anyone's guess, also where it is written as
    # text (fromisoformat takes thirteen digits for a day of the eighteenth century).
    if type(value) is not str or len(value) > _LONGEST or (value.isdecimal() and len(value) != _DATE_DIGITS):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        found = _by_form(value, field)
        if found is None:
            return None
        moment = found
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - EPOCH
    unix_us = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if not 0 <= unix_us <= LAST_UNIX_US:
        raise _impossible(value, field)
    return unix_us, moment.isoformat()


def time_text(unix_us: int) -> str:
    """Return a time as the wire has it: ISO 8601 in UTC (``+00:00``), without a fraction where it is zero."""
    return (EPOCH + timedelta(microseconds=unix_us)).isoformat()


def _by_form(value: str, field: str) -> datetime | None:
    match = _FORM.match(value)
    if match is None:
        return None
    parts: dict[str, Any] = {name: text for name, text in match.groupdict().items() if text is not None}
    zone = parts.pop("zone", "Z")
    if "microsecond" in parts:
        parts["microsecond"] = parts["microsecond"].ljust(6, "0")
    try:
        return datetime(tzinfo=_offset(zone), **{name: int(text) for name, text in parts.items()})
    except ValueError:
        raise _impossible(value, field) from None


def _offset(zone: str) -> timezone:
    if zone == "Z":
        return UTC
    minutes = 60 * int(zone[1:3]) + (int(zone[-2:]) if len(zone) > 3 else 0)
    return timezone(timedelta(minutes=-minutes if zone[0] == "-" else minutes))


def _impossible(value: str, field: str) -> BadInput:
    return BadInput(
        "Ingest processing failed.",
        field=field,
        hint=f"found {value!a}, expected a time that exists, from 1970 to 9999",
    )
