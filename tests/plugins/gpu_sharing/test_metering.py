"""What workers use is counted while they run: time, memory, energy, and the bytes of each guest's share."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from appliance.plugin import GpuSample, HostSample
from appliance.series.service import Series
from plugins.gpu_sharing import usage_store
from plugins.gpu_sharing.identities import series_id
from plugins.gpu_sharing.metering import AGENTS, PROMPT_ROWS, ROWS, Metering
from plugins.gpu_sharing.models import Agent, Peer, Worker
from plugins.gpu_sharing.relay import ShareReport
from plugins.gpu_sharing.usage import Account, Usage, hour_of
from tests.plugins.gpu_sharing.parts import LOCAL, Parts, default_of, opened


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as one:
        yield one


def report(share_id: str, *, live: int = 0, sent: int = 0, got: int = 0) -> ShareReport:
    return ShareReport(
        share_id=share_id,
        port=20_000,
        problem="",
        connections_live=live,
        connections_total=live,
        bytes_from_peer=sent,
        bytes_to_peer=got,
        last_active_at_unix_us=None,
        refused={},
        ended={},
        peers=(),
    )


async def running(parts: Parts, **limits: Any) -> tuple[Agent, Worker]:
    """Return an agent that reports, with one worker that runs."""
    agent = await parts.agent()
    worker = default_of(agent)
    for name, value in limits.items():
        setattr(worker, name, value)
    worker.status = "running"
    parts.book.heard(agent, reported_from="")
    return agent, worker


async def seen(parts: Parts, agent: Agent, **figures: Any) -> None:
    gpu = GpuSample(
        gpu_id=series_id(agent, "GPU-0"), gpu_index=0, model="H200", taken_at_unix_us=parts.now(), **figures
    )
    await parts.series.append(HostSample(host_id=agent.host_id, taken_at_unix_us=parts.now(), gpus=(gpu,)))


def after(parts: Parts, metering: Metering, seconds: float, *agents: Agent) -> dict[tuple[str, str], Usage]:
    """Return what is counted in the next so many seconds, by worker and share."""
    metering.look()
    metering.meter.take()
    parts.now.advance(seconds)
    for agent in agents:
        parts.book.heard(agent, reported_from="")
    metering.look()
    return {(account.worker_id, account.share_id): used for account, used in metering.meter.take().items()}


async def test_running_worker_without_limits_uses_a_whole_gpu_and_the_memory_that_is_seen(parts: Parts) -> None:
    agent, worker = await running(parts)
    await seen(parts, agent, vram_used_bytes=300 * 2**20, power_watts=400.0)
    found = after(parts, Metering(parts.core, parts.book), 10, agent)
    assert found == {(worker.worker_id, ""): Usage(gpu_ms=10_000, vram_mib_ms=3_000_000, energy_mj=4_000_000)}


async def test_fraction_uses_its_part_and_the_memory_that_it_was_promised(parts: Parts) -> None:
    agent, worker = await running(parts, compute_percent=25, vram_mb=100)
    await seen(parts, agent, vram_used_bytes=900 * 2**20)
    found = after(parts, Metering(parts.core, parts.book), 10, agent)
    assert found == {(worker.worker_id, ""): Usage(gpu_ms=2500, vram_mib_ms=1_000_000)}


@pytest.mark.parametrize("status", ["pending", "stopping", "stopped"])
async def test_worker_that_does_not_run_uses_nothing(parts: Parts, status: str) -> None:
    agent, worker = await running(parts)
    worker.status = status
    assert after(parts, Metering(parts.core, parts.book), 10, agent) == {}


async def test_agent_that_is_not_heard_of_uses_nothing_though_its_worker_ran_last(parts: Parts) -> None:
    agent, worker = await running(parts)
    metering = Metering(parts.core, parts.book)
    assert after(parts, metering, 10, agent)
    parts.now.advance(180)
    for _ in range(5):
        assert after(parts, metering, 3600) == {}
    parts.book.heard(agent, reported_from="")
    metering.look()
    (back,) = metering.meter.take().values()
    assert back.gpu_ms == 90_000, "of a gap no more is counted than is known"
    agent.has_shut_down = True
    assert after(parts, metering, 10, agent) == {}
    assert worker.status == "running"


async def test_clock_that_is_set_back_counts_nothing(parts: Parts) -> None:
    agent, _ = await running(parts)
    assert after(parts, Metering(parts.core, parts.book), -100, agent) == {}


async def test_energy_counter_counts_what_was_drawn_and_is_shared_by_those_that_run(parts: Parts) -> None:
    agent, worker = await running(parts)
    other = await parts.worker(agent)
    other.status = "running"
    metering = Metering(parts.core, parts.book)
    await seen(parts, agent, energy_millijoules_total=1_000, power_watts=1e9)
    metering.look()
    parts.now.advance(10)
    await seen(parts, agent, energy_millijoules_total=4_001)
    metering.look()
    found = {account.worker_id: used.energy_mj for account, used in metering.meter.take().items()}
    assert sorted(found.values()) == [1500, 1501]
    assert set(found) == {worker.worker_id, other.worker_id}
    parts.now.advance(10)
    await seen(parts, agent, energy_millijoules_total=5)
    metering.look()
    assert all(used.energy_mj == 0 for used in metering.meter.take().values()), "a counter that was set back"


async def test_use_is_its_guests_by_connections_and_the_owners_while_nobody_is_there(parts: Parts) -> None:
    agent, worker = await running(parts)
    one, other = await parts.share(worker, owner="bob"), await parts.share(worker)
    reports = [report(one.share_id, live=3), report(other.share_id, live=1)]
    metering = Metering(parts.core, parts.book, lambda: reports)
    found = after(parts, metering, 10, agent)
    assert {share: used.gpu_ms for (_, share), used in found.items()} == {one.share_id: 7500, other.share_id: 2500}
    reports[:] = [report(one.share_id), report(other.share_id)]
    assert set(after(parts, metering, 10, agent)) == {(worker.worker_id, "")}


async def test_only_share_of_a_remote_worker_gets_what_is_used_while_somebody_is_connected(parts: Parts) -> None:
    agent, worker = await running(parts)
    share = await parts.share(worker)
    metering = Metering(parts.core, parts.book)
    worker.connections = {Peer(client_ip="198.51.100.1"): 1}
    assert set(after(parts, metering, 10, agent)) == {(worker.worker_id, share.share_id)}
    await parts.share(worker)
    assert set(after(parts, metering, 10, agent)) == {(worker.worker_id, "")}, "whose guest it is, nobody knows"


async def test_bytes_are_counted_for_each_share_once_and_to_the_last(parts: Parts) -> None:
    agent, worker = await running(parts)
    worker.status = "stopped"
    share = await parts.share(worker)
    reports = [report(share.share_id, sent=100, got=1000)]
    metering = Metering(parts.core, parts.book, lambda: reports)
    metering.note(share)
    metering.look()
    metering.look()
    reports[:] = [report(share.share_id, sent=150, got=1001)]
    metering.look()
    await parts.book.delete_share(share)
    reports.clear()
    metering.closing(report(share.share_id, sent=151, got=1002))
    metering.look()
    account = Account(
        hour_unix_us=hour_of(parts.now()), owner="ana", worker_id=worker.worker_id, share_id=share.share_id
    )
    assert metering.meter.take() == {account: Usage(bytes_from_guests=151, bytes_to_guests=1002)}
    assert agent.workers


async def test_this_hosts_readings_are_those_of_its_own_drivers(parts: Parts) -> None:
    agent, worker = await running(parts)
    agent.is_local, agent.host_id = True, LOCAL
    gpu = GpuSample(gpu_id="GPU-0", gpu_index=0, model="H200", taken_at_unix_us=parts.now(), vram_used_bytes=7 * 2**20)
    await parts.series.append(HostSample(host_id=LOCAL, taken_at_unix_us=parts.now(), gpus=(gpu,)))
    found = after(parts, Metering(parts.core, parts.book), 1)
    assert found[worker.worker_id, ""].vram_mib_ms == 7000


def many(parts: Parts) -> dict[Account, Usage]:
    """Return more sums than are written after each look, in which nothing counts that is looked at."""
    hour = hour_of(parts.now())
    return {
        Account(hour_unix_us=hour, owner="ana", worker_id=f"worker_{number}"): Usage(bytes_to_guests=1)
        for number in range(PROMPT_ROWS + 1)
    }


@pytest.mark.parametrize(("is_large", "meanwhile"), [(False, 40_000), (True, 0)], ids=["few sums", "many sums"])
async def test_few_sums_are_written_at_each_look_many_every_minute_and_the_rest_at_the_end(
    parts: Parts, autojump_clock: MockClock, is_large: bool, meanwhile: int
) -> None:
    agent, _ = await running(parts)
    metering = Metering(parts.core, parts.book)
    if is_large:
        metering.meter.give_back(many(parts))

    def written() -> int:
        found = parts.database.read_now(
            lambda conn: usage_store.totals(conn, "worker", owners=None, from_unix_us=0, to_unix_us=2**62)
        )
        return sum(used.gpu_ms for _, used in found)

    async with trio.open_nursery() as nursery:
        await nursery.start(metering.run)
        for _ in range(5):
            await trio.sleep(10.01)
            parts.now.advance(10)
            parts.book.heard(agent, reported_from="")
        assert written() == meanwhile
        await trio.sleep(21)
        assert written() == 50_000
        parts.now.advance(5)
        nursery.cancel_scope.cancel()
    assert written() == 55_000


async def test_more_sums_than_one_transaction_takes_are_all_written_once(parts: Parts) -> None:
    metering = Metering(parts.core, parts.book)
    for number in range(ROWS + 1):
        account = Account(hour_unix_us=hour_of(parts.now()), owner="ana", worker_id=f"worker_{number}")
        metering.meter.add(account, Usage(gpu_ms=3))
    await metering.write()
    await metering.write()
    assert parts.database.read_now(usage_store.total) == metering.total == Usage(gpu_ms=3 * (ROWS + 1))


async def test_others_have_their_turn_while_thousands_of_agents_are_looked_at(
    parts: Parts, mock_clock: MockClock
) -> None:
    looked_at = list[str]()

    class Watched(Metering):
        @staticmethod
        def _running(agent: Agent, now: int) -> list[Worker]:
            looked_at.append(agent.agent_id)
            return Metering._running(agent, now)

    for number in range(6 * AGENTS):
        agent = Agent(
            agent_id=f"agent_{number}",
            owner="ana",
            hostname="box",
            os="linux",
            arch="amd64",
            host_id=f"shared_{number}",
            created_unix_us=parts.now(),
        )
        parts.book._keep(agent)
    seen = set[int]()
    metering = Watched(parts.core, parts.book)
    async with trio.open_nursery() as nursery:
        await nursery.start(metering.run)
        while len(looked_at) < 6 * AGENTS:
            seen.add(len(looked_at))
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert len(seen & {place * AGENTS for place in range(1, 6)}) >= 2, seen


async def test_memory_of_a_reading_that_was_read_back_from_the_disk_is_counted_in_whole_numbers(parts: Parts) -> None:
    agent, worker = await running(parts)
    await seen(parts, agent, vram_used_bytes=300 * 2**20 + 1)
    parts.series = Series(parts.database, parts.now)
    await parts.series.recover()
    found = after(parts, Metering(parts.core, parts.book), 10, agent)
    used = found[worker.worker_id, ""]
    assert used == Usage(gpu_ms=10_000, vram_mib_ms=3_000_000)
    assert type(used.vram_mib_ms) is int
