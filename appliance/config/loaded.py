"""What comes out of reading the configuration, and how it is shown."""

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import evolve, field, frozen

from appliance.settings import HELP, RELOAD, SECRET, TABLES, PluginSettings, Settings


@frozen(kw_only=True)
class Item:
    """One setting in force, for ``config show``."""

    key: str
    value: Any
    """As it would stand in TOML; ``"(set)"`` for a secret."""
    origin: str
    """``file``, ``environment NAME``, ``--listen`` or ``default``."""
    reload: str
    help: str


@frozen(kw_only=True)
class Loaded:
    """A configuration without mistakes."""

    settings: Settings
    file: str = ""
    origins: Mapping[str, str] = field(factory=dict)
    """Where each setting that is no default came from, by key."""
    ignored_environment: tuple[str, ...] = ()

    def in_force(self, settings: Settings, before: "Loaded") -> "Loaded":
        """Return this one with ``settings`` as they are in force; what did not change keeps where it came from."""
        origins = dict(self.origins)
        for key in before.origins.keys() | origins.keys():
            if _value(settings, key) != _value(self.settings, key):
                origins[key] = before.origins.get(key, "default")
        return evolve(self, settings=settings, origins=origins)

    @property
    def items(self) -> list[Item]:
        """Every setting in force and where it comes from."""
        items: list[Item] = []
        for table, class_ in TABLES:
            held = getattr(self.settings, table)
            rows = held if isinstance(held, tuple) else (held,)
            for number, row in enumerate(rows):
                name = f"{table}.{number}" if table == "listeners" else table
                items += self._items_of(name, class_, row)
        for name, plugin in sorted(self.settings.plugins.items()):
            items += self._items_of(f"plugins.{name}", PluginSettings, plugin)
            if plugin.own is not None:
                items += self._items_of(f"plugins.{name}", type(plugin.own), plugin.own)
        return items

    def _items_of(self, table: str, class_: type[Any], row: Any) -> list[Item]:
        return [
            Item(
                key=f"{table}.{one.name}",
                value="(set)" if one.metadata.get(SECRET) and getattr(row, one.name) else plain(getattr(row, one.name)),
                origin=self.origins.get(f"{table}.{one.name}") or self.origins.get(table, "default"),
                reload=str(one.metadata.get(RELOAD, "restart")),
                help=str(one.metadata[HELP]),
            )
            for one in attrs.fields(class_)
            if HELP in one.metadata
        ]


def plain(value: Any) -> Any:
    """Return a setting's value as plain data: what JSON and TOML can say."""
    if attrs.has(type(value)):
        return {one.name: plain(getattr(value, one.name)) for one in attrs.fields(type(value))}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [plain(one) for one in value]
    return (
        value if value is None or isinstance(value, bool | int | float | str) else str(getattr(value, "value", value))
    )


def _value(settings: Settings, key: str) -> Any:
    """Return the value at ``server.drain_seconds``, ``listeners.0.address``; ``None`` where there is none."""
    found: Any = settings
    for part in key.split("."):
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, tuple):
            found = found[int(part)] if part.isdigit() and int(part) < len(found) else None
        elif isinstance(found, PluginSettings) and not hasattr(found, part):
            found = getattr(found.own, part, None)
        else:
            found = getattr(found, part, None)
    return found
