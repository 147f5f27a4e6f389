"""The endpoints of core and plugins without a running appliance: straight on the database, for this host's admin.

The same handlers and the same rules as over the control socket, so a command prints the same either way. The data
directory is held meanwhile: a start, or a second command, is told who holds it.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from attrs import frozen

from appliance.data_folder import DataFolder, lock_data_folder, open_data_folder
from appliance.database import Database
from appliance.errors import NotAvailable
from appliance.http.auth import Access, ListenerRules
from appliance.http.paths import split_target
from appliance.http.pipeline import Edge
from appliance.http.routing import Table
from appliance.local_agent.service import LocalAgent
from appliance.people.sessions import CookieNames
from appliance.run.core_parts import MIGRATIONS, CoreParts, open_core
from appliance.run.listening import PublicUrl, policy
from appliance.run.options import Options
from appliance.run.plugin_core import core_for
from appliance.run.plugins import Configured, PluginHost, bring_up_tables, configure
from appliance.run.state import ApplianceState
from appliance.run.surfaces import core_surfaces
from appliance.settings import Change, LiveSettings
from appliance.supervise import Supervisor
from appliance.surface import Head

LISTENER = "offline"


@frozen
class Answered:
    """What an endpoint answered."""

    status: int
    body: bytes


@frozen
class Offline:
    """The endpoints on an open database."""

    edge: Edge
    table: Table

    async def ask(self, method: str, target: str, body: bytes) -> Answered:
        """Answer one request as the control socket would."""
        path, query = split_target(target.encode("ascii"))
        match = self.table.match(method, path)
        head = Head(
            method=method,
            path=target.partition("?")[0],
            raw_query=query,
            headers=[(b"accept", b"application/json"), (b"content-type", b"application/json")],
            peer=None,
            local=LISTENER,
            listener=LISTENER,
            scheme="http",
            path_values=match.values,
            peer_uid=os.geteuid(),
        )
        reply = await self.edge.answer(self.edge.open(match, head), body)
        return Answered(reply.status, bytes(reply.body))


@asynccontextmanager
async def offline(options: Options) -> AsyncIterator[Offline]:
    """Open the data directory for this process alone, making it if need be.

    :raises AlreadyRunning: an appliance runs on it.
    :raises BadConfiguration: the configuration has mistakes.
    """
    folder = open_data_folder(options.data_dir)
    with lock_data_folder(folder.path):
        configured = configure(options, folder, safe_mode=False)
        try:
            async with Database.open(
                folder.database, migrations=MIGRATIONS, now=options.now, backups=folder.backups
            ) as database:
                settings = LiveSettings(configured.loaded.settings)
                await bring_up_tables(configured.plugins, database)
                parts = await open_core(database, folder, settings, options)
                await parts.series.recover()
                yield _composed(parts, configured, settings, options, folder)
        finally:
            configured.plugins.close()


def _composed(
    parts: CoreParts, configured: Configured, settings: LiveSettings, options: Options, folder: DataFolder
) -> Offline:
    access = Access(
        credentials=parts.credentials,
        people=parts.people,
        cookies=CookieNames(parts.host_id),
        listeners={LISTENER: ListenerRules(control=True)},
        policy=policy(settings.current, {}),
        now=options.now,
    )
    edge = Edge(authenticate=access.authenticate)
    host = PluginHost(configured.plugins, Supervisor(parts.events, options.now), parts.events)
    # Their services do not run; what their endpoints keep is in the database.
    host.set_up(partial(core_for, parts, folder, settings, PublicUrl(settings), options))
    agent = LocalAgent(
        host_id=parts.host_id,
        backends=(),
        series=parts.series,
        inventory=parts.inventory,
        events=parts.events,
        host=options.host,
        now=options.now,
    )
    state = ApplianceState(
        **parts.shared(),
        access=access,
        public_url=PublicUrl(settings),
        now=options.now,
        plugins=host,
        settings=settings,
        agent=agent,
        started_unix_us=options.now(),
        panels=host.panels.items,
        readiness=_not_running_parts,
        prometheus=_not_running_text,
        config_items=lambda: (configured.loaded.file, configured.loaded.items),
        reload=_not_running_reload,
        stop=_not_running_stop,
    )
    surfaces = [one.bind(state) for one in core_surfaces()]
    return Offline(edge, edge.table([*surfaces, *(one for made in host.parts.values() for one in made.surfaces)]))


def _not_running() -> NotAvailable:
    return NotAvailable("not available because the appliance is not running", hint="start it with `appliance serve`")


def _not_running_parts() -> list[Mapping[str, Any]]:
    raise _not_running()


async def _not_running_text(names: str) -> str:
    raise _not_running()


async def _not_running_reload() -> Change:
    raise _not_running()


def _not_running_stop() -> None:
    raise _not_running()
