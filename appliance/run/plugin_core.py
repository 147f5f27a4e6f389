"""What each plugin's setup is given, in a running appliance as in a command without one."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from appliance.contract import Core
from appliance.data_folder import DataFolder
from appliance.http.api.callers import end_session
from appliance.loading import Plugin
from appliance.people.sessions import CookieNames
from appliance.run.core_parts import CoreParts
from appliance.run.options import Options
from appliance.settings import LiveSettings


def plugin_folder(folder: DataFolder, name: str) -> Path:
    """Return a plugin's own folder, which is made if need be."""
    own = folder.plugin_data / name
    own.mkdir(mode=0o700, exist_ok=True)
    return own


def core_for(
    parts: CoreParts,
    folder: DataFolder,
    settings: LiveSettings,
    url: Callable[[], str],
    options: Options,
    plugin: Plugin,
) -> Core:
    """Return what a plugin is offered; its own folder is made."""
    return Core(
        **parts.shared(),
        name=plugin.name,
        settings=settings.current.plugin(plugin.name).own,
        host=options.host,
        now=options.now,
        public_url=url,
        end_session=partial(end_session, parts.credentials, parts.audit, CookieNames(parts.host_id)),
        folder=plugin_folder(folder, plugin.name),
    )
