"""JSON bytes as plain values, and what is said of bytes that cannot be read."""

import json
import math
import re
from typing import Any, Final

import msgspec

from appliance.plugin import BadInput

INVALID: Final = "Invalid JSON payload."
NO_OBJECT: Final = "Payload must be a JSON object."
FAILED: Final = "Ingest processing failed."

_LONGEST_INTEGER: Final = 300
_SHOWN_STEPS: Final = 8
_DEEP: Final = 64
_TOKEN: Final = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"([ \t\r\n]*:)?|[][{},]', re.DOTALL)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


def read_object(data: bytes) -> dict[str, Any]:
    """Return the object that a strict JSON text holds; nothing at all counts as ``{}``.

    :raises BadInput: the bytes are no JSON, or hold something else.
    """
    try:
        return _OBJECT.decode(data or b"{}")
    except msgspec.ValidationError:
        raise BadInput(NO_OBJECT, field="$") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(INVALID, field="$", hint=str(error)) from None
    except RecursionError:
        raise BadInput(INVALID, field="$", hint="it is nested too deep") from None


def read_values(data: bytes, *, path: str = "$") -> Any:
    """Return what JSON bytes hold, as Python's own reader does: NaN and Infinity are taken, half a surrogate pair too.

    A number out of range, and an integer of more than 300 digits, is infinite here.

    :param path: where in its payload the value stands.
    :raises BadInput: the bytes are no JSON in UTF-8, or are nested too deep; ``field`` says where.
    """
    try:
        text = data.decode()
        return _VALUES.decode(text)
    except UnicodeDecodeError as error:
        raise BadInput(INVALID, field=path, hint=f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise BadInput(INVALID, field=path, hint=str(error)) from None
    except RecursionError:
        hint = f"nested more than {_DEEP} deep here, and deeper than can be read"
        raise BadInput(FAILED, field=path + _deep_path(text), hint=hint) from None


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else math.inf


_VALUES: Final = json.JSONDecoder(parse_int=_integer)


def shown(value: object) -> str:
    """Describe a hostile value in a few safe words."""
    match value:
        case None | bool():
            return json.dumps(value)
        case str():
            return ascii(value if len(value) <= 40 else value[:40] + "...")
        case int():
            return str(value) if abs(value) < 10**30 else "a number of more than 30 digits"
        case float():
            return repr(value) if math.isfinite(value) else "a number out of range, or none"
        case dict():
            return "an object"
        case _:
            return "an array"


def _deep_path(text: str) -> str:
    """Return where a text is first nested deeper than anything real; the first steps to it."""
    steps: list[str | int] = []
    for token in _TOKEN.finditer(text):
        match token[0][0]:
            case "{":
                steps.append("")
            case "[":
                steps.append(0)
            case "]" | "}":
                steps.pop()
            case "," if steps and isinstance(steps[-1], int):
                steps[-1] += 1
            case '"' if token[2]:
                steps[-1] = token[1][:40]
        if len(steps) > _DEEP:
            break
    first = steps[:_SHOWN_STEPS]
    return "".join(f"[{each}]" if isinstance(each, int) else f".{ascii(each)[1:-1]}" for each in first)
