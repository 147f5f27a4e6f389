"""What keepalives said, written behind."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from plugins.machine_registry.introduction import AT_ONCE, Introducer, introduce
from plugins.machine_registry.models import Metrics
from plugins.machine_registry.telemetry import Telemetry
from tests.plugins.machine_registry.parts import METRICS, Parts, beat, opened


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as made:
        yield made


async def test_figures_of_a_beat_are_in_the_series_of_the_machines_host(parts: Parts) -> None:
    machine = await parts.ready()
    await Telemetry(parts.core, parts.machines).write()
    reading = parts.series.latest(machine.host_id)
    assert reading is not None
    assert (reading.sample.cpu_percent, reading.sample.memory_percent) == (15.5, 42.0)
    assert reading.sample.memory_total_bytes == 16_384 * 2**20
    window = await parts.series.window_values(
        f"machine:{machine.host_id}", "free_gpu_count", from_unix_us=parts.now() - 1, to_unix_us=parts.now() + 1
    )
    assert window.columns[0].maximum == [1.0]


async def test_figures_that_are_and_stay_nothing_take_no_room_and_their_end_is_kept(parts: Parts) -> None:
    machine = await parts.ready()
    telemetry = Telemetry(parts.core, parts.machines)

    async def count(name: str) -> int:
        window = await parts.series.window_values(
            f"machine:{machine.host_id}", name, from_unix_us=0, to_unix_us=parts.now() + 1
        )
        return len(window.columns[0].maximum) if window.columns else 0

    await telemetry.write()
    for workers in (2, 0, 0, 0):
        parts.now.advance(60)
        parts.machines.beat(machine, beat(metrics=Metrics(worker_count=workers)))
        await telemetry.write()
    assert await count("worker_count") == 2
    assert await count("container_count") == 0


async def test_beats_that_come_faster_than_agents_send_them_are_not_all_kept(parts: Parts) -> None:
    machine = await parts.ready()
    telemetry = Telemetry(parts.core, parts.machines)
    for _ in range(41):
        parts.machines.beat(machine, beat())
        await telemetry.write()
        parts.now.advance(1)
    assert await parts.series.count(machine.host_id, 0, parts.now() + 1) == 3


async def test_beat_without_figures_keeps_the_machine_and_adds_no_sample(parts: Parts) -> None:
    machine = await parts.ready()
    parts.machines.beat(machine, beat(metrics=None))
    await Telemetry(parts.core, parts.machines).write()
    assert parts.series.latest(machine.host_id) is None


async def test_machine_that_has_registered_is_a_host_of_the_inventory_under_its_name_here(parts: Parts) -> None:
    machine = await parts.register(hostname="gpu-worker-1")
    await Introducer(parts.core, parts.machines).step()
    host = parts.inventory.host(machine.host_id)
    assert (host.hostname, host.aliases) == ("gpu-worker-1", (("machine_registry", "generic/default/1165a9b6"),))
    await introduce(parts.core, machine)
    assert len(parts.inventory.hosts()) == 1


async def test_beats_keep_the_host_alive_in_the_inventory(parts: Parts) -> None:
    machine = await parts.ready()
    await introduce(parts.core, machine)
    parts.now.advance(60)
    parts.machines.beat(machine, beat())
    await Telemetry(parts.core, parts.machines).write()
    assert parts.inventory.host(machine.host_id).last_seen_unix_us == parts.now()
    assert METRICS.free_gpu_count == 1


async def test_start_tells_the_inventory_nothing_of_machines_that_it_knows_and_has_not_heard(parts: Parts) -> None:
    machine = await parts.register(hostname="gpu-worker-1")
    await Introducer(parts.core, parts.machines).step()
    known = parts.inventory.host(machine.host_id)
    parts.now.advance(3600)
    parts.restart()
    commits = parts.database.commits
    await Introducer(parts.core, parts.machines).step()
    assert not parts.machines.new_hosts
    assert parts.inventory.host(machine.host_id) == known
    assert parts.database.commits == commits


async def test_machine_that_registers_again_is_seen_and_its_new_name_is_known(parts: Parts) -> None:
    machine = await parts.register(hostname="gpu-worker-1")
    introducer = Introducer(parts.core, parts.machines)
    await introducer.step()
    for hostname in ("gpu-worker-1", "gpu-worker-2"):
        parts.now.advance(3600)
        await parts.register(hostname=hostname)
        await introducer.step()
        host = parts.inventory.host(machine.host_id)
        assert (host.hostname, host.last_seen_unix_us) == (hostname, parts.now())


async def test_introducing_thousands_lets_others_have_their_turn(parts: Parts) -> None:
    for number in range(2 * AT_ONCE + 1):
        await parts.register(f"{number:08x}")
    introducer = Introducer(parts.core, parts.machines)
    while parts.machines.new_hosts:
        await introducer.step()
    assert len(parts.inventory.hosts()) == 2 * AT_ONCE + 1
    parts.restart()
    introducer, steps = Introducer(parts.core, parts.machines), 0
    while parts.machines.new_hosts:
        await introducer.step()
        steps += 1
    assert steps == 3
