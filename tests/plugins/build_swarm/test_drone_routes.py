"""What drones call, by whole requests."""

import http.client
import json
from pathlib import Path

import trio

from appliance.credentials.kinds import Kind
from tests.plugins.build_swarm.kit import KEY, STRANGER, atom, swarm


async def test_drone_registers_works_and_reports(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        drone, package = await one.drone(), atom()
        session = (await one.queue(package))["session_id"]
        assert await drone.work() == {"package": package, "session_id": session}
        assert await drone.complete(package) == {"status": "ok", "package": package, "accepted": True}
        assert await drone.work() == {"package": None}
        again = await drone.complete(package)
        assert (again["accepted"], again["stale"], again["action"]) == (False, True, "stop_work")


async def test_drone_of_the_generation_before_polls_and_reports_by_its_name(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        package = atom()
        await one.queue(package)
        await one.post("/api/v1/register", {"node_name": "drone-old", "capabilities": {"cores": 4}})
        assert (await one.read("/api/v1/poll?node=drone-old"))["package"] == package
        body = {"node": "drone-old", "package": package, "status": "failed", "duration": 2, "error": "no space"}
        assert (await one.post("/api/v1/report", body))["accepted"] is False
        assert (await one.package(package))["error_message"] == "no space"


async def test_what_was_taken_away_is_told_with_the_next_answer(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        drone, package = await one.drone(), atom()
        await one.queue(package)
        await drone.work()
        await one.control("pause")
        await one.control("reclaim", package=package)
        assert (await drone.work())["revoke"] == [package]
        assert await drone.work() == {"package": None}
        stop = (await drone.register(current_task=package))["stop_work"]
        assert (stop["package"], stop["reassigned_to"]) == (package, None)


async def test_drone_with_another_tree_is_told_to_sync(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        package = atom()
        await one.queue(package, portage_timestamp=20260212)
        drone = await one.drone(capabilities={"cores": 4, "portage_timestamp": "other"})
        assert await drone.work() == {"package": None, "action": "sync_portage", "expected_timestamp": "20260212"}
        await drone.register(capabilities={"cores": 4, "portage_timestamp": "20260212"})
        assert (await drone.work())["package"] == package


async def test_server_names_itself_and_gives_the_settings_of_portage(tmp_path: Path) -> None:
    config = """
[plugins.build_swarm]
orchestrator_name = "farm"
[plugins.build_swarm.portage_config]
"make.conf" = 'MAKEOPTS="-j8"'
"""
    async with swarm(tmp_path, config) as one:
        port = one.appliance.port
        assert await one.read("/api/v1/orchestrator") == {"ip": "127.0.0.1", "name": "farm", "port": port}
        answer = await (await one.drone()).register()
        assert (answer["orchestrator_name"], answer["orchestrator_port"], answer["paused"]) == ("farm", port, False)
        assert await one.read("/api/v1/portage-config") == {"make.conf": 'MAKEOPTS="-j8"'}
        ignored = await one.post("/api/v1/register", {"id": "x", "type": "orchestrator"})
        assert ignored["status"] == "ignored"


async def test_credential_of_a_drone_acts_only_as_that_drone(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        minted = await one.appliance.state.credentials.create(Kind.DRONE, subject="drone-own")
        own = STRANGER | {"Authorization": f"Bearer {minted.secret}"}
        other = await one.drone("drone-other")
        body = {"id": "e" * 32, "name": "drone-own"}
        assert (await one.send("POST", "/api/v1/register", body, headers=own)).status == 200
        for changed in ({"name": "drone-other"}, {"id": other.id}):
            await one.refused("POST", "/api/v1/register", body | changed, status=403, headers=own)
        await one.refused("GET", f"/api/v1/work?id={other.id}", status=403, headers=own)
        report = {"id": other.id, "package": atom(), "status": "success"}
        await one.refused("POST", "/api/v1/complete", report, status=403, headers=own)
        assert (await one.send("GET", f"/api/v1/work?id={'e' * 32}", headers=own)).json == {"package": None}


async def test_stranger_needs_a_credential_and_the_key_is_one(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        body = {"id": "abc", "name": "drone-x"}
        words = await one.refused("POST", "/api/v1/register", body, status=401, headers=STRANGER)
        assert words == "Admin authentication required"
        keyed = STRANGER | {"X-Admin-Key": KEY}
        assert (await one.send("POST", "/api/v1/register", body, headers=keyed)).status == 200
        await one.refused("GET", "/api/v1/work", status=400)
        await one.refused("GET", "/api/v1/work?id=abc&cores=many", status=400)
        await one.refused("GET", "/api/v1/work?" + "&".join(f"a{each}=1" for each in range(64)), status=400)


async def test_name_that_begins_as_a_sweeper_s_is_one(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        sweeper = await one.drone("Sweeper-1")
        (node,) = await one.read("/api/v1/nodes")
        assert (node["name"], node["type"]) == (sweeper.name, "sweeper")


OPENED = """
[[listeners]]
address = "127.0.0.1:0"
trust = "none"
[plugins.build_swarm]
open_to = ["127.0.0.0/8"]
"""


async def test_drone_of_an_opened_network_needs_no_credential_and_may_change_nothing_else(tmp_path: Path) -> None:
    async with swarm(tmp_path, OPENED, listen=()) as one:
        keyed = {"X-Admin-Key": KEY}
        package = atom()
        queued = await one.send("POST", "/api/v1/queue", {"packages": [package]}, headers=keyed)
        assert queued.status == 200
        drone = await one.drone()
        assert (await drone.work())["package"] == package
        assert (await drone.complete(package))["accepted"] is True
        for path in ("status", "nodes", "queue", "events", "history", "sessions", "orchestrator", "profiles"):
            await one.read(f"/api/v1/{path}")
        for method, path, body in (
            ("POST", "/api/v1/queue", {"packages": [atom()]}),
            ("POST", "/api/v1/control", {"action": "pause"}),
            ("POST", f"/api/v1/nodes/{drone.id}/pause", None),
            ("DELETE", f"/api/v1/nodes/{drone.id}", None),
            ("GET", "/api/v1/drone-health", None),
        ):
            await one.refused(method, path, body, status=401)
        await one.refused("GET", "/api/v1/status", status=401, headers=STRANGER)


async def test_drone_that_has_shown_its_credential_is_nobody_without_it(tmp_path: Path) -> None:
    async with swarm(tmp_path, OPENED, listen=()) as one:
        minted = await one.appliance.state.credentials.create(Kind.DRONE, subject="drone-own")
        own, keyed = {"Authorization": f"Bearer {minted.secret}"}, {"X-Admin-Key": KEY}
        body, package = {"id": "e" * 32, "name": "drone-own", "capabilities": {"cores": 4}}, atom()
        report = {"id": body["id"], "package": package, "status": "success"}
        assert (await one.send("POST", "/api/v1/register", body, headers=own)).status == 200
        await one.send("POST", "/api/v1/queue", {"packages": [package]}, headers=keyed)
        work = f"/api/v1/work?id={body['id']}"
        assert (await one.send("GET", work, headers=own)).json["package"] == package
        for method, path, sent in (
            ("POST", "/api/v1/register", body),
            ("GET", work, None),
            ("GET", "/api/v1/poll?node=drone-own", None),
            ("POST", "/api/v1/complete", report),
        ):
            assert "credential of its own" in await one.refused(method, path, sent, status=403)
        assert (await one.send("POST", "/api/v1/register", body | {"id": "f" * 32})).status == 200
        assert (await one.send("POST", "/api/v1/register", body, headers=own)).status == 200
        assert (await one.send("POST", "/api/v1/complete", report, headers=own)).json["accepted"] is True
        await one.send("DELETE", f"/api/v1/nodes/{body['id']}", headers=keyed)
        assert (await one.send("POST", "/api/v1/register", body)).status == 200


async def test_drone_that_gets_a_credential_of_another_name_is_told_to_be_deleted_first(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        minted = await one.appliance.state.credentials.create(Kind.DRONE, subject="drone-own")
        own = STRANGER | {"Authorization": f"Bearer {minted.secret}"}
        before = await one.drone("localhost")
        body = {"id": before.id, "name": "drone-own"}
        refused = await one.send("POST", "/api/v1/register", body, headers=own)
        assert refused.status == 403
        assert "known as drone localhost" in refused.json["error"]
        assert "DELETE /api/v1/nodes/localhost" in refused.json["hint"]
        assert (await one.send("DELETE", "/api/v1/nodes/localhost")).status == 200
        assert (await one.send("POST", "/api/v1/register", body, headers=own)).status == 200


TWO_LISTENERS = """
[[listeners]]
address = "127.0.0.1:0"
[[listeners]]
address = "127.0.0.2:0"
surfaces = ["core", "build_swarm"]
"""


async def test_each_listener_names_itself_and_serves_only_its_surfaces(tmp_path: Path) -> None:
    async with swarm(tmp_path, TWO_LISTENERS, listen=()) as one:
        first, second = (bound.address for bound in one.appliance.running.bound if not bound.address.is_unix)
        assert first.port != second.port
        here = await one.drone()
        assert (await here.register())["orchestrator_port"] == first.port

        def ask(path: str) -> tuple[int, str]:
            connection = http.client.HTTPConnection("127.0.0.2", second.port, timeout=30)
            connection.request("GET", path)
            answer = connection.getresponse()
            found = answer.status, answer.read().decode()
            connection.close()
            return found

        status, body = await trio.to_thread.run_sync(ask, "/api/v1/orchestrator")
        assert (status, json.loads(body)["ip"], json.loads(body)["port"]) == (200, "127.0.0.2", second.port)
        status, _ = await trio.to_thread.run_sync(ask, "/admin/api/system/info")
        assert status == 404
