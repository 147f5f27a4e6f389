"""Query strings as attrs models, as strictly as bodies: a text is what its field declares, or it is refused."""

import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin
from urllib.parse import unquote_to_bytes

import attrs
import cattrs
from attrs import frozen

from appliance.errors import BadInput
from appliance.http.body import converter, is_list, refused

MAX_QUERY_FIELDS = 200
CREDENTIAL_NAMES = frozenset({"key", "token", "ticket", "code", "auth_token"})
"""Query names that carry secrets: read by authentication, cut from every log."""
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,4})?")


@frozen(eq=False)
class QueryReader:
    """Reads a query string into one attrs class; texts become what each field declares, or are refused."""

    model: type[Any]
    _fields: Mapping[str, Any]
    _strict: cattrs.Converter
    refuse_unknown: bool

    @classmethod
    def of(cls, model: type[Any], *, refuse_unknown: bool) -> "QueryReader":
        """Make the reader of ``model``."""
        hints = typing.get_type_hints(model)
        fields = {one.alias: hints[one.name] for one in attrs.fields(model) if one.init}
        return cls(model, fields, converter(refuse_unknown=refuse_unknown, whole_floats=False), refuse_unknown)

    def read(self, raw_query: bytes) -> Any:
        """Return the model, or raise `BadInput`; of a repeated name the last counts, for arrays all do."""
        given: dict[str, list[str]] = {}
        for name, text in pairs(raw_query):
            given.setdefault(name, []).append(text)
        values: dict[str, Any] = {}
        for name, texts in given.items():
            if name in self._fields:
                values[name] = _typed(texts, self._fields[name])
            elif self.refuse_unknown and name not in CREDENTIAL_NAMES:
                raise BadInput(f"$.{name[:64]}: no such query parameter", field=f"$.{name[:64]}")
        try:
            return self._strict.structure(values, self.model)
        except Exception as failure:
            raise refused(failure) from None


def pairs(raw_query: bytes) -> list[tuple[str, str]]:
    """Split and decode a query string; raises `BadInput` for bad UTF-8, a NUL or too many fields."""
    if not raw_query:
        return []
    items = raw_query.split(b"&")
    if len(items) > MAX_QUERY_FIELDS:
        raise BadInput(f"more than {MAX_QUERY_FIELDS} query parameters", field="$")
    found = []
    for item in items:
        if not item:
            continue
        name, _, value = item.partition(b"=")
        try:
            pair = (
                unquote_to_bytes(name.replace(b"+", b" ")).decode("utf-8"),
                unquote_to_bytes(value.replace(b"+", b" ")).decode("utf-8"),
            )
        except UnicodeDecodeError:
            raise BadInput("the query string is not UTF-8", field="$") from None
        if "\0" in pair[0] or "\0" in pair[1]:
            raise BadInput("the query string contains a NUL", field="$")
        found.append(pair)
    return found


def _typed(texts: list[str], kind: Any) -> Any:
    if is_list(kind):
        inner = get_args(kind)[0] if get_args(kind) else str
        return [_typed_one(text, inner) for text in texts]
    return _typed_one(texts[-1], kind)


def _typed_one(text: str, kind: Any) -> Any:
    """Return what ``text`` says in the terms of ``kind``, or the text itself, which the converter then refuses."""
    if get_origin(kind) in {Union, types.UnionType}:
        options = [option for option in get_args(kind) if option is not type(None)]
        if str in options:
            return text
        return _typed_one(text, options[0])
    if kind is int and re.fullmatch(r"-?[0-9]{1,19}", text):
        return int(text)
    if kind is float and re.fullmatch(
        r"[-+]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,4})?", text
    ):
        return float(text)
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    return text
