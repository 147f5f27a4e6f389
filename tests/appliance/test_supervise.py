"""How services are kept running; time is trio's mock clock."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from appliance.clock import unix_now_us
from appliance.database import Database
from appliance.errors import BadInput, NotFound
from appliance.events import MIGRATIONS, OWNER, EventBus
from appliance.supervise import Supervised, Supervisor


@define
class Fragile:
    """A service that crashes when told to, after running for a while."""

    crashes: int
    lasts_seconds: float = 0.0
    error: Callable[[], BaseException] = lambda: ValueError("no pulse")
    name: str = "fragile"
    starts: list[float] = field(factory=list)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.starts.append(trio.current_time())
        task_status.started()
        await trio.sleep(self.lasts_seconds)
        if len(self.starts) <= self.crashes:
            raise self.error()
        await trio.sleep_forever()


@asynccontextmanager
async def supervising(folder: Path, *services: Fragile) -> AsyncIterator[tuple[Supervisor, EventBus, list[Supervised]]]:
    async with Database.open(folder / "a.db", inline=True, migrations={OWNER: MIGRATIONS}) as database:
        events = EventBus(database, unix_now_us)
        supervisor = Supervisor(events, unix_now_us)
        async with trio.open_nursery() as nursery:
            yield supervisor, events, await supervisor.start(nursery, "acme", services)
            nursery.cancel_scope.cancel()


async def test_a_crashed_service_is_started_again_after_growing_pauses(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    service = Fragile(crashes=5)
    async with supervising(tmp_path, service) as (_, events, [one]):
        await trio.sleep(100)
        pauses = [after - before for before, after in zip(service.starts, service.starts[1:], strict=False)]
        assert pauses == [1, 2, 4, 8, 16]
        assert (one.state, one.problem, one.crash_count) == ("running", None, 5)
        assert [event.kind for event in await events.history()] == ["service.crashed"]


async def test_the_sixth_crash_in_ten_minutes_fails_the_service_and_it_is_tried_every_ten_minutes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    service = Fragile(crashes=8)
    async with supervising(tmp_path, service) as (_, events, [one]):
        await trio.sleep(100)
        assert (one.state, len(service.starts)) == ("failed", 6)
        assert one.problem == "fragile: failed: ValueError: no pulse"
        await trio.sleep(1800)
        assert [
            round(after - before) for before, after in zip(service.starts[5:], service.starts[6:], strict=False)
        ] == [
            600,
            600,
            600,
        ]
        assert one.state == "running"
        assert [event.kind for event in await events.history()] == ["service.crashed", "service.failed"]


async def test_a_restart_begins_at_once_with_a_fresh_budget(tmp_path: Path, autojump_clock: MockClock) -> None:
    service = Fragile(crashes=6)
    async with supervising(tmp_path, service) as (supervisor, _, [one]):
        await trio.sleep(100)
        assert one.state == "failed"
        assert supervisor.restart("acme") == 1
        await trio.sleep(0.1)
        assert (one.state, one.is_spent) == ("running", False)
        with pytest.raises(NotFound):
            supervisor.restart("nobody")


async def test_a_running_service_is_restarted_too(tmp_path: Path, autojump_clock: MockClock) -> None:
    service = Fragile(crashes=0)
    async with supervising(tmp_path, service) as (supervisor, _, [one]):
        await trio.sleep(5)
        supervisor.restart("acme")
        await trio.sleep(0.1)
        assert (one.state, len(service.starts), one.crash_count) == ("running", 2, 0)


async def test_crashes_far_apart_never_use_the_budget_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    service = Fragile(crashes=20, lasts_seconds=150)
    async with supervising(tmp_path, service) as (_, _, [one]):
        await trio.sleep(5000)
        assert one.state == "running"
        assert len(service.starts) == 21


@pytest.mark.parametrize(
    "error",
    [lambda: SystemExit(3), lambda: ExceptionGroup("many", [ValueError("no pulse")]), lambda: BadInput("no pulse")],
)
async def test_whatever_a_service_raises_is_its_own_crash(
    tmp_path: Path, autojump_clock: MockClock, error: Callable[[], BaseException]
) -> None:
    fragile, sound = Fragile(crashes=1, error=error), Fragile(crashes=0, name="sound")
    async with supervising(tmp_path, fragile, sound) as (_, _, [one, other]):
        await trio.sleep(10)
        assert (one.state, one.crash_count) == ("running", 1)
        assert len(sound.starts) == 1
        assert "no pulse" in one.reason or "3" in one.reason
        assert other.problem is None


async def test_a_service_that_returns_has_done_its_work(tmp_path: Path, autojump_clock: MockClock) -> None:
    @define
    class Once:
        name: str = "once"
        runs: int = 0

        async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            self.runs += 1

    once = Once()
    async with supervising(tmp_path, once) as (_, _, [one]):  # type: ignore[arg-type]
        await trio.sleep(10_000)
        assert (one.state, once.runs, one.problem) == ("finished", 1, None)


async def test_a_start_does_not_wait_for_ever_for_a_service_that_never_says_it_is_usable(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    @define
    class Mute:
        name: str = "mute"

        async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            await trio.sleep_forever()

    began = trio.current_time()
    async with supervising(tmp_path, Mute()) as (_, _, [one]):  # type: ignore[arg-type]
        assert trio.current_time() - began == 5.0
        assert one.problem == "mute: starting"
