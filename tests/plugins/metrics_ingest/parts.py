"""What a reading endpoint sees of the plugin's state: the real database, series and servers, without an appliance."""

from collections.abc import Callable
from typing import Any, cast

import msgspec
from attrs import define, field

from appliance.database import Database
from appliance.devices import HostSample
from appliance.plugin import Head
from appliance.series.service import Series
from plugins.metrics_ingest import store, wire
from plugins.metrics_ingest.models import Server
from plugins.metrics_ingest.servers import Servers
from plugins.metrics_ingest.settings import MetricsSettings


@define(eq=False)
class Parts:
    """What the endpoint sees of the plugin's state, and of core: the real database, series and servers."""

    database: Database
    now: Callable[[], int]
    series: Series
    settings: MetricsSettings = field(factory=MetricsSettings)
    servers: Servers = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.read_servers()

    @property
    def core(self) -> "Parts":
        return self

    def read_servers(self) -> None:
        self.servers = Servers(cast(Any, self))

    def server_row(self, server: Server) -> msgspec.Raw:
        return wire.server_row(server)

    def server_rows(self) -> list[msgspec.Raw]:
        return [wire.server_row(each) for each in self.servers.active()]

    async def verdicts(self, server: Server, begin: int, end: int) -> list[tuple[int, int]]:
        return await self.database.read(lambda conn: store.verdicts(conn, server.server_id, begin, end))

    async def add(self, slug: str, times: list[int]) -> Server:
        """Register a server and give it samples whose CPU share is their place."""

        def write(conn: Any) -> None:
            store.insert(conn, slug=slug, name=slug.title(), series_id=f"s-{slug}", created_unix_us=1)
            server = store.servers(conn)[-1]
            if times:
                store.sampled(conn, server.server_id, seen_unix_us=times[-1], at_unix_us=times[-1], count=len(times))

        await self.database.write(write)
        samples = [
            HostSample(host_id=f"s-{slug}", taken_at_unix_us=at, cpu_percent=float(place))
            for place, at in enumerate(times)
        ]
        for at in range(0, len(samples), 500):
            await self.series.append_all(samples[at : at + 500])
        self.read_servers()
        found = self.servers.named(slug)
        assert found is not None
        return found


def head_of(query: str, *, accept_encoding: str = "") -> Head:
    headers = [(b"accept-encoding", accept_encoding.encode())] if accept_encoding else []
    return Head(
        method="GET",
        path="/api/metrics/history/",
        raw_query=query.encode("latin-1"),
        headers=headers,
        peer=None,
        local="socket",
        listener="test",
        scheme="http",
    )
