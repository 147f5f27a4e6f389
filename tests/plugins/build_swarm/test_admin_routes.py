"""The admin surface about the server, the configuration of drones and the allowlist, by whole requests."""

from pathlib import Path

import pytest

from appliance.credentials.kinds import Role
from appliance.testing import SteppingClock, running
from plugins.build_swarm.drone_world import PROTECTED
from tests.plugins.build_swarm.kit import KEY, STRANGER, Swarm, atom, swarm
from tests.plugins.build_swarm.ssh_kit import an_approval

WITH_KEY = STRANGER | {"X-Admin-Key": KEY}
CONFIG = "/admin/api/drone-config/"
ALLOWED = "/admin/api/drones/allowlist"


async def test_key_is_checked_in_header_and_query_and_nowhere_else(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        expected = {"authenticated": True, "version": "0.4.0-alpha"}
        check = "/admin/api/auth/check"
        for path, headers in (
            (check, WITH_KEY),
            (f"{check}?key={KEY}", STRANGER),
            (f"{check}/", WITH_KEY),
            (check, {}),  # a trusted local process
        ):
            reply = await one.send("GET", path, headers=headers)
            assert (path, headers, reply.status, reply.json) == (path, headers, 200, expected)
        for path, headers in (
            (check, STRANGER),
            (check, STRANGER | {"X-Admin-Key": "wrong-key-of-nobody"}),
            (check, {"X-Admin-Key": ""}),
            (f"{check}?key=wrong", {}),
            (f"{check}?key=", STRANGER),
            (f"/api/v1/drone-health?key={KEY}", STRANGER),
            (f"/v2/api/nodes?key={KEY}", STRANGER),
        ):
            assert await one.refused("GET", path, status=401, headers=headers) == "Admin authentication required"


async def test_secret_of_the_older_name_counts_too(tmp_path: Path) -> None:
    async with running(tmp_path, environment={"ADMIN_SECRET": "k" * 20}) as appliance:
        headers = STRANGER | {"X-Admin-Key": "k" * 20}
        assert (await appliance.get("/admin/api/auth/check", headers=headers)).status == 200


async def test_info_tells_ports_database_and_uptime(tmp_path: Path) -> None:
    clock = SteppingClock()
    async with swarm(tmp_path, now=clock) as one:
        clock.advance(3 * 3600 + 125)
        await one.read("/api/v1/status")
        found = await one.read("/admin/api/system/info")
        assert (found["uptime_s"], found["uptime_human"], found["version"]) == (10_925, "3h 2m", "0.4.0-alpha")
        assert found["control_plane_port"] == found["admin_port"] == one.appliance.port
        assert found["db_path"] == str(tmp_path / "data" / "appliance.db")
        assert found["db_size_mb"] > 0
        assert found["binhost_primary_ip"] == "127.0.0.1"
        assert (found["binhost_secondary_ip"], found["v2_gateway_url"]) == ("", "")


async def test_configuration_by_key_is_kept(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        assert await one.read("/admin/api/config") == {}
        assert await one.post("/admin/api/config", {"key": "a", "value": 1}) == {"status": "ok", "key": "a", "value": 1}
        await one.post("/admin/api/config", {"key": "a", "value": "two"})
        found = await one.read("/admin/api/config")
        assert found["a"]["value"] == "two"
        assert await one.refused("POST", "/admin/api/config", {"value": 1}, status=400) == 'Missing "key"'
        await one.refused("POST", "/admin/api/config", {"key": "a", "value": {"b": 1}}, status=400)
        await one.refused("POST", "/admin/api/config", {"key": "a", "value": "x" * 5000}, status=400)
        await one.refused("POST", "/admin/api/config", {"key": "a\nb", "value": "x"}, status=400)


async def test_log_has_the_swarm_s_events_as_lines(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        drone = await one.drone("drone-01")
        package = atom()
        await one.queue(package)
        await drone.build(package, "failed")
        found = await one.read("/admin/api/logs/control-plane?lines=2")
        assert len(found["lines"]) == found["line_count"] == 2
        assert found["content"] == "\n".join(found["lines"])
        whole = (await one.read("/admin/api/logs/control-plane?lines=999999"))["lines"]
        assert whole[-2:] == found["lines"]
        assert any("INFO [control_plane] drone-01" in line for line in whole)
        assert any(f"WARNING [scheduler] drone-01 failed {package.removeprefix('=')}" in line for line in whole)
        await one.refused("GET", "/admin/api/logs/control-plane?lines=abc", status=400)


async def test_drone_that_is_not_configured_has_the_defaults(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        found = await one.read(f"{CONFIG}drone-01")
        assert (found["node_name"], found["_unconfigured"], found["emerge_jobs"]) == ("drone-01", True, 2)
        assert await one.read("/admin/api/drone-configs") == []
        made = await one.post(f"{CONFIG}drone-01", {"cores_limit": "4", "notes": "slow disk", "node_name": "other"})
        assert (made["cores_limit"], made["notes"], made["node_name"]) == (4, "slow disk", "drone-01")
        changed = await one.post(f"{CONFIG}drone-01", {"notes": None})
        assert (changed["cores_limit"], changed["notes"]) == (4, None)
        assert await one.read("/admin/api/drone-configs") == [changed]
        assert await one.post(f"{CONFIG}drone-01", {"nothing": 1}, 400)
        assert await one.read(f"{CONFIG}drone-01") == changed
        gone = await one.send("DELETE", f"{CONFIG}drone-01")
        assert (gone.status, gone.json) == (200, {"status": "ok", "deleted": "drone-01"})
        assert (await one.read(f"{CONFIG}drone-01"))["_unconfigured"]
        await one.refused("GET", f"{CONFIG}-bad", status=400)
        await one.refused("POST", f"{CONFIG}a%20b", {"notes": "x"}, status=400)
        for field, value in (("ssh_password", "x"), ("cores_limit", 0), ("control_plane", "v2")):
            await one.refused("POST", f"{CONFIG}drone-01", {field: value}, status=400)


async def test_configuration_of_a_drone_outlasts_a_restart(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        await one.post(f"{CONFIG}drone-01", {"max_failures": 3})
    async with swarm(tmp_path) as one:
        assert (await one.read(f"{CONFIG}drone-01"))["max_failures"] == 3


async def test_limit_of_cores_holds_when_work_is_given_out(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        await one.post(f"{CONFIG}drone-01", {"cores_limit": 4})
        packages = [atom() for _ in range(4)]
        await one.queue(*packages)
        limited = await one.drone("drone-01", capabilities={"cores": 16, "ram_gb": 32.0})
        free = await one.drone("drone-02", capabilities={"cores": 16, "ram_gb": 32.0})
        await limited.work()
        await free.work()
        nodes = {each["name"]: len(each["assigned_packages"]) for each in await one.read("/api/v1/nodes")}
        assert nodes == {"drone-01": 1, "drone-02": 2}


async def test_drone_of_few_allowed_failures_is_grounded_early(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        await one.post(f"{CONFIG}drone-01", {"max_failures": 2})
        drone = await one.drone("drone-01")
        packages = [atom() for _ in range(4)]
        await one.queue(*packages)
        for package in packages[:2]:
            await drone.build(package, "failed")
        assert [each["type"] for each in (await one.read("/api/v1/events?type=grounded"))["events"]] == ["grounded"]
        assert (await drone.work())["package"] is None


async def test_protected_drone_is_not_deleted(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        await one.drone("drone-01")
        await one.post(f"{CONFIG}drone-01", {"protected": True})
        for path in ("/api/appliance/swarm/drones/drone-01", "/api/v1/nodes/drone-01"):
            reply = await one.send("DELETE", path)
            assert reply.status == 409, reply.text
        await one.post(f"{CONFIG}drone-01", {"protected": False})
        assert (await one.send("DELETE", "/api/appliance/swarm/drones/drone-01")).status == 200


@pytest.mark.parametrize("field", [{"auto_reboot": False}, {"protected": True}])
async def test_drone_is_not_rebooted_where_its_configuration_forbids_it(tmp_path: Path, field: dict[str, bool]) -> None:
    async with swarm(tmp_path) as one:
        drone = await one.drone("drone-01")
        state = next(each.state for each in one.appliance.state.plugins.parts["build_swarm"].surfaces)
        known = state.swarm.drone(drone.id)
        assert state.healing.patient(known, an_approval()).no_reboot == ""
        await one.post(f"{CONFIG}drone-01", field)
        assert state.healing.patient(known, an_approval()).no_reboot


async def test_failed_uploads_are_forgotten(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        drone = await one.drone("drone-01")
        packages = [atom() for _ in range(4)]
        await one.queue(*packages)
        for package in packages[:3]:
            await drone.build(package, "upload_failed")
        assert (await drone.work())["package"] is None
        done = await one.post("/admin/api/drone/drone-01/reset-upload")
        assert done == {"status": "ok", "drone": "drone-01", "message": "Upload failures reset"}
        assert (await drone.work())["package"] is not None
        await one.refused("POST", "/admin/api/drone/none/reset-upload", {}, status=404)


async def test_allowlist_begins_with_what_drones_need_and_keeps_the_protected(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        entries = (await one.read(ALLOWED))["allowlist"]
        assert len(entries) == 17
        assert {each["package"] for each in entries if each["protected"]} == PROTECTED
        made = await one.post(ALLOWED, {"package": "app-misc/tmux", "drone": "drone-01", "reason": "people"})
        assert (made["status"], made["package"]) == ("ok", "app-misc/tmux")
        assert (await one.post(ALLOWED, {"package": "app-misc/tmux", "drone": "drone-01"}))["id"] == made["id"]
        assert len((await one.read(f"{ALLOWED}?drone=drone-01"))["allowlist"]) == 18
        assert len((await one.read(f"{ALLOWED}?drone=drone-02"))["allowlist"]) == 17
        assert len((await one.read(ALLOWED))["allowlist"]) == 18
        protected = next(each["id"] for each in entries if each["protected"])
        await one.refused("DELETE", f"{ALLOWED}/{protected}", status=403)
        await one.refused("DELETE", f"{ALLOWED}/99999", status=404)
        await one.refused("DELETE", f"{ALLOWED}/abc", status=400)
        gone = await one.send("DELETE", f"{ALLOWED}/{made['id']}")
        assert (gone.status, gone.json) == (200, {"status": "ok", "deleted": made["id"]})
        for package in (None, "", "a/b\nc/d", "screen", 5, ["a/b"]):
            await one.refused("POST", ALLOWED, {"package": package}, status=400)
        await one.refused("POST", ALLOWED, {"package": "a/b", "drone": "a b"}, status=400)
        await one.refused("POST", ALLOWED, ["a"], status=400)


async def test_log_of_a_drone_has_its_events_and_builds(tmp_path: Path) -> None:
    clock = SteppingClock()
    async with swarm(tmp_path, now=clock) as one:
        drone, other = await one.drone("drone-01"), await one.drone("drone-02")
        package = atom()
        await one.queue(package)
        await drone.build(package)
        found = await one.read("/admin/api/drones/drone-01/log?hours=2&limit=50")
        assert (found["drone"], found["drone_id"]) == ("drone-01", drone.id)
        assert [each["package"] for each in found["builds"]] == [package]
        assert {each["type"] for each in found["connections"]} == {"register"}
        assert {each["details"]["drone"] for each in found["events"]} == {"drone-01"}
        assert (await one.read(f"/admin/api/drones/{other.id}/log"))["builds"] == []
        clock.advance(3 * 3600)
        assert (await one.read("/admin/api/drones/drone-01/log?hours=2"))["builds"] == []
        await one.refused("GET", "/admin/api/drones/none/log", status=404)
        await one.refused("GET", "/admin/api/drones/drone-01/log?hours=nan", status=400)


async def test_versions_and_payloads_of_drones_are_listed(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        await one.drone("drone-01", version="0.3.2")
        found = await one.read("/admin/api/drones/versions")
        assert [(each["name"], each["version"], each["status"]) for each in found["drones"]] == [
            ("drone-01", "0.3.2", "online")
        ]
        assert found["payload"]["available"] is False
        content = {"type": "drone_binary", "version": "0.4.0", "content": "YQ=="}
        await one.post("/admin/api/payloads", content, 201)
        found = await one.read("/admin/api/drones/versions")
        assert found["payload"] == {"available": True, "version": "0.4.0", "component_count": 1}
        assert (await one.read("/admin/api/drones/payload"))["components"]["drone_binary"]["version"] == "0.4.0"


@pytest.mark.parametrize("path", ["/v2/api/nodes", "/v2/api/a/b", "/admin/api/v2/nodes", "/admin/api/v2/status"])
async def test_generation_before_is_gone(tmp_path: Path, path: str) -> None:
    async with swarm(tmp_path) as one:
        await one.refused("GET", path, status=410)
        await one.refused("POST", path, {}, status=410, headers=WITH_KEY)
        await one.refused("GET", path, status=401, headers=STRANGER)


async def test_paths_that_nobody_has_answer_json(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        await one.refused("GET", "/admin/api/nothing/at/all", status=404)
        await one.refused("POST", "/admin/api/auth/check", {}, status=405)
        await one.refused("POST", "/admin/api/drones/drone-01/clean", {}, status=410)
        for path in ("packages", "audit", "clean/preflight"):
            method = "POST" if "clean" in path else "GET"
            await one.refused(method, f"/admin/api/drones/none/{path}", status=404)


async def test_viewer_reads_and_changes_nothing(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        viewer = Swarm(one.appliance, await one.appliance.bearer("vera", Role.VIEWER))
        assert await viewer.read("/admin/api/auth/check")
        assert await viewer.read(ALLOWED)
        await viewer.refused("POST", f"{CONFIG}drone-01", {"notes": "x"}, status=403)
        await viewer.refused("POST", ALLOWED, {"package": "a/b"}, status=403)
        await viewer.refused("GET", "/api/v1/sql/tables", status=403)
