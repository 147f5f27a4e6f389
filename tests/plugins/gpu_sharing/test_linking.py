"""Which host an agent is on: the one that has its GPUs, else one of its own."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio

from appliance.plugin import Gpu
from appliance.testing import until
from plugins.gpu_sharing.linking import Linker, forget_host
from plugins.gpu_sharing.models import SURFACE
from tests.plugins.gpu_sharing.parts import LOCAL, Parts, opened

IDS = "gpu-1b2c3d4e-0000-1111-2222-33334444555{}"


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as one:
        yield one


@pytest.fixture
def linker(parts: Parts) -> Linker:
    return Linker(parts.core, parts.book)


async def test_agent_is_linked_to_a_host_of_its_own_with_its_gpus(parts: Parts, linker: Linker) -> None:
    agent = await parts.agent(gpus=2, ids=IDS, hostname="far")
    await linker.link(agent)
    assert parts.inventory.host_of(SURFACE, agent.agent_id) == agent.host_id
    assert parts.inventory.host(agent.host_id).hostname == "far"
    found = parts.inventory.gpus(agent.host_id)
    assert sorted(each.gpu_id for each in found) == [f"GPU-{IDS.format(place)[4:]}" for place in range(2)]
    assert found[0].gpu.vram_total_bytes == 1000 * 2**20


async def test_agent_on_a_host_that_is_known_by_its_gpus_is_linked_to_that(parts: Parts, linker: Linker) -> None:
    gpu_id = f"GPU-{IDS.format(0)[4:]}"
    await parts.inventory.saw_host("machine-1", hostname="seen before", at_unix_us=parts.now())
    known = Gpu(gpu_id=gpu_id, index=0, vendor="nvidia", model="H200", vram_total_bytes=2**30)
    await parts.inventory.saw_gpus("machine-1", [known], at_unix_us=parts.now())
    agent = await parts.agent(ids=IDS)
    await linker.link(agent)
    assert parts.inventory.host_of(SURFACE, agent.agent_id) == "machine-1"


async def test_ids_that_are_no_drivers_link_nobody_together(parts: Parts, linker: Linker) -> None:
    one, other = await parts.agent(), await parts.agent()
    for agent in (one, other):
        await linker.link(agent)
    hosts = {parts.inventory.host_of(SURFACE, each.agent_id) for each in (one, other)}
    assert hosts == {one.host_id, other.host_id}
    assert parts.inventory.gpus() == []


async def test_this_host_is_linked_and_its_own_drivers_say_what_it_has(parts: Parts, linker: Linker) -> None:
    await parts.inventory.saw_host(LOCAL, hostname="here", at_unix_us=parts.now())
    agent = await parts.agent(ids=IDS, hostname="other name")
    agent.is_local, agent.host_id = True, LOCAL
    await linker.link(agent)
    assert parts.inventory.host_of(SURFACE, agent.agent_id) == LOCAL
    assert parts.inventory.host(LOCAL).hostname == "here"
    assert parts.inventory.gpus(LOCAL) == []


async def test_service_links_all_at_the_start_and_then_whoever_is_new(parts: Parts, linker: Linker) -> None:
    first = await parts.agent()
    async with trio.open_nursery() as nursery:
        await nursery.start(linker.run)
        second = await parts.agent()
        linker.follow(second)
        for agent in (first, second):
            await until(partial(parts.inventory.host_of, SURFACE, agent.agent_id))
            assert parts.inventory.host_of(SURFACE, agent.agent_id) == agent.host_id
        nursery.cancel_scope.cancel()


async def test_agent_that_is_deleted_while_it_is_linked_leaves_no_host_behind(parts: Parts, linker: Linker) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(linker.run)
        for _ in range(20):
            agent = await parts.agent()
            linker.follow(agent)
            await trio.lowlevel.checkpoint()
            await parts.book.delete_agent(agent)
            await forget_host(parts.core, parts.book, agent)
        last = await parts.agent()
        linker.follow(last)
        await until(lambda: parts.inventory.host_of(SURFACE, last.agent_id))
        assert [host.host_id for host in parts.inventory.hosts()] == [last.host_id]
        nursery.cancel_scope.cancel()


async def test_host_is_forgotten_with_the_last_that_knows_it(parts: Parts, linker: Linker) -> None:
    before, after = await parts.agent(ids=IDS), await parts.agent(ids=IDS)
    for agent in (before, after):
        await linker.link(agent)
    await parts.inventory.link("metrics_ingest", "server-1", before.host_id)
    for agent in (before, after):
        await parts.book.delete_agent(agent)
        await forget_host(parts.core, parts.book, agent)
        assert [host.host_id for host in parts.inventory.hosts()] == [before.host_id]
    again = await parts.agent(ids=IDS)
    await linker.link(again)
    assert parts.inventory.host_of(SURFACE, again.agent_id) == before.host_id
    await parts.inventory.forget(before.host_id)
    await linker.link(again)
    await parts.book.delete_agent(again)
    await forget_host(parts.core, parts.book, again)
    assert (parts.inventory.hosts(), parts.inventory.gpus()) == ([], [])
