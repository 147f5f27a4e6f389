"""Versions of packages, compared as the Package Manager Specification says (PMS 3.2 and 3.3)."""

import re
from functools import cmp_to_key, lru_cache
from typing import Final

from attrs import frozen

VERSION_CHARACTERS: Final = 200
PATTERN: Final = r"[0-9]+(?:\.[0-9]+)*[a-z]?(?:_(?:alpha|beta|pre|rc|p)[0-9]*)*(?:-r[0-9]+)?"
_VERSION: Final = re.compile(
    r"(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?P<letter>[a-z]?)(?P<suffixes>(?:_(?:alpha|beta|pre|rc|p)[0-9]*)*)"
    r"(?:-r(?P<revision>[0-9]+))?"
)
_SUFFIX: Final = re.compile(r"_(alpha|beta|pre|rc|p)([0-9]*)")
_RANKS: Final = {"alpha": -4, "beta": -3, "pre": -2, "rc": -1, "p": 1}
"""Against 0 for no suffix at all."""


@frozen
class Version:
    """A version, taken apart."""

    numbers: tuple[str, ...]
    letter: str
    suffixes: tuple[tuple[int, str], ...]
    revision: str


@lru_cache(maxsize=65_536)
def read(text: str) -> Version | None:
    """Return a version, ``None`` for what is none."""
    match = _VERSION.fullmatch(text) if len(text) <= VERSION_CHARACTERS else None
    if match is None:
        return None
    suffixes = tuple((_RANKS[word], number) for word, number in _SUFFIX.findall(match["suffixes"]))
    return Version(tuple(match["numbers"].split(".")), match["letter"], suffixes, match["revision"] or "")


def compare(one: str, other: str) -> int:
    """Return a number below, equal to or above 0; raise `ValueError` for what is no version."""
    left, right = read(one), read(other)
    if left is None or right is None:
        raise ValueError(f"{(one if left is None else other)[:80]!r} is no version")
    return (
        _numbers(left.numbers, right.numbers)
        or _sign(left.letter, right.letter)
        or _suffixes(left.suffixes, right.suffixes)
        or _integers(left.revision, right.revision)
    )


def _sign(left: str, right: str) -> int:
    return (left > right) - (left < right)


def _integers(left: str, right: str) -> int:
    """Compare numbers of any length; nothing is 0."""
    left, right = left.lstrip("0"), right.lstrip("0")
    return (len(left) > len(right)) - (len(left) < len(right)) or _sign(left, right)


def _numbers(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    found = _integers(left[0], right[0])
    for one, other in zip(left[1:], right[1:], strict=False):
        if found:
            return found
        # Behind the first, a component with a leading zero is a fraction: 1.05 < 1.1.
        is_fraction = one.startswith("0") or other.startswith("0")
        found = _sign(one.rstrip("0"), other.rstrip("0")) if is_fraction else _integers(one, other)
    return found or (len(left) > len(right)) - (len(left) < len(right))


def _suffixes(left: tuple[tuple[int, str], ...], right: tuple[tuple[int, str], ...]) -> int:
    for (rank, number), (other_rank, other_number) in zip(left, right, strict=False):
        found = rank - other_rank or _integers(number, other_number)
        if found:
            return found
    common = min(len(left), len(right))
    # One more suffix is later when it is _p, and earlier when it is any other.
    return (left[common][0] if len(left) > common else 0) - (right[common][0] if len(right) > common else 0)


order = cmp_to_key(compare)
"""A key to sort versions by."""
