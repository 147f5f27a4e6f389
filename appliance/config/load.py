"""Reads the configuration: file, environment, defaults and flags become `Settings`, or all that is wrong with them."""

import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
from attrs import evolve

from appliance.config.file import Document
from appliance.config.lines import Lines
from appliance.config.loaded import Loaded
from appliance.config.structure import Fault, found, read_value, structure, unknown_key
from appliance.errors import BadConfiguration, ConfigProblem
from appliance.listeners import parse_address
from appliance.settings import (
    DEFAULT_ADDRESS,
    ENVIRONMENT,
    SECRET,
    TABLES,
    ListenerSettings,
    PluginSettings,
    Settings,
)

HTTP_PORT: Final = "HTTP_PORT"
IGNORED_ENVIRONMENT: Final = re.compile(r"MONGODB_\w+|GRPC_PORT")
"""Variables of the systems we stand in for that mean nothing here; each is named once in the log."""

Environment = Mapping[str, str]


class _Reading:
    """One pass over a document: collects problems and origins."""

    def __init__(self, document: Document, environment: Environment) -> None:
        self.document = document
        self.environment = environment
        self.problems: list[ConfigProblem] = []
        self.origins: dict[str, str] = {}
        self._lines = Lines(document.text)

    def table(self, class_: type[Any], name: str, path: tuple[str | int, ...], table: Any) -> Any:
        """Return an instance of ``class_``; what the file leaves out comes from the environment, else the default."""
        made, faults = structure(class_, table, path)
        self.report(faults)
        if isinstance(table, Mapping):
            self.origins |= {f"{name}.{key}": "file" for key in table}
        return self._from_environment(class_, name, made, table)

    def report(self, faults: Iterable[Fault]) -> None:
        """Keep mistakes of the file, with their lines."""
        for fault in faults:
            place = fault.path if fault.found != "nothing" else fault.path[:-1]
            line = self._lines.line_of(place)
            self.problems.append(
                ConfigProblem(
                    file=self.document.file,
                    line=line,
                    key=key_text(fault.path),
                    found=fault.found,
                    expected=fault.expected,
                )
            )

    def _from_environment(self, class_: type[Any], name: str, made: Any, table: Any) -> Any:
        hints = typing.get_type_hints(class_)
        for one in attrs.fields(class_):
            if made is None or (isinstance(table, Mapping) and one.name in table):
                continue
            given = [variable for variable in one.metadata.get(ENVIRONMENT, ()) if variable in self.environment]
            if not given:
                continue
            variable, *others = given
            text, type_ = self.environment[variable], hints[one.name]
            for other in others:
                if self.environment[other] != text:
                    self.environment_problem(other, "(set)", f"the same as {variable}, or not to be set")
            value, faults = read_value(_from_text(text, type_), type_, one, (variable,))
            for fault in faults:
                secret = one.metadata.get(SECRET)
                self.environment_problem(variable, "(set)" if secret else fault.found, fault.expected)
            if not faults:
                made = evolve(made, **{one.name: value})
                self.origins[f"{name}.{one.name}"] = f"environment {variable}"
        return made

    def environment_problem(self, variable: str, what: str, expected: str) -> None:
        """Keep a mistake in the environment."""
        self.problems.append(ConfigProblem(file="environment", line=None, key=variable, found=what, expected=expected))


def _from_text(text: str, type_: Any) -> Any:
    """Return what a variable's text says in TOML's words; as it is where it says nothing of that type."""
    arms = typing.get_args(type_)
    if typing.get_origin(type_) in (tuple, list):
        return [_from_text(one.strip(), arms[0]) for one in text.split(",") if one.strip()]
    if type_ is bool:
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(text.lower(), text)
    try:
        return {int: int, float: float}[type_](text)
    except (KeyError, ValueError):
        return text


def key_text(path: Sequence[str | int]) -> str:
    """Show a place as it looks in the file: ``[server] hosts``, ``[[listeners]] address``."""
    names = [str(part) for part in path if not isinstance(part, int)]
    if len(path) > 1 and isinstance(path[1], int):
        return f"[[{names[0]}]] {'.'.join(names[1:])}".rstrip()
    if len(names) < 2:
        return f"[{names[0]}]" if names else "file"
    depth = 2 if names[0] == "plugins" and len(names) > 2 else len(names) - 1 if names[0] == "plugins" else 1
    return f"[{'.'.join(names[:depth])}] {'.'.join(names[depth:])}"


def core_settings(
    document: Document, *, environment: Environment, listen: Sequence[str] = ()
) -> tuple[Settings, list[ConfigProblem]]:
    """Return core's own settings, wrong ones at their default, and what is wrong; plugins' tables are left out.

    What loading plugins needs, since only then is it known what their tables may hold.
    """
    reading = _Reading(document, environment)
    return _core(reading, listen), reading.problems


def load(
    document: Document,
    *,
    environment: Environment,
    listen: Sequence[str] = (),
    plugin_settings: Mapping[str, type[Any] | None],
    unknown_plugins: Iterable[str] = (),
) -> Loaded:
    """Return the whole configuration.

    :param listen: addresses of ``--listen``, which replace every TCP listener.
    :param plugin_settings: the loaded plugins, each with its attrs class or ``None``.
    :param unknown_plugins: plugins that are there and were not loaded: their own keys cannot be checked.
    :raises BadConfiguration: with every problem at once, in the order of the file.
    """
    reading = _Reading(document, environment)
    settings = evolve(_core(reading, listen), plugins=_plugins(reading, plugin_settings, frozenset(unknown_plugins)))
    if reading.problems:
        raise BadConfiguration(tuple(sorted(reading.problems, key=lambda one: (one.line is None, one.line or 0))))
    ignored = tuple(sorted(name for name in environment if IGNORED_ENVIRONMENT.fullmatch(name)))
    return Loaded(settings=settings, file=document.file, origins=reading.origins, ignored_environment=ignored)


def _core(reading: _Reading, listen: Sequence[str]) -> Settings:
    table = reading.document.table
    known = [name for name, _ in TABLES] + ["plugins"]
    reading.report(Fault((name,), found(table[name]), unknown_key(name, known)) for name in table if name not in known)
    made: dict[str, Any] = {}
    for name, class_ in TABLES:
        if name != "listeners":
            one = reading.table(class_, name, (name,), table.get(name, {}))
            made[name] = class_() if one is None else one
    return Settings(listeners=_listeners(reading, listen), **made)


def _listeners(reading: _Reading, listen: Sequence[str]) -> tuple[ListenerSettings, ...]:
    tables = reading.document.table.get("listeners", [])
    if not isinstance(tables, list):
        reading.report([Fault(("listeners",), found(tables), "an array of tables: [[listeners]]")])
        tables = []
    made = [
        reading.table(ListenerSettings, f"listeners.{number}", ("listeners", number), table)
        for number, table in enumerate(tables)
    ]
    listeners = [one for one in made if one is not None]
    reading.report(_listener_faults(made))
    if not listeners:
        listeners = [ListenerSettings(address=DEFAULT_ADDRESS)]
    listeners = _with_port_of_environment(reading, listeners)
    if listen:
        listeners = [*_from_flags(reading, listen), *(one for one in listeners if one.parsed.is_unix)]
    return tuple(listeners)


def _listener_faults(made: Sequence[ListenerSettings | None]) -> Iterable[Fault]:
    seen: set[str] = set()
    for number, one in enumerate(made):
        if one is None:
            continue
        path = ("listeners", number)
        if one.address in seen and one.parsed.port != 0:
            yield Fault((*path, "address"), found(one.address), "an address that no other listener has")
        seen.add(one.address)
        if one.tls and bool(one.certificate) != bool(one.key):
            yield Fault(path, found({"certificate": one.certificate, "key": one.key}), "certificate and key together")
        if (one.certificate or one.key) and not one.tls:
            yield Fault(path, found({"tls": False}), "tls = true where a certificate is named")
        if not one.parsed.is_loopback and one.trust in ("owner", "local"):
            yield Fault((*path, "trust"), found(one.trust), 'trust = "none" where other hosts can connect')
        if one.parsed.is_unix and one.tls:
            yield Fault((*path, "tls"), "true", "false on a unix socket")
        if one.site and not (Path(one.site).is_absolute() and Path(one.site).is_dir()):
            yield Fault((*path, "site"), found(one.site), "the absolute path of a folder that exists")


def _with_port_of_environment(reading: _Reading, listeners: list[ListenerSettings]) -> list[ListenerSettings]:
    text = reading.environment.get(HTTP_PORT)
    if text is None:
        return listeners
    port = text.removeprefix(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65_536):
        reading.environment_problem(HTTP_PORT, found(text), "a port, as 8080 or :8080")
        return listeners
    address = f"127.0.0.1:{int(port)}"
    if any(one.address in (address, f"0.0.0.0:{int(port)}", f"localhost:{int(port)}") for one in listeners):
        return listeners
    reading.origins[f"listeners.{len(listeners)}"] = f"environment {HTTP_PORT}"
    return [*listeners, ListenerSettings(address=address)]


def _from_flags(reading: _Reading, listen: Sequence[str]) -> list[ListenerSettings]:
    made = []
    reading.origins = {key: one for key, one in reading.origins.items() if not key.startswith("listeners.")}
    for number, address in enumerate(listen):
        try:
            parse_address(address)
        except ValueError as error:
            problem = ConfigProblem(
                file="command line", line=None, key="--listen", found=found(address), expected=str(error)
            )
            reading.problems.append(problem)
            continue
        reading.origins[f"listeners.{number}"] = "--listen"
        made.append(ListenerSettings(address=address))
    return made


def _plugins(
    reading: _Reading, classes: Mapping[str, type[Any] | None], unknown: frozenset[str]
) -> dict[str, PluginSettings]:
    tables = reading.document.table.get("plugins", {})
    if not isinstance(tables, Mapping):
        reading.report([Fault(("plugins",), found(tables), "tables: [plugins.NAME]")])
        tables = {}
    known = classes.keys() | unknown
    reading.report(
        Fault(("plugins", name), found(tables[name]), unknown_key(name, known)) for name in tables if name not in known
    )
    made: dict[str, PluginSettings] = {}
    for name in sorted(known):
        one = _plugin(reading, name, tables.get(name, {}), classes.get(name), checked=name in classes)
        if one is not None:
            made[name] = one
    return made


def _plugin(
    reading: _Reading, name: str, table: Any, class_: type[Any] | None, *, checked: bool
) -> PluginSettings | None:
    path = ("plugins", name)
    if not isinstance(table, Mapping):
        reading.report([Fault(path, found(table), "a table")])
        return None
    cores = {key: table[key] for key in ("enabled", "open_to") if key in table}
    made: PluginSettings | None = reading.table(PluginSettings, f"plugins.{name}", path, cores)
    if made is None or not checked:
        return made
    rest = {key: one for key, one in table.items() if key not in cores}
    if class_ is not None:
        return evolve(made, own=reading.table(class_, f"plugins.{name}", path, rest))
    reading.report(
        Fault((*path, key), found(one), unknown_key(key, ("enabled", "open_to"))) for key, one in rest.items()
    )
    return made
