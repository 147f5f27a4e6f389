"""What metrics ingest does besides answering: verdicts that no history reaches any more go away."""

from typing import Final

import trio
from attrs import define

from appliance.plugin import Core

from . import store
from .servers import Servers

PRUNE_SECONDS: Final = 3600.0
MINUTE_US: Final = 60_000_000


@define(eq=False)
class Upkeep:
    """Prunes once an hour."""

    core: Core
    servers: Servers
    history_max_minutes: int
    name: str = "upkeep"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled."""
        task_status.started()
        while True:
            await self.prune()
            await trio.sleep(PRUNE_SECONDS)

    async def prune(self) -> None:
        """Delete the verdicts before the longest history."""
        before = self.core.now() - self.history_max_minutes * MINUTE_US
        ids = [server.server_id for server in self.servers.all()]
        for start in range(0, len(ids), 50):
            some = ids[start : start + 50]
            await self.core.database.write(lambda connection, some=some: store.prune_verdicts(connection, some, before))  # type: ignore[misc]
