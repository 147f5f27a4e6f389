"""Puts the parts of metrics ingest together."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from appliance.plugin import Core, Reading, Service

from . import wire
from .feed import Feed
from .intake import Intake
from .linking import Linker
from .local import LocalServer
from .models import Server
from .notifications import Notifier
from .prometheus import section
from .servers import Servers
from .state import State
from .upkeep import Upkeep

ROUTES = {
    "login": "/api/auth/login/",
    "servers": "/api/servers/",
    "latest": "/api/metrics/latest/",
    "history": "/api/metrics/history/",
    "notifications": "/api/notifications/",
    "ingest": "/api/ingest/servers/<server_slug>/metrics/",
    "enroll": "/api/agent/enroll/",
}
"""What clients are told at ``/``."""


@frozen(kw_only=True)
class Made:
    """Everything that setup gives to core."""

    state: State
    services: Sequence[Service]
    prometheus: Sequence[Any]
    about: Any


def build(core: Core) -> Made:
    """Make the parts on what core offers."""
    servers, feed = Servers(core), Feed()
    notifier = Notifier(
        core.notices,
        core.now,
        servers=servers.all,
        latest=core.series.latest,
        silent_seconds=core.settings.silent_seconds,
    )
    linker = Linker(core, servers)

    def follow(server: Server, before: Reading | None, reading: Reading) -> None:
        notifier.check(server, before, reading)
        feed.tell(server.server_id)
        linker.follow(server, reading)

    intake = Intake(core, servers, follow)
    state = State(core=core, settings=core.settings, servers=servers, notifier=notifier, intake=intake, feed=feed)

    def about() -> Mapping[str, Any]:
        return {
            "backend_version": wire.BACKEND_VERSION,
            "min_agent_version": wire.MIN_AGENT_VERSION,
            "frontend_url": core.public_url(),
            "routes": ROUTES,
        }

    return Made(
        state=state,
        services=[
            LocalServer(core, servers, follow),
            notifier,
            linker,
            Upkeep(core, servers, core.settings.history_max_minutes),
        ],
        prometheus=[section(state)],
        about=about,
    )
