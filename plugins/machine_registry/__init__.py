"""Machine registry, as the documented API has it: agents register their machines and keep them ready."""

from typing import Any

from appliance.plugin import Command, Core, Migration, Parts, hookimpl

from .schema import MIGRATIONS
from .settings import RegistrySettings
from .setup import build

appliance_api = 1


@hookimpl
def appliance_settings() -> type[Any]:
    """Name the class behind ``[plugins.machine_registry]``."""
    return RegistrySettings


@hookimpl
def appliance_migrations() -> list[Migration]:
    """Give the tables of machines and pools."""
    return list(MIGRATIONS)


@hookimpl
def appliance_commands() -> list[Command]:
    """Offer ``appliance machine``."""
    return [
        Command(
            name="machine",
            help="Make, list, mark and delete machines of the registry.",
            target="plugins.machine_registry.commands:machine",
            answers_help=True,
        )
    ]


@hookimpl
def appliance_setup(core: Core) -> Parts:
    """Serve the documented endpoints, and make the host we run on a machine of pool ``default``."""
    return build(core)
