"""What the handlers of metrics ingest share."""

import secrets

import msgspec
from attrs import define, field

from appliance.plugin import Core, Rate

from . import store, wire
from .feed import Feed
from .intake import Intake
from .models import Server
from .notifications import Notifier
from .servers import Servers
from .settings import MetricsSettings


@define(eq=False, kw_only=True)
class State:
    """One for each running appliance."""

    core: Core
    settings: MetricsSettings
    servers: Servers
    notifier: Notifier
    intake: Intake
    feed: Feed
    boot: str = field(factory=lambda: secrets.token_hex(4))
    """Tells ETags of this run from those of another."""
    enrolments: Rate = field(factory=lambda: Rate(per_minute=30))
    registrations: Rate = field(factory=lambda: Rate(per_minute=4, window_seconds=300))
    _rows: tuple[int, list[msgspec.Raw]] = field(default=(-1, []), init=False)

    def server_row(self, server: Server, *, counted: bool = True) -> msgspec.Raw:
        """Return a server as JSON; see `wire.server_row`."""
        return wire.server_row(server, counted=counted)

    def server_rows(self) -> list[msgspec.Raw]:
        """Return the active servers as JSON, in the order in which they are listed."""
        generation = self.servers.generation
        if self._rows[0] != generation:
            self._rows = generation, [wire.server_row(each) for each in self.servers.active()]
        return self._rows[1]

    async def verdicts(self, server: Server, from_unix_us: int, to_unix_us: int) -> list[tuple[int, int]]:
        """Return a server's verdicts over a span; see `store.verdicts`."""
        return await self.core.database.read(
            lambda connection: store.verdicts(connection, server.server_id, from_unix_us, to_unix_us)
        )

    def is_silent(self, server: Server) -> bool:
        """Whether a server that has reported before does so no longer."""
        if server.last_seen_unix_us is None:
            return False
        return self.core.now() - server.last_seen_unix_us > self.notifier.silent_after_seconds(server) * 1_000_000
