"""Removes bookings whose lease has ended; until then they hold nothing, and only take room."""

import trio
from attrs import frozen

from appliance.ledger.store import Ledger


@frozen
class LeaseKeeper:
    """Ends leases every ``every_seconds``, and writes down what the next start must know of the clock."""

    ledger: Ledger
    every_seconds: float = 5.0
    grace_seconds: float = 2.0
    name: str = "leases"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled; a disk that cannot take it is a crash of this service, which is tried again."""
        await self._look()
        task_status.started()
        try:
            while True:
                await trio.sleep(self.every_seconds)
                await self._look()
        finally:
            with trio.move_on_after(self.grace_seconds, shield=True):
                await self.ledger.keep_clock()

    async def _look(self) -> None:
        await self.ledger.keep_clock()
        await self.ledger.expire()
