"""Bodies as models, fast: msgspec reads them, and what is wrong is named by its path.

Documented surfaces pass over unknown fields. Objects that are kept as they were sent (capabilities, metrics) are
bounded in size, in depth and in their numbers, so that whatever reads them later can trust them.
"""

from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from appliance.plugin import BadInput, Head

OBJECT_BYTES: Final = 8192
"""Of one object that is kept as it was sent."""
SHARED_BYTES: Final = 1024
"""Objects up to here are remembered by their bytes: what others send must not fill the memory with larger ones."""
OBJECT_DEPTH: Final = 6
NUMBER_MAX: Final = 2**53
"""Beyond it a JSON number is no exact integer any more for most clients."""

ModelT = TypeVar("ModelT")


def read(decoder: msgspec.json.Decoder[ModelT], data: bytes) -> ModelT:
    """Return a body as its model; raise `BadInput` naming the first wrong field."""
    try:
        return decoder.decode(data)
    except RecursionError:
        raise BadInput("the body is nested too deep", field="$", hint="send flat objects") from None
    except UnicodeDecodeError:
        raise BadInput("the body is not UTF-8", field="$", hint="send JSON in UTF-8") from None
    except msgspec.ValidationError as failure:
        words, _, place = str(failure).partition(" - at `")
        path = place.rstrip("`") or "$"
        raise BadInput(f"{path}: {words}", field=path, hint="see /docs for the fields and their types") from None
    except msgspec.DecodeError as failure:
        words = "the body is empty" if not data.strip() else str(failure).removeprefix("JSON is malformed: ")
        raise BadInput(f"not JSON: {words}", field="$", hint="send a JSON object") from None


class Reader:
    """What `Endpoint.decode` wants, for one model.

    :param may_be_empty: whether no body at all is read as an object without fields, as clients send it.
    """

    def __init__(self, model: type[Any], *, may_be_empty: bool = False) -> None:
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(model)
        self._may_be_empty = may_be_empty

    def __call__(self, data: bytes, head: Head) -> Any:
        """Return the body as the model; raise `BadInput`."""
        return read(self._decoder, data or b"{}" if self._may_be_empty else data)


def kept_object(raw: bytes, name: str) -> dict[str, Any]:
    """Return an object that is kept as it was sent; nothing for none and for null.

    The same few bytes give the same object, which nobody may change: a drone says what it can with every heartbeat.

    :raises BadInput: it is no object, too large, too deep, or has a number that is no number to others.
    """
    if not raw or raw == b"null":
        return {}
    if len(raw) > OBJECT_BYTES:
        raise BadInput(f"{name}: larger than {OBJECT_BYTES} bytes", field=f"$.{name}", hint="send fewer fields")
    found = _shared(raw) if len(raw) <= SHARED_BYTES else _objects(raw)
    if isinstance(found, str):
        raise BadInput(f"{name}: {found}", field=f"$.{name}", hint="see /docs for the fields and their types")
    return found


def _objects(raw: bytes) -> dict[str, Any] | str:
    """Return the object, or what is wrong with it."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "expected an object of plain values"
    if not isinstance(found, dict):
        return "expected an object"
    return _wrong(found, OBJECT_DEPTH) or found


_shared = lru_cache(maxsize=1024)(_objects)


def _wrong(value: Any, depth: int) -> str:
    """Return what is wrong with a decoded value; empty for nothing."""
    if isinstance(value, bool | str) or value is None:
        return ""
    if isinstance(value, int | float):
        return "" if -NUMBER_MAX <= value <= NUMBER_MAX else "a number beyond 2^53"
    if depth == 0:
        return "nested too deep"
    each = value.values() if isinstance(value, dict) else value
    return next((words for one in each if (words := _wrong(one, depth - 1))), "")


def number_of(found: dict[str, Any], name: str, key: str, most: float) -> float:
    """Return a number of a kept object, 0 where it is missing or null; raise `BadInput` for what is no amount."""
    value = found.get(key)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        where = f"{name}.{key}"
        raise BadInput(f"{where}: expected a number from 0 to {most:g}", field=f"$.{where}")
    return value
