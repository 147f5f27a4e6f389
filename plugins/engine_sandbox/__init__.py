"""Container tasks without a container daemon: sandboxes of bubblewrap, and plain processes where that is wanted."""

from pathlib import Path
from typing import Any

from appliance.plugin import Command, Core, Host, Parts, TaskEngine, hookimpl

from .routes import api
from .settings import SandboxSettings
from .setup import engines, images_of, runs_as_us

appliance_api = 1


@hookimpl
def appliance_settings() -> type[Any]:
    """Name the class behind ``[plugins.engine_sandbox]``."""
    return SandboxSettings


@hookimpl
def appliance_commands() -> list[Command]:
    """Offer ``appliance image``."""
    return [
        Command(
            name="image",
            help="Import, list and remove the images of sandboxed tasks.",
            target="plugins.engine_sandbox.commands:image",
            answers_help=True,
        )
    ]


@hookimpl
def appliance_task_engines(host: Host, settings: SandboxSettings, folder: Path, appliance_id: str) -> list[TaskEngine]:
    """Offer the engine ``sandbox``, and ``process`` where the configuration says so."""
    return engines(host, settings, folder, appliance_id)


@hookimpl
def appliance_setup(core: Core) -> Parts:
    """Serve the images."""
    return Parts(surfaces=[api.bind(images_of(core.settings, core.folder))], runs_as_us=runs_as_us(core.settings))
