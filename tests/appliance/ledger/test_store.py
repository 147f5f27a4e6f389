"""The ledger in a database: one winner among many, idempotent, fenced, and the same after a restart."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define

from appliance.database import Database
from appliance.devices import Gpu
from appliance.errors import Conflict, Gone, NotFound
from appliance.inventory import store as inventory_store
from appliance.inventory.store import Inventory
from appliance.ledger import store as ledger_store
from appliance.ledger.rules import Free, Holder, Part
from appliance.ledger.store import Ledger

GPU = Gpu(gpu_id="GPU-a", index=0, vendor="nvidia", model="H100", vram_total_bytes=80 * 2**30)
ONE, OTHER = Holder(kind="task", holder_id="one"), Holder(kind="share", holder_id="other")
WHOLE = (Part(gpu_id="GPU-a", milli_gpu=1000),)
HALF = (Part(gpu_id="GPU-a", milli_gpu=500, vram_mib=40_960),)
SECOND = 1_000_000


@define
class Clock:
    """A wall clock, and a monotonic one beside it."""

    now_us: int = 1_000_000 * SECOND
    monotonic_s: float = 5.0

    def __call__(self) -> int:
        return self.now_us

    def monotonic(self) -> float:
        return self.monotonic_s

    def advance(self, seconds: int) -> None:
        """Time passes."""
        self.now_us += seconds * SECOND
        self.monotonic_s += seconds

    def set_by(self, seconds: int) -> None:
        """Somebody sets the wall clock."""
        self.now_us += seconds * SECOND


@define
class Books:
    """A ledger with the clock that moves it."""

    ledger: Ledger
    clock: Clock


def opened(folder: Path, *, inline: bool = True) -> Any:
    migrations = {
        inventory_store.OWNER: inventory_store.MIGRATIONS,
        ledger_store.OWNER: ledger_store.MIGRATIONS,
    }
    return Database.open(folder / "appliance.db", inline=inline, migrations=migrations)


async def made(database: Database, clock: Clock, *, went_down_at_unix_us: int | None = None) -> Ledger:
    inventory = Inventory(database, local_host_id="h")
    await inventory.saw_host("h", hostname="box", at_unix_us=clock())
    await inventory.saw_gpus("h", [GPU], at_unix_us=clock())
    return await Ledger.load(
        database, inventory, clock, went_down_at_unix_us=went_down_at_unix_us, monotonic=clock.monotonic
    )


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[Books]:
    async with opened(tmp_path) as database:
        clock = Clock()
        yield Books(await made(database, clock), clock)


async def test_parts_are_held_until_released_or_ended(books: Books) -> None:
    ledger = books.ledger
    first = await ledger.book(ONE, HALF, lease_seconds=60)
    second = await ledger.book(OTHER, HALF, lease_seconds=30)
    assert ledger.free("GPU-a") == Free(milli_gpu=0, vram_mib=0)
    assert ledger.bookings() == [first, second]
    await ledger.release(ONE, first.fencing_token)
    assert ledger.free("GPU-a") == Free(milli_gpu=500, vram_mib=40_960)
    books.clock.advance(30)
    assert ledger.free("GPU-a") == Free(milli_gpu=1000, vram_mib=81_920)
    assert await ledger.expire() == [second]
    assert await ledger.expire() == []
    with pytest.raises(NotFound):
        ledger.booking(OTHER)


async def test_one_of_many_gets_the_gpu(tmp_path: Path) -> None:
    async with opened(tmp_path, inline=False) as database:
        ledger, won = await made(database, Clock()), list[int]()

        async def one(number: int) -> None:
            try:
                got = await ledger.book(Holder(kind="task", holder_id=str(number)), WHOLE, lease_seconds=60)
            except Conflict:
                return
            won.append(got.fencing_token)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(one, number)
        assert won == [1]
        assert len(ledger.bookings()) == 1


async def test_booking_again_changes_nothing_but_the_lease(books: Books) -> None:
    first = await books.ledger.book(ONE, WHOLE, lease_seconds=60)
    again = await books.ledger.book(ONE, WHOLE, lease_seconds=90)
    assert again.fencing_token == first.fencing_token
    assert again.lease_ends_unix_us == books.clock() + 90 * SECOND
    with pytest.raises(Conflict, match="holds other parts"):
        await books.ledger.book(ONE, HALF, lease_seconds=60)


async def test_release_is_idempotent_and_fenced(books: Books) -> None:
    got = await books.ledger.book(ONE, WHOLE, lease_seconds=60)
    with pytest.raises(Conflict):
        await books.ledger.release(ONE, got.fencing_token - 1)
    await books.ledger.release(ONE, got.fencing_token)
    await books.ledger.release(ONE, got.fencing_token)
    await books.ledger.release(OTHER, 99)
    assert books.ledger.bookings() == []


async def test_tokens_rise_also_when_no_booking_is_left(books: Books) -> None:
    first = await books.ledger.book(ONE, WHOLE, lease_seconds=60)
    await books.ledger.release(ONE, first.fencing_token)
    second = await books.ledger.book(OTHER, WHOLE, lease_seconds=60)
    assert second.fencing_token > first.fencing_token


async def test_ended_lease_cannot_be_renewed_but_its_gpu_booked(books: Books) -> None:
    got = await books.ledger.book(ONE, WHOLE, lease_seconds=60)
    books.clock.advance(60)
    with pytest.raises(Gone):
        await books.ledger.renew(ONE, got.fencing_token, lease_seconds=60)
    await books.ledger.book(OTHER, WHOLE, lease_seconds=60)
    with pytest.raises(NotFound):
        await books.ledger.renew(Holder(kind="task", holder_id="nobody"), 1, lease_seconds=60)


async def test_bookings_outlive_a_restart_and_running_leases_get_three_minutes(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path) as database:
        ledger = await made(database, clock)
        running = await ledger.book(ONE, HALF, lease_seconds=60)
        ended = await ledger.book(OTHER, HALF, lease_seconds=10)
    went_down = clock.now_us + 20 * SECOND
    clock.advance(1000)
    async with opened(tmp_path) as database:
        ledger = await made(database, clock, went_down_at_unix_us=went_down)
        assert ledger.booking(ONE).lease_ends_unix_us == clock() + 180 * SECOND
        assert ledger.booking(ONE).fencing_token == running.fencing_token
        assert ledger.booking(OTHER) == ended
        assert await ledger.expire() == [ended]
        renewed = await ledger.renew(ONE, running.fencing_token, lease_seconds=600)
        assert ledger.bookings() == [renewed]


async def test_gpu_that_is_not_there_is_not_found_and_not_booked(books: Books) -> None:
    with pytest.raises(NotFound):
        books.ledger.free("GPU-x")
    with pytest.raises(Conflict, match="there is no GPU"):
        await books.ledger.book(ONE, (Part(gpu_id="GPU-x", milli_gpu=1),), lease_seconds=60)


DAY = 86_400
SET_BY = pytest.mark.parametrize("step", [DAY, -DAY], ids=["a day on", "a day back"])


@SET_BY
async def test_lease_lasts_as_long_as_was_said_when_the_wall_clock_is_set(books: Books, step: int) -> None:
    ledger, clock = books.ledger, books.clock
    got = await ledger.book(ONE, WHOLE, lease_seconds=60)
    clock.set_by(step)
    clock.advance(59)
    assert [one.holder for one in ledger.bookings()] == [ONE]
    assert await ledger.expire() == []
    assert ledger.free("GPU-a").milli_gpu == 0
    with pytest.raises(Conflict):
        await ledger.book(OTHER, WHOLE, lease_seconds=60)
    await ledger.renew(ONE, got.fencing_token, lease_seconds=60)
    clock.advance(60)
    assert ledger.bookings() == []
    with pytest.raises(Gone):
        await ledger.renew(ONE, got.fencing_token, lease_seconds=60)
    assert [one.holder for one in await ledger.expire()] == [ONE]


@SET_BY
async def test_times_of_a_booking_are_told_by_the_wall_clock_as_it_is(books: Books, step: int) -> None:
    ledger, clock = books.ledger, books.clock
    got = await ledger.book(ONE, HALF, lease_seconds=60)
    clock.set_by(step)
    clock.advance(10)
    renewed = await ledger.renew(ONE, got.fencing_token, lease_seconds=90)
    other = await ledger.book(OTHER, HALF, lease_seconds=60)
    assert (renewed.booked_at_unix_us, renewed.lease_ends_unix_us) == (clock() - 10 * SECOND, clock() + 90 * SECOND)
    assert (other.booked_at_unix_us, other.lease_ends_unix_us) == (clock(), clock() + 60 * SECOND)
    assert ledger.bookings() == [ledger.booking(ONE), ledger.booking(OTHER)] == [renewed, other]


@SET_BY
async def test_what_a_lease_had_left_outlives_a_restart_after_the_wall_clock_was_set(tmp_path: Path, step: int) -> None:
    clock = Clock()
    async with opened(tmp_path) as database:
        ledger = await made(database, clock)
        await ledger.book(ONE, HALF, lease_seconds=3600)
        await ledger.book(OTHER, HALF, lease_seconds=10)
        clock.set_by(step)
        clock.advance(600)
        await ledger.keep_clock()
        went_down = clock()
    clock.advance(100)
    clock.monotonic_s = 1.0  # a reboot
    async with opened(tmp_path) as database:
        ledger = await made(database, clock, went_down_at_unix_us=went_down)
        (running,) = ledger.bookings()
        assert (running.holder, running.lease_ends_unix_us) == (ONE, clock() + 2900 * SECOND)
        assert [one.holder for one in await ledger.expire()] == [OTHER]
    async with opened(tmp_path) as database:
        ledger = await made(database, clock, went_down_at_unix_us=clock())
        assert ledger.bookings() == [running]


async def test_wall_clock_set_back_while_down_prolongs_no_lease_and_revives_none(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path) as database:
        ledger = await made(database, clock)
        await ledger.book(ONE, HALF, lease_seconds=3600)
        await ledger.book(OTHER, HALF, lease_seconds=10)
        clock.advance(600)
        went_down = clock()
    clock.set_by(-DAY)
    async with opened(tmp_path) as database:
        ledger = await made(database, clock, went_down_at_unix_us=went_down)
        (running,) = ledger.bookings()
        assert (running.holder, running.lease_ends_unix_us) == (ONE, clock() + 3000 * SECOND)


async def test_clock_that_was_not_set_costs_no_write(books: Books, tmp_path: Path) -> None:
    await books.ledger.book(ONE, WHOLE, lease_seconds=60)
    before = (tmp_path / "appliance.db-wal").stat().st_size
    books.clock.advance(30)
    await books.ledger.keep_clock()
    assert (tmp_path / "appliance.db-wal").stat().st_size == before
    books.clock.set_by(2)
    await books.ledger.keep_clock()
    assert (tmp_path / "appliance.db-wal").stat().st_size > before


async def test_clock_that_was_set_while_nothing_was_booked_moves_no_lease_of_the_next_run(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path) as database:
        ledger = await made(database, clock)
        clock.set_by(DAY)
        await ledger.keep_clock()
    async with opened(tmp_path) as database:
        ledger = await made(database, clock, went_down_at_unix_us=clock())
        got = await ledger.book(ONE, HALF, lease_seconds=60)
    async with opened(tmp_path) as database:
        ledger = await made(database, clock, went_down_at_unix_us=clock())
        assert ledger.booking(ONE).lease_ends_unix_us == got.booked_at_unix_us + 180 * SECOND


async def test_start_with_nothing_booked_writes_nothing(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path) as database:
        await made(database, clock)
        before = (tmp_path / "appliance.db-wal").stat().st_size
        await Ledger.load(database, Inventory(database, local_host_id="h"), clock, went_down_at_unix_us=clock())
        assert (tmp_path / "appliance.db-wal").stat().st_size == before


async def test_those_who_watch_are_told_when_something_is_given_back(books: Books) -> None:
    told: list[int] = []
    books.ledger.watch(lambda: told.append(len(told)))
    booking = await books.ledger.book(ONE, HALF, lease_seconds=60)
    assert told == []
    await books.ledger.release(ONE, booking.fencing_token)
    assert len(told) == 1
    await books.ledger.release(ONE, booking.fencing_token)
    assert len(told) == 1
    await books.ledger.book(OTHER, HALF, lease_seconds=60)
    books.clock.advance(61)
    await books.ledger.expire()
    assert len(told) == 2
