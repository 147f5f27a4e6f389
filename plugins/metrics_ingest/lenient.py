"""Payloads that are not as real agents send them: what can be made of each value, and what cannot.

The rules are the documented API's: a number may be text, a fraction counts down to its whole number, what is no number
is not reported. Where that API would store what breaks later answers (infinite numbers) or fails altogether
(integers beyond 64 bits, names that are numbers), the value is refused by its path.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from appliance.plugin import BadInput

from .agent_object import kept
from .decode import FAILED, NO_OBJECT, read_values, shown
from .sent import INTEGER_LIMIT, SentBody, SentDisk, SentFan, SentGpu, SentSample, Whole

Device = TypeVar("Device", SentDisk, SentGpu, SentFan)
Reader = Callable[[Any, str], Any]

MAX_SAMPLES: Final = 1000
"""Samples in one array."""


def read_leniently(data: bytes) -> SentBody | list[SentBody]:
    """Return one payload, or an array of them, whatever can be made of it.

    :raises BadInput: it cannot be read, or a value in it cannot be stored; ``field`` names which.
    """
    value = read_values(data)
    if not isinstance(value, list):
        return _body(value, "$")
    require_count(len(value))
    return [_body(each, f"$[{place}]") for place, each in enumerate(value)]


def require_count(samples: int) -> None:
    """Refuse an array of no samples, or of too many."""
    if samples == 0:
        raise BadInput(FAILED, field="$", hint="found an empty array, expected at least one sample")
    if samples > MAX_SAMPLES:
        raise BadInput(FAILED, field="$", hint=f"found {samples} samples, expected at most {MAX_SAMPLES}")


def _body(value: object, path: str) -> SentBody:
    if not isinstance(value, dict):
        raise BadInput(NO_OBJECT, field=path, hint=f"found {shown(value)}, expected an object")
    agent, inner = value.get("agent"), value.get("sample")
    raw = msgspec.Raw(msgspec.json.encode(kept(agent)) if isinstance(agent, dict) else b"")
    if isinstance(inner, dict):
        return SentBody(sample=SentSample(**_fields(inner, f"{path}.sample")), agent=raw)
    return SentBody(**_fields(value, path), agent=raw)


def _fields(sample: Mapping[str, Any], path: str) -> dict[str, Any]:
    collected_at = sample.get("collected_at")
    return {
        "collected_at": collected_at if isinstance(collected_at, str) else None,
        **_values(SentSample, sample, path),
        "disks": _devices(SentDisk, sample.get("disks"), f"{path}.disks"),
        "gpus": _devices(SentGpu, sample.get("gpus"), f"{path}.gpus"),
        "fans": _devices(SentFan, sample.get("fans"), f"{path}.fans"),
    }


def _devices(kind: type[Device], value: object, path: str) -> list[Device | None]:
    if isinstance(value, bool | int | float):
        raise BadInput(FAILED, field=path, hint=f"found {shown(value)}, expected an array of objects")
    if not isinstance(value, list):
        return []  # null; a text or an object holds no objects to go through
    return [
        kind(**_values(kind, each, f"{path}[{place}]")) if isinstance(each, dict) else None
        for place, each in enumerate(value)
    ]


def _values(kind: type[msgspec.Struct], found: Mapping[str, Any], path: str) -> dict[str, Any]:
    return {name: read(found.get(wire), f"{path}.{wire}") for name, wire, read in _READERS[kind]}


def _number(value: object, path: str) -> float | None:
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return None
        return number if math.isfinite(number) else None
    if not isinstance(value, bool | int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _refused(value, path, "a finite number")
    return number


def _whole(value: object, path: str) -> int | None:
    if not isinstance(value, bool | int | float | str):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        raise _refused(value, path, "a finite number")
    try:
        number = int(value)
    except ValueError:
        return None
    if not -INTEGER_LIMIT <= number < INTEGER_LIMIT:
        raise _refused(value, path, "an integer of 64 bits")
    return number


def _index(value: object, path: str) -> int:
    return _whole(value, path) or 0


def _text(value: object, path: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _refused(value, path, "text")
    return value


def _refused(value: object, path: str, expected: str) -> BadInput:
    return BadInput(FAILED, field=path, hint=f"found {shown(value)}, expected {expected}")


def _readers(kind: type[msgspec.Struct]) -> tuple[tuple[str, str, Reader], ...]:
    """Return attribute, name on the wire and reader of each field."""
    by_type: dict[Any, Reader] = {
        float | None: _number,
        Whole | None: _whole,
        Whole: _index,
        str: _text,
        str | None: _text,
    }
    fields = msgspec.structs.fields(kind)
    return tuple((each.name, each.encode_name, by_type[each.type]) for each in fields if each.name not in _OTHERWISE)


_OTHERWISE: Final = frozenset({"host_id", "taken_at_unix_us", "collected_at", "disks", "gpus", "fans"})
_READERS: Final[Mapping[type[msgspec.Struct], tuple[tuple[str, str, Reader], ...]]] = {
    kind: _readers(kind) for kind in (SentSample, SentDisk, SentGpu, SentFan)
}
