"""Leases that end are removed without anybody asking, and a clock that was set is written down."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from appliance.errors import NotFound
from appliance.ledger.service import LeaseKeeper

from .test_store import DAY, HALF, ONE, OTHER, SECOND, Clock, made, opened

AHEAD = "SELECT wall_ahead_us FROM ledger_clock"


async def test_ended_leases_are_removed_and_running_ones_stay(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with opened(tmp_path) as database, trio.open_nursery() as nursery:
        clock = Clock()
        ledger = await made(database, clock)
        await ledger.book(ONE, HALF, lease_seconds=3)
        running = await ledger.book(OTHER, HALF, lease_seconds=60)
        await nursery.start(LeaseKeeper(ledger).run)
        assert ledger.booking(ONE)
        clock.advance(4)
        await trio.sleep(6)
        with pytest.raises(NotFound):
            ledger.booking(ONE)
        assert ledger.booking(OTHER) == running
        nursery.cancel_scope.cancel()


async def test_lease_that_ended_before_the_start_is_gone_once_started(tmp_path: Path) -> None:
    async with opened(tmp_path) as database, trio.open_nursery() as nursery:
        clock = Clock()
        ledger = await made(database, clock)
        await ledger.book(ONE, HALF, lease_seconds=3)
        clock.advance(4)
        await nursery.start(LeaseKeeper(ledger).run)
        with pytest.raises(NotFound):
            ledger.booking(ONE)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("stops_at_once", [True, False], ids=["as it stops", "while it runs"])
async def test_clock_that_was_set_is_known_at_the_next_start(
    tmp_path: Path, autojump_clock: MockClock, stops_at_once: bool
) -> None:
    clock = Clock()
    async with opened(tmp_path) as database, trio.open_nursery() as nursery:
        ledger = await made(database, clock)
        await ledger.book(ONE, HALF, lease_seconds=3600)
        await nursery.start(LeaseKeeper(ledger).run)
        clock.set_by(DAY)
        if not stops_at_once:
            await trio.sleep(6)
            assert database.read_now(lambda connection: connection.execute(AHEAD).fetchone()) == (DAY * SECOND,)
        nursery.cancel_scope.cancel()
    async with opened(tmp_path) as database:
        ledger = await made(database, clock, went_down_at_unix_us=clock())
        assert ledger.booking(ONE).lease_ends_unix_us == clock() + 3600 * SECOND
