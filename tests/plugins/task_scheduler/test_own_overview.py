"""How tasks do on the whole: counts, hosts, engines and the card on the overview."""

from pathlib import Path
from typing import Any

from appliance.engines import EngineStatus
from appliance.scheduler.capacity import EngineOffer, HostCapacity
from appliance.testing import scripted_gpus, until
from plugins.task_scheduler.own_overview_routes import NOT_ALLOWED, engine_items

from .kit import tasks

GIB_MIB = 1024
LOST = "the daemon does not answer"


def status(name: str, state: Any = "ok", **more: Any) -> EngineStatus:
    return EngineStatus(name=name, state=state, message=f"{name} is {state}", **more)


def host(*offers: EngineOffer) -> HostCapacity:
    return HostCapacity(host_id="h", hostname="box", engines=offers, millicores=1, memory_mib=1, storage_mib=1)


def test_engine_that_works_and_comes_first_is_chosen_and_says_why() -> None:
    found = engine_items([status("docker"), status("sandbox")], [host()])
    assert [one.is_chosen for one in found] == [True, False]
    assert found[0].why == "chosen: the first in order of preference, and it works"
    assert found[1].why == "used for tasks that name it, or need what docker cannot do"


def test_engine_that_is_passed_over_says_what_is_missing_and_how_to_get_it() -> None:
    absent = status("docker", "absent", hint="apt-get install podman")
    found = engine_items([absent, status("sandbox", features=frozenset({"network", "gpu"}))], [host()])
    assert (found[0].is_chosen, found[0].why, found[0].hint) == (
        False,
        "not used: see what it lacks",
        "apt-get install podman",
    )
    assert found[1].why == ("chosen: of those that work the first in order of preference; before it would come docker")
    assert found[1].features == ("gpu", "network")


def test_unsafe_engine_is_not_chosen_unless_the_configuration_allows_it() -> None:
    unsafe = status("process", unsafe="shares our user")
    forbidden = engine_items([unsafe], [host(EngineOffer(name="process", unsafe="shares our user", is_allowed=False))])
    assert [(one.is_chosen, one.why) for one in forbidden] == [(False, NOT_ALLOWED)]
    allowed = engine_items([unsafe], [host(EngineOffer(name="process", unsafe="shares our user", is_allowed=True))])
    assert [one.is_chosen for one in allowed] == [True]
    assert engine_items([], []) == ()


async def test_overview_counts_what_the_caller_sees_and_names_gpus_with_their_tasks(tmp_path: Path) -> None:
    async with tasks(tmp_path, backend=scripted_gpus(2)) as everybody:
        await until(lambda: len(everybody.appliance.state.inventory.gpus()) == 2)
        ana, bob, olga = [await everybody.as_(name) for name in ("ana", "bob", "olga")]
        held = await ana.made(milli_gpu=1000, cpu_millicores=250, memory_mib=64)
        await everybody.engine.running(held)
        await bob.made(hold=True)
        seen = await ana.read("/api/appliance/tasks/overview")
        assert {state: count for state, count in seen["states"].items() if count} == {"running": 1}
        assert seen["problem"] is None
        assert [(one["name"], one["is_chosen"]) for one in seen["engines"]] == [("scripted", True)]
        choice = (await ana.read("/api/appliance/engines"))["choice"]
        assert choice == "tasks run on the engine scripted"
        (this,) = seen["hosts"]
        assert (this["cpu_allocated_millicores"], this["memory_allocated_mib"]) == (250, 64)
        assert [(gpu["index"], gpu["model"], gpu["vram_mib"]) for gpu in this["gpus"]] == [
            (0, "Scripted 80G", 80 * GIB_MIB),
            (1, "Scripted 80G", 80 * GIB_MIB),
        ]
        assert sorted((gpu["free_milli_gpu"], tuple(gpu["task_ids"])) for gpu in this["gpus"]) == [
            (0, (held,)),
            (1000, ()),
        ]
        strange = await olga.read("/api/appliance/tasks/overview")
        assert sum(strange["states"].values()) == 0
        assert [gpu["task_ids"] for gpu in strange["hosts"][0]["gpus"]] == [[], []]
        total = await everybody.read("/api/appliance/tasks/overview")
        assert (total["states"]["running"], total["states"]["pending"]) == (1, 1)


async def test_task_that_names_its_engine_has_a_network_only_where_that_engine_has_one(tmp_path: Path) -> None:
    async with tasks(tmp_path) as everybody:
        for engine, network in (("scripted", "bridge"), ("another", "none"), ("", "bridge")):
            task_id = await everybody.made(engine=engine, hold=True)
            assert (await everybody.read(f"/api/appliance/tasks/{task_id}"))["network"] == network


async def test_task_with_an_image_that_one_engine_alone_has_runs_there_however_it_is_submitted(tmp_path: Path) -> None:
    async with tasks(tmp_path) as everybody:
        everybody.engine.images = frozenset({"host"})
        documented = await everybody.submit(docker_image="host")
        own = await everybody.made(image="host", hold=True)
        elsewhere = await everybody.made(image="host", engine="another", hold=True)
        common = await everybody.made(image="busybox", hold=True)
        scheduler = everybody.appliance.state.scheduler
        engines = [scheduler.get(task_id).job.engine for task_id in (documented, own, elsewhere, common)]
        assert engines == ["scripted", "scripted", "another", ""]
        everybody.engine.state = "absent"
        assert scheduler.engine_with("host") == ""


async def test_card_on_the_overview_shows_what_runs_waits_and_holds(tmp_path: Path) -> None:
    async with tasks(tmp_path, backend=scripted_gpus(2)) as everybody:
        await until(lambda: len(everybody.appliance.state.inventory.gpus()) == 2)
        held = await everybody.made(milli_gpu=500)
        await everybody.engine.running(held)
        everybody.engine.lose()
        await everybody.made(milli_gpu=2000, hold=True)
        panels = (await everybody.read("/api/appliance/overview"))["panels"]
        (card,) = [one for one in panels if one["plugin"] == "task_scheduler"]
        assert (card["title"], card["error"]) == ("Tasks", "")
        rows = {row["label"]: row for row in card["rows"]}
        assert (rows["Running"]["value"], rows["Pending"]["value"]) == ("1", "1")
        assert (rows["GPUs in use"]["value"], rows["GPUs in use"]["percent"]) == ("0.5 of 2", 25.0)
        assert rows["Cores given"]["percent"] is not None
