"""Work that goes on without who asked for it."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from appliance.errors import Busy, NotFound
from plugins.build_swarm.payloads.work import JOBS_MAX, Work


async def nothing() -> None:
    await trio.lowlevel.checkpoint()


async def one() -> int:
    await trio.lowlevel.checkpoint()
    return 1


async def test_work_returns_and_raises_what_it_does() -> None:
    async def missing() -> None:
        raise NotFound("drone", "a")

    async with trio.open_nursery() as nursery:
        work = Work(nothing)
        await nursery.start(work.run)
        assert await work.do(one) == 1
        with pytest.raises(NotFound):
            await work.do(missing)
        assert await work.do(one) == 1
        nursery.cancel_scope.cancel()


async def test_nothing_is_taken_before_it_is_prepared_nor_after_its_end() -> None:
    may_start = trio.Event()
    work = Work(may_start.wait)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.run)
        await wait_all_tasks_blocked()
        with pytest.raises(Busy, match="starting or stopping"):
            await work.do(one)
        may_start.set()
        await wait_all_tasks_blocked()
        assert await work.do(one) == 1
        nursery.cancel_scope.cancel()
    with pytest.raises(Busy):
        work.start(one)


async def test_what_is_under_way_is_bounded_and_each_end_makes_room() -> None:
    may_end = trio.Event()
    async with trio.open_nursery() as nursery:
        work = Work(nothing)
        await nursery.start(work.run)
        for _ in range(JOBS_MAX):
            work.start(may_end.wait)
        with pytest.raises(Busy, match="under way already"):
            await work.do(one)
        may_end.set()
        await wait_all_tasks_blocked()
        assert await work.do(one) == 1
        nursery.cancel_scope.cancel()


async def test_who_waits_is_told_when_it_ends_in_the_middle_and_it_can_start_again() -> None:
    work = Work(nothing)
    told: list[Exception] = []

    async def wait() -> None:
        try:
            await work.do(trio.sleep_forever)
        except Busy as error:
            told.append(error)

    async with trio.open_nursery() as waiting, trio.open_nursery() as nursery:
        await nursery.start(work.run)
        for _ in range(3):
            waiting.start_soon(wait)
        await wait_all_tasks_blocked()
        waiting.start_soon(wait)  # taken, and not begun yet
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert len(told) == 4
    async with trio.open_nursery() as nursery:
        await nursery.start(work.run)
        assert await work.do(one) == 1
        nursery.cancel_scope.cancel()
