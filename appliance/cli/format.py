"""How numbers and tables look on a terminal."""

import unicodedata
from collections.abc import Sequence
from typing import Any

NONE = "-"


def size(count: float | None) -> str:
    """Return bytes as people read them: ``31.2 GiB``."""
    if count is None:
        return NONE
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def number(value: float | None, unit: str = "", digits: int = 0) -> str:
    """Return a figure with its unit, ``-`` when it is not reported."""
    return NONE if value is None else f"{value:.{digits}f}{unit}"


def age(seconds: float | None) -> str:
    """Return a span of time in its two largest units: ``3 h 12 min``."""
    if seconds is None:
        return NONE
    whole = max(0, int(seconds))
    for first, first_word, second, second_word in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= first:
            rest = whole % first // second
            return f"{whole // first} {first_word} {rest} {second_word}" if rest else f"{whole // first} {first_word}"
    return f"{whole} s"


def plain(value: Any) -> str:
    """Return text safe for a terminal: control characters would let a process name move the cursor."""
    text = NONE if value is None else str(value)
    return "".join(mark if unicodedata.category(mark)[0] != "C" else "?" for mark in text)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = ()) -> str:
    """Return rows under their heads, columns aligned; columns in ``right`` flush right."""
    cells = [[plain(value) for value in row] for row in rows]
    widths = [max([len(title), *(len(row[at]) for row in cells)]) for at, title in enumerate(head)]

    def line(row: Sequence[str]) -> str:
        aligned = [text.rjust(widths[at]) if at in right else text.ljust(widths[at]) for at, text in enumerate(row)]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(head), *(line(row) for row in cells)])
