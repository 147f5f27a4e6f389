"""The inventory in a database: read from memory, written only when something changes, the same after a restart."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve

from appliance.database import Database
from appliance.devices import Gpu
from appliance.errors import BadInput, Conflict, NotFound
from appliance.inventory.models import MarkKind
from appliance.inventory.service import LivenessWriter
from appliance.inventory.store import MIGRATIONS, OWNER, Inventory

GPU = Gpu(
    gpu_id="GPU-a", index=0, vendor="nvidia", model="H100", vram_total_bytes=80 * 2**30, power_limit_max_watts=700.0
)
MIG = Gpu(gpu_id="MIG-a", index=0, vendor="nvidia", model="H100", parent_gpu_id="GPU-a", mig_profile="1g.10gb")
SECOND = 1_000_000


def opened(folder: Path) -> Any:
    return Database.open(folder / "appliance.db", inline=True, migrations={OWNER: MIGRATIONS})


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with opened(tmp_path) as database:
        yield database


async def filled(database: Database) -> Inventory:
    inventory = Inventory(database, local_host_id="local")
    await inventory.saw_host("local", hostname="box", at_unix_us=1)
    await inventory.saw_gpus("local", [GPU, MIG], at_unix_us=2)
    await inventory.link("machine_registry", "m1", "local")
    await inventory.set_mark("local", MarkKind.CORDONED, reason="upgrade", who="ann", at_unix_us=3)
    await inventory.set_mark("GPU-a", MarkKind.UNHEALTHY, reason="XID 79", who="gpu_nvidia", at_unix_us=4)
    return inventory


async def test_everything_is_the_same_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        before = await filled(database)
        await before.write_liveness()
    async with opened(tmp_path) as database:
        after = Inventory(database, local_host_id="local")
        assert after.hosts() == before.hosts()
        assert after.gpus() == before.gpus()
        assert after.host_of("machine_registry", "m1") == "local"
        assert after.gpu("GPU-a").gpu == GPU
        assert after.host("local").aliases == (("machine_registry", "m1"),)


async def test_report_that_says_nothing_new_writes_nothing(database: Database) -> None:
    inventory = await filled(database)
    before = database.commits
    for at in range(10, 20):
        await inventory.saw_host("local", hostname="box", at_unix_us=at)
        await inventory.saw_gpus("local", [GPU, MIG], at_unix_us=at)
        await inventory.link("machine_registry", "m1", "local")
    assert database.commits == before
    assert inventory.host("local").last_seen_unix_us == 19


async def test_gpu_that_goes_and_returns_keeps_its_marks_and_its_first_day(database: Database) -> None:
    inventory = await filled(database)
    await inventory.saw_gpus("local", [], at_unix_us=50)
    gone = inventory.gpu("GPU-a")
    assert (gone.present, gone.changed_at_unix_us) == (False, 50)
    assert inventory.why_no_new_work("GPU-a") == "it is not there"
    await inventory.saw_gpus("local", [evolve(GPU, index=1)], at_unix_us=60)
    back = inventory.gpu("GPU-a")
    assert (back.present, back.gpu.index, back.first_seen_unix_us) == (True, 1, 2)
    assert [mark.reason for mark in back.marks] == ["XID 79"]


async def test_foreign_host_cannot_take_a_gpu_of_ours_and_we_take_back_what_is_ours(database: Database) -> None:
    inventory = await filled(database)
    await inventory.saw_host("foreign", hostname="box", at_unix_us=5)
    assert await inventory.saw_gpus("foreign", [GPU], at_unix_us=6) == {"GPU-a"}
    assert inventory.gpu("GPU-a").host_id == "local"
    claimed = evolve(GPU, gpu_id="GPU-b")
    assert await inventory.saw_gpus("foreign", [claimed], at_unix_us=7) == frozenset()
    assert await inventory.saw_gpus("local", [GPU, MIG, claimed], at_unix_us=8) == frozenset()
    assert inventory.gpu("GPU-b").host_id == "local"


async def test_marks_are_set_replaced_and_cleared(database: Database) -> None:
    inventory = await filled(database)
    await inventory.set_mark("local", MarkKind.CORDONED, reason="again", who="bob", at_unix_us=9)
    await inventory.set_mark("local", MarkKind.DRAINING, reason="", who="bob", at_unix_us=10)
    assert [(mark.kind, mark.reason) for mark in inventory.host("local").marks] == [
        (MarkKind.CORDONED, "again"),
        (MarkKind.DRAINING, ""),
    ]
    await inventory.clear_mark("local", MarkKind.CORDONED)
    await inventory.clear_mark("local", MarkKind.CORDONED)
    await inventory.clear_mark("GPU-a", MarkKind.UNHEALTHY)
    assert inventory.why_no_new_work("MIG-a") == "its host is draining"
    await inventory.clear_mark("local", MarkKind.DRAINING)
    assert inventory.why_no_new_work("MIG-a") is None
    with pytest.raises(NotFound):
        await inventory.set_mark("nothing", MarkKind.CORDONED, reason="", who="", at_unix_us=1)


async def test_later_link_replaces_an_earlier_one(database: Database) -> None:
    inventory = await filled(database)
    await inventory.saw_host("other", hostname="box", at_unix_us=5)
    await inventory.link("machine_registry", "m1", "other")
    assert inventory.host_of("machine_registry", "m1") == "other"
    assert inventory.host("local").aliases == ()
    assert inventory.host("other").aliases == (("machine_registry", "m1"),)
    with pytest.raises(NotFound):
        await inventory.link("machine_registry", "m2", "nowhere")
    with pytest.raises(BadInput):
        await inventory.link("machine_registry", "", "other")


async def test_forgotten_host_takes_everything_of_its_with_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        inventory = await filled(database)
        await inventory.saw_host("other", hostname="x", at_unix_us=5)
        await inventory.saw_gpus("other", [evolve(GPU, gpu_id="GPU-o")], at_unix_us=5)
        await inventory.link("s", "o", "other")
        await inventory.set_mark("GPU-o", MarkKind.CORDONED, reason="", who="", at_unix_us=5)
        await inventory.forget("other")
        with pytest.raises(NotFound):
            inventory.gpu("GPU-o")
        assert inventory.host_of("s", "o") is None
        with pytest.raises(NotFound):
            await inventory.saw_gpus("other", [], at_unix_us=6)
        with pytest.raises(Conflict):
            await inventory.forget("local")
    async with opened(tmp_path) as database:
        assert [host.host_id for host in Inventory(database).hosts()] == ["local"]
        count = database.read_now(lambda read: read.execute("SELECT COUNT(*) FROM inventory_mark").fetchone())
        assert count == (2,)


async def test_liveness_is_on_disk_after_five_seconds_and_at_the_end(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with opened(tmp_path) as database:
        inventory = await filled(database)

        def on_disk() -> int:
            sql = "SELECT last_seen_unix_us FROM inventory_host"
            return int(database.read_now(lambda read: read.execute(sql).fetchone())[0])

        async with trio.open_nursery() as nursery:
            await nursery.start(LivenessWriter(inventory).run)
            inventory.saw("local", at_unix_us=100)
            inventory.saw("local", at_unix_us=90)  # an older word changes nothing
            assert on_disk() == 1
            await trio.sleep(5.1)
            assert on_disk() == 100
            inventory.saw("local", at_unix_us=200)
            nursery.cancel_scope.cancel()
        assert on_disk() == 200


async def test_gpus_are_listed_in_the_drivers_order_with_instances_after_their_gpu(database: Database) -> None:
    inventory = Inventory(database)
    await inventory.saw_host("h", hostname="", at_unix_us=1)
    gpus = [evolve(MIG, gpu_id="MIG-0"), evolve(GPU, gpu_id="z", index=0), evolve(GPU, gpu_id="a", index=1)]
    await inventory.saw_gpus("h", gpus, at_unix_us=1)
    assert [gpu.gpu_id for gpu in inventory.gpus("h")] == ["z", "MIG-0", "a"]


async def test_those_who_watch_are_told_of_new_gpus_and_marks_and_of_nothing_else(database: Database) -> None:
    inventory = await filled(database)
    told: list[int] = []
    inventory.watch(lambda: told.append(len(told)))
    await inventory.saw_host("local", hostname="box", at_unix_us=9)
    await inventory.saw_gpus("local", [GPU, MIG], at_unix_us=9)
    assert told == []
    await inventory.saw_gpus("local", [GPU], at_unix_us=10)
    assert len(told) == 1
    await inventory.set_mark("GPU-a", MarkKind.CORDONED, reason="", who="ann", at_unix_us=11)
    await inventory.clear_mark("GPU-a", MarkKind.CORDONED)
    assert len(told) == 3
