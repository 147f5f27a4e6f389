"""What every drone has, and whether it is what it should be."""

import hashlib
from pathlib import Path

import pytest

from appliance.errors import Conflict, NotFound
from plugins.build_swarm.approval import NotApproved
from plugins.build_swarm.ssh_command import SshFailed
from tests.plugins.build_swarm.payloads.parts import BINARY, BY, Box, opened


async def deployed(box: Box, drone: str, version: str) -> None:
    if drone not in box.fleet.known:
        box.fleet.add(drone)
    await box.payloads.deploy(drone, "drone_binary", version, verify=True, by=BY)


async def test_matrix_has_every_drone_and_counts_those_that_are_behind(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0")
        await deployed(box, "a", "1.0")
        await deployed(box, "b", "1.0")
        await box.add("2.0")
        await deployed(box, "b", "2.0")
        box.fleet.add("empty")
        matrix = await box.payloads.matrix()
        shown = {
            drone.name: [(row.version, row.status.value, matrix.is_current(row)) for row in rows]
            for drone, rows in matrix.drones
        }
        assert shown == {"a": [("1.0", "deployed", False)], "b": [("2.0", "deployed", True)], "empty": []}
        assert matrix.outdated_count == 1
        del box.fleet.known["a"]
        assert (await box.payloads.matrix()).outdated_count == 0


async def test_drone_whose_last_deploy_failed_is_not_current(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0")
        await deployed(box, "a", "1.0")
        box.drones.faults["a", "put"] = SshFailed("command", "no space")
        with pytest.raises(Exception, match="no space"):
            await deployed(box, "a", "1.0")
        assert (await box.payloads.matrix()).outdated_count == 1


async def test_verify_compares_with_what_was_deployed_last_whatever_is_newest(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        made = await box.add("1.0", "one")
        await deployed(box, "a", "1.0")
        await box.add("2.0", "two")
        found = await box.payloads.verify("drone_binary", "id-a")
        assert (found.drone, found.matches, found.sha256) == ("a", True, made.sha256)
        assert (found.message, found.expected.version) == ("Hash matches", "1.0")


async def test_verify_says_what_is_there_instead(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0", "one")
        made = await box.add("2.0", "two")
        await deployed(box, "a", "1.0")
        box.drones.write("a", "two")
        found = await box.payloads.verify("drone_binary", "a")
        assert (found.matches, found.sha256) == (False, made.sha256)
        assert found.message == f"Hash differs: {made.sha256} is that of v2.0"
        box.drones.write("a", "by hand")
        by_hand = hashlib.sha256(b"by hand").hexdigest()
        assert (await box.payloads.verify("drone_binary", "a")).message.startswith(
            f"Hash differs: {by_hand} is that of no"
        )


async def test_verify_of_a_file_that_is_missing_or_out_of_reach_has_no_hash(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0", "one")
        await deployed(box, "a", "1.0")
        box.drones.path("a").unlink()
        found = await box.payloads.verify("drone_binary", "a")
        assert (found.matches, found.sha256) == (False, None)
        assert "No such file" in found.message
        box.drones.faults["a", "sha256sum"] = SshFailed("timeout", "no answer within 60 s")
        found = await box.payloads.verify("drone_binary", "a")
        assert (found.matches, found.sha256) == (False, None)
        assert "no answer within 60 s" in found.message


async def test_verify_of_a_drone_that_never_got_anything_compares_with_the_newest(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        box.fleet.add("a")
        with pytest.raises(NotFound):
            await box.payloads.verify("drone_binary", "a")
        await box.add("1.0", "one")
        box.drones.write("a", "one", BINARY)
        assert (await box.payloads.verify("drone_binary", "a")).matches
        with pytest.raises(NotFound, match="no drone 'b'"):
            await box.payloads.verify("drone_binary", "b")
        box.approvals.refused.add("a")
        with pytest.raises(NotApproved) as refused:
            await box.payloads.verify("drone_binary", "a")
        assert isinstance(refused.value, Conflict)
        assert [step for _, step in box.drones.steps] == ["sha256sum"]


async def test_log_is_filtered_by_drone_and_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        for version in ("1.0", "2.0", "3.0"):
            await box.add(version)
            await deployed(box, "a", version)
            await deployed(box, "b", version)
        everything = await box.payloads.log("drone_binary", drone="", limit=100)
        assert [(one.drone_name, one.version) for one in everything[:3]] == [("b", "3.0"), ("a", "3.0"), ("b", "2.0")]
        for name in ("a", "id-a"):
            assert {one.drone_name for one in await box.payloads.log("drone_binary", drone=name, limit=100)} == {"a"}
        assert len(await box.payloads.log("drone_binary", drone="", limit=2)) == 2
        assert await box.payloads.log("config", drone="", limit=100) == []
        assert await box.payloads.log("drone_binary", drone="c", limit=100) == []
