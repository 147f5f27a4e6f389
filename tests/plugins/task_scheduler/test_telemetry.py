"""When watchers of telemetry are told, and at what cost, over a clock of its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, cast

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from appliance.events import Lagged
from appliance.plugin import NotFound
from plugins.task_scheduler.models import Worker
from plugins.task_scheduler.telemetry import APART_SECONDS, EVERY_SECONDS, Telemetry


@define(eq=False)
class Changes:
    """Core's scheduler, as far as its changes go."""

    send: trio.MemorySendChannel[str | Exception] = field(init=False)
    receive: trio.MemoryReceiveChannel[str | Exception] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.send, self.receive = trio.open_memory_channel(100)

    @contextmanager
    def changes(self) -> Iterator[AsyncIterator[str]]:
        yield self._changes()

    async def _changes(self) -> AsyncIterator[str]:
        async for change in self.receive:
            if isinstance(change, Exception):
                raise change
            yield change


@define(eq=False)
class Shown:
    """The workers; counts how often they are looked at."""

    names: list[str] = field(factory=lambda: ["box"])
    looks: int = 0

    def all(self) -> list[Worker]:
        self.looks += 1
        return [self.get(name) for name in self.names]

    def get(self, worker_id: str) -> Worker:
        if worker_id not in self.names:
            raise NotFound("worker", worker_id)
        return Worker(worker_id=worker_id, address="", is_active=True, registered_at_unix_us=0)


@define(eq=False)
class Watched:
    """Running telemetry, and when a watcher was told."""

    telemetry: Telemetry
    changes: Changes
    workers: Shown
    told_at: list[float] = field(factory=list)

    async def watch(self) -> None:
        async with aclosing(self.telemetry.watch()) as messages:
            async for _ in messages:
                self.told_at.append(trio.current_time())


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    changes, workers = Changes(), Shown()
    made = Watched(Telemetry(cast(Any, changes), cast(Any, workers)), changes, workers)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.telemetry.run)
        nursery.start_soon(made.watch)
        yield made
        nursery.cancel_scope.cancel()


async def test_watchers_are_told_at_once_and_then_every_five_seconds(autojump_clock: MockClock) -> None:
    async with watched() as one:
        began = trio.current_time()
        await trio.sleep(16)
        assert [at - began for at in one.told_at] == pytest.approx([0, 4.5, 9.5, 14.5])
    assert EVERY_SECONDS == 5


async def test_changes_are_told_at_once_and_many_of_them_together(autojump_clock: MockClock) -> None:
    async with watched() as one:
        await trio.sleep(1)
        changed_at = trio.current_time()
        for number in range(9):
            one.changes.send.send_nowait(f"task-{number}")
            await trio.sleep(0.1)
        told = [at for at in one.told_at if at >= changed_at]
        assert told[0] == changed_at
        assert len(told) == 2
        assert told[1] - told[0] >= APART_SECONDS


async def test_message_is_made_once_for_all_and_not_at_all_for_nobody(autojump_clock: MockClock) -> None:
    async with watched() as one, trio.open_nursery() as nursery:
        await trio.sleep(1)
        for _ in range(500):
            nursery.start_soon(one.watch)
        await trio.testing.wait_all_tasks_blocked()
        assert one.telemetry.watchers == 501
        before = one.workers.looks
        one.telemetry.touch()
        await trio.sleep(0.01)
        assert (one.workers.looks, len(one.told_at)) == (before + 1, 1 + 500 + 501)
        nursery.cancel_scope.cancel()
    assert one.telemetry.watchers == 0
    looks = one.workers.looks
    one.telemetry.touch()
    await trio.sleep(20)
    assert one.workers.looks == looks


async def test_missed_changes_are_as_good_as_one(autojump_clock: MockClock) -> None:
    async with watched() as one:
        await trio.sleep(1)
        one.changes.send.send_nowait(Lagged("too many"))
        await trio.sleep(0.01)
        assert one.told_at[-1] == pytest.approx(trio.current_time(), abs=0.02)
        one.changes.send.send_nowait("task-1")
        await trio.sleep(APART_SECONDS + 0.01)
        assert len(one.told_at) == 3


async def test_worker_that_goes_ends_its_watch(autojump_clock: MockClock) -> None:
    async with watched() as one:
        messages = one.telemetry.watch("box")
        assert b'"box"' in await anext(messages)
        one.workers.names.clear()
        one.telemetry.touch()
        with pytest.raises(NotFound):
            await anext(messages)
    assert one.telemetry.watchers == 0
