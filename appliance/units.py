"""Quantities as people write them ("8000m", "16Gi", "5m"), read strictly and written back.

Exact decimal arithmetic throughout: "0.1" is 100 millicores, and what has no whole value in the unit is an error, not
a rounding. Bounds keep every result inside a signed 64-bit integer.
"""

import re
from decimal import Decimal

from appliance.errors import BadInput

MAX_CHARACTERS = 32
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)([a-zA-Z]*)", re.ASCII)

_MEMORY_BYTES = {
    "": 1,
    "B": 1,
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
}
_DURATION_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_MAX = 2**63 - 1


def parse_millicores(text: str, *, field: str = "") -> int:
    """Return millicores for ``"8000m"``, ``"8"`` or ``"0.5"`` cores; raises `BadInput` for anything else."""
    number, unit = _split(text, "cores such as 8, 0.5 or 8000m", field)
    if unit not in {"", "m"}:
        raise BadInput(f"{text!r} is no number of cores", hint="write cores such as 8, 0.5 or 8000m", field=field)
    return _whole(number if unit == "m" else number * 1000, text, "whole millicores", field)


def parse_bytes(text: str, *, field: str = "") -> int:
    """Return bytes for ``"16Gi"``, ``"500M"`` or ``"1024"``; raises `BadInput` for anything else."""
    number, unit = _split(text, "a size such as 16Gi or 500M", field)
    if unit not in _MEMORY_BYTES:
        raise BadInput(f"{text!r} is no size", hint="write a size such as 16Gi or 500M", field=field)
    return _whole(number * _MEMORY_BYTES[unit], text, "whole bytes", field)


def parse_mib(text: str, *, field: str = "") -> int:
    """Return MiB for a size, rounded up: what is asked for must fit."""
    return -(-parse_bytes(text, field=field) // 2**20)


def parse_seconds(text: str, *, field: str = "") -> float:
    """Return seconds for ``"5m"``, ``"1.5h"``, ``"30s"``, ``"7d"``; a bare number is an error (seconds? minutes?)."""
    number, unit = _split(text, "a duration such as 30s, 5m, 2h or 7d", field)
    if unit not in _DURATION_SECONDS:
        raise BadInput(f"{text!r} is no duration", hint="write a duration such as 30s, 5m, 2h or 7d", field=field)
    seconds = number * _DURATION_SECONDS[unit]
    if seconds > _MAX // 1_000_000:  # microseconds of it must still fit
        raise BadInput(f"{text!r} is too long a duration", field=field)
    return float(seconds)


def format_millicores(millicores: int) -> str:
    """Return the shortest text that `parse_millicores` reads back: ``"8"``, ``"500m"``."""
    return f"{millicores}m" if millicores % 1000 else str(millicores // 1000)


def format_bytes(size_bytes: int) -> str:
    """Return the shortest binary text that `parse_bytes` reads back exactly: ``"16Gi"``, ``"1536Mi"``, ``"7"``."""
    for unit in ("Pi", "Ti", "Gi", "Mi", "Ki"):
        if size_bytes and size_bytes % _MEMORY_BYTES[unit] == 0:
            return f"{size_bytes // _MEMORY_BYTES[unit]}{unit}"
    return str(size_bytes)


def format_seconds(seconds: int) -> str:
    """Return the shortest text that `parse_seconds` reads back: ``"5m"``, ``"90s"``."""
    for unit in ("w", "d", "h", "m"):
        if seconds and seconds % _DURATION_SECONDS[unit] == 0:
            return f"{seconds // _DURATION_SECONDS[unit]}{unit}"
    return f"{seconds}s"


def _split(text: str, expected: str, field: str) -> tuple[Decimal, str]:
    match = _QUANTITY.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if match is None:
        raise BadInput(f"{text[:MAX_CHARACTERS]!r} is no quantity", hint=f"write {expected}", field=field)
    return Decimal(match[1]), match[2]


def _whole(value: Decimal, text: str, what: str, field: str) -> int:
    if value != value.to_integral_value():
        raise BadInput(f"{text!r} does not come to {what}", field=field)
    if value > _MAX:
        raise BadInput(f"{text!r} is too large", field=field)
    return int(value)
