"""Writes the configuration file that holds every setting, its default and one comment."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from appliance.config.loaded import plain
from appliance.settings import ENVIRONMENT, HELP, RELOAD, TABLES, PluginSettings

HEAD: Final = """\
# The appliance's configuration: every setting, with its default. Everything here is optional.
# Take the "#" away from a line to change it. "appliance config check" finds mistakes, and "appliance config reload"
# (or SIGHUP) applies what is marked live; the rest needs a restart.
"""
WIDTH: Final = 118


def default_document(plugin_settings: Mapping[str, type[Any] | None] | None = None) -> str:
    """Return the text of a configuration file in which every setting stands commented out, at its default.

    :param plugin_settings: plugins to list, each with its attrs class or ``None``.
    """
    parts = [HEAD]
    for table, class_ in TABLES:
        heading = f"# [[{table}]]" if table == "listeners" else f"[{table}]"
        parts.append("\n".join(_table(heading, class_, _summary(class_))) + "\n")
    for name, settings in sorted((plugin_settings or {}).items()):
        lines = list(_table(f"[plugins.{name}]", PluginSettings, ""))
        if settings is not None:
            lines += _settings(settings)
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _summary(class_: type[Any]) -> str:
    return (class_.__doc__ or "").partition("\n")[0]


def _table(heading: str, class_: type[Any], summary: str) -> Iterator[str]:
    if summary:
        yield f"# {summary}"
    yield heading
    yield from _settings(class_)


def _settings(class_: type[Any]) -> Iterator[str]:
    for one in attrs.fields(class_):
        if HELP not in one.metadata:
            continue
        names = one.metadata.get(ENVIRONMENT, ())
        marks = [str(one.metadata.get(RELOAD, "restart")), *(f"environment: {name}" for name in names)]
        yield from _comment(f"{one.metadata[HELP]} ({', '.join(marks)})")
        yield f"# {one.name} = {_default(one)}"


def _comment(text: str) -> Iterator[str]:
    line = "#"
    for word in text.split():
        if len(line) + len(word) + 1 > WIDTH:
            yield line
            line = "#"
        line += f" {word}"
    yield line


def _default(one: "attrs.Attribute[Any]") -> str:
    default: Any = one.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        default = default.factory()
    if default is attrs.NOTHING:
        return '"127.0.0.1:8080"' if one.name == "address" else '""'
    return '""' if default is None else toml_value(plain(default))


def toml_value(value: Any) -> str:
    """Return plain data as it stands in TOML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:_}"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml_value(one)}" for key, one in value.items()) + "}"
    return str(value)
