"""A small, strict reader of InfluxDB line protocol, made for text from anybody.

The grammar is that of https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/ with three differences:

* a line ends at its newline, also within quotes;
* an empty tag value, which agents do send (``model=,vendor=``), is a tag that is not there;
* a float that is NaN or infinite, which Go prints and the grammar does not know, is a field that is not there.

Each line is judged alone: one that cannot be read is told with its number and reason, and costs no other line.
"""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from attrs import define, frozen

TEXT_CHARACTERS_MAX: Final = 262_144
"""A report of 64 GPUs and 256 workers has a tenth of it."""
LINES_MAX: Final = 2_048
LINE_CHARACTERS_MAX: Final = 8_192
PARTS_MAX: Final = 64
"""Tags and fields of one line."""
KNOWN_CHARACTERS_MAX: Final = 512
"""Of a head that is kept to be known again."""
FAULTS_MAX: Final = 8
"""Lines of which it is told why they cannot be read; the others are counted."""
INTEGER_LIMIT: Final = 2**63

Value = float | int | bool | str

# Every pattern here takes a text in one pass: no two of its parts can match the same character.
_NAME: Final = r"(?:[^,\s\\=]|\\.)+"
_HEAD: Final = re.compile(r"(?:[^ \\]|\\.)*")
_MEASUREMENT: Final = re.compile(r"(?:[^,\s\\]|\\.)+")
_TAG: Final = re.compile(rf",({_NAME})=((?:[^,\s\\=]|\\.)*)")
_FIELD: Final = re.compile(rf'({_NAME})=(?:"((?:[^"\\]|\\.)*)"|([^,\s"]+))(,|(?= )|$)')
_TIME: Final = re.compile(r" +(-?[0-9]{1,19}) *", re.ASCII)
_SPACES: Final = re.compile(r" +")
_AWKWARD: Final = re.compile(r'[^\S ]|["\\]')
"""What parts are not simply split at commas and equals signs for: quotes, escapes, white space but the space."""
_NUMBER: Final = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_INTEGER: Final = re.compile(r"(-?[0-9]{1,19})i|([0-9]{1,19})u", re.ASCII)
_NOT_FINITE: Final = frozenset({"nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})
_BOOLEANS: Final = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}
_ESCAPED: Final = re.compile(r"\\([,= ])")
_ESCAPED_IN_MEASUREMENT: Final = re.compile(r"\\([, ])")
_ESCAPED_IN_QUOTES: Final = re.compile(r'\\(["\\])')


@define  # not frozen: one is made for every line, and that takes three times as long
class Point:
    """One line: what was measured, of what, and when."""

    measurement: str
    tags: Mapping[str, str]
    fields: dict[str, Value]
    """At least one was written; none are left where all were NaN or infinite."""
    time: int | None
    """As written, in the unit that sender and reader have agreed on; ``None`` where none is written."""


@frozen
class Read:
    """What a text holds."""

    points: tuple[Point, ...]
    faults: tuple[str, ...] = ()
    """Why lines cannot be read, each with its number; the first few."""
    refused: int = 0
    """How many lines cannot be read."""


class _Unreadable(ValueError):
    """A line is not as the grammar has it."""


def read_lines(text: str, beginnings: tuple[str, ...] = ("",)) -> Read:
    """Return the points of a text and what is wrong with its other lines; never raises.

    Empty lines and comments are passed over. Lines beyond `LINES_MAX`, and a text beyond `TEXT_CHARACTERS_MAX`, are
    not looked at, and told as one fault.

    :param beginnings: what lines begin with that are looked at, such as a measurement's name; all others are passed
        over, which costs a hundredth of reading them.
    """
    if len(text) > TEXT_CHARACTERS_MAX:
        return Read((), (f"more than {TEXT_CHARACTERS_MAX} characters",), 1)
    points: list[Point] = []
    faults: list[str] = []
    lines = text.split("\n", LINES_MAX)
    for number, line in enumerate(lines[:LINES_MAX], 1):
        if not line.startswith(beginnings) or not line.strip(" \r") or line.startswith("#"):
            continue
        try:
            points.append(_point(line.removesuffix("\r")))
        except _Unreadable as fault:
            faults.append(f"line {number}: {fault}")
    if len(lines) > LINES_MAX:
        faults.append(f"more than {LINES_MAX} lines")
    return Read(tuple(points), tuple(faults[:FAULTS_MAX]), len(faults))


def _point(line: str) -> Point:
    if len(line) > LINE_CHARACTERS_MAX:
        raise _Unreadable(f"more than {LINE_CHARACTERS_MAX} characters")
    if "\0" in line:
        raise _Unreadable("a NUL")
    found = _HEAD.match(line)
    text = found[0] if found is not None else ""
    measurement, tags = _known_head(text) if len(text) <= KNOWN_CHARACTERS_MAX else _head(text)
    gap = _SPACES.match(line, len(text))
    if gap is None:
        raise _Unreadable("no fields")
    at = gap.end()
    fields, at = _fields(line, at) if _is_plain(line[at:]) else _quoted_fields(line, at)
    time = None
    if line[at:].strip(" "):
        written = _TIME.fullmatch(line, at)
        if written is None:
            raise _Unreadable("a time that is no integer")
        time = _within_64_bits(int(written[1]))
    return Point(measurement, tags, fields, time)


def _is_plain(part: str) -> bool:
    """Whether a part can be split where its marks are; twice as fast, and what nearly all parts are."""
    return _AWKWARD.search(part) is None


def _head(text: str) -> tuple[str, Mapping[str, str]]:
    """Return measurement and tags of what stands before the fields."""
    # A model's name has spaces; where nothing else is escaped, NUL, which no line has, holds their places.
    marked = text.replace("\\ ", "\0")
    return _plain_head(marked) if _is_plain(marked) else _escaped_head(text)


_known_head = lru_cache(maxsize=4096)(_head)  # an agent's are the same in every report


def _plain_head(text: str) -> tuple[str, Mapping[str, str]]:
    measurement, *parts = text.split(",")
    if not measurement:
        raise _Unreadable("no measurement")
    if len(parts) > PARTS_MAX:
        raise _Unreadable(f"more than {PARTS_MAX} tags")
    tags: dict[str, str] = {}
    for part in parts:
        name, mark, value = part.partition("=")
        if not name or not mark or "=" in value:
            raise _Unreadable("a tag without a name or value")
        if name in tags:
            raise _Unreadable("a tag twice")
        tags[name] = value
    if "\0" in text:
        measurement = measurement.replace("\0", " ")
        tags = {name.replace("\0", " "): value.replace("\0", " ") for name, value in tags.items()}
    return measurement, MappingProxyType({name: value for name, value in tags.items() if value})


def _escaped_head(text: str) -> tuple[str, Mapping[str, str]]:
    head = _MEASUREMENT.match(text)
    if head is None:
        raise _Unreadable("no measurement")
    tags, at = _tags(text, head.end())
    if at < len(text):
        raise _Unreadable("a tag without a name or value")
    return _ESCAPED_IN_MEASUREMENT.sub(r"\1", head[0]), MappingProxyType(tags)


def _tags(line: str, at: int) -> tuple[dict[str, str], int]:
    tags: dict[str, str] = {}
    seen: set[str] = set()
    while (match := _TAG.match(line, at)) is not None:
        name = _unescape(match[1])
        if name in seen:
            raise _Unreadable("a tag twice")
        seen.add(name)
        if match[2]:
            tags[name] = _unescape(match[2])
        if len(seen) > PARTS_MAX:
            raise _Unreadable(f"more than {PARTS_MAX} tags")
        at = match.end()
    return tags, at


def _fields(line: str, at: int) -> tuple[dict[str, Value], int]:
    end = line.find(" ", at)
    end = len(line) if end < 0 else end
    parts = line[at:end].split(",")
    if len(parts) > PARTS_MAX:
        raise _Unreadable(f"more than {PARTS_MAX} fields")
    fields: dict[str, Value | None] = {}
    for part in parts:
        name, _, text = part.partition("=")
        if not name or not text:
            raise _Unreadable("a field without a name or value" if fields else "no fields")
        if name in fields:
            raise _Unreadable("a field twice")
        fields[name] = _value(text)
    return {name: value for name, value in fields.items() if value is not None}, end


def _quoted_fields(line: str, at: int) -> tuple[dict[str, Value], int]:
    fields: dict[str, Value] = {}
    seen: set[str] = set()
    while True:
        match = _FIELD.match(line, at)
        if match is None:
            raise _Unreadable("a field without a name or value" if seen else "no fields")
        name = _unescape(match[1])
        if name in seen:
            raise _Unreadable("a field twice")
        seen.add(name)
        if match[3] is None:
            fields[name] = _ESCAPED_IN_QUOTES.sub(r"\1", match[2])
        elif (value := _value(match[3])) is not None:
            fields[name] = value
        if len(seen) > PARTS_MAX:
            raise _Unreadable(f"more than {PARTS_MAX} fields")
        at = match.end()
        if not match[4]:
            return fields, at


def _value(text: str) -> Value | None:
    if text[-1] in "iu":
        integer = _INTEGER.fullmatch(text)
        if integer is not None:
            return _within_64_bits(int(integer[1] or integer[2]))
    elif _NUMBER.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text.lower() in _NOT_FINITE:
        return None
    raise _Unreadable("a value that is no number, text or truth")


def _within_64_bits(number: int) -> int:
    if not -INTEGER_LIMIT <= number < INTEGER_LIMIT:
        raise _Unreadable("an integer of more than 64 bits")
    return number


def _unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text
