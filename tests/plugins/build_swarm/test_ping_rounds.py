"""Rounds of pings: however many ask, there is one in ten seconds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from appliance.errors import Busy, NotAvailable, StorageFailed
from plugins.build_swarm.approval import Approval, NotApproved
from plugins.build_swarm.ping_rounds import PingRounds, Round
from plugins.build_swarm.probing import Probe
from plugins.build_swarm.states import DroneStatus
from tests.plugins.build_swarm.ssh_kit import Box, an_approval, opened


@define(eq=False)
class Slow:
    """Probes that take three seconds each."""

    fault: Exception | None = None
    write_fault: Exception | None = None
    probes: list[str] = field(factory=list)

    async def probe(self, approval: Approval, *, cores: int = 0) -> Probe:
        self.probes.append(approval.drone_name)
        await trio.sleep(3)
        if self.fault is not None:
            raise self.fault
        return Probe(drone_name=approval.drone_name, seq=len(self.probes), status="ok", probed_unix_us=1)

    async def write(self) -> None:
        if self.write_fault is not None:
            raise self.write_fault


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with opened(tmp_path, inline=True) as made:
        for number, name in enumerate(("one", "two", "off", "stranger"), 1):
            made.fleet.add(name, address=f"192.0.2.{number}")
            if name != "stranger":
                address = f"192.0.2.{number}"
                made.approvals._kept[name] = an_approval(name, address=address, seen_address=address)
        made.fleet.known["off"].status = DroneStatus.OFFLINE
        yield made


@asynccontextmanager
async def running(box: Box, prober: Slow) -> AsyncIterator[PingRounds]:
    rounds = PingRounds(box.swarm, box.approvals, prober)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(rounds.run)
        yield rounds
        nursery.cancel_scope.cancel()


async def test_round_probes_approved_drones_that_are_online_at_once(autojump_clock: MockClock, box: Box) -> None:
    async with running(box, Slow()) as rounds:
        begun = trio.current_time()
        found = await rounds.all()
        assert trio.current_time() - begun == 3
    assert [probe.drone_name for probe in found.probes] == ["one", "two"]
    assert found.not_approved == ("stranger",)


async def test_everybody_within_ten_seconds_is_given_the_same_round(autojump_clock: MockClock, box: Box) -> None:
    prober, found = Slow(), list[Round]()
    async with running(box, prober) as rounds:

        async def ask() -> None:
            found.append(await rounds.all())

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask)
        await trio.sleep(6.9)  # 9.9 s after its start
        await ask()
        assert rounds.rounds == 1
        assert len(set(map(id, found))) == 1
        await trio.sleep(0.2)
        await ask()
        assert rounds.rounds == 2
    assert len(prober.probes) == 4


async def test_client_that_leaves_ends_nobody_elses_round(autojump_clock: MockClock, box: Box) -> None:
    async with running(box, Slow()) as rounds:
        with trio.move_on_after(1):
            await rounds.all()
        found = await rounds.all()
        assert len(found.probes) == 2
        assert rounds.rounds == 1


async def test_failed_round_is_told_to_all_and_not_begun_again_at_once(autojump_clock: MockClock, box: Box) -> None:
    prober = Slow(fault=NotAvailable("ssh is not available because it is not installed"))
    async with running(box, prober) as rounds:
        for _ in range(3):
            with pytest.raises(NotAvailable):
                await rounds.all()
        assert rounds.rounds == 1
        prober.fault = None
        await trio.sleep(10)
        assert (await rounds.all()).probes


async def test_round_that_never_ends_is_not_waited_for_without_end(autojump_clock: MockClock, box: Box) -> None:
    rounds = PingRounds(box.swarm, box.approvals, Slow())  # type: ignore[arg-type]  # and no service
    with pytest.raises(Busy):
        await rounds.all()


async def test_full_disk_keeps_nobody_from_what_was_found(autojump_clock: MockClock, box: Box) -> None:
    prober = Slow(write_fault=StorageFailed("the disk is full"))
    async with running(box, prober) as rounds:
        assert (await rounds.all()).probes
        assert (await rounds.one(box.fleet.known["one"])).status == "ok"


async def test_one_drone_that_is_not_approved_is_not_probed(autojump_clock: MockClock, box: Box) -> None:
    prober = Slow()
    async with running(box, prober) as rounds:
        with pytest.raises(NotApproved):
            await rounds.one(box.fleet.known["stranger"])
    assert prober.probes == []
