"""GPUs of jobs: bound by uuid, booked in the ledger, kept away from by marks, and lost."""

from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.inventory.models import MarkKind
from appliance.jobs import EndReason, JobState, Needs, Placement, RetryRule
from appliance.ledger.rules import Holder, Part
from appliance.testing import until

from .scheduler_kit import HOST, World, opened, running, see_gpus

ONE = Needs(milli_gpu=1000)
SOON = RetryRule(backoff_seconds=0.0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data", gpus=2)


async def test_each_job_is_bound_to_gpus_of_its_own_and_gives_them_back(world: World) -> None:
    async with running(world) as run:
        jobs = [await run.submit(needs=ONE) for _ in range(3)]
        attempts = [await world.engine.running(job_id) for job_id in jobs[:2]]
        assert sorted(attempt.launch.gpu_ids for attempt in attempts) == [("GPU-0",), ("GPU-1",)]
        assert {booking.holder.holder_id for booking in run.ledger.bookings()} == {f"{one}.1" for one in jobs[:2]}
        assert run.scheduler.get(jobs[2]).state == JobState.PENDING
        attempts[0].end()
        third = await world.engine.running(jobs[2])
        assert third.launch.gpu_ids == attempts[0].launch.gpu_ids


async def test_parts_of_one_gpu_are_shared_on_purpose_only(world: World) -> None:
    async with running(world) as run:
        half = Needs(milli_gpu=500, gpu_vram_mib=1024)
        jobs = [await run.submit(needs=half), await run.submit(needs=half)]
        bound = [(await world.engine.running(job_id)).launch.gpu_ids for job_id in jobs]
        assert bound[0] == bound[1]
        whole = await world.engine.running(await run.submit(needs=ONE))
        assert whole.launch.gpu_ids != bound[0]


async def test_a_gpu_that_is_shared_otherwise_is_not_taken_until_it_is_given_back(world: World) -> None:
    async with running(world) as run:
        share = Holder(kind="share", holder_id="worker-1")
        parts = (Part(gpu_id="GPU-0", milli_gpu=300),)
        booking = await run.ledger.book(share, parts, lease_seconds=600)
        first = await world.engine.running(await run.submit(needs=ONE))
        assert first.launch.gpu_ids == ("GPU-1",)
        waiting = await run.submit(needs=ONE)
        await trio.testing.wait_all_tasks_blocked()
        assert run.scheduler.get(waiting).state == JobState.PENDING
        await run.ledger.release(share, booking.fencing_token)
        second = await world.engine.running(waiting)
        assert second.launch.gpu_ids == ("GPU-0",)


async def test_a_cordoned_gpu_and_a_draining_host_take_no_new_work_and_what_runs_goes_on(world: World) -> None:
    async with running(world) as run:
        await run.inventory.set_mark("GPU-0", MarkKind.CORDONED, reason="fan", who="ana", at_unix_us=1)
        first = await world.engine.running(await run.submit(needs=ONE))
        assert first.launch.gpu_ids == ("GPU-1",)
        second = await run.submit(needs=ONE)
        assert "fan" in " ".join(reason.message for reason in run.scheduler.why(second).reasons)
        await run.inventory.clear_mark("GPU-0", MarkKind.CORDONED)
        await world.engine.running(second)
        await run.inventory.set_mark(HOST, MarkKind.DRAINING, reason="move", who="ana", at_unix_us=1)
        third = await run.submit()
        await trio.testing.wait_all_tasks_blocked()
        assert (run.scheduler.get(third).state, first.is_running) == (JobState.PENDING, True)
        assert "move" in run.scheduler.hosts()[0].blocked
        await run.inventory.clear_mark(HOST, MarkKind.DRAINING)
        await world.engine.running(third)


async def test_a_new_gpu_is_used_at_once(world: World) -> None:
    async with running(world) as run:
        for _ in range(2):
            await world.engine.running(await run.submit(needs=ONE))
        waiting = await run.submit(needs=ONE)
        await see_gpus(run.inventory, world, range(3))
        assert (await world.engine.running(waiting)).launch.gpu_ids == ("GPU-2",)


async def test_a_job_whose_gpu_is_gone_for_good_is_stopped_and_tried_elsewhere(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(needs=ONE, retry=SOON)
        first = await world.engine.running(job_id)
        await run.reaches(job_id, JobState.RUNNING)
        lost = first.launch.gpu_ids[0]
        left = [number for number in range(2) if f"GPU-{number}" != lost]
        await see_gpus(run.inventory, world, left)
        await run.look()
        world.clock.advance(29)
        await run.look()
        assert first.is_running  # a driver may come back
        world.clock.advance(2)
        await run.look()
        second = await world.engine.running(job_id, number=2)
        assert second.launch.gpu_ids == (f"GPU-{left[0]}",)
        record = run.scheduler.get(job_id)
        assert record.attempts[0].reason == EndReason.HOST_LOST
        assert lost in record.attempts[0].message


async def test_a_job_that_leaves_its_gpus_idle_is_stopped(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(needs=ONE, idle_gpu_seconds=600.0)
        attempt = await world.engine.running(job_id)
        await run.reaches(job_id, JobState.RUNNING)
        gpu_id = attempt.launch.gpu_ids[0]
        for percent, seconds in ((0.0, 500), (35.0, 400), (None, 900), (0.5, 599)):
            world.busy_percent[gpu_id] = percent
            await run.look()
            world.clock.advance(seconds)
            await run.look()
            assert attempt.is_running, percent
        world.clock.advance(2)
        await run.look()
        record = await run.reaches(job_id, JobState.FAILED)
        assert record.reason == EndReason.IDLE_GPU


async def test_leases_are_renewed_for_as_long_as_an_attempt_runs(world: World) -> None:
    async with running(world) as run:
        await world.engine.running(await run.submit(needs=ONE))
        [before] = run.ledger.bookings()
        world.clock.advance(100)
        await run.look()
        [after] = run.ledger.bookings()
        assert after.lease_ends_unix_us > before.lease_ends_unix_us
        assert after.fencing_token == before.fencing_token


async def test_an_attempt_whose_gpu_was_given_to_somebody_else_is_stopped_and_waits_again(world: World) -> None:
    async with running(world) as run:
        job_id = await run.submit(needs=ONE, retry=SOON)
        first = await world.engine.running(job_id)
        await run.reaches(job_id, JobState.RUNNING)
        [booking] = run.ledger.bookings()
        # As after a lease that ended while nobody could renew it.
        await run.ledger.release(booking.holder, booking.fencing_token)
        for gpu_id in ("GPU-0", "GPU-1"):
            share = Holder(kind="share", holder_id=gpu_id)
            await run.ledger.book(share, (Part(gpu_id=gpu_id, milli_gpu=1000),), lease_seconds=600)
        world.clock.advance(100)
        await run.look()
        await until(lambda: first.terms)
        record = await run.reaches(job_id, JobState.PENDING)
        assert record.attempts[0].reason == EndReason.PREEMPTED


async def test_a_gpu_taken_between_decision_and_booking_costs_no_attempt(world: World) -> None:
    async with opened(world) as run, trio.open_nursery() as nursery:
        job_id = await run.submit(needs=ONE)
        placement = Placement(host_id=HOST, engine="scripted", parts=(("GPU-0", 1000, 0),))
        await run.scheduler._desk.place([(job_id, placement)])
        for gpu_id in ("GPU-0", "GPU-1"):
            share = Holder(kind="share", holder_id=gpu_id)
            booking = await run.ledger.book(share, (Part(gpu_id=gpu_id, milli_gpu=1000),), lease_seconds=600)
        run.scheduler.use([world.engine])
        await nursery.start(run.scheduler.run)
        record = await run.reaches(job_id, JobState.PENDING)
        assert record.attempts == ()
        await run.ledger.release(share, booking.fencing_token)
        attempt = await world.engine.running(job_id)
        assert attempt.launch.attempt_id == f"{job_id}.1"
        nursery.cancel_scope.cancel()
