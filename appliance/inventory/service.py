"""Writes "last seen" behind; the one acknowledged thing that may be 5 s late on disk."""

import trio
from attrs import frozen

from appliance.inventory.store import Inventory


@frozen
class LivenessWriter:
    """Writes the inventory's liveness every ``every_seconds``, and the rest when it is stopped."""

    inventory: Inventory
    every_seconds: float = 5.0
    grace_seconds: float = 2.0
    name: str = "liveness"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled."""
        task_status.started()
        try:
            while True:
                await trio.sleep(self.every_seconds)
                await self.inventory.write_liveness()
        finally:
            with trio.move_on_after(self.grace_seconds, shield=True):
                await self.inventory.write_liveness()
