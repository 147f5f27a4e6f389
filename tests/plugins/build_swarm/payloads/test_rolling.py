"""A payload to many drones: one after the other, and back again when one fails."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from appliance.errors import NotFound
from plugins.build_swarm.approval import NotApproved
from plugins.build_swarm.payloads import store
from plugins.build_swarm.payloads.rolling import RollResult
from plugins.build_swarm.payloads.service import ROLLS_MAX, RollRequest
from plugins.build_swarm.ssh_command import SshFailed
from plugins.build_swarm.states import DroneKind, DroneStatus
from tests.plugins.build_swarm.payloads.parts import BINARY, BY, Box, opened

DOWN = SshFailed("unreachable", "no route to host")
FULL = SshFailed("command", "no space left on device")


def request(
    version: str,
    drones: Sequence[str] | None = None,
    *,
    health_check: bool = True,
    rollback_on_fail: bool = True,
    payload_type: str = "drone_binary",
) -> RollRequest:
    return RollRequest(
        payload_type=payload_type,
        version=version,
        drones=drones,
        health_check=health_check,
        rollback_on_fail=rollback_on_fail,
        by=BY,
    )


def told(results: Sequence[RollResult]) -> dict[str, bool]:
    return {one.drone: one.success for one in results}


async def has(box: Box) -> dict[str, tuple[str, str]]:
    """Return version and status by drone."""
    return {row.drone_id: (row.version, row.status.value) for row in await box.database.read(store.drone_payloads)}


async def fleet(box: Box, *names: str) -> None:
    """Make drones that have version 1.0, and a version 2.0."""
    await box.add("1.0", "one")
    await box.add("2.0", "two")
    for name in names:
        box.fleet.add(name)
    if names:
        results = await box.payloads.roll(request("1.0", health_check=False))
        assert told(results) == dict.fromkeys(names, True)
    box.drones.steps.clear()


async def test_roll_without_names_takes_every_approved_drone_that_lacks_the_version(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "b", "c")
        box.fleet.add("new", status=DroneStatus.OFFLINE)
        box.fleet.add("away", status=DroneStatus.OFFLINE)
        box.fleet.add("unapproved")
        box.approvals.refused.add("unapproved")
        box.fleet.add("sweeper-1").kind = DroneKind.SWEEPER
        await box.payloads.deploy("b", "drone_binary", "2.0", verify=True, by=BY)
        box.drones.steps.clear()
        results = await box.payloads.roll(request("2.0"))
        assert [(one.drone, one.success, one.message) for one in results] == [
            ("c", True, "Deployed drone_binary v2.0 to c"),
            ("away", True, "Deployed drone_binary v2.0 to away"),
            ("new", True, "Deployed drone_binary v2.0 to new"),
        ]
        assert list(dict.fromkeys(name for name, _ in box.drones.steps)) == ["c", "away", "new"]
        assert box.sick.asked == ["c", "away", "new"]
        assert await box.payloads.roll(request("2.0")) == []


async def test_roll_is_of_the_asked_version_also_where_a_newer_one_is_there(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a")
        await box.payloads.roll(request("2.0"))
        assert told(await box.payloads.roll(request("1.0"))) == {"a": True}
        assert box.drones.files("a") == {BINARY: "one"}


async def test_failed_health_check_brings_back_what_every_drone_of_the_roll_had(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a", "b", "c", "d")
        box.sick.names.add("c")
        results = await box.payloads.roll(request("2.0", ["a", "b", "c", "d"]))
        assert told(results) == {"a": False, "b": False, "c": False, "d": False}
        words = {one.drone: one.message for one in results}
        assert words["a"] == words["b"] == "rolled back to drone_binary v1.0 (c failed)"
        assert words["c"].startswith("rolled back to drone_binary v1.0 (")
        assert "not seen to run" in words["c"]
        assert words["d"] == "not reached: the roll ended at c"
        assert all(box.drones.files(name) == {BINARY: "one"} for name in "abcd")
        assert await has(box) == {f"id-{name}": ("1.0", "deployed") for name in "abcd"}
        undone = [name for name, step in box.drones.steps if step == "back"]
        assert undone == ["c", "b", "a"]
        assert [name for name, step in box.drones.steps if step == "restart"] == ["c", "b", "a"]
        assert {name for name, _ in box.drones.steps} == {"a", "b", "c"}
        log = await box.payloads.log("drone_binary", drone="a", limit=10)
        assert [(one.action, one.version, one.status) for one in log] == [
            ("rollback", "1.0", "success"),
            ("deploy", "2.0", "success"),
            ("deploy", "1.0", "success"),
        ]


async def test_rollback_removes_the_file_where_there_was_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0", "one")
        box.fleet.add("a")
        box.fleet.add("b")
        box.drones.write("b", "by hand")
        box.sick.names.add("b")
        results = await box.payloads.roll(request("1.0", ["a", "b"]))
        assert results[0].message == "rolled back to no file, as before (b failed)"
        assert "the file that was there before" in results[1].message
        assert box.drones.files("a") == {}
        assert box.drones.files("b") == {BINARY: "by hand"}
        assert await has(box) == {}
        # Nothing runs where there is nothing; what was there before runs again.
        assert [name for name, step in box.drones.steps if step == "restart"] == ["b"]


async def test_payload_that_a_drone_refuses_rolls_back_those_before_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a", "b")
        box.drones.faults["b", "put"] = FULL
        results = await box.payloads.roll(request("2.0"))
        assert told(results) == {"a": False, "b": False}
        assert results[0].message == "rolled back to drone_binary v1.0 (b failed)"
        assert "no space left" in results[1].message
        assert all(box.drones.files(name) == {BINARY: "one"} for name in "ab")
        assert await has(box) == {"id-a": ("1.0", "deployed"), "id-b": ("1.0", "failed")}


async def test_kept_file_that_is_gone_is_replaced_by_the_version_that_was_deployed(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a")
        box.sick.names.add("a")
        box.drones.faults["a", "back"] = FULL
        (result,) = await box.payloads.roll(request("2.0"))
        assert result.message.startswith("rolled back to drone_binary v1.0")
        assert box.drones.files("a")[BINARY] == "one"
        assert await has(box) == {"id-a": ("1.0", "deployed")}


async def test_rollback_that_fails_is_told_as_such(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a", "b")
        box.sick.names.add("b")
        box.drones.faults["a", "back"] = DOWN
        results = await box.payloads.roll(request("2.0"))
        assert results[0].message == "not rolled back (b failed): no route to host"
        assert results[1].message.startswith("rolled back")
        assert await has(box) == {"id-a": ("2.0", "failed"), "id-b": ("1.0", "deployed")}
        (entry, *_) = await box.payloads.log("drone_binary", drone="a", limit=1)
        assert (entry.action, entry.status, entry.error) == ("rollback", "failed", "no route to host")


async def test_drones_that_cannot_be_entered_fail_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a", "b", "c", "d")
        box.drones.faults["a", "keep"] = DOWN
        held = box.drones.holds["c", "put"] = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: box.payloads.deploy("c", "drone_binary", "2.0", verify=True, by=BY))
            await box.drones.reached.wait()
            results = await box.payloads.roll(request("2.0", ["a", "b", "c", "d", "nobody", "d", "id-d"]))
            held.set()
        assert told(results) == {"a": False, "b": True, "c": False, "d": True, "nobody": False}
        words = {one.drone: (one.message, one.hint) for one in results}
        assert words["a"][0] == "no route to host"
        assert "under way on drone c" in words["c"][0]
        assert words["nobody"] == ("no drone 'nobody'", "appliance swarm nodes")
        assert len(results) == 5


async def test_roll_that_names_a_drone_that_is_not_approved_is_refused_before_any_is_touched(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a", "b")
        before = await has(box)
        box.approvals.refused.add("b")
        with pytest.raises(NotApproved, match="'b' is not approved"):
            await box.payloads.roll(request("2.0", ["a", "b"]))
        assert await has(box) == before
        assert told(await box.payloads.roll(request("2.0", ["a"]))) == {"a": True}


async def test_approval_that_ends_before_its_turn_fails_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a", "b")
        async with trio.open_nursery() as nursery:
            held = box.drones.holds["a", "put"] = trio.Event()
            _, roll = await box.payloads.start_roll(request("2.0", ["a", "b"]))
            await box.drones.reached.wait()
            box.approvals.refused.add("b")
            held.set()
            while not roll.is_over:
                await roll.changed(roll.revision)
            nursery.cancel_scope.cancel()
        assert told(roll.results) == {"a": True, "b": False}


async def test_without_rollback_the_roll_goes_on_and_what_is_there_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a", "b", "c")
        box.sick.names.add("a")
        box.drones.faults["b", "put"] = FULL
        results = await box.payloads.roll(request("2.0", rollback_on_fail=False))
        assert told(results) == {"a": False, "b": False, "c": True}
        assert "not healthy" in results[0].message
        assert [box.drones.files(name) for name in "abc"] == [{BINARY: "two"}, {BINARY: "one"}, {BINARY: "two"}]
        assert await has(box) == {
            "id-a": ("2.0", "failed"),
            "id-b": ("1.0", "failed"),
            "id-c": ("2.0", "deployed"),
        }


async def test_health_is_asked_for_only_where_it_is_wanted_and_something_was_restarted(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a")
        box.sick.names.add("a")
        assert told(await box.payloads.roll(request("2.0", health_check=False))) == {"a": True}
        await box.add("1", "{}", type="config")
        assert told(await box.payloads.roll(request("1", payload_type="config"))) == {"a": True}
        assert box.sick.asked == []


async def test_drone_of_a_roll_is_taken_until_the_roll_is_over(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a", "b")
        held = box.drones.holds["b", "put"] = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.payloads.roll, request("2.0"))
            await box.drones.reached.wait()
            for result in await box.payloads.roll(request("1.0", ["a", "b"])):
                assert not result.success
                assert "a roll of drone_binary v2.0 is under way" in result.message
            held.set()
        assert [box.drones.files(name)[BINARY] for name in "ab"] == ["two", "two"]


async def test_roll_of_an_unknown_version_does_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a")
        with pytest.raises(NotFound):
            await box.payloads.roll(request("9.9"))
        assert await box.payloads.roll(request("2.0", [])) == []
        assert box.drones.steps == []


async def test_roll_that_was_started_tells_how_far_it_is_until_its_end(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box, "a", "b")
        held = box.drones.holds["b", "put"] = trio.Event()
        roll_id, roll = await box.payloads.start_roll(request("2.0", ["a", "b", "nobody"]))
        assert box.payloads.find_roll(roll_id) is roll
        await box.drones.reached.wait()
        assert (roll.current, roll.is_over) == ("b", False)
        assert told(roll.results) == {"a": True, "nobody": False}
        seen = roll.revision
        async with trio.open_nursery() as nursery:
            nursery.start_soon(roll.changed, seen)
            await wait_all_tasks_blocked()
            assert nursery.child_tasks
            held.set()
        with trio.fail_after(30):
            while not roll.is_over:
                await roll.changed(roll.revision)
        await roll.changed(10**9)
        assert told(roll.results) == {"a": True, "b": True, "nobody": False}
        with pytest.raises(NotFound):
            box.payloads.find_roll("roll_other")


async def test_only_the_newest_rolls_are_remembered(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await fleet(box)
        ids = []
        for _ in range(ROLLS_MAX + 5):
            roll_id, roll = await box.payloads.start_roll(request("2.0", []))
            ids.append(roll_id)
            with trio.fail_after(30):
                while not roll.is_over:
                    await roll.changed(roll.revision)
        with pytest.raises(NotFound):
            box.payloads.find_roll(ids[0])
        assert box.payloads.find_roll(ids[-1]).is_over
        assert len(box.payloads._rolls) <= ROLLS_MAX + 1
