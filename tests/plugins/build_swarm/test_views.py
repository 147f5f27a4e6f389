"""What is encoded once: never older than a tenth of a second, and never older than a change."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from plugins.build_swarm.views import Views
from tests.plugins.build_swarm.queue_kit import Bench, atom, opened


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened(tmp_path) as made:
        yield made


@pytest.fixture
def views(bench: Bench) -> Views:
    return Views(bench.swarm, bench.wall)


def nodes(views: Views) -> Any:
    return {each["name"]: each for each in json.loads(views.nodes(offline=True))}


async def test_answer_is_made_once_while_nothing_changes(bench: Bench, views: Views) -> None:
    await bench.beat("a")
    await bench.queue("x")
    for make in (views.status, lambda: views.nodes(offline=False)):
        assert make() is make()


async def test_answer_is_made_anew_after_every_change(bench: Bench, views: Views) -> None:
    assert nodes(views) == {}
    await bench.beat("a", metrics={"cpu_percent": 1.5})
    assert nodes(views)["a"]["cpu_percent"] == 1.5
    await bench.beat("a", metrics={"cpu_percent": 2.5})
    assert nodes(views)["a"]["cpu_percent"] == 2.5
    await bench.queue("x")
    assert [each["status"] for each in json.loads(views.queue())] == ["needed"]
    assert await bench.given("a") == "x"
    assert [each["assigned_to"] for each in json.loads(views.queue())] == ["a"]
    assert nodes(views)["a"]["assigned_packages"] == [atom("x")]
    assert json.loads(views.status())["drones"]["a"]["assigned_packages"] == [atom("x")]
    await bench.report("a", "x", "failed", error="no")
    (listed,) = json.loads(views.queue())
    assert (listed["failures"], listed["error_message"], listed["assigned_to"]) == (1, "no", None)
    assert json.loads(views.status())["drone_health"]["a"]["failures"] == 1
    await bench.swarm.pause_drone("a", True)
    assert nodes(views)["a"]["paused"] is True


async def test_progress_goes_on_with_time_though_nothing_changes(bench: Bench, views: Views) -> None:
    await bench.beat("a")
    await bench.queue("x")
    assert await bench.given("a") == "x"
    (waiting,) = nodes(views)["a"]["build_progress"]
    assert (waiting["building_since"], waiting["progress_pct"]) == (None, None)
    await bench.beat("a", task=atom("x"))
    bench.advance(30)
    assert nodes(views)["a"]["build_progress"][0]["elapsed_s"] == 30
    bench.advance(0.5)
    assert nodes(views)["a"]["build_progress"][0]["elapsed_s"] == 30.5
    assert json.loads(views.status())["drones"]["a"]["build_progress"][0]["elapsed_s"] == 30.5


async def test_active_session_is_shown_with_the_seconds_since_its_start_and_to_its_end(
    bench: Bench, views: Views
) -> None:
    await bench.beat("a")
    await bench.queue("x", "y")
    await bench.given("a")
    bench.advance(40)
    await bench.beat("a", task=atom("x"))
    await bench.report("a", "x", duration_s=40)
    status = json.loads(views.status())
    assert status["session"]["elapsed"] == 40
    assert status["session"]["eta"] == status["eta_s"] > 0
    bench.advance(1.5)
    assert json.loads(views.status())["session"]["elapsed"] == 41.5


async def test_drone_that_is_offline_works_on_nothing(bench: Bench, views: Views) -> None:
    await bench.beat("a", task=atom("x"))
    assert nodes(views)["a"]["current_task"] == atom("x")
    await bench.pass_time(61)
    assert (nodes(views)["a"]["status"], nodes(views)["a"]["current_task"]) == ("offline", None)
    assert json.loads(views.status())["drones"]["a"]["current_task"] is None


async def test_what_a_drone_says_nothing_of_is_not_shown(bench: Bench, views: Views) -> None:
    # The monitor of the command line formats these as numbers, and ends at the first that is null.
    await bench.beat("a", metrics={"cpu_percent": None, "load_1m": 0.5}, capabilities={"cores": None, "ram_gb": 4})
    for shown in (nodes(views)["a"], json.loads(views.status())["drones"]["a"]):
        assert (shown["metrics"], shown["capabilities"]) == ({"load_1m": 0.5}, {"ram_gb": 4})


async def test_drone_that_is_deleted_is_in_no_answer_and_in_no_memory(bench: Bench, views: Views) -> None:
    for name in ("a", "b"):
        await bench.beat(name)
    assert set(nodes(views)) == {"a", "b"}
    await bench.swarm.delete_drone("a")
    assert set(nodes(views)) == {"b"}
    assert set(json.loads(views.status())["drones"]) == {"b"}
    await bench.beat("a", drone_id="id-a")
    assert nodes(views)["a"]["builds_completed"] == 0


async def test_offline_drones_are_listed_only_when_asked_for(bench: Bench, views: Views) -> None:
    await bench.beat("a")
    await bench.pass_time(30)
    await bench.beat("b")
    await bench.pass_time(40)
    assert [each["name"] for each in json.loads(views.nodes(offline=False))] == ["b"]
    assert {name: each["status"] for name, each in nodes(views).items()} == {"a": "offline", "b": "online"}
    status = json.loads(views.status())
    assert (status["nodes"], status["nodes_online"], status["total_cores"]) == (2, 1, 32)


async def test_status_names_what_is_next_what_is_held_and_what_is_blocked(bench: Bench, views: Views) -> None:
    await bench.beat("a", capabilities={"cores": 4})
    await bench.queue("w", "x", "y")
    await bench.queue("urgent", priority=5)
    await bench.swarm.control("block", package=atom("y"))
    assert await bench.given("a") == "urgent"
    found = json.loads(views.status())["packages"]
    assert (found["needed"], found["blocked"]) == ([atom("w"), atom("x")], [atom("y")])
    assert found["delegated"][atom("urgent")]["drone"] == "a"


async def test_blocked_packages_of_an_earlier_session_are_named_as_they_are_counted(bench: Bench, views: Views) -> None:
    await bench.beat("a")
    await bench.queue("x", "y")
    await bench.swarm.control("block", package=atom("x"))
    assert await bench.built("a") == "y"
    assert json.loads(views.status())["session"] is None
    await bench.queue("z")
    status = json.loads(views.status())
    assert (status["blocked"], status["packages"]["blocked"]) == (1, [atom("x")])


async def test_packages_of_a_deleted_drone_are_shown_by_its_id(bench: Bench, views: Views) -> None:
    await bench.beat("a")
    await bench.queue("x", "y")
    assert await bench.built("a") == "x"
    await bench.swarm.delete_drone("a")
    listed = {each["package"]: each for each in json.loads(views.queue())}
    assert listed[atom("x")]["assigned_to"] == "id-a"
    assert listed[atom("y")]["assigned_to"] is None
