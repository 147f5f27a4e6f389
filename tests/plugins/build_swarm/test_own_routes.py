"""Our own API about the swarm, by whole requests."""

from pathlib import Path
from typing import Any

import pytest

from appliance.credentials.kinds import Role
from tests.plugins.build_swarm.kit import STRANGER, Swarm, atom, swarm

OWN = "/api/appliance/swarm"


async def test_overview_counts_packages_drones_and_builds(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        empty = await one.read(f"{OWN}/overview")
        assert (empty["session"], empty["eta_unix_s"], empty["is_paused"]) == (None, None, False)
        first, second, third = atom(), atom(), atom()
        # Not over this API: its answer has the estimate of the session, which is then kept for five seconds.
        await one.queue(first, second, third)
        drone = await one.drone("drone-01", capabilities={"cores": 4})
        await one.drone("drone-02")
        await one.post(f"{OWN}/drones/drone-02/pause")
        await drone.build(first)
        await drone.work()
        found = await one.read(f"{OWN}/overview")
        assert found["counts"] == {"needed": 1, "delegated": 1, "received": 1, "blocked": 0, "failed": 0}
        assert found["drones"] == {"total": 2, "online": 2, "paused": 1, "grounded": 0, "cores_online": 8}
        assert (found["builds"]["total"], found["builds"]["success_rate"]) == (1, 100.0)
        assert found["session"]["completed"] == 1
        assert found["eta_unix_s"] is not None
        assert found["eta_unix_s"] == found["session"]["eta_unix_s"]
        assert found["revision"] > empty["revision"]


async def test_packages_are_listed_in_pages_with_why_they_wait(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        packages = [atom() for _ in range(5)]
        body = {"packages": packages, "priority": 3, "cores": 64, "memory_mib": 2048, "capabilities": ["big"]}
        made = await one.post(f"{OWN}/packages", body | {"session_name": "Night"}, 201)
        assert (made["queued"], made["skipped"], made["session"]["name"]) == (packages, [], "Night")
        again = await one.post(f"{OWN}/packages", {"packages": packages[:1]}, 201)
        assert [each["atom"] for each in again["skipped"]] == packages[:1]
        page = await one.read(f"{OWN}/packages?limit=2")
        assert (len(page["items"]), page["total"], page["next"]) == (2, 5, 2)
        last = await one.read(f"{OWN}/packages?limit=2&offset=4")
        assert ([each["atom"] for each in last["items"]], last["next"]) == (packages[4:], None)
        item = page["items"][0]
        assert item["needs"] == {"cores": 64, "memory_mib": 2048, "capabilities": ["big"]}
        assert (item["state"], item["priority"], item["drone"]) == ("needed", 3, None)
        assert item["why"]
        assert (await one.read(f"{OWN}/packages?search={packages[2][5:].upper()}"))["total"] == 1
        assert (await one.read(f"{OWN}/packages?state=blocked&state=received"))["total"] == 0
        await one.post(f"{OWN}/control", {"action": "block", "package": packages[0]})
        assert (await one.read(f"{OWN}/packages?state=blocked&session=*"))["total"] == 1
        assert (await one.read(f"{OWN}/packages?session=none-such"))["total"] == 0


async def test_what_all_of_a_request_wait_for_is_built_first(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        first, second = atom(), atom()
        await one.post(f"{OWN}/packages", {"packages": [first]}, 201)
        await one.post(f"{OWN}/packages", {"packages": [second], "waits_for": [first], "priority": 9}, 201)
        drone = await one.drone()
        assert (await drone.work())["package"] == first
        waiting = (await one.read(f"{OWN}/packages?state=needed"))["items"][0]
        assert waiting["waits_for"] == [first]
        assert first.removeprefix("=") in waiting["why"]
        held = await one.read(f"{OWN}/packages?drone={drone.name}")
        assert [each["atom"] for each in held["items"]] == [first]


async def test_drones_are_shown_with_what_they_build(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        package = atom()
        await one.queue(package)
        metrics = {"cpu_percent": 45.2, "load_1m": 2}
        drone = await one.drone("drone-01", ip="192.0.2.9", metrics=metrics, version="0.4")
        await drone.work()
        await drone.register(metrics=metrics, current_task=package, ip="192.0.2.9")
        found = await one.read(f"{OWN}/drones/drone-01")
        assert (found["address"], found["claimed_ip"], found["assigned"]) == ("127.0.0.1", "192.0.2.9", [package])
        assert (found["cpu_percent"], found["ram_percent"], found["load_1m"]) == (45.2, None, 2.0)
        assert [each["package"] for each in found["progress"]] == [package]
        assert (found["approval"], found["approve_command"]) == (None, "appliance swarm approve drone-01")
        assert (await one.read(f"{OWN}/drones"))["items"] == [await one.read(f"{OWN}/drones/{drone.id}")]
        assert (await one.read(f"{OWN}/drones?offline=false"))["items"]
        changed = await one.post(f"{OWN}/drones/drone-01/type", {"drone_type": "lxc"})
        assert changed["drone_type"] == "lxc"
        for path, is_paused in (("pause", True), ("resume", False)):
            assert (await one.post(f"{OWN}/drones/drone-01/{path}"))["is_paused"] is is_paused
        gone = await one.send("DELETE", f"{OWN}/drones/drone-01")
        assert (gone.status, gone.json["name"]) == (200, "drone-01")
        assert (await one.send("GET", f"{OWN}/drones/drone-01")).status == 404


async def test_sessions_builds_and_events_are_listed_newest_first(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        drone = await one.drone("drone-01")
        packages = [atom() for _ in range(3)]
        for package in packages:
            await one.post(f"{OWN}/packages", {"packages": [package], "session_name": package}, 201)
            await drone.build(package)
        sessions = (await one.read(f"{OWN}/sessions?limit=2"))["items"]
        assert [each["name"] for each in sessions] == packages[:0:-1]
        assert all(each["completed_unix_s"] >= each["started_unix_s"] for each in sessions)
        page = await one.read(f"{OWN}/builds?limit=2")
        assert [each["atom"] for each in page["items"]] == packages[:0:-1]
        rest = await one.read(f"{OWN}/builds?limit=2&before={page['next']}")
        assert ([each["atom"] for each in rest["items"]], rest["next"]) == (packages[:1], None)
        assert (await one.read(f"{OWN}/builds?status=failed"))["items"] == []
        assert len((await one.read(f"{OWN}/builds?drone=drone-01&package={packages[0]}"))["items"]) == 1
        events = await one.read(f"{OWN}/events?type=complete&limit=2")
        assert [each["details"]["package"] for each in events["items"]] == packages[:0:-1]
        older = await one.read(f"{OWN}/events?type=complete&limit=2&before={events['next']}")
        assert [each["details"]["package"] for each in older["items"]] == packages[:1]


WRONG: dict[str, Any] = {
    "no package": {"packages": []},
    "a string": {"packages": "dev-libs/a"},
    "a field that there is not": {"packages": ["a/b"], "prio": 1},
    "a priority beyond": {"packages": ["a/b"], "priority": 10**6},
    "an atom that is none": {"packages": ["; reboot"]},
    "no object": ["a/b"],
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
async def test_request_that_is_none_queues_nothing(tmp_path: Path, body: Any) -> None:
    async with swarm(tmp_path) as one:
        reply = await one.send("POST", f"{OWN}/packages", body)
        assert reply.status == 400, reply.text
        assert (await one.read(f"{OWN}/packages?session=*"))["total"] == 0


async def test_viewers_read_operators_change_and_strangers_neither(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        await one.drone("drone-01")
        viewer = Swarm(one.appliance, await one.appliance.bearer("vera", Role.VIEWER))
        operator = Swarm(one.appliance, await one.appliance.bearer("olga", Role.OPERATOR))
        for path in ("overview", "packages", "drones", "drones/drone-01", "sessions", "builds", "events"):
            assert await viewer.read(f"{OWN}/{path}")
            assert (await one.send("GET", f"{OWN}/{path}", headers=STRANGER)).status == 401
        changes: list[tuple[str, str, Any]] = [
            ("POST", "packages", {"packages": [atom()]}),
            ("POST", "control", {"action": "pause"}),
            ("POST", "drones/drone-01/pause", {}),
            ("POST", "drones/drone-01/resume", {}),
            ("POST", "drones/drone-01/type", {"drone_type": "qemu"}),
            ("DELETE", "drones/drone-01", None),
        ]
        for method, path, body in changes:
            assert (await viewer.send(method, f"{OWN}/{path}", body)).status == 403
            assert (await operator.send(method, f"{OWN}/{path}", body)).status in (200, 201)
        events = (await one.read(f"{OWN}/events?type=control"))["items"]
        assert {each["details"].get("by") for each in events} == {"olga"}
