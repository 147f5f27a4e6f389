"""Books what this host's workers hold in core's ledger, so that nothing else is given the same parts of its GPUs."""

from collections.abc import Callable, Container
from typing import Final

import structlog
import trio
from attrs import define, field

from appliance.plugin import ApplianceError, Booking, Conflict, Core, Gone, Holder, NotFound, Part

from .models import Worker

log = structlog.get_logger(__name__)

LEASE_SECONDS: Final = 600.0
RENEW_SECONDS: Final = 60.0
MILLI_PER_PERCENT: Final = 10
LEAST_MILLI: Final = 1
"""What a worker books that counts as nothing: nobody else is given the whole GPU beside it."""
KIND: Final = "share"


def parts_of(worker: Worker) -> tuple[Part, ...]:
    """Return what a worker holds; nothing while it is disabled."""
    if not worker.claim.holds:
        return ()
    milli = LEAST_MILLI if worker.compute_percent is None else worker.compute_percent * MILLI_PER_PERCENT
    return tuple(
        Part(gpu_id=gpu_id, milli_gpu=milli, vram_mib=worker.vram_mb or 0) for gpu_id in sorted(worker.gpu_ids)
    )


@define(eq=False)
class Bookings:
    """Of each worker of this host; a service that renews them."""

    core: Core
    runs: Callable[[Worker], bool] = lambda worker: True
    """Whether a worker has anything to run here: one without a command needs no GPU."""
    name: str = "share-bookings"
    _held: dict[str, Booking] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        for booking in self.core.ledger.bookings():
            if booking.holder.kind == KIND:
                self._held[booking.holder.holder_id.partition(":")[0]] = booking

    async def hold(self, worker: Worker) -> None:
        """Book what a worker holds from now on, in place of what it held.

        :raises Conflict: something else of this host has it.
        """
        wanted = parts_of(worker) if self.runs(worker) else ()
        before = self._held.get(worker.worker_id)
        if before is not None and before.parts == wanted:
            return
        if before is not None:
            await self.let_go(worker.worker_id)
        if not wanted:
            return
        try:
            self._held[worker.worker_id] = await self._book(worker.worker_id, wanted)
        except Conflict as error:
            if before is not None:
                self._held[worker.worker_id] = await self._book(worker.worker_id, before.parts)
            raise Conflict(f"the GPU is in use: {error.message}", hint="take another GPU, or wait") from None

    async def _book(self, worker_id: str, parts: tuple[Part, ...]) -> Booking:
        # A holder never comes back with other parts: each time it is somebody new.
        number = trio.current_time()
        holder = Holder(kind=KIND, holder_id=f"{worker_id}:{number:.6f}:{self.core.now()}")
        return await self.core.ledger.book(holder, parts, lease_seconds=LEASE_SECONDS)

    async def let_go(self, worker_id: str) -> None:
        """Give back what a worker held."""
        booking = self._held.pop(worker_id, None)
        if booking is not None:
            await self.core.ledger.release(booking.holder, booking.fencing_token)

    async def let_go_all_but(self, worker_ids: Container[str]) -> None:
        """Give back what workers held that are not there any more."""
        for worker_id in list(self._held):
            if worker_id not in worker_ids:
                await self.let_go(worker_id)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Renew until cancelled."""
        task_status.started()
        while True:
            await self.renew()
            await trio.sleep(RENEW_SECONDS)

    async def renew(self) -> None:
        """Move every lease on; one that has ended all the same is booked anew, if nobody else has its parts now."""
        for worker_id, booking in list(self._held.items()):
            try:
                renewed = await self._renewed(worker_id, booking)
            except Conflict as error:
                log.warning("share.lease_ended", worker=worker_id, reason=error.message)
                self._held.pop(worker_id, None)
            except ApplianceError as error:  # a full disk: the lease is long enough for the next time
                log.warning("share.lease_not_renewed", worker=worker_id, reason=error.message)
            else:
                if worker_id in self._held:
                    self._held[worker_id] = renewed

    async def _renewed(self, worker_id: str, booking: Booking) -> Booking:
        try:
            return await self.core.ledger.renew(booking.holder, booking.fencing_token, lease_seconds=LEASE_SECONDS)
        except (Gone, NotFound):
            return await self._book(worker_id, booking.parts)
