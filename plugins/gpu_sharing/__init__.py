"""GPU sharing, as the documented API has it: agents offer GPUs, workers are parts of them, and shares let guests in."""

from typing import Any

from appliance.plugin import Command, Core, Migration, Parts, hookimpl

from .schema import MIGRATIONS
from .settings import SharingSettings
from .setup import build

appliance_api = 1


@hookimpl
def appliance_settings() -> type[Any]:
    """Name the class behind ``[plugins.gpu_sharing]``."""
    return SharingSettings


@hookimpl
def appliance_migrations() -> list[Migration]:
    """Give the tables of agents, workers and shares."""
    return list(MIGRATIONS)


@hookimpl
def appliance_commands() -> list[Command]:
    """Offer ``appliance share``."""
    return [
        Command(
            name="share",
            help="Share GPUs, list what is shared, and fill the release mirror.",
            target="plugins.gpu_sharing.commands:share",
            answers_help=True,
        )
    ]


@hookimpl
def appliance_setup(core: Core) -> Parts:
    """Serve the documented endpoints, and offer the GPUs of the host we run on."""
    return build(core)
