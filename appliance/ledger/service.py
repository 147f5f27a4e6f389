"""Removes bookings whose lease has ended; until then they hold nothing, and only take room."""

import trio
from attrs import frozen

from appliance.ledger.store import Ledger


@frozen
class LeaseKeeper:
    """Ends leases every ``every_seconds``, by a monotonic timer.

    Whether a lease has ended is the ledger's to say, by the clock that it was booked with.
    """

    ledger: Ledger
    every_seconds: float = 5.0
    name: str = "leases"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled; a disk that cannot take it is a crash of this service, which is tried again."""
        await self.ledger.expire()
        task_status.started()
        while True:
            await trio.sleep(self.every_seconds)
            await self.ledger.expire()
