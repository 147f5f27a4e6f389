"""Turns tables of TOML into attrs classes; never guesses, and finds every mistake, not just the first.

Written for one purpose, so that each mistake keeps its place, what was found and what was expected, and so that
reading the configuration needs nothing but attrs: the command line reads it too.
"""

import difflib
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs
from attrs import frozen

INTEGER_MAX = 2**63 - 1
FOUND_MAX_CHARACTERS = 80
UNITS = (
    ("_seconds", "seconds"),
    ("_minutes", "minutes"),
    ("_hours", "hours"),
    ("_days", "days"),
    ("_bytes", "bytes"),
    ("_percent", "percent"),
    ("_watts", "watts"),
    ("_celsius", "degrees C"),
)
COMPARED = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


@frozen
class Fault:
    """One mistake: where, what was found, what was expected."""

    path: tuple[str | int, ...]
    found: str
    expected: str


class _Wrong(Exception):
    """The value is not what the type asks for."""


def structure(class_: type[Any], table: Any, path: tuple[str | int, ...] = ()) -> tuple[Any, list[Fault]]:
    """Return an instance of an attrs class made from ``table``, and every mistake in it.

    Settings that are wrong keep their default; the instance is ``None`` when one without a default is wrong.
    """
    if not isinstance(table, Mapping):
        return None, [Fault(path, found(table), "a table")]
    faults: list[Fault] = []
    declared = {one.name: one for one in attrs.fields(class_) if one.init}
    hints = typing.get_type_hints(class_)
    for name in table:
        if name not in declared:
            faults.append(Fault((*path, name), found(table[name]), unknown_key(name, declared)))
    values: dict[str, Any] = {}
    for name, attribute in declared.items():
        place = (*path, name)
        if name in table:
            value, wrong = read_value(table[name], hints[name], attribute, place)
            faults += wrong
            if not wrong:
                values[name] = value
        elif attribute.default is attrs.NOTHING:
            faults.append(Fault(place, "nothing", describe(hints[name], attribute)))
    try:
        return class_(**values), faults
    except TypeError:
        return None, faults  # a setting without a default is missing or wrong: told already
    except ValueError as error:
        return None, [*faults, Fault(path, found(dict(table)), str(error))]


def read_value(
    value: Any, type_: Any, attribute: "attrs.Attribute[Any]", path: tuple[str | int, ...]
) -> tuple[Any, list[Fault]]:
    """Return ``value`` as the attribute's type, checked by its validator, and every mistake in it."""
    faults: list[Fault] = []
    try:
        result = _convert(value, type_, path, faults)
    except _Wrong:
        return None, [Fault(path, found(value), describe(type_, attribute))]
    if faults:
        return None, faults
    if attribute.validator is not None:
        try:
            attribute.validator(None, attribute, result)
        except (ValueError, TypeError) as error:
            rules = _rules(attribute.validator)
            return None, [Fault(path, found(value), describe(type_, attribute) if rules else str(error))]
    return result, []


def _convert(value: Any, type_: Any, path: tuple[str | int, ...], faults: list[Fault]) -> Any:
    origin = get_origin(type_)
    if origin in (Union, types.UnionType):
        return _first_fitting(value, [one for one in get_args(type_) if one is not type(None)], path, faults)
    if origin is Literal:
        # `1 in (True,)` holds: types are compared too.
        if any(value == one and type(value) is type(one) for one in get_args(type_)):
            return value
        raise _Wrong
    if origin in (tuple, list, set, frozenset, Sequence, Iterable):
        return _items(value, origin, get_args(type_)[0], path, faults)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise _Wrong
        item = get_args(type_)[1]
        return {key: _inner(one, item, (*path, key), faults) for key, one in value.items()}
    if attrs.has(type_):
        made, wrong = structure(type_, value, path)
        faults += wrong
        return made
    return _scalar(value, type_)


def _first_fitting(value: Any, arms: Sequence[Any], path: tuple[str | int, ...], faults: list[Fault]) -> Any:
    for arm in arms:
        tried: list[Fault] = []
        try:
            made = _convert(value, arm, path, tried)
        except _Wrong:
            continue
        if not tried or len(arms) == 1:
            faults += tried
            return made
    raise _Wrong


def _items(value: Any, origin: Any, item: Any, path: tuple[str | int, ...], faults: list[Fault]) -> Any:
    if not isinstance(value, list):
        raise _Wrong
    made = [_inner(one, item, (*path, number), faults) for number, one in enumerate(value)]
    container: Callable[[list[Any]], Any] = tuple if origin in (Sequence, Iterable) else origin
    return container(made)


def _inner(value: Any, type_: Any, path: tuple[str | int, ...], faults: list[Fault]) -> Any:
    try:
        return _convert(value, type_, path, faults)
    except _Wrong:
        faults.append(Fault(path, found(value), describe_type(type_)))
        return None


def _scalar(value: Any, type_: Any) -> Any:
    if type_ is Any:
        return value
    if type_ is bool and isinstance(value, bool):
        return value
    if type_ in (int, float) and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > INTEGER_MAX:
            raise _Wrong
        return type_(value)
    if type_ is float and isinstance(value, float) and math.isfinite(value):
        return value
    if type_ is str and isinstance(value, str):
        return value
    if type_ is Path and isinstance(value, str) and "\0" not in value:
        return Path(value)
    if isinstance(type_, type) and issubclass(type_, Enum) and not isinstance(value, bool):
        for one in type_:
            if one.value == value:
                return one
    raise _Wrong


def describe(type_: Any, attribute: "attrs.Attribute[Any]") -> str:
    """Say in words what a setting must be: its type, its unit, its bounds."""
    unit = next((f" of {word}" for suffix, word in UNITS if attribute.name.endswith(suffix)), "")
    words = describe_type(type_)
    if "number" in words:
        words += unit
    return ", ".join([words, *_rules(attribute.validator)])


def describe_type(type_: Any) -> str:
    """Say in words what a value of this type looks like in TOML."""
    origin = get_origin(type_)
    if origin in (Union, types.UnionType):
        return " or ".join(describe_type(one) for one in get_args(type_) if one is not type(None))
    if origin is Literal:
        return "one of " + ", ".join(found(one) for one in get_args(type_))
    if origin in (tuple, list, set, frozenset, Sequence, Iterable):
        return f"a list, each of it {describe_type(get_args(type_)[0])}"
    if origin in (dict, Mapping) or attrs.has(type_):
        return "a table"
    if isinstance(type_, type) and issubclass(type_, Enum):
        return "one of " + ", ".join(found(one.value) for one in type_)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    return names.get(type_, "a value")


def _rules(validator: Any) -> list[str]:
    """Return what attrs' own validators ask for, in words; empty when there are none of them."""
    if validator is None:
        return []
    if hasattr(validator, "compare_op"):  # ge, le, gt, lt
        return [f"{COMPARED[validator.compare_op]} {validator.bound}"]
    if hasattr(validator, "_validators"):  # and_
        return [rule for one in validator._validators for rule in _rules(one)]
    if hasattr(validator, "options"):  # in_
        return ["one of " + ", ".join(found(one) for one in validator.options)]
    if hasattr(validator, "max_length"):
        return [f"at most {validator.max_length} long"]
    if hasattr(validator, "min_length"):
        return [f"at least {validator.min_length} long"]
    if hasattr(validator, "pattern"):
        return [f"matching {validator.pattern.pattern}"]
    return _rules(validator.validator) if hasattr(validator, "validator") else []


def unknown_key(name: str, known: Iterable[str]) -> str:
    """Say what an unknown key should have been: the nearest known one, else all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"a known key: did you mean {near[0]}?"
    return "a known key: " + (", ".join(names) if names else "there are none here")


def found(value: Any) -> str:
    """Show a value as it looks in the file, cut where it is long."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, int) and abs(value) > INTEGER_MAX:
        text = "a whole number beyond 64 bits"  # Python refuses to print numbers of thousands of digits
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(found(one) for one in value[:10]) + ("]" if len(value) <= 10 else ", ...]")
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key} = {found(one)}" for key, one in list(value.items())[:10]) + "}"
    else:
        text = str(value)
    return text if len(text) <= FOUND_MAX_CHARACTERS else f"{text[: FOUND_MAX_CHARACTERS - 3]}..."
