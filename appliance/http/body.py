"""JSON bytes as attrs models: nothing is guessed, and what is wrong is named by its path.

The strict reader (msgspec's parser, cattrs with the hooks below) decides what is right. The fast reader (msgspec
straight into the class) is used where a model is simple enough, and only its *yes* counts: a *no* is decided and
worded by the strict one. A test holds both to the same verdicts.
"""

import collections.abc
import json
import math
import re
import types
import typing
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import cattrs
import msgspec
from attrs import frozen
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

from appliance.errors import BadInput

INTEGER_LIMIT = 2**63
"""Integers are what SQLite and every client's 64 bits can hold."""
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG = b"0" * 19


class Mismatch(ValueError):
    """One value that is not what its field holds."""

    def __init__(self, found: Any, expected: str) -> None:
        super().__init__(f"found {shown(found)}, expected {expected}")


def shown(value: Any) -> str:
    """Describe a hostile value in a few safe words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value if len(value) <= 40 else value[:40] + "..."
        return msgspec.json.encode(text).decode()
    if isinstance(value, int):
        return str(value) if -(10**30) < value < 10**30 else "a number of more than 30 digits"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "a number out of range"
    if isinstance(value, dict):
        return "an object"
    return "an array" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def _boolean(value: Any, _: Any) -> bool:
    if type(value) is not bool:
        raise Mismatch(value, "true or false")
    return value


def _integer(value: Any, _: Any) -> int:
    if type(value) is not int:
        raise Mismatch(value, "an integer")
    if not -INTEGER_LIMIT <= value < INTEGER_LIMIT:
        raise Mismatch(value, "an integer of 64 bits")
    return value


def _lenient_integer(value: Any, _: Any) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    return _integer(value, _)


def _number(value: Any, _: Any) -> float:
    if type(value) not in {int, float}:
        raise Mismatch(value, "a number")
    try:
        number = float(value)
    except OverflowError:
        raise Mismatch(value, "a finite number") from None
    if not math.isfinite(number):
        raise Mismatch(value, "a finite number")
    return number


def _text(value: Any, _: Any) -> str:
    if type(value) is not str:
        raise Mismatch(value, "a string")
    return value


class _At(Exception):
    """A failure below one item of an array or object."""

    def __init__(self, step: str, cause: Exception) -> None:
        super().__init__(step)
        self.step = step
        self.cause = cause


@lru_cache(maxsize=4)
def converter(*, refuse_unknown: bool, whole_floats: bool) -> cattrs.Converter:
    """Return the strict converter; ``whole_floats`` takes 3.0 for an integer."""
    made = cattrs.Converter(detailed_validation=True, forbid_extra_keys=refuse_unknown)
    made.register_structure_hook(bool, _boolean)
    made.register_structure_hook(int, _lenient_integer if whole_floats else _integer)
    made.register_structure_hook(float, _number)
    made.register_structure_hook(str, _text)

    def modelled(kind: Any) -> Callable[[Any, Any], Any]:
        inner = make_dict_structure_fn(kind, made, _cattrs_forbid_extra_keys=refuse_unknown)

        def structure(value: Any, wanted: Any) -> Any:
            if type(value) is not dict:
                raise Mismatch(value, "an object")
            return inner(value, wanted)

        return structure

    made.register_structure_hook_factory(attrs.has, modelled)
    made.register_structure_hook_func(is_list, lambda value, kind: _array(made, value, kind))
    made.register_structure_hook_func(_is_mapping, lambda value, kind: _object(made, value, kind))
    made.register_structure_hook_func(_is_literal, _literal)
    made.register_structure_hook_func(lambda kind: isinstance(kind, type) and issubclass(kind, Enum), _member)
    made.register_structure_hook_func(
        lambda kind: get_origin(kind) in {Union, types.UnionType}, lambda value, kind: _union(made, value, kind)
    )
    return made


def _is_literal(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return origin is Literal


def is_list(kind: Any) -> bool:
    return (get_origin(kind) or kind) in {list, tuple, set, frozenset, collections.abc.Sequence}


def _is_mapping(kind: Any) -> bool:
    return (get_origin(kind) or kind) in {dict, collections.abc.Mapping}


def _array(made: cattrs.Converter, value: Any, kind: Any) -> Any:
    if type(value) is not list:
        raise Mismatch(value, "an array")
    arguments = get_args(kind)
    origin = get_origin(kind) or kind
    make = list if origin is collections.abc.Sequence else origin
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise Mismatch(value, f"an array of {len(arguments)}")
        wanted = list(arguments)
    else:
        wanted = [arguments[0] if arguments else Any] * len(value)
    items = []
    for index, (item, one) in enumerate(zip(value, wanted, strict=True)):
        try:
            items.append(made.structure(item, one))
        except Exception as failure:
            raise _At(f"[{index}]", failure) from None
    return make(items)


def _object(made: cattrs.Converter, value: Any, kind: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise Mismatch(value, "an object")
    arguments = get_args(kind)
    wanted = arguments[1] if len(arguments) == 2 else Any
    items = {}
    for name, item in value.items():
        try:
            items[name] = made.structure(item, wanted)
        except Exception as failure:
            raise _At(f"[{shown(name)}]", failure) from None
    return items


def _literal(value: Any, kind: Any) -> Any:
    for choice in get_args(kind):
        if type(value) is type(choice) and value == choice:
            return value
    raise Mismatch(value, "one of " + ", ".join(shown(choice) for choice in get_args(kind)))


def _member(value: Any, kind: Any) -> Any:
    for one in kind:
        if isinstance(one.value, type(value)) and value == one.value and type(value) is not bool:
            return one
    raise Mismatch(value, "one of " + ", ".join(shown(one.value) for one in kind))


def _union(made: cattrs.Converter, value: Any, kind: Any) -> Any:
    options = [option for option in get_args(kind) if option is not type(None)]
    if value is None and len(options) < len(get_args(kind)):
        return None
    failures: list[Exception] = []
    for option in options:
        try:
            return made.structure(value, option)
        except Exception as failure:
            failures.append(failure)
    if len(failures) == 1:
        raise failures[0]
    raise Mismatch(value, " or ".join(_noun(option) for option in options))


def _noun(kind: Any) -> str:
    return {int: "an integer", float: "a number", str: "a string", bool: "true or false"}.get(kind, "an object")


# ---------------------------------------------------------------- naming what is wrong


def explain(failure: BaseException, path: str = "$") -> tuple[str, str]:
    """Return the path and the words of the first thing wrong."""
    while True:
        if isinstance(failure, _At):
            path, failure = path + failure.step, failure.cause
        elif isinstance(failure, ClassValidationError):
            noted, plain = failure.group_exceptions()
            if not noted:
                failure = plain[0]
                continue
            first, note = noted[0]
            path += f".{note.name}"
            if isinstance(first, KeyError):
                return path, "missing, and required"
            failure = first
        else:
            return _leaf(failure, path)


def _leaf(failure: BaseException, path: str) -> tuple[str, str]:
    if isinstance(failure, Mismatch):
        return path, str(failure)
    if isinstance(failure, ForbiddenExtraKeysError):
        name = sorted(failure.extra_fields)[0]
        return f"{path}.{name[:64]}", "no such field"
    text = str(failure.args[0]) if failure.args else "not valid"
    # attrs' own validators begin with the field's name in quotes.
    named = re.match(r"(Length of )?'(\w+)' ([^\n]{1,200})", text)
    if named:
        return f"{path}.{named[2]}", f"{(named[1] or '').lower().replace(' of', '')}{named[3]}"[:200]
    return path, "not valid" if isinstance(failure, RecursionError | AttributeError) else text[:200]


def refused(failure: BaseException) -> BadInput:
    path, words = explain(failure)
    return BadInput(f"{path}: {words}", field=path)


# ---------------------------------------------------------------- JSON


class _OutOfRange(BadInput):
    """A number that no 64 bits hold."""


def _parse_anyway(data: bytes) -> Any:
    def huge(text: str) -> int | float:
        return int(text) if len(text) < 400 else math.inf

    try:
        return json.loads(data.decode("utf-8-sig"), parse_int=huge)
    except (ValueError, RecursionError):
        raise BadInput("$: not JSON", field="$", hint="send a JSON document") from None


def parse(data: bytes) -> Any:
    """Parse JSON of any shape; raises `BadInput`. A byte order mark is passed over; duplicate keys: the last wins."""
    if data[:3] == b"\xef\xbb\xbf":
        data = data[3:]
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        raise BadInput("$: nested too deep", field="$", hint="send at most some hundred levels") from None
    except UnicodeDecodeError:
        raise BadInput("$: the body is not UTF-8", field="$", hint="send JSON in UTF-8") from None
    except msgspec.ValidationError as failure:
        words, _, place = str(failure).partition(" - at `")
        raise _OutOfRange(f"{place.rstrip('`') or '$'}: {words}", field=place.rstrip("`") or "$") from None
    except msgspec.DecodeError as failure:
        words = "the body is empty" if not data.strip() else str(failure).removeprefix("JSON is malformed: ")
        raise BadInput(f"$: not JSON: {words}", field="$", hint="send a JSON document") from None


@frozen(eq=False)
class BodyReader:
    """Reads the bodies of one model, fast where the model allows it."""

    model: Any
    _strict: cattrs.Converter
    _fast: msgspec.json.Decoder[Any] | None

    @classmethod
    def of(cls, model: Any, *, refuse_unknown: bool, whole_floats: bool) -> "BodyReader":
        """Make the reader of ``model`` (an attrs class, or anything the converter knows)."""
        fast = None
        if not refuse_unknown and is_plain(model):
            fast = msgspec.json.Decoder(model)
        strict = converter(refuse_unknown=refuse_unknown, whole_floats=whole_floats)
        return cls(model, strict, fast)

    def read(self, data: bytes) -> Any:
        """Return the model, or raise `BadInput` with the path of the first wrong field."""
        # 19 digits in a row may be more than 64 bits, which msgspec would accept: a search of 1 us per kB.
        if self._fast is not None and _LONG not in data.translate(_DIGITS) and _is_utf8(data):
            try:
                return self._fast.decode(data)
            except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
                pass  # the strict reader decides, and finds the words
        return self.read_strictly(data)

    def read_strictly(self, data: bytes) -> Any:
        """Read without the fast way."""
        try:
            value, unreadable = parse(data), None
        except _OutOfRange as failure:
            # Read once more by a parser that goes on, so that the structure finds the field's name.
            value, unreadable = _parse_anyway(data), failure
        try:
            model = self._strict.structure(value, self.model)
        except Exception as failure:
            raise refused(failure) from None
        if unreadable is not None:
            raise unreadable
        return model


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def is_plain(model: Any) -> bool:
    """Whether msgspec reads ``model`` as the strict converter would: no converters, aliases or hidden fields."""
    return attrs.has(model) and _is_plain(model, set())


def _is_plain(kind: Any, seen: set[Any]) -> bool:
    if kind in {bool, int, float, str, type(None)} or kind in seen:
        return True
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        options = [option for option in get_args(kind) if option is not type(None)]
        return len(options) == 1 and _is_plain(options[0], seen)
    if origin is list or (origin is tuple and get_args(kind)[-1:] == (Ellipsis,)):
        return _is_plain(get_args(kind)[0], seen)
    if origin is dict:
        return get_args(kind)[0] is str and _is_plain(get_args(kind)[1], seen)
    if not attrs.has(kind):
        return False
    seen.add(kind)
    hints = typing.get_type_hints(kind)
    return all(
        one.init and one.converter is None and one.alias == one.name and _is_plain(hints[one.name], seen)
        for one in attrs.fields(kind)
    )
