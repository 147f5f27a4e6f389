"""What this host's workers hold is in core's ledger: booked, changed, given back, renewed, and kept over a restart."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from appliance.plugin import Conflict, Gpu, Holder, Part
from plugins.gpu_sharing.bookings import LEASE_SECONDS, Bookings, parts_of
from plugins.gpu_sharing.models import Worker
from tests.plugins.gpu_sharing.parts import LOCAL, Parts, opened


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as one:
        await one.inventory.saw_host(LOCAL, hostname="here", at_unix_us=one.now())
        gpus = [
            Gpu(gpu_id=f"GPU-{place}", index=place, vendor="nvidia", model="H200", vram_total_bytes=1000 * 2**20)
            for place in range(2)
        ]
        await one.inventory.saw_gpus(LOCAL, gpus, at_unix_us=one.now())
        yield one


def worker(name: str = "w1", *, gpu_ids: tuple[str, ...] = ("GPU-0",), **given: object) -> Worker:
    wanted: dict[str, object] = {"compute_percent": 50, "vram_mb": 400}
    wanted |= given
    return Worker(
        worker_id=name,
        agent_id="agent",
        name=name,
        gpu_ids=gpu_ids,
        listen_port=9001,
        created_unix_us=1,
        **wanted,  # type: ignore[arg-type]
    )


def held(parts: Parts) -> list[tuple[Part, ...]]:
    return sorted(booking.parts for booking in parts.ledger.bookings())


def after(parts: Parts, clock: MockClock, seconds: float) -> None:
    """Let time go by on both clocks."""
    parts.now.advance(seconds)
    clock.jump(seconds)


def test_worker_holds_its_part_of_each_gpu_and_one_without_limits_next_to_nothing() -> None:
    assert parts_of(worker(gpu_ids=("GPU-1", "GPU-0"))) == (
        Part(gpu_id="GPU-0", milli_gpu=500, vram_mib=400),
        Part(gpu_id="GPU-1", milli_gpu=500, vram_mib=400),
    )
    (least,) = parts_of(worker(compute_percent=None, vram_mb=None))
    assert (least.milli_gpu, least.vram_mib) == (1, 0)
    assert parts_of(worker(enabled=False, status="stopped")) == ()
    assert parts_of(worker(enabled=False, status="stopping")) != ()


async def test_what_a_worker_holds_is_booked_changed_and_given_back(parts: Parts) -> None:
    bookings = Bookings(parts.core)
    await bookings.hold(worker())
    (before,) = parts.ledger.bookings()
    await bookings.hold(worker())
    assert parts.ledger.bookings() == [before], "the same again is nothing new"
    await bookings.hold(worker(gpu_ids=("GPU-1",), compute_percent=70))
    assert held(parts) == [(Part(gpu_id="GPU-1", milli_gpu=700, vram_mib=400),)]
    await bookings.hold(worker(enabled=False, status="stopped"))
    assert held(parts) == []
    await bookings.hold(worker())
    await bookings.let_go("w1")
    await bookings.let_go("w1")
    assert held(parts) == []


async def test_what_something_else_has_is_refused_and_what_was_held_stays(parts: Parts) -> None:
    bookings = Bookings(parts.core)
    await bookings.hold(worker(compute_percent=20))
    task = Holder(kind="task", holder_id="t1")
    await parts.ledger.book(task, (Part(gpu_id="GPU-0", milli_gpu=600, vram_mib=100),), lease_seconds=600)
    with pytest.raises(Conflict, match="the GPU is in use"):
        await bookings.hold(worker(compute_percent=50))
    with pytest.raises(Conflict, match="the GPU is in use"):
        await bookings.hold(worker("w2", compute_percent=30))
    mine = [booking.parts for booking in parts.ledger.bookings() if booking.holder != task]
    assert mine == [(Part(gpu_id="GPU-0", milli_gpu=200, vram_mib=400),)]


async def test_bookings_of_the_last_run_are_known_again(parts: Parts) -> None:
    await Bookings(parts.core).hold(worker())
    again = Bookings(parts.core)
    await again.hold(worker())
    assert len(held(parts)) == 1
    await again.let_go("w1")
    assert held(parts) == []


async def test_lease_is_renewed_and_one_that_has_ended_is_booked_anew(parts: Parts, autojump_clock: MockClock) -> None:
    bookings = Bookings(parts.core)
    await bookings.hold(worker())
    (before,) = parts.ledger.bookings()
    after(parts, autojump_clock, LEASE_SECONDS / 2)
    await bookings.renew()
    (renewed,) = parts.ledger.bookings()
    assert renewed.holder == before.holder
    assert renewed.lease_ends_unix_us > before.lease_ends_unix_us
    after(parts, autojump_clock, LEASE_SECONDS + 1)
    await parts.ledger.expire()
    assert held(parts) == []
    await bookings.renew()
    (anew,) = parts.ledger.bookings()
    assert (anew.parts, anew.holder != before.holder) == (before.parts, True)
    await bookings.let_go("w1")
    assert held(parts) == []


async def test_lease_that_has_ended_is_not_taken_back_from_who_has_its_parts_now(
    parts: Parts, autojump_clock: MockClock
) -> None:
    bookings = Bookings(parts.core)
    await bookings.hold(worker())
    after(parts, autojump_clock, LEASE_SECONDS + 1)
    await parts.ledger.expire()
    whole = (Part(gpu_id="GPU-0", milli_gpu=1000, vram_mib=100),)
    await parts.ledger.book(Holder(kind="task", holder_id="t1"), whole, lease_seconds=600)
    await bookings.renew()
    assert held(parts) == [whole]
