"""Package atoms as drones and clients write them, and the one form in which the queue keeps them.

The syntax is that of Gentoo's Package Manager Specification (3.1 names and slots, 3.2 versions, 8.3 dependencies): an
optional operator, category/name, an optional version, and an optional slot, repository and list of USE flags.
"""

import re
from functools import lru_cache
from typing import Final

from appliance.plugin import BadInput

ATOM_MAX_CHARS: Final = 255
_VERSION: Final = r"\d+(?:\.\d+)*[a-z]?(?:_(?:alpha|beta|pre|rc|p)\d*)*(?:-r\d+)?\*?"
_SLOT: Final = r"[A-Za-z0-9_][A-Za-z0-9+_.-]*"
_ATOM: Final = re.compile(
    r"(?P<operator>[<>]=?|=|~)?"
    r"(?P<category>[A-Za-z0-9_][A-Za-z0-9+_.-]*)/"
    r"(?P<name>[A-Za-z0-9_][A-Za-z0-9+_-]*?)"
    rf"(?:-(?P<version>{_VERSION}))?"
    rf"(?P<slot>:(?:[*=]|{_SLOT}(?:/{_SLOT})?=?))?"
    r"(?P<repository>::[A-Za-z0-9_][A-Za-z0-9_-]*)?"
    r"(?P<use>\[[A-Za-z0-9+_@,!?=()-]*\])?",
    re.ASCII,
)


@lru_cache(maxsize=16_384)
def _matched(text: str) -> tuple[str, str, bool] | None:
    """Return the normal form, category/name, and whether there is a version; ``None`` for what is no atom."""
    match = _ATOM.fullmatch(text) if len(text) <= ATOM_MAX_CHARS else None
    if match is None:
        return None
    operator, version = match["operator"] or "", match["version"]
    if version is None:
        if operator not in ("", "="):
            return None  # >=category/name says nothing
        operator = ""
    elif not operator:
        operator = "="
    bare = text[len(match["operator"] or "") :]
    return operator + bare, f"{match['category']}/{match['name']}", version is not None


def parsed(text: str) -> tuple[str, str, bool]:
    """Return the normal form of an atom, its `key`, and whether it names a version.

    :raises BadInput: it is no atom.
    """
    found = _matched(text.strip())
    if found is None:
        raise BadInput(
            f"{text[:80]!r} is not a package", hint="category/name or category/name-version, as emerge takes them"
        )
    return found


def normalised(text: str) -> str:
    """Return the form in which the queue keeps an atom.

    One with a version has an operator, ``=`` if none is written; one without has none. Slot and all else stay.

    :raises BadInput: it is no atom.
    """
    return parsed(text)[0]


def recognised(text: str) -> str:
    """Return the normal form of what a drone says, or what it says when that is no atom."""
    found = _matched(text.strip())
    return text if found is None else found[0]


def key(atom: str) -> str:
    """Return category and name alone: without operator, version, slot and flags."""
    found = _matched(atom)
    return atom if found is None else found[1]


def category(atom: str) -> str:
    """Return the category alone."""
    return key(atom).partition("/")[0]


def is_versioned(atom: str) -> bool:
    """Whether an atom names a version."""
    found = _matched(atom)
    return found is not None and found[2]


def spoken(atom: str) -> str:
    """Return an atom as people read it: without the ``=``."""
    return atom.removeprefix("=")
