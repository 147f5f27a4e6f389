"""Who is which drone: names, ids, credentials, and how many there may be."""

from pathlib import Path

import pytest

from appliance.plugin import Conflict, TooLarge
from plugins.build_swarm.states import DroneType
from tests.plugins.build_swarm.queue_kit import Bench, opened


def names(bench: Bench) -> dict[str, str]:
    """Return the names of all drones, by id."""
    return {drone.drone_id: drone.name for drone in bench.swarm.drones()}


async def test_name_of_a_drone_that_shows_its_credential_is_taken_by_nobody_without(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a", is_proven=True)
        await bench.queue("one")
        assert await bench.given("a") == "one"
        await bench.beat("a", drone_id="stranger")
        assert names(bench) == {"id-a": "a", "stranger": "a-strang"}
        assert (await bench.report("a", "one")).accepted


async def test_drone_that_shows_its_credential_has_its_name_back_from_who_took_it_before(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a", is_proven=True)
        bench.restart()
        await bench.beat("a", drone_id="stranger")
        assert names(bench) == {"stranger": "a"}
        await bench.beat("a", is_proven=True)
        assert names(bench) == {"id-a": "a"}
        await bench.beat("a", drone_id="stranger")
        assert names(bench)["id-a"] == "a"


async def test_credential_of_a_drone_that_was_installed_again_takes_its_name_each_time(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        for drone_id in ("first", "second", "first"):
            await bench.beat("a", drone_id=drone_id, is_proven=True)
            assert names(bench) == {drone_id: "a"}


async def test_failed_write_does_not_let_a_drone_be_anybodys(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a", is_proven=True)
        bench.disk.fails_once = True
        with pytest.raises(Exception, match="full"):
            await bench.swarm.pause_drone("a", True)
        await bench.beat("a", drone_id="stranger")
        assert names(bench)["id-a"] == "a"


async def test_id_that_is_the_name_of_another_drone_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        with pytest.raises(Conflict, match="another drone has it as its name"):
            await bench.beat("b", drone_id="a")
        assert names(bench) == {"id-a": "a"}
        assert bench.swarm.drone("a").drone_id == "id-a"


async def test_name_that_is_the_id_of_another_drone_is_given_to_nobody(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("id-a", drone_id="b")
        assert names(bench)["b"] != "id-a"
        assert bench.swarm.drone("id-a").name == "a"
        await bench.beat("other", drone_id="c")
        await bench.beat("id-a", drone_id="c")
        assert names(bench)["c"] == "other"


async def test_drone_of_the_generation_before_has_its_name_as_its_id(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.beat("a", drone_id="a")
        await bench.beat("a", drone_id="a")
        assert names(bench) == {"a": "a"}


async def test_drone_that_nobody_would_miss_gives_way_when_there_are_too_many(tmp_path: Path) -> None:
    async with opened(tmp_path, queue_drones_max=5) as bench:
        for name in ("paused", "typed", "built", "first", "second"):
            await bench.beat(name)
        await bench.swarm.pause_drone("paused", True)
        await bench.swarm.set_drone_type("typed", DroneType.LXC)
        await bench.queue("one")
        assert await bench.built("built") == "one"
        with pytest.raises(TooLarge):
            await bench.beat("new")
        await bench.pass_time(30)
        await bench.beat("second")
        await bench.pass_time(61)
        await bench.beat("new")
        assert set(names(bench).values()) == {"paused", "typed", "built", "second", "new"}
        bench.restart()
        assert set(names(bench).values()) == {"paused", "typed", "built", "second", "new"}
        await bench.pass_time(61)
        await bench.beat("newer")
        with pytest.raises(TooLarge):
            await bench.beat("newest")
