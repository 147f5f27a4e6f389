"""Times on the wire: ISO 8601 with a zone, as Go and JavaScript read and write them."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from appliance.plugin import BadInput

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)
_LAST_UNIX_US: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _US
"""The last moment that can be written in UTC."""
_CHARACTERS_MAX: Final = 64
_FORM: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,30})?)?"
    r"(?:[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)",
    re.ASCII,
)
EXPECTED: Final = "expected a time with its zone, such as 2026-11-21T10:00:00Z"


def iso(unix_us: int | None) -> str | None:
    """Return a moment in UTC with a Z, which is RFC 3339: microseconds unless they are 0."""
    return None if unix_us is None else iso_of(unix_us)


def iso_of(unix_us: int) -> str:
    """Return a moment that is there; see `iso`."""
    seconds, microseconds = divmod(unix_us, 1_000_000)
    return f"{_second(seconds)}.{microseconds:06d}Z" if microseconds else f"{_second(seconds)}Z"


@lru_cache(maxsize=1024)
def _second(unix_s: int) -> str:
    return (_EPOCH + timedelta(seconds=unix_s)).isoformat()[:19]


def read_time(text: str, *, field: str) -> int:
    """Return microseconds since 1970, before it less than 0; digits past microseconds are cut.

    A time without a zone is not guessed at: it is refused.

    :param field: the value's path, for the error.
    :raises BadInput: it is no time, or none that exists.
    """
    try:
        return _read(text)
    except ValueError:
        raise BadInput(f"{field}: {EXPECTED}", field=field) from None


def _read(text: str) -> int:
    if len(text) > _CHARACTERS_MAX:
        raise ValueError(EXPECTED)
    return _read_short(text)


@lru_cache(maxsize=256)  # agents give all connections of a report one and the same time
def _read_short(text: str) -> int:
    if not _FORM.fullmatch(text):
        raise ValueError(EXPECTED)
    unix_us = (datetime.fromisoformat(text.upper().replace(",", ".")) - _EPOCH) // _US
    if unix_us > _LAST_UNIX_US:  # 9999-12-31T23:59:59-14:00 can be read, but not written in UTC
        raise ValueError(EXPECTED)
    return unix_us


def check_time(instance: Any, attribute: Any, value: str) -> None:
    """An attrs validator for a field that holds a time."""
    try:
        _read(value)
    except ValueError:
        raise ValueError(f"'{attribute.name}' is not a time: {EXPECTED}") from None
