# mypy: disable-error-code="empty-body"
"""Every hook a plugin may implement. To add one here is to add to the public API.

Hooks are synchronous and declare: they return things and core runs them. Core asks one plugin at a time, in load
order, so a raise costs only the plugin that raised. A plugin's module also says ``appliance_api = 1``.
"""

from pathlib import Path
from typing import Any

import pluggy

from appliance.backends import DeviceBackend
from appliance.contract import Command, Core, Parts
from appliance.engines import TaskEngine
from appliance.host import Host
from appliance.migrations import Migration

API_VERSION = 1
"""What a plugin's ``appliance_api`` must equal."""

hookspec = pluggy.HookspecMarker("appliance")


@hookspec
def appliance_settings() -> type[Any]:
    """Name the attrs class behind ``[plugins.NAME]`` in the configuration.

    Called once at start and again by ``appliance config``; must not block. Every field needs a default, and a
    ``metadata`` entry ``help`` of one sentence: declare it with `appliance.plugin.setting`, which can also name
    environment variables that stand in. Without this hook, any key but core's own ``enabled`` and ``open_to`` is an
    error. A reload changes nothing here: what differs is listed as needing a restart.
    A raise disables this plugin and no other.
    """


@hookspec
def appliance_migrations() -> list[Migration]:
    """Give the numbered SQL steps of this plugin's tables, oldest first.

    Called once at start, before `appliance_setup`. A step may touch only tables named ``<plugin>_*``. An empty list
    means no tables. A raise, a changed checksum or a newer version in the database disables this plugin and no other.
    """


@hookspec
def appliance_commands() -> list[Command]:
    """Offer commands of ``appliance``; their code is imported only when one is run.

    Called when the cache of commands is stale (a plugin file changed). A name that core has already is refused and
    reported. A raise leaves this plugin without commands.
    """


@hookspec
def appliance_device_backends(host: Host) -> list[DeviceBackend]:
    """Offer the ways this plugin can see the accelerators of this host.

    Called once, before any service starts; must not block. All answers are kept. Offer a backend on every host: its
    ``open`` raises `DeviceAbsent` where there is no such hardware or driver, so that people are told what was looked
    for, and a driver that is loaded later is found. A raise disables this plugin and no other.

    :param host: read-only view of the programs, paths and environment here.
    :return: backends, each sampled every ``[devices] sample_seconds``.
    """


@hookspec
def appliance_task_engines(host: Host, settings: Any, folder: Path, appliance_id: str) -> list[TaskEngine]:
    """Offer the ways this plugin can run container tasks.

    Called once, after the database is open and before `appliance_setup`; must not block. Offer an engine on every host:
    its status says what was looked for where there is nothing to use. Core runs each as a service of this plugin. Of
    two engines of one name the first counts, and the other plugin is disabled. A raise disables this plugin and no
    other.

    :param host: read-only view of the programs, paths and environment here.
    :param settings: this plugin's own settings, ``None`` when it has none.
    :param folder: the plugin's own folder below the data directory; it exists.
    :param appliance_id: by which an engine tells what is ours from what is another appliance's, see `engines.labels`.
    :return: engines, in order of preference.
    """


@hookspec
def appliance_setup(core: Core) -> Parts:
    """Build this plugin's parts on what core offers.

    Called once, after the database is open and migrated, before listeners open; must not block. A plugin that raises
    here loses its parts and keeps its tables, and its paths answer 503 in its own shape.
    """
