"""Every server's newest sample for ``/metrics``."""

from collections.abc import Callable
from typing import Protocol

from appliance.plugin import Core, ScrapedHost

from .models import Server
from .servers import Servers


class Watching(Protocol):
    """What is needed of the plugin's state."""

    @property
    def core(self) -> Core:
        """What core offers."""
        ...

    @property
    def servers(self) -> Servers:
        """The registered servers."""
        ...

    def is_silent(self, server: Server) -> bool:
        """Whether a server that has reported before does so no longer."""
        ...


def section(state: Watching) -> Callable[[], list[ScrapedHost]]:
    """Return what core asks at every scrape: the active servers, labelled with slug and hostname.

    The local server is among them for its slug alone: core tells its figures from the sample at hand.
    """

    def hosts() -> list[ScrapedHost]:
        return [_host(state, each) for each in state.servers.all() if each.is_active]

    return hosts


def _host(state: Watching, server: Server) -> ScrapedHost:
    reading = state.core.series.latest(server.series_id)
    return ScrapedHost(
        host_id=server.series_id,
        server=server.slug,
        hostname=server.hostname or server.name,
        is_up=reading is not None and not state.is_silent(server),
        row=None if reading is None else reading.row,
    )
