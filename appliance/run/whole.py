"""The nursery tree: the only file that knows the order in which things start and stop.

Nesting is the order. A stop request cancels from the inside out: listeners finish what is in flight, then plugins'
services stop, then sampling, then core's services write what they hold, and the database closes last.
"""

import platform
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import structlog
import trio
from attrs import define, field, frozen

import appliance
from appliance.credentials.kinds import Kind
from appliance.data_folder import DataFolder, lock_data_folder, open_data_folder
from appliance.database import Database
from appliance.engines import TaskEngine
from appliance.errors import ApplianceError
from appliance.failed_starts import FailedStarts
from appliance.http.auth import Access
from appliance.http.control import ControlSocket, control_socket
from appliance.http.pipeline import Edge, Exchange
from appliance.http.requestlog import write_access_log
from appliance.http.routing import ClaimConflict
from appliance.http.server import serve
from appliance.loading import Plugins
from appliance.local_agent.service import LocalAgent
from appliance.people.sessions import CookieNames
from appliance.run.core_parts import MIGRATIONS, CoreParts, open_core
from appliance.run.engines import scheduling, task_engines
from appliance.run.failures import NO_CRASH, PathsClash, leaves
from appliance.run.greeting import device_lines, door_lines, first_lines
from appliance.run.listening import Bound, PublicUrl, bound_listeners, compose, limits_of, own_pages, policy, rules
from appliance.run.options import Options
from appliance.run.plugin_core import core_for, plugin_folder
from appliance.run.plugins import Configured, PluginHost, bring_up_tables, configure, device_backends
from appliance.run.readiness import Report
from appliance.run.scrape import Scrape
from appliance.run.state import ApplianceState
from appliance.run.surfaces import core_surfaces
from appliance.settings import Change, LiveSettings, Settings
from appliance.supervise import Supervisor
from appliance.surface import BoundSurface
from appliance.systemd import Watchdog

log = structlog.get_logger(__name__)


@frozen(kw_only=True)
class Running:
    """An appliance that is ready."""

    state: ApplianceState
    edge: Edge
    bound: Sequence[Bound]
    control: Path
    settings: LiveSettings
    plugins: PluginHost
    supervisor: Supervisor
    setup_secret: str
    """The one-time secret of the setup link; empty when there is an admin already."""


async def run_appliance(options: Options, *, task_status: trio.TaskStatus[Running] = trio.TASK_STATUS_IGNORED) -> None:
    """Run until cancelled or asked to stop; ``started()`` carries what is running once it is ready.

    :raises ApplianceError: the start failed, and the message says why.
    """
    folder = open_data_folder(options.data_dir)
    with lock_data_folder(folder.path):
        starts = FailedStarts(folder.run)
        starts.begin()
        whole = _Whole(options, folder, starts)
        try:
            await whole.run(task_status)
        except BaseException as error:
            # Once ready, how it ends is no matter of starts any more.
            if not whole.is_ready and all(isinstance(one, (*NO_CRASH, trio.Cancelled)) for one in leaves(error)):
                starts.forgive()
            raise


def _access_log(settings: Settings) -> Callable[[Exchange], None] | None:
    # None rather than a look at the setting for each request: what is off costs nothing.
    return write_access_log if settings.log.requests else None


@asynccontextmanager
async def _layer() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks end when its body does."""
    async with trio.open_nursery() as nursery:
        yield nursery
        nursery.cancel_scope.cancel()


@define(eq=False)
class _Whole:
    options: Options
    folder: DataFolder
    starts: FailedStarts
    is_ready: bool = False
    _stop: trio.Event = field(factory=trio.Event)

    async def run(self, task_status: trio.TaskStatus[Running]) -> None:
        options, folder = self.options, self.folder
        safe_mode = self.starts.is_safe_mode
        configured = configure(options, folder, safe_mode=safe_mode)
        try:
            for line in first_lines(folder.path, configured.loaded.file, safe_mode):
                options.say(line)
            log.info("start", version=appliance.__version__, python=platform.python_version(), data=str(folder.path))
            if configured.loaded.ignored_environment:
                log.info("environment.ignored", names=list(configured.loaded.ignored_environment))
            if safe_mode:
                log.error("start.safe_mode", failed_starts=self.starts.before, effect="third-party plugins are off")
            configured.plugins.check_required(configured.loaded.settings.loading.required)
            with bound_listeners(configured.loaded.settings, folder, options.now) as bound:
                async with Database.open(
                    folder.database,
                    inline=options.inline_database,
                    migrations=MIGRATIONS,
                    now=options.now,
                    backups=folder.backups,
                ) as database:
                    await self._run_open(database, configured, bound, task_status)
        finally:
            configured.plugins.close()

    async def _run_open(
        self, database: Database, configured: Configured, bound: Sequence[Bound], task_status: trio.TaskStatus[Running]
    ) -> None:
        options = self.options
        settings = LiveSettings(configured.loaded.settings)
        plugins = configured.plugins
        await bring_up_tables(plugins, database)
        parts = await open_core(database, self.folder, settings, options)
        supervisor = Supervisor(parts.events, options.now)
        async with _layer() as core_services:
            await supervisor.start(core_services, "core", [*parts.services, Watchdog(options.notifier)])
            backends = device_backends(plugins, options.host) if options.backends is None else options.backends
            agent = LocalAgent(
                host_id=parts.host_id,
                backends=backends,
                series=parts.series,
                inventory=parts.inventory,
                events=parts.events,
                host=options.host,
                now=options.now,
                sample_seconds=lambda: settings.current.devices.sample_seconds,
            )
            async with _layer() as sampling:
                await supervisor.start(sampling, "core", [agent])
                url = PublicUrl(settings, bound)
                host = PluginHost(plugins, supervisor, parts.events)
                engines = self._engines(plugins, parts, settings)
                parts.scheduler.use(
                    [one for offered in engines.values() for one in offered], gpu_utilization=agent.gpu_utilization
                )
                host.set_up(partial(core_for, parts, self.folder, settings, url, options))
                plugins.check_required(settings.current.loading.required)
                async with scheduling(parts.scheduler, engines, supervisor), _layer() as plugin_services:
                    for name, made in host.parts.items():
                        if made.services:
                            await supervisor.start(plugin_services, name, made.services)
                    with control_socket(self.folder, options.environment) as control:
                        inner = _Inner(self, configured, settings, parts, supervisor, agent, host, url, bound, control)
                        await inner.run(task_status)

    def _engines(
        self, plugins: Plugins, parts: CoreParts, settings: LiveSettings
    ) -> Mapping[str, Sequence[TaskEngine]]:
        if self.options.engines is not None:
            return {"core": self.options.engines}
        return task_engines(
            plugins,
            host=self.options.host,
            settings=lambda name: settings.current.plugin(name).own,
            folder=partial(plugin_folder, self.folder),
            appliance_id=parts.host_id,
        )

    def ready(self) -> None:
        """Take note that the start has succeeded."""
        self.is_ready = True
        self.starts.ready()
        self.options.notifier.notify("READY=1", "STATUS=ready")
        log.info("ready")

    def stop(self) -> None:
        """Ask for an orderly stop."""
        if not self._stop.is_set():
            log.info("stopping")
            self.options.notifier.notify("STOPPING=1", "STATUS=stopping")
            self._stop.set()

    async def wait_for_stop(self) -> None:
        """Return once a stop has been asked for."""
        await self._stop.wait()


@define(eq=False)
class _Inner:
    """The innermost layer: listeners and the control socket, and what they show."""

    whole: _Whole
    configured: Configured
    settings: LiveSettings
    parts: CoreParts
    supervisor: Supervisor
    agent: LocalAgent
    host: PluginHost
    url: PublicUrl
    bound: Sequence[Bound]
    control: ControlSocket

    async def run(self, task_status: trio.TaskStatus[Running]) -> None:
        options, parts = self.whole.options, self.parts
        surfaces_of = {name: [one.surface.name for one in made.surfaces] for name, made in self.host.parts.items()}
        declared_surfaces = [one.surface for made in self.host.parts.values() for one in made.surfaces]
        as_us = {name: made.runs_as_us for name, made in self.host.parts.items() if made.runs_as_us}
        if self.settings.current.scheduler.unsafe_same_uid:
            as_us["scheduler"] = "[scheduler] unsafe_same_uid: tasks may run as the appliance's own user"
        for name, words in as_us.items():
            log.warning("access.owner_trust_is_off", plugin=name, reason=words)
        owner_trust = not as_us
        access = Access(
            credentials=parts.credentials,
            people=parts.people,
            cookies=CookieNames(parts.host_id),
            listeners=rules(self.bound, self.control),
            policy=policy(self.settings.current, surfaces_of, owner_trust=owner_trust),
            own_pages=own_pages(self.bound, declared_surfaces),
            now=options.now,
        )
        edge = Edge(
            authenticate=access.authenticate,
            still_valid=access.still_valid,
            audit=parts.request_audit,
            allowed_origins=access.allowed_origins,
            access_log=_access_log(self.settings.current),
        )
        self.settings.watch(lambda changed: setattr(edge, "access_log", _access_log(changed)))
        # A new policy reaches the next request; the first one comes from the constructor.
        self.settings.watch(
            lambda changed: setattr(access, "policy", policy(changed, surfaces_of, owner_trust=owner_trust))
        )
        for surface, networks in access.policy.open_to.items():
            if any(one.name == surface and one.admits(Kind.OPEN) for one in declared_surfaces):
                log.warning("surface.open_without_credential", surface=surface, networks=[str(one) for one in networks])
        state = self._state(access, edge)
        surfaces: list[BoundSurface] = [one.bind(state) for one in core_surfaces()]
        surfaces += [one for made in self.host.parts.values() for one in made.surfaces]
        failed = [one for one in self.host.plugins.found if one.state == "failed"]
        absent = [(surface, one.reason) for one in failed for surface in self.host.plugins.surfaces_of(one)]
        for declared, reason in absent:
            edge.add_unavailable(declared, reason)
        known = frozenset(declared.name for declared, _ in absent)
        listeners = compose(self.bound, surfaces, self.control, known)
        async with _layer() as serving:
            try:
                await serving.start(partial(serve, edge, listeners, limits=limits_of(self.settings.current)))
            except ClaimConflict as error:
                raise PathsClash(str(error), hint="turn one of the two plugins off: enabled = false") from error
            await self.host.tell_failures()
            setup_secret = "" if parts.people.has_admin() else (await parts.people.setup_link()).secret
            self._greet(setup_secret)
            self.whole.ready()
            task_status.started(
                Running(
                    state=state,
                    edge=edge,
                    bound=self.bound,
                    control=self.control.path,
                    settings=self.settings,
                    plugins=self.host,
                    supervisor=self.supervisor,
                    setup_secret=setup_secret,
                )
            )
            await self.whole.wait_for_stop()

    def _state(self, access: Access, edge: Edge) -> ApplianceState:
        parts, options = self.parts, self.whole.options
        started = options.now()
        report = Report(
            certificates=[one.tls.certificate for one in self.bound if one.tls is not None],
            database=parts.database,
            supervisor=self.supervisor,
            host=self.host,
            agent=self.agent,
            scheduler=parts.scheduler,
            now=options.now,
        )
        scrape = Scrape(
            report=report,
            requests=edge.metrics,
            database=parts.database,
            series=parts.series,
            supervisor=self.supervisor,
            host=self.host,
            agent=self.agent,
            scheduler=parts.scheduler,
            now=options.now,
            started_unix_us=started,
        )
        return ApplianceState(
            **parts.shared(),
            access=access,
            public_url=self.url.pages,
            now=options.now,
            plugins=self.host,
            settings=self.settings,
            self_registration=lambda: self.settings.current.people.self_registration,
            agent=self.agent,
            started_unix_us=started,
            front_page=self.host.front_page,
            about=self.host.about,
            panels=self.host.panels.items,
            readiness=report.readiness,
            prometheus=scrape.text,
            config_items=lambda: (self.configured.loaded.file, self.configured.loaded.items),
            reload=self.reload,
            stop=self.whole.stop,
        )

    def _greet(self, setup_secret: str) -> None:
        say = self.whole.options.say
        for line in device_lines(self.agent.gpus, self.agent.backends):
            say(line)
        for line in door_lines(self.bound, self.url.pages(), setup_secret):
            say(line)

    async def reload(self) -> Change:
        """Read the configuration again; nothing changes when there is a mistake in it."""
        notifier = self.whole.options.notifier
        notifier.notify("RELOADING=1", f"MONOTONIC_USEC={int(trio.current_time() * 1_000_000)}")
        try:
            loaded = self.configured.again()
            change = self.settings.apply(loaded.settings)
            # What is shown is what is in force: settings that wait for a restart are not.
            self.configured.loaded = loaded.in_force(self.settings.current, self.configured.loaded)
        finally:
            notifier.notify("READY=1")
        log.info("config.reloaded", applied=change.applied, needs_restart=change.needs_restart)
        with suppress(ApplianceError):  # the log has it
            await self.parts.events.publish(
                "config.reloaded",
                f"Configuration read again: {len(change.applied)} applied, {len(change.needs_restart)} need a restart",
                data={"applied": list(change.applied), "needs_restart": list(change.needs_restart)},
            )
        return change
