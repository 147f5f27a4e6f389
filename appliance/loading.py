"""Finds plugins: shipped, dropped in a folder or pip-installed, all one way; one that fails stops no other."""

import importlib
import inspect
import os
import pkgutil
import stat
import sys
from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import EntryPoint, distributions, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

import attrs
import pluggy
import structlog
from attrs import define, field, frozen

import appliance
import plugins
from appliance import hookspecs
from appliance.errors import ApplianceError
from appliance.generated_source import forget_generated_source
from appliance.settings import HELP
from appliance.surface import Surface

log = structlog.get_logger(__name__)

GROUP: Final = "appliance.plugins"
SHIPPED: Final = tuple(plugins.__path__)
RESERVED: Final = frozenset({"core"})
"""Names that would be taken for core itself in the log and in ``/readyz``."""

State = Literal["running", "failed", "disabled", "off"]


class PluginRefused(ApplianceError):
    """A plugin cannot be loaded, and the message says why."""


class RequiredPluginMissing(ApplianceError):
    """``[loading] required`` names a plugin that is not running: the appliance does not start without it."""

    status = 503


@frozen(kw_only=True)
class Candidate:
    """A plugin that is there, not yet imported."""

    name: str
    origin: str
    """``shipped``, the folder it was dropped in, or the package that brings it."""
    module: str
    entry: EntryPoint | None = None
    version: str = ""
    refused: str = ""
    """Why it must not be imported; empty when it may."""

    @property
    def is_shipped(self) -> bool:
        """Whether it came with the appliance."""
        return self.origin == "shipped"


@define(eq=False, kw_only=True)
class Plugin:
    """One plugin and what became of it."""

    name: str
    origin: str
    module: str
    version: str = ""
    state: State = "failed"
    reason: str = ""
    """Why it is not running; empty when it is."""
    implementation: Any = None


@define(eq=False)
class Plugins:
    """What was found; ask the ones that run with `ask`."""

    manager: pluggy.PluginManager
    found: list[Plugin] = field(factory=list)
    _added_paths: list[str] = field(factory=list)

    @property
    def running(self) -> list[Plugin]:
        """Those that can be asked, in load order."""
        return [one for one in self.found if one.state == "running"]

    def get(self, name: str) -> Plugin | None:
        """Return the plugin of that name that runs, else any of that name."""
        named = [one for one in self.found if one.name == name]
        return next((one for one in named if one.state == "running"), named[0] if named else None)

    def ask(self, hook: str, **arguments: Any) -> Iterator[tuple[Plugin, Any]]:
        """Call a hook of one plugin after the other; yield each with its answer, or with the exception it raised.

        A plugin without the hook is left out. The exception is not logged and nothing is done about it: the caller
        decides what a plugin loses, with `fail`.
        """
        for one in self.running:
            if self.implements(one, hook):
                try:
                    answer = self.ask_one(one, hook, **arguments)
                except (Exception, SystemExit) as error:
                    yield one, error
                else:
                    yield one, answer

    def implements(self, plugin: Plugin, hook: str) -> bool:
        """Whether a running plugin has a hook."""
        return any(one.plugin is plugin.implementation for one in getattr(self.manager.hook, hook).get_hookimpls())

    def ask_one(self, plugin: Plugin, hook: str, **arguments: Any) -> Any:
        """Call a hook of one plugin and return its answer; whatever it raises comes through."""
        # Those that failed are still registered, and must not be asked in another's place.
        others = [one for one in self.manager.get_plugins() if one is not plugin.implementation]
        answer = next(iter(self.manager.subset_hook_caller(hook, remove_plugins=others)(**arguments)), None)
        if inspect.iscoroutine(answer):
            answer.close()
            raise TypeError(f"{hook} is async; hooks are plain functions")
        return answer

    def fail(self, plugin: Plugin, error: BaseException | str) -> None:
        """Take a plugin out of service; it stays listed with the reason."""
        plugin.state = "failed"
        plugin.reason = error if isinstance(error, str) else describe(error)
        log.error(
            "plugin.failed",
            plugin=plugin.name,
            origin=plugin.origin,
            reason=plugin.reason,
            exc_info=error if isinstance(error, Exception) and not isinstance(error, ApplianceError) else None,
        )

    def surfaces_of(self, plugin: Plugin) -> list[Surface]:
        """Return the surfaces that a plugin declares, as far as its modules could be imported."""
        found: dict[int, Surface] = {}
        for name, module in list(sys.modules.items()):
            if isinstance(module, ModuleType) and (name == plugin.module or name.startswith(f"{plugin.module}.")):
                found |= {id(one): one for one in vars(module).values() if isinstance(one, Surface)}
        return list(found.values())

    def check_required(self, names: Iterable[str]) -> None:
        """Raise `RequiredPluginMissing` when one of ``names`` does not run."""
        for name in names:
            one = self.get(name)
            if one is None or one.state != "running":
                why = "there is no such plugin" if one is None else f"{one.state}: {one.reason}"
                raise RequiredPluginMissing(
                    f"the plugin {name} is required and does not run ({why})",
                    hint="mend it, or take it out of [loading] required",
                )

    def close(self) -> None:
        """Forget modules and paths of plugins that are not shipped, so that another appliance may load others."""
        for one in self.found:
            if one.origin != "shipped" and one.module:
                for name in [name for name in sys.modules if name == one.module or name.startswith(f"{one.module}.")]:
                    del sys.modules[name]
                if one.module.startswith("plugins."):
                    vars(plugins).pop(one.name, None)
        for path in self._added_paths:
            for places in (plugins.__path__, sys.path):
                if path in places:
                    places.remove(path)


def load(
    *, folder: Path | None = None, site: Path | None = None, disabled: Collection[str] = (), shipped_only: bool = False
) -> Plugins:
    """Import every plugin that may run; never raises for what a plugin does.

    :param folder: where plugins are dropped in.
    :param site: a further site-packages folder.
    :param disabled: names that the configuration turns off.
    :param shipped_only: safe mode; the others are listed as off.
    """
    manager = pluggy.PluginManager("appliance")
    manager.add_hookspecs(hookspecs)
    loaded = Plugins(manager)
    importlib.invalidate_caches()
    for candidate in candidates(folder, site):
        one = Plugin(name=candidate.name, origin=candidate.origin, module=candidate.module, version=candidate.version)
        other = loaded.get(candidate.name)
        if candidate.name in disabled:
            one.state, one.reason = "disabled", f"[plugins.{candidate.name}] enabled = false"
        elif shipped_only and not candidate.is_shipped:
            one.state, one.reason = "off", "safe mode: the last three starts failed"
        elif candidate.refused or candidate.name in RESERVED:
            loaded.fail(one, candidate.refused or f"no plugin may be called {candidate.name}")
        elif other is not None:
            loaded.fail(one, f"a plugin of this name is there already, from {other.origin}")
        else:
            _register(loaded, one, candidate)
        loaded.found.append(one)
    return loaded


def candidates(folder: Path | None, site: Path | None) -> Iterator[Candidate]:
    """Yield what is there: shipped, then dropped in, then pip-installed, each in the order of names."""
    for path in SHIPPED:
        for name in _modules_in(path):
            yield Candidate(name=name, origin="shipped", module=f"plugins.{name}", version=appliance.__version__)
    if folder is not None and folder.is_dir():
        refused = why_unsafe(folder) or ""
        for name in _modules_in(str(folder)):
            yield Candidate(name=name, origin=str(folder), module=f"plugins.{name}", refused=refused)
    yield from _installed(site)


def _modules_in(folder: str) -> list[str]:
    return sorted(child.name for child in pkgutil.iter_modules([folder]))


def _installed(site: Path | None) -> Iterator[Candidate]:
    found = [(entry, "") for entry in entry_points(group=GROUP)]
    if site is not None:
        refused = why_unsafe(site) if site.is_dir() else f"[loading] site: {site} is no folder"
        for package in distributions(path=[str(site)]):
            found += [(entry, refused or "") for entry in package.entry_points if entry.group == GROUP]
    seen: set[tuple[str, str]] = set()
    for entry, refused in sorted(found, key=lambda one: one[0].name):
        # Ours are walked already. One package may be seen twice, through two names of one folder.
        if entry.value.startswith("plugins.") or (entry.name, entry.value) in seen:
            continue
        seen.add((entry.name, entry.value))
        yield Candidate(
            name=entry.name,
            origin=f"package {entry.dist.name}" if entry.dist else "package",
            module=entry.module,
            entry=entry,
            version=entry.dist.version if entry.dist else "",
            refused=refused,
        )


def _register(loaded: Plugins, one: Plugin, candidate: Candidate) -> None:
    try:
        implementation = _imported(loaded, candidate)
        forget_generated_source()
        _check_version(implementation, one.module)
        loaded.manager.register(implementation, one.name)
        one.implementation = implementation
        loaded.manager.check_pending()
        one.version = str(getattr(implementation, "__version__", one.version))
        one.state = "running"
    except (Exception, SystemExit) as error:
        if one.implementation is not None and loaded.manager.is_registered(one.implementation):
            loaded.manager.unregister(one.implementation)
        one.implementation = None
        loaded.fail(one, error)


def _imported(loaded: Plugins, candidate: Candidate) -> Any:
    if candidate.entry is not None:
        site = str(candidate.entry.dist.locate_file("")) if candidate.entry.dist else ""
        if site and site not in sys.path:
            sys.path.append(site)  # last: it can add packages and shadow none
            loaded._added_paths.append(site)
        return candidate.entry.load()
    if not candidate.is_shipped and candidate.origin not in plugins.__path__:
        plugins.__path__.append(candidate.origin)
        loaded._added_paths.append(candidate.origin)
    return importlib.import_module(candidate.module)


def _check_version(implementation: Any, module: str) -> None:
    wanted = hookspecs.API_VERSION
    says = getattr(implementation, "appliance_api", getattr(sys.modules.get(module), "appliance_api", None))
    if says is None:
        raise PluginRefused(f"it does not say appliance_api = {wanted}")
    if says != wanted:
        raise PluginRefused(f"it is written for version {says!r} of the plugin API, and this appliance has {wanted}")


def settings_classes(loaded: Plugins) -> dict[str, type[Any] | None]:
    """Ask every running plugin for its settings class; one whose class breaks the rules is taken out of service."""
    classes: dict[str, type[Any] | None] = {one.name: None for one in loaded.running}
    for one, answer in list(loaded.ask("appliance_settings")):
        problem = answer if isinstance(answer, BaseException) else _unfit(answer)
        if problem is not None:
            loaded.fail(one, problem)
            del classes[one.name]
        else:
            classes[one.name] = answer
    return classes


def _unfit(class_: Any) -> str | None:
    if not (isinstance(class_, type) and attrs.has(class_)):
        return "appliance_settings must return an attrs class"
    for one in attrs.fields(class_):
        if one.default is attrs.NOTHING:
            return f"the setting {one.name} has no default"
        if not one.metadata.get(HELP):
            return f"the setting {one.name} has no help"
        if one.name in ("enabled", "open_to"):
            return f"the setting {one.name} is core's own"
    return None


def why_unsafe(folder: Path) -> str | None:
    """Say why code in ``folder`` must not be run: somebody else could have put it there. ``None`` when all is well.

    The folder, everything in it and every folder above must belong to root or to us, and not be writable by group or
    others; folders above may be, when they are sticky.
    """
    folder = folder.absolute()
    for above in folder.parents:
        problem = _writable_by_others(above, may_be_sticky=True)
        if problem:
            return problem
    problem = _writable_by_others(folder)
    if problem:
        return problem
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            problem = _writable_by_others(Path(place, name))
            if problem:
                return problem
    return None


def _writable_by_others(path: Path, *, may_be_sticky: bool = False) -> str | None:
    try:
        found = path.lstat()
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}"
    if stat.S_ISLNK(found.st_mode):
        # A link above the folder is what its target is; one inside could lead anywhere later.
        return _writable_by_others(path.resolve(), may_be_sticky=True) if may_be_sticky else f"{path} is a link"
    if found.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to user id {found.st_uid}"
    if found.st_mode & 0o022 and not (may_be_sticky and found.st_mode & stat.S_ISVTX):
        return f"{path} can be written by others (mode {stat.S_IMODE(found.st_mode):04o}); chmod go-w {path}"
    return None


def describe(error: BaseException) -> str:
    """Say in one line what a plugin did wrong."""
    if isinstance(error, ApplianceError):
        return error.message
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    return f"{type(error).__name__}: {error}"[:500]
