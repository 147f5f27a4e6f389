"""Figures over time: noted for the queue and for drones, thinned where there are many, kept for a day."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, field

from appliance.database import Database
from appliance.plugin import Core
from appliance.testing import SteppingClock
from plugins.build_swarm.records.metrics import DRONES_AT_ONCE, EVERY_SECONDS, KEPT_SECONDS, Metrics, number_of
from plugins.build_swarm.schema import MIGRATIONS
from plugins.build_swarm.states import Drone, DroneStatus, Figures, Timing
from plugins.build_swarm.swarm import Swarm


@define
class CorePart:
    database: Database
    now: SteppingClock


@define
class Still:
    """A swarm that stands still: what of it is noted."""

    known: list[Drone] = field(factory=list)
    needed: int = 0

    def drones(self, *, offline: bool = True) -> list[Drone]:
        return self.known

    def status(self) -> Figures:
        return Figures(
            drones=len(self.known),
            drones_online=0,
            total_cores=0,
            needed=self.needed,
            delegated=1,
            received=2,
            blocked=3,
            failed=0,
            paused=False,
            session=None,
            timing=Timing(),
            eta_s=None,
        )


@asynccontextmanager
async def noted(folder: Path, swarm: Still) -> AsyncIterator[tuple[Metrics, SteppingClock]]:
    async with Database.open(folder / "a.db", inline=True, migrations={"build_swarm": MIGRATIONS}) as database:
        clock = SteppingClock()
        yield Metrics(cast(Core, CorePart(database, clock)), cast(Swarm, swarm)), clock


def drone(number: int, status: DroneStatus = DroneStatus.ONLINE, **metrics: Any) -> Drone:
    return Drone(drone_id=f"id-{number:03}", name=f"drone-{number:03}", status=status, metrics=metrics)


async def test_queue_and_drones_are_noted_and_told_from_each_other(tmp_path: Path) -> None:
    swarm = Still([drone(1, cpu_percent=40, load_1m=1.0), drone(2, cpu_percent=60), drone(3, DroneStatus.OFFLINE)])
    async with noted(tmp_path, swarm) as (metrics, clock):
        for needed in (5, 7):
            swarm.needed = needed
            await metrics.note()
            clock.advance(EVERY_SECONDS)
        lately = clock.unix_us - 60_000_000
        rows = await metrics.history(drone_id="", since_unix_us=lately, limit=500)
        assert [(row["needed"], row["cpu_percent"], row["load_1m"]) for row in rows] == [(5, 50.0, 1.0), (7, 50.0, 1.0)]
        one = await metrics.history(drone_id="id-001", since_unix_us=lately, limit=500)
        assert [(row["drone"], row["cpu_percent"], row["needed"]) for row in one] == [("drone-001", 40.0, None)] * 2
        assert await metrics.history(drone_id="none", since_unix_us=0, limit=500) == []
        found = await metrics.at(clock.unix_us)
        assert sorted(row["drone_id"] for row in found) == ["", "id-001", "id-002", "id-003"]
        assert {row["drone"]: row["status"] for row in found}["drone-003"] == "offline"
        assert await metrics.at(clock.unix_us - 3600 * 1_000_000) == []


async def test_long_time_is_answered_in_so_many_rows_that_keep_the_most(tmp_path: Path) -> None:
    swarm = Still()
    async with noted(tmp_path, swarm) as (metrics, clock):
        for number in range(100):
            swarm.needed = 99 if number == 50 else 1
            await metrics.note()
            clock.advance(EVERY_SECONDS)
        rows = await metrics.history(drone_id="", since_unix_us=clock.unix_us - 100 * 15_000_000, limit=10)
        assert len(rows) <= 10
        assert max(row["needed"] for row in rows) == 99
        assert [row["unix_us"] for row in rows] == sorted(row["unix_us"] for row in rows)


async def test_figures_of_yesterday_go(tmp_path: Path) -> None:
    async with noted(tmp_path, Still([drone(1)])) as (metrics, clock):
        await metrics.note()
        clock.advance(KEPT_SECONDS + 1)
        await metrics.note()
        count = metrics.core.database.read_now(
            lambda connection: connection.execute("SELECT count(*) FROM build_swarm_metric").fetchone()
        )
        assert count == (2,)


async def test_many_drones_take_turns(tmp_path: Path) -> None:
    drones = [drone(number) for number in range(2 * DRONES_AT_ONCE + 1)]
    async with noted(tmp_path, Still(drones)) as (metrics, clock):
        seen: set[str] = set()
        for _ in range(3):
            await metrics.note()
            rows = await metrics.at(clock.unix_us)
            assert len(rows) <= DRONES_AT_ONCE + 1
            seen |= {row["drone_id"] for row in rows}
            clock.advance(EVERY_SECONDS)
        assert len(seen) == len(drones) + 1


@pytest.mark.parametrize("value", [None, "5", True, float("nan"), float("inf"), 1e300, [], 10**400])
def test_what_is_no_figure_is_none(value: Any) -> None:
    assert number_of({"x": value}, "x") is None
