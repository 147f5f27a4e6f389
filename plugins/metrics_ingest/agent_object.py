"""The object in which an agent tells of itself and its host, cut to what is kept.

An agent's object is repeated to every client in each row of servers, so it is bounded, and it is made of nothing that
a client cannot read: strict ones decode whole answers, and one bad value breaks them.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .decode import read_values

MAX_KEYS: Final = 25
KEY_CHARACTERS: Final = 64
MAX_BYTES: Final = 16_384
"""Of the kept object as JSON; a key whose value does not fit any more is left out."""
MAX_DEPTH: Final = 8
INTEGER_LIMIT: Final = 2**63

_TEXTS: Final = frozenset({"version", "hostname", "user", "platform", "python"})
_NOTHING: Final = object()


def read_agent(raw: bytes) -> dict[str, Any]:
    """Return what is kept of an agent's object; ``raw`` is JSON in UTF-8.

    :raises BadInput: it is nested too deep.
    """
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        found = read_values(raw, path="$.agent")  # a number out of range somewhere, which is passed over
    return kept(found) if isinstance(found, dict) else {}


def kept(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first keys of an agent's object, with the values that every client can read."""
    result: dict[str, Any] = {}
    room = MAX_BYTES
    for key, value in list(found.items())[:MAX_KEYS]:
        name = _text(key)[:KEY_CHARACTERS]
        safe = _typed(name, _safe(value, 1))
        if safe is _NOTHING:
            continue
        size = len(msgspec.json.encode({name: safe}))
        if size <= room:
            room -= size
            result[name] = safe
    return result


def _typed(name: str, value: Any) -> Any:
    """Hold the keys that clients know to their types."""
    if name in _TEXTS:
        return value if isinstance(value, str) else _NOTHING
    if name == "pid":
        return value if type(value) is int else _NOTHING
    if name == "labels":
        if not isinstance(value, dict):
            return _NOTHING
        return {key: label for key, label in value.items() if isinstance(label, str)}
    return value


def _safe(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return value if -INTEGER_LIMIT <= value < INTEGER_LIMIT else _NOTHING
    if isinstance(value, float):
        return value if math.isfinite(value) else _NOTHING
    if depth == MAX_DEPTH:
        return _NOTHING
    if isinstance(value, dict):
        pairs = ((_text(key)[:KEY_CHARACTERS], _safe(each, depth + 1)) for key, each in value.items())
        return {key: each for key, each in pairs if each is not _NOTHING}
    return [each for each in (_safe(each, depth + 1) for each in value) if each is not _NOTHING]


def _text(text: str) -> str:
    # Half a surrogate pair is valid in JSON's escapes and can be written in no answer.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
