"""The ledger: bookings decided inside the transaction that stores them, read from memory.

Leases are timed by a steady clock, which is the wall clock of the start moved on by a monotonic one: setting the wall
clock neither ends nor prolongs a lease. What is stored is told by that clock too, and beside it, in ``ledger_clock``,
by how much the wall clock is ahead of it, so that the next start can tell how long a lease had left. What is returned
is told by the wall clock as it is.
"""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

import trio

from appliance.clock import Now, SteadyClock
from appliance.database import Database
from appliance.errors import NotFound
from appliance.inventory.store import Inventory
from appliance.ledger.rules import (
    Booking,
    Capacity,
    Free,
    Holder,
    Part,
    after_restart,
    book,
    check_token,
    free,
    lease_end,
    moved,
    renew,
)
from appliance.migrations import Migration

OWNER: Final = "ledger"
STEP_US: Final = 1_000_000
"""The wall clock has been set when it is off by as much; less is reading two clocks one after the other."""

MIGRATIONS: Final = (
    Migration(
        version=1,
        name="bookings and their parts",
        sql="""
CREATE TABLE ledger_booking (
    fencing_token INTEGER PRIMARY KEY AUTOINCREMENT,
    holder_kind TEXT NOT NULL,
    holder_id TEXT NOT NULL,
    booked_at_unix_us INTEGER NOT NULL,
    lease_ends_unix_us INTEGER NOT NULL,
    UNIQUE (holder_kind, holder_id)
) STRICT;
CREATE TABLE ledger_part (
    fencing_token INTEGER NOT NULL REFERENCES ledger_booking (fencing_token) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    gpu_id TEXT NOT NULL,
    milli_gpu INTEGER NOT NULL,
    vram_mib INTEGER NOT NULL,
    PRIMARY KEY (fencing_token, position)
) STRICT, WITHOUT ROWID;
""",
    ),
    Migration(
        version=2,
        name="by how much the wall clock is ahead of the clock of the bookings' times",
        sql="""
CREATE TABLE ledger_clock (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    wall_ahead_us INTEGER NOT NULL
) STRICT;
INSERT INTO ledger_clock (only, wall_ahead_us) VALUES (1, 0);
""",
    ),
)

# AUTOINCREMENT keeps the largest token ever given, also after its booking is gone.
_LAST_TOKEN = "SELECT seq FROM sqlite_sequence WHERE name = 'ledger_booking'"  # noqa: S105  a fencing token is no secret
_BOOKINGS = """
SELECT fencing_token, holder_kind, holder_id, booked_at_unix_us, lease_ends_unix_us
  FROM ledger_booking ORDER BY fencing_token"""
_PARTS = "SELECT fencing_token, gpu_id, milli_gpu, vram_mib FROM ledger_part ORDER BY fencing_token, position"
_INSERT = """
INSERT INTO ledger_booking (fencing_token, holder_kind, holder_id, booked_at_unix_us, lease_ends_unix_us)
VALUES (:fencing_token, :holder_kind, :holder_id, :booked_at_unix_us, :lease_ends_unix_us)"""
_INSERT_PART = """
INSERT INTO ledger_part (fencing_token, position, gpu_id, milli_gpu, vram_mib)
VALUES (:fencing_token, :position, :gpu_id, :milli_gpu, :vram_mib)"""
_MOVE = """
UPDATE ledger_booking SET booked_at_unix_us = :booked_at_unix_us, lease_ends_unix_us = :lease_ends_unix_us
 WHERE fencing_token = :fencing_token"""
_WALL_AHEAD = "SELECT wall_ahead_us FROM ledger_clock"
_SET_WALL_AHEAD = "UPDATE ledger_clock SET wall_ahead_us = :wall_ahead_us"
_DELETE = "DELETE FROM ledger_booking WHERE fencing_token = :fencing_token"


class Ledger:
    """Who holds which part of which GPU, by lease and fencing token.

    Reads are from memory, at once; every change is durable before it shows.
    """

    def __init__(self, database: Database, inventory: Inventory, clock: SteadyClock) -> None:
        """To be made by `load`, which takes over what the last run has left."""
        self._database = database
        self._inventory = inventory
        self._clock = clock
        self._wall_ahead_us = 0
        self._bookings: dict[Holder, Booking] = database.read_now(_load)
        self._watchers: list[Callable[[], None]] = []

    @classmethod
    async def load(
        cls,
        database: Database,
        inventory: Inventory,
        now: Now,
        *,
        went_down_at_unix_us: int | None,
        monotonic: Callable[[], float] = trio.current_time,
    ) -> Self:
        """Take over the bookings; a lease that ran when we went down runs at least 180 s from now.

        :param went_down_at_unix_us: when the last run was last up, by the wall clock; ``None`` when that is not known,
            and leases end when they would have.
        :param monotonic: seconds that never go back and that nobody sets.
        """
        clock = SteadyClock(now, monotonic)
        at = clock()
        went_down_at = at if went_down_at_unix_us is None else went_down_at_unix_us

        def write(connection: sqlite3.Connection) -> None:
            wall_ahead_us = connection.execute(_WALL_AHEAD).fetchone()[0]
            for stored in _load(connection).values():
                told = moved(stored, wall_ahead_us)
                taken_over = after_restart(told, went_down_at_unix_us=went_down_at, now_unix_us=at)
                _put(connection, taken_over, is_new=False)
            connection.execute(_SET_WALL_AHEAD, {"wall_ahead_us": 0})

        if database.read_now(_is_anything_left):  # a start writes nothing that it need not
            await database.write(write)
        return cls(database, inventory, clock)

    def watch(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` whenever something is given back, so that others may have it; it must not block or raise."""
        self._watchers.append(tell)

    def bookings(self) -> list[Booking]:
        """Return the bookings whose lease runs, oldest first."""
        return [self._told(booking) for booking in self._running()]

    def booking(self, holder: Holder) -> Booking:
        """Return the holder's booking, ended or not; raise `NotFound`."""
        try:
            return self._told(self._bookings[holder])
        except KeyError:
            raise NotFound(f"booking of {holder.kind}", holder.holder_id) from None

    def free(self, gpu_id: str) -> Free:
        """Return what is left of a GPU; raise `NotFound`."""
        capacities = self._capacities()
        if gpu_id not in capacities:
            raise NotFound("gpu", gpu_id)
        return free(capacities[gpu_id], capacities, self._running())

    async def book(self, holder: Holder, parts: tuple[Part, ...], *, lease_seconds: float) -> Booking:
        """Give parts of GPUs to a holder, all or none; again for the same holder and parts moves its lease on.

        Marks are not asked: who places work asks `Inventory.why_no_new_work`.

        :raises Conflict: the parts are taken or not there, or the holder holds others.
        :raises Gone: the holder's lease has ended.
        """
        capacities, now = self._capacities(), self._clock()
        ends = lease_end(now, lease_seconds)

        def write(connection: sqlite3.Connection) -> Booking:
            stored = _load(connection)
            last = connection.execute(_LAST_TOKEN).fetchone()
            booking = book(
                holder,
                parts,
                capacities=capacities,
                bookings=tuple(stored.values()),
                last_token=last[0] if last else 0,
                now_unix_us=now,
                lease_ends_unix_us=ends,
            )
            _put(connection, booking, is_new=holder not in stored)
            return booking

        return self._told(await self._database.write(write, on_commit=self._keep))

    async def renew(self, holder: Holder, fencing_token: int, *, lease_seconds: float) -> Booking:
        """Move a running lease on.

        :raises NotFound: there is no such booking.
        :raises Conflict: the token is not its own.
        :raises Gone: the lease has ended.
        """
        now = self._clock()
        ends = lease_end(now, lease_seconds)

        def write(connection: sqlite3.Connection) -> Booking:
            booking = _load(connection).get(holder)
            if booking is None:
                raise NotFound(f"booking of {holder.kind}", holder.holder_id)
            changed = renew(booking, fencing_token, now_unix_us=now, lease_ends_unix_us=ends)
            _put(connection, changed, is_new=False)
            return changed

        return self._told(await self._database.write(write, on_commit=self._keep))

    async def release(self, holder: Holder, fencing_token: int) -> None:
        """Give a booking back; nothing happens when it is not there any more.

        :raises Conflict: the token is not its own.
        """

        def write(connection: sqlite3.Connection) -> Booking | None:
            booking = _load(connection).get(holder)
            if booking is not None:
                check_token(booking, fencing_token)
                connection.execute(_DELETE, {"fencing_token": fencing_token})
            return booking

        await self._database.write(write, on_commit=self._lose)

    async def expire(self) -> list[Booking]:
        """Remove bookings whose lease has ended, and return them, so that what they held can be cleaned up."""
        now = self._clock()
        if all(booking.is_running(now) for booking in self._bookings.values()):
            return []

        def write(connection: sqlite3.Connection) -> list[Booking]:
            ended = [booking for booking in _load(connection).values() if not booking.is_running(now)]
            connection.executemany(_DELETE, [{"fencing_token": booking.fencing_token} for booking in ended])
            return ended

        return [self._told(booking) for booking in await self._database.write(write, on_commit=self._lose_all)]

    async def keep_clock(self) -> None:
        """Write down by how much the wall clock has been set, if it has; to be called every few seconds.

        A crash before that is written leaves the next start to judge leases as if the clock had not been set.
        """
        ahead_us = self._clock.step_us()
        if abs(ahead_us - self._wall_ahead_us) < STEP_US:
            return

        def write(connection: sqlite3.Connection) -> int:
            connection.execute(_SET_WALL_AHEAD, {"wall_ahead_us": ahead_us})
            return ahead_us

        await self._database.write(write, on_commit=self._keep_wall_ahead)

    def _running(self) -> list[Booking]:
        now = self._clock()
        running = (booking for booking in self._bookings.values() if booking.is_running(now))
        return sorted(running, key=lambda booking: booking.fencing_token)

    def _told(self, booking: Booking) -> Booking:
        """Return the booking with its times told by the wall clock as it is now."""
        step_us = self._clock.step_us()
        return booking if abs(step_us) < STEP_US else moved(booking, step_us)

    def _capacities(self) -> Mapping[str, Capacity]:
        return {
            known.gpu_id: Capacity(
                gpu_id=known.gpu_id,
                vram_mib=(known.gpu.vram_total_bytes or 0) // 2**20,
                parent_gpu_id=known.gpu.parent_gpu_id,
            )
            for known in self._inventory.gpus()
            if known.present
        }

    def _keep(self, booking: Booking) -> None:
        self._bookings[booking.holder] = booking

    def _keep_wall_ahead(self, wall_ahead_us: int) -> None:
        self._wall_ahead_us = wall_ahead_us

    def _lose(self, booking: Booking | None) -> None:
        if booking is not None:
            self._bookings.pop(booking.holder, None)
            for tell in self._watchers:
                tell()

    def _lose_all(self, bookings: list[Booking]) -> None:
        for booking in bookings:
            self._lose(booking)


def _is_anything_left(connection: sqlite3.Connection) -> bool:
    return bool(_load(connection)) or connection.execute(_WALL_AHEAD).fetchone() != (0,)


def _load(connection: sqlite3.Connection) -> dict[Holder, Booking]:
    parts: dict[int, list[Part]] = {}
    for token, gpu_id, milli_gpu, vram_mib in connection.execute(_PARTS):
        parts.setdefault(token, []).append(Part(gpu_id=gpu_id, milli_gpu=milli_gpu, vram_mib=vram_mib))
    bookings: dict[Holder, Booking] = {}
    for token, kind, holder_id, booked_at, lease_ends in connection.execute(_BOOKINGS):
        holder = Holder(kind=kind, holder_id=holder_id)
        bookings[holder] = Booking(
            holder=holder,
            parts=tuple(parts.get(token, ())),
            fencing_token=token,
            booked_at_unix_us=booked_at,
            lease_ends_unix_us=lease_ends,
        )
    return bookings


def _put(connection: sqlite3.Connection, booking: Booking, *, is_new: bool) -> None:
    values: dict[str, Any] = {
        "fencing_token": booking.fencing_token,
        "holder_kind": booking.holder.kind,
        "holder_id": booking.holder.holder_id,
        "booked_at_unix_us": booking.booked_at_unix_us,
        "lease_ends_unix_us": booking.lease_ends_unix_us,
    }
    if not is_new:
        times = ("fencing_token", "booked_at_unix_us", "lease_ends_unix_us")
        connection.execute(_MOVE, {name: values[name] for name in times})
        return
    connection.execute(_INSERT, values)
    for position, part in enumerate(booking.parts):
        connection.execute(
            _INSERT_PART,
            {
                "fencing_token": booking.fencing_token,
                "position": position,
                "gpu_id": part.gpu_id,
                "milli_gpu": part.milli_gpu,
                "vram_mib": part.vram_mib,
            },
        )
