"""The log is written behind, kept for a day and to a size, and a flood of routine displaces nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from attrs import define
from trio.testing import MockClock

from appliance.database import Database
from appliance.plugin import Core, Head
from appliance.testing import SteppingClock
from plugins.build_swarm.records.protocol import KEPT_SECONDS, PENDING_MAX, ROUTINE_MAX, WRITE_SECONDS, ProtocolLog
from plugins.build_swarm.records.store import Filter
from plugins.build_swarm.schema import MIGRATIONS
from plugins.build_swarm.settings import SwarmSettings
from plugins.build_swarm.states import Drone


@define
class CorePart:
    """What the log needs of core."""

    database: Database
    now: SteppingClock


class OneDrone:
    def find_drone(self, name_or_id: str) -> Drone | None:
        return Drone(drone_id="abc", name="drone-01") if name_or_id in ("abc", "drone-01") else None


@asynccontextmanager
async def log_in(folder: Path, **changes: Any) -> AsyncIterator[ProtocolLog]:
    async with Database.open(folder / "a.db", inline=True, migrations={"build_swarm": MIGRATIONS}) as database:
        core = CorePart(database, SteppingClock())
        yield ProtocolLog(cast(Core, core), SwarmSettings(**changes), OneDrone())


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[ProtocolLog]:
    async with log_in(tmp_path) as made:
        yield made


def head(path: str = "/api/v1/work", query: bytes = b"id=abc", method: str = "GET") -> Head:
    return Head(
        method=method,
        path=path,
        raw_query=query,
        headers=[(b"x-admin-key", b"not-to-be-kept")],
        peer=("10.0.0.7", 40_000),
        local=("10.0.0.1", 8100),
        listener="a",
        scheme="http",
    )


def clock_of(log: ProtocolLog) -> SteppingClock:
    return cast(SteppingClock, log.core.now)


async def test_entries_are_written_half_a_second_later_and_at_the_end(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with log_in(tmp_path) as log:
        async with trio.open_nursery() as nursery:
            await nursery.start(log.run)
            log.saw(head(), b"", 200, b'{"package":"=a/b-1"}', 0.002)
            await trio.sleep(WRITE_SECONDS * 1.5)
            (found,) = await log.entries(Filter())
            assert (found["msg_type"], found["source_node"], found["package"]) == ("work_request", "drone-01", "=a/b-1")
            log.saw(head(), b"", 200, b"{}", 0.002)
            nursery.cancel_scope.cancel()
        assert len(await log.entries(Filter())) == 2


async def test_reading_the_log_is_not_logged(log: ProtocolLog) -> None:
    log.saw(head("/api/v1/protocol"), b"", 200, b"{}", 0.001)
    await log.flush()
    assert await log.entries(Filter()) == []


async def test_headers_and_queries_are_not_kept(log: ProtocolLog) -> None:
    log.saw(head("/api/v1/sql/query", b"key=not-to-be-kept&q=SELECT 1"), b"", 200, b"{}", 0.001)
    await log.flush()
    entry = await log.entry(1)
    assert entry is not None
    assert "not-to-be-kept" not in str(entry)
    assert await log.entry(2) is None


async def test_filters_and_places_choose_entries(log: ProtocolLog) -> None:
    for number in range(5):
        log.saw(head(), b"", 200, b'{"package":"=dev-libs/a-%d"}' % number, 0.001 * number)
        clock_of(log).advance(1)
    log.saw(head("/api/v1/status", b""), b"", 200, b"{}", 0.5)
    await log.flush()

    async def ids(**changes: Any) -> list[int]:
        return [each["id"] for each in await log.entries(Filter(**changes))]

    assert await ids() == [1, 2, 3, 4, 5, 6]
    assert await ids(limit=2) == [5, 6]
    assert await ids(after_id=2, limit=2) == [3, 4]
    assert await ids(since_unix_us=clock_of(log).unix_us - 2_000_000) == [4, 5, 6]
    assert await ids(drone="drone-01") == await ids(drone="abc") == [1, 2, 3, 4, 5]
    assert await ids(package="a-3") == [4]
    assert await ids(min_latency_ms=3.5) == [5, 6]
    assert await ids(msg_type="status_query") == [6]
    found = await log.statistics(0)
    assert [(each["msg_type"], each["count"]) for each in found] == [("work_request", 5), ("status_query", 1)]
    start = clock_of(log).unix_us - 5_000_000
    assert await log.density(start, start + 5_000_000, 5) == [1, 1, 1, 1, 2]


async def test_flood_of_routine_leaves_room_for_reports_and_is_counted(log: ProtocolLog) -> None:
    for _ in range(ROUTINE_MAX + 50):
        log.saw(head(), b"", 200, b"{}", 0.001)
    for _ in range(PENDING_MAX):
        log.saw(head("/api/v1/complete", b"", "POST"), b"{}", 200, b"{}", 0.001)
    await log.flush()
    counts = {each["msg_type"]: each["count"] for each in await log.statistics(0)}
    assert counts == {"work_request": ROUTINE_MAX, "complete": PENDING_MAX - ROUTINE_MAX}
    assert log.dropped == 50 + ROUTINE_MAX


async def test_entries_of_yesterday_go(log: ProtocolLog) -> None:
    log.saw(head(), b"", 200, b"{}", 0.001)
    clock_of(log).advance(KEPT_SECONDS + 1)
    log.saw(head(), b"", 200, b"{}", 0.001)
    await log.flush()
    await log.prune()
    assert [each["id"] for each in await log.entries(Filter())] == [2]


async def test_oldest_go_when_the_log_takes_too_much(tmp_path: Path) -> None:
    async with log_in(tmp_path, records_protocol_mib=1) as log:
        for _ in range(4):
            for _ in range(60):
                log.saw(head("/api/v1/history", b""), b"", 200, b"x" * 8000, 0.001)
            await log.flush()
        await log.prune()
        kept = [each["id"] for each in await log.entries(Filter(limit=1000))]
        assert kept[-1] == 240
        assert 100 <= len(kept) < 131
        await log.prune()
        assert [each["id"] for each in await log.entries(Filter(limit=1000))] == kept
