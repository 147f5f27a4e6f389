"""Makes decisions durable: whoever is first writes for all who wait, and the next of those who came meanwhile follows.

A decision is taken in memory without waiting, so decisions have one order; then its caller waits here until the disk
has it. One write is under way at a time. When it fails, neither it nor anything that was decided after it has happened:
memory is read back from the disk, and all who waited are told.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import structlog
import trio
from attrs import define, field

from appliance.plugin import ApplianceError, Busy, Database, StorageFailed

B = TypeVar("B")

log = structlog.get_logger(__name__)


@define(eq=False)
class _Turn:
    """Callers whose decisions become durable with the same write."""

    lot: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot)
    is_done: bool = False
    failure: Exception | None = None


@define(eq=False)
class Journal(Generic[B]):
    """One for each swarm. ``B`` is what is written: rows, as they were at one moment."""

    database: Database
    take: Callable[[], B | None]
    """Takes what is not durable yet out of memory's lists; ``None`` when all is."""
    store: Callable[[B], Callable[..., None]]
    """Returns the function that writes it, given a connection."""
    follow: Callable[[B], None]
    """Called when it is on disk, before anybody is told."""
    restore: Callable[[B], None]
    """Reads back what was taken, and what has changed since: it has not happened."""
    is_clean: Callable[[], bool]
    """Whether there is nothing to take."""
    restore_all: Callable[[], None]
    """Reads everything back: the way out when `restore` could not read either."""
    _must_restore: bool = field(default=False, init=False)
    """Memory is not what the disk is, and could not be read back."""
    _next: _Turn = field(factory=_Turn, init=False)
    _is_writing: bool = field(default=False, init=False)
    """Somebody writes, or has been woken to do so."""

    @property
    def is_settled(self) -> bool:
        """Whether memory is what the disk is."""
        return not self._is_writing and not self._must_restore and self.is_clean()

    async def settle(self) -> None:
        """Return when everything that was decided until now is on disk.

        :raises StorageFailed: it cannot be stored; nothing of it has happened.
        :raises Busy: the database is closing, or too much waits for it; nothing of it has happened.
        """
        turn = self._next
        if self._is_writing:
            await turn.lot.park()
            if not turn.is_done:
                await self._lead(turn)
        else:
            self._is_writing = True
            await self._lead(turn)
        if turn.failure is not None:
            raise _told_again(turn.failure)

    async def _lead(self, turn: _Turn) -> None:
        # Left half-way, others would wait for ever; a write ends by itself, well or not.
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()  # whoever decides in this pass of the loop is of the same turn
            self._next = _Turn()
            if self._must_restore:
                turn.failure = self._restore_all()
            elif (batch := self.take()) is not None:
                await self._write(turn, batch)
        turn.is_done = True
        turn.lot.unpark_all()
        self._hand_on()

    async def _write(self, turn: _Turn, batch: B) -> None:
        try:
            await self.database.write(self.store(batch))
        except Exception as failure:
            turn.failure = failure
            self._fail(batch, failure)
        else:
            self.follow(batch)

    def _fail(self, batch: B, failure: Exception) -> None:
        """Undo a batch with all that was decided after it, and tell those who have decided that."""
        try:
            self.restore(batch)
        except Exception:
            log.exception("build_swarm.cannot_read_back")
            self._must_restore = True
        after, self._next = self._next, _Turn()
        after.failure, after.is_done = failure, True
        after.lot.unpark_all()

    def _restore_all(self) -> Exception:
        """Read everything back; return what to tell those who have decided on a memory that was wrong."""
        try:
            self.restore_all()
        except Exception as failure:
            return failure
        self._must_restore = False
        return StorageFailed("the queue had to be read from the disk again", hint="try again")

    def _hand_on(self) -> None:
        if self._next.lot:
            self._next.lot.unpark()  # it finds its turn not done, and leads
        else:
            self._is_writing = False


def _told_again(failure: Exception) -> ApplianceError:
    """Return a failure for one of several who are told of it: each raises its own."""
    if isinstance(failure, Busy | StorageFailed):
        told: ApplianceError = type(failure)(failure.message, hint=failure.hint)
    else:
        told = StorageFailed(f"this could not be stored: {failure}")
    told.__cause__ = failure
    return told
