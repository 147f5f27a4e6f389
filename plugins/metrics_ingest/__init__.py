"""Metrics ingest and dashboard data, as the documented API has them: agents post samples, front ends read them."""

from typing import Any

from appliance.plugin import Command, Core, Migration, Parts, hookimpl

from .own_routes import api as own_api
from .routes import api
from .schema import MIGRATIONS
from .settings import MetricsSettings
from .setup import build

appliance_api = 1


@hookimpl
def appliance_settings() -> type[Any]:
    """Name the class behind ``[plugins.metrics_ingest]``."""
    return MetricsSettings


@hookimpl
def appliance_migrations() -> list[Migration]:
    """Give the tables of servers and verdicts."""
    return list(MIGRATIONS)


@hookimpl
def appliance_commands() -> list[Command]:
    """Offer ``appliance server``."""
    return [
        Command(
            name="server",
            help="Register, list and delete monitored servers.",
            target="plugins.metrics_ingest.commands:server",
            answers_help=True,
        )
    ]


@hookimpl
def appliance_setup(core: Core) -> Parts:
    """Serve the documented endpoints, and make the host we run on a server like the others."""
    made = build(core)
    return Parts(
        surfaces=[api.bind(made.state), own_api.bind(made.state)],
        services=made.services,
        prometheus=made.prometheus,
        about=made.about,
    )
