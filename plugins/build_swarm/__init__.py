"""Build swarm, as the documented API has it: drones, their queue, both servers, payloads and the binary host."""

from typing import Any

from appliance.plugin import Command, Core, Migration, Parts, hookimpl

from .schema import MIGRATIONS
from .settings import SwarmSettings

appliance_api = 1


@hookimpl
def appliance_settings() -> type[Any]:
    """Name the class behind ``[plugins.build_swarm]``."""
    return SwarmSettings


@hookimpl
def appliance_migrations() -> list[Migration]:
    """Give the tables of every part of the swarm."""
    return list(MIGRATIONS)


@hookimpl
def appliance_commands() -> list[Command]:
    """Offer ``appliance swarm`` and ``appliance drone``."""
    return [
        Command(
            name="swarm",
            help="See to the build swarm: its queue, drones, sessions, payloads and releases.",
            target="plugins.build_swarm.commands:swarm",
            answers_help=True,
        ),
        Command(
            name="drone",
            help="Build what a swarm's server assigns, on this Gentoo host.",
            target="plugins.build_swarm.drone.command:drone",
            answers_help=True,
        ),
    ]


@hookimpl
def appliance_setup(core: Core) -> Parts:
    """Serve the documented endpoints of both servers, and our own."""
    from .setup import build  # a third of a second that commands do not need

    return build(core)
