"""What attempts hold of GPUs, booked in the ledger beside what is shared, and its leases."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import structlog
from attrs import frozen

from appliance.errors import ApplianceError, Busy, Conflict, Gone, NotFound, StorageFailed
from appliance.jobs import EndReason
from appliance.ledger.rules import Holder, Part
from appliance.ledger.store import Ledger
from appliance.scheduler.board import Active
from appliance.scheduler.desk import Desk

log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 300.0
RENEW_SECONDS: Final = 60.0


def holder_of(attempt_id: str) -> Holder:
    """Return who an attempt is in the ledger."""
    return Holder(kind="task", holder_id=attempt_id)


@frozen
class Bookings:
    """Books, renews and gives back what attempts hold of GPUs."""

    ledger: Ledger
    desk: Desk

    async def book(self, active: Active) -> None:
        """Book the attempt's parts of GPUs; nothing happens when it has none, or has booked them.

        :raises Conflict: they are taken.
        :raises Gone: its lease has ended.
        """
        parts = tuple(
            Part(gpu_id=gpu_id, milli_gpu=milli_gpu, vram_mib=vram_mib)
            for gpu_id, milli_gpu, vram_mib in active.attempt.placement.parts
        )
        if parts:
            await self.ledger.book(holder_of(active.attempt_id), parts, lease_seconds=LEASE_SECONDS)
        active.is_booked = True

    async def release(self, active: Active) -> None:
        """Give back what the attempt holds; nothing happens the second time."""
        if not active.attempt.placement.parts:
            return
        holder = holder_of(active.attempt_id)
        with suppress(NotFound):
            booking = self.ledger.booking(holder)
            try:
                await self.ledger.release(holder, booking.fencing_token)
            except (StorageFailed, Busy) as error:
                # It is not renewed any more, so it ends by itself.
                log.warning("task.booking_not_released", attempt=active.attempt_id, reason=error.message)
        self.desk.wake()

    async def renew(self, actives: Iterable[Active]) -> None:
        """Move the leases of attempts on; one that has lost its GPUs to somebody else is stopped."""
        for active in actives:
            if not (active.holds and active.is_booked and active.attempt.placement.parts):
                continue
            holder = holder_of(active.attempt_id)
            try:
                booking = self.ledger.booking(holder)
                await self.ledger.renew(holder, booking.fencing_token, lease_seconds=LEASE_SECONDS)
            except (NotFound, Gone, Conflict):
                await self._book_again(active)
            except ApplianceError as error:
                log.warning("task.lease_not_renewed", attempt=active.attempt_id, reason=error.message)

    async def resume(self, actives: Iterable[Active]) -> None:
        """Take the bookings of attempts over after a start."""
        for active in actives:
            active.is_booked = active.holds and self._is_booked(active)
        await self.renew(actives)

    def _is_booked(self, active: Active) -> bool:
        try:
            self.ledger.booking(holder_of(active.attempt_id))
        except NotFound:
            return False
        return True

    async def _book_again(self, active: Active) -> None:
        """Book what is held in fact: the lease has ended while nobody renewed it."""
        try:
            await self.ledger.expire()
            await self.book(active)
        except (Conflict, Gone) as error:
            log.warning("task.lost_its_gpus", attempt=active.attempt_id, reason=error.message, effect="it is stopped")
            words = f"its GPUs were given to somebody else: {error.message}"
            await self.desk.ask_to_stop(active.record.job_id, EndReason.PREEMPTED, words)
