"""Leases that end are removed without anybody asking."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from appliance.errors import NotFound
from appliance.ledger.service import LeaseKeeper

from .test_store import HALF, ONE, OTHER, SECOND, Clock, made, opened


async def test_ended_leases_are_removed_and_running_ones_stay(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with opened(tmp_path) as database, trio.open_nursery() as nursery:
        clock = Clock()
        ledger = await made(database, clock)
        await ledger.book(ONE, HALF, lease_seconds=3)
        running = await ledger.book(OTHER, HALF, lease_seconds=60)
        await nursery.start(LeaseKeeper(ledger).run)
        assert ledger.booking(ONE)
        clock.now_us += 4 * SECOND
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
        clock.now_us += 4 * SECOND
        await nursery.start(LeaseKeeper(ledger).run)
        with pytest.raises(NotFound):
            ledger.booking(ONE)
        nursery.cancel_scope.cancel()
