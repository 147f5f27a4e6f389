"""Brings plugins up: their tables, their device backends, their parts; and keeps the list that people see."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from attrs import define, field

from appliance.backends import DeviceBackend
from appliance.config import Document, Loaded, core_settings, load, read_document
from appliance.contract import Core, Parts
from appliance.data_folder import DataFolder
from appliance.database import Database
from appliance.errors import ApplianceError, NotFound
from appliance.events import Events
from appliance.generated_source import forget_generated_source
from appliance.host import Host
from appliance.loading import Plugin, Plugins, settings_classes
from appliance.loading import load as load_plugins
from appliance.migrations import Migration, migrate
from appliance.panels import Panels
from appliance.run.options import Options
from appliance.supervise import Supervisor
from appliance.surface import Call

log = structlog.get_logger(__name__)


@define(eq=False)
class Configured:
    """The configuration and the plugins it is for: they need one another to be read."""

    loaded: Loaded
    plugins: Plugins
    classes: Mapping[str, type[Any] | None]
    options: Options

    def again(self) -> Loaded:
        """Read the configuration again, for the plugins that are there; raises `BadConfiguration`."""
        return _load(read_document(self.options.config_file), self.options, self.plugins, self.classes)


def configure(options: Options, folder: DataFolder, *, safe_mode: bool) -> Configured:
    """Read the configuration and load the plugins.

    :raises BadConfiguration: with every problem at once.
    """
    document = read_document(options.config_file)
    core, _ = core_settings(document, environment=options.environment, listen=options.listen)
    plugins = load_plugins(
        folder=folder.path / core.loading.folder if core.loading.folder else folder.plugins,
        site=folder.path / core.loading.site if core.loading.site else None,
        disabled=document.disabled,
        shipped_only=safe_mode,
    )
    try:
        classes = settings_classes(plugins)
        return Configured(_load(document, options, plugins, classes), plugins, classes, options)
    except BaseException:
        plugins.close()
        raise


def _load(document: Document, options: Options, plugins: Plugins, classes: Mapping[str, type[Any] | None]) -> Loaded:
    return load(
        document,
        environment=options.environment,
        listen=options.listen,
        plugin_settings=classes,
        unknown_plugins=[one.name for one in plugins.found if one.name not in classes],
    )


async def bring_up_tables(plugins: Plugins, database: Database) -> None:
    """Migrate the tables of every plugin; one whose tables cannot be brought up is taken out of service."""
    for one, steps in list(plugins.ask("appliance_migrations")):
        if isinstance(steps, BaseException):
            plugins.fail(one, steps)
        elif not (isinstance(steps, list) and all(isinstance(step, Migration) for step in steps)):
            plugins.fail(one, "appliance_migrations must return a list of Migration")
        else:
            try:
                await migrate(database, one.name, steps, restrict=True)
            except ApplianceError as error:
                plugins.fail(one, error)


def device_backends(plugins: Plugins, host: Host) -> list[DeviceBackend]:
    """Ask every plugin how it can see the devices of this host."""
    backends: list[DeviceBackend] = []
    for one, answer in list(plugins.ask("appliance_device_backends", host=host)):
        if isinstance(answer, BaseException):
            plugins.fail(one, answer)
        elif not (isinstance(answer, list) and all(isinstance(backend, DeviceBackend) for backend in answer)):
            plugins.fail(one, "appliance_device_backends must return a list of DeviceBackend")
        else:
            backends += answer
    return backends


@define(eq=False)
class PluginHost:
    """Every plugin with its parts; what the API lists and restarts."""

    plugins: Plugins
    supervisor: Supervisor
    events: Events
    panels: Panels = field(factory=Panels)
    parts: dict[str, Parts] = field(factory=dict)

    def set_up(self, core_for: Callable[[Plugin], Core]) -> None:
        """Call every plugin's setup; one that raises loses its parts."""
        for one in self.plugins.running:
            if not self.plugins.implements(one, "appliance_setup"):
                self.parts[one.name] = Parts()
                continue
            try:
                parts = self.plugins.ask_one(one, "appliance_setup", core=core_for(one))
                forget_generated_source()  # most of a plugin is imported by its setup
                self.parts[one.name] = _checked(parts)
                self.panels.add(one.name, self.parts[one.name].panels)
            except (Exception, SystemExit) as error:
                self.plugins.fail(one, error)

    def front_page(self) -> Callable[[Call[None]], Awaitable[Any]] | None:
        """Return who answers browsers at ``/``."""
        return next((made.front_page for made in self.parts.values() if made.front_page is not None), None)

    def about(self) -> Mapping[str, Any]:
        """Return what plugins say at ``/``; one that raises says nothing."""
        said: dict[str, Any] = {}
        for name, made in self.parts.items():
            if made.about is not None:
                try:
                    said |= made.about()
                except Exception:
                    log.exception("plugin.about_failed", plugin=name)
        return said

    async def tell_failures(self) -> None:
        """Publish an event for every plugin that does not run and should."""
        for one in self.plugins.found:
            if one.state == "failed":
                message = f"The plugin {one.name} ({one.origin}) is not running: {one.reason}"
                await self.events.publish("plugin.failed", message[:2000], level="critical", subject=one.name[:200])

    def items(self) -> Sequence[Mapping[str, Any]]:
        """Return name, version, origin, state, reason and services of every plugin, in load order."""
        return [self._item(one) for one in self.plugins.found]

    async def restart(self, name: str) -> None:
        """Start a plugin's services again now; raises `NotFound`."""
        if self.plugins.get(name) is None:
            raise NotFound("plugin", name, hint="appliance plugins list")
        self.supervisor.restart(name)

    def _item(self, one: Plugin) -> Mapping[str, Any]:
        # Of two plugins of one name only the running one has services.
        services = self.supervisor.of(one.name) if one.state == "running" else []
        problems = [service.problem for service in services if service.problem and service.state != "stopped"]
        failed = any(service.state in ("failed", "restarting") for service in services)
        return {
            "name": one.name,
            "version": one.version,
            "origin": one.origin,
            "state": "failed" if failed else one.state,
            "reason": "; ".join(problems) if failed else one.reason,
            "services": [
                {"name": service.name, "state": service.state, "reason": service.reason, "crashes": service.crash_count}
                for service in services
            ],
        }


def _checked(parts: Any) -> Parts:
    if not isinstance(parts, Parts):
        raise TypeError(f"appliance_setup must return Parts, not {type(parts).__name__}")
    names = [service.name for service in parts.services]
    if len(names) != len(set(names)):
        raise ValueError("two services of one name")
    return parts
