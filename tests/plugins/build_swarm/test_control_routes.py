"""What needs the key on the public surface, by whole requests."""

from pathlib import Path

import pytest

from tests.plugins.build_swarm.kit import KEY, STRANGER, Swarm, atom, swarm


async def test_packages_are_queued_with_what_they_need_and_wait_for(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        first, second, large = atom(), atom(), atom()
        body = {"waits_for": {second: [first]}, "session_name": "Order\n", "priority": 5}
        found = await one.queue(second, first, **body)
        assert (found["queued"], found["session"]["name"], found["skipped"]) == (2, "Order", [])
        assert (await one.queue(first))["skipped"] == [first]
        await one.queue(large, cores=64, memory_mib=1024, priority=9)
        drone = await one.drone()
        assert (await drone.work())["package"] == first
        big = await one.drone(capabilities={"cores": 128, "ram_gb": 512})
        assert (await big.work())["package"] == large
        await drone.complete(first)
        assert (await drone.work())["package"] == second


async def test_actions_answer_the_union_of_both_words(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        package = atom()
        await one.queue(package)
        paused = await one.control("pause")
        assert (paused["status"], paused["ok"], paused["action"], paused["state"]) == ("ok", True, "pause", "paused")
        assert (await one.control("resume"))["state"] == "active"
        blocked = await one.control("block", package=package.removeprefix("="))
        assert (blocked["status"], blocked["package"]) == ("ok", package)
        again = await one.control("block", package=package)
        assert (again["status"], again["ok"]) == ("no_change", False)
        assert (await one.control("unblock"))["unblocked"] == 1
        assert (await one.control("reset"))["state"] == "reset"
        assert await one.refused("POST", "/api/v1/control", {"action": "fly"}, status=400)
        assert await one.refused("POST", "/api/v1/control", {"action": "block"}, status=400)


async def test_drones_are_paused_typed_and_deleted_by_name_or_id(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        drone = await one.drone()
        for named in (drone.name, drone.id):
            path = f"/api/v1/nodes/{named}"
            assert (await one.post(f"{path}/pause"))["paused"] is True
            assert (await one.post(f"{path}/resume"))["status"] == "resumed"
            assert (await one.post(f"{path}/set-type", {"type": "lxc"}))["drone_type"] == "lxc"
        for wrong in ({}, {"type": "toaster"}):
            await one.refused("POST", f"/api/v1/nodes/{drone.name}/set-type", wrong, status=400)
        deleted = await one.send("DELETE", f"/api/v1/nodes/{drone.name}")
        assert deleted.json == {"status": "deleted", "id": drone.id, "name": drone.name}
        for method, path in (("POST", "/pause"), ("POST", "/resume"), ("DELETE", "")):
            await one.refused(method, f"/api/v1/nodes/{drone.name}{path}", status=404)


@pytest.mark.parametrize("key", [None, KEY + "x", ""])
async def test_stranger_without_the_key_changes_nothing(tmp_path: Path, key: str | None) -> None:
    async with swarm(tmp_path) as one:
        stranger = Swarm(one.appliance, STRANGER | ({} if key is None else {"X-Admin-Key": key}))
        for method, path, body in (
            ("POST", "/api/v1/queue", {"packages": [atom()]}),
            ("POST", "/api/v1/control", {"action": "pause"}),
            ("DELETE", "/api/v1/nodes/x", None),
            ("POST", "/api/v1/profiles", {"name": "x"}),
            ("POST", "/api/v1/snapshots", {}),
            ("GET", "/api/v1/drone-health", None),
            ("GET", "/api/v1/provision/bootstrap", None),
        ):
            assert await stranger.refused(method, path, body, status=401) == "Admin authentication required"
        assert await one.read("/api/v1/queue") == []
        assert (await one.send("POST", "/api/v1/control", {"action": "pause"}, headers={"X-Admin-Key": KEY})).json[
            "state"
        ] == "paused"
