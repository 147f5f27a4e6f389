"""Profiles and snapshots, by whole requests."""

from pathlib import Path

from tests.plugins.build_swarm.kit import atom, swarm


async def test_profile_is_made_changed_queued_kept_and_deleted(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        first, second = atom(), atom()
        made = await one.post("/api/v1/profiles", {"name": "Mein Désktop!", "world": [first, first]}, 201)
        assert (made["id"], made["profile"]["packages"]) == ("mein-desktop", [first])
        path = "/api/v1/profiles/mein-desktop"
        for _ in range(2):
            await one.refused("POST", "/api/v1/profiles", {"id": "mein-desktop"}, status=409)
        changed = await one.post(f"{path}/world", {"packages": [first, second]})
        assert changed["packages"] == 2
        assert (await one.read(path))["packages"] == [first, second]
        (listed,) = (await one.read("/api/v1/profiles"))["profiles"]
        assert (listed["id"], listed["package_count"], "packages" in listed) == ("mein-desktop", 2, False)
        queued = await one.post("/api/v1/profile/sync", {"profile": "mein-desktop", "session_name": "Now"})
        assert (queued["packages"], queued["session"]["name"]) == ([first, second], "Now")
        kept = await one.post("/api/v1/snapshots", {"profile_id": "mein-desktop"}, 201)
        assert kept["snapshot"]["packages"] == [first, second]
        assert (await one.send("DELETE", path)).json == {"status": "deleted", "id": "mein-desktop"}
        await one.refused("DELETE", path, status=404)
        await one.refused("GET", path, status=404)
        await one.refused("POST", f"{path}/world", {"packages": []}, status=404)
        kinds = {each["type"] for each in (await one.read("/api/v1/events"))["events"]}
        assert {"profile", "snapshot"} <= kinds


async def test_snapshot_without_a_profile_has_what_was_built(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        drone, package, waiting = await one.drone(), atom(), atom()
        await one.queue(package, waiting)
        await drone.build(package)
        made = await one.post("/api/v1/snapshots", {"name": "built"}, 201)
        assert made["snapshot"]["packages"] == [package]
        assert [each["name"] for each in (await one.read("/api/v1/snapshots"))["snapshots"]] == ["built"]


async def test_what_is_no_profile_is_refused(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        await one.post("/api/v1/profiles", {"id": "empty"}, 201)
        for path, body, status in (
            ("/api/v1/profiles", {}, 400),
            ("/api/v1/profiles", {"id": "../x"}, 400),
            ("/api/v1/profiles", {"name": "x", "packages": "dev-libs/openssl"}, 400),
            ("/api/v1/profiles", {"name": "x", "packages": ["openssl"]}, 400),
            ("/api/v1/profiles/empty/world", {}, 400),
            ("/api/v1/profile/sync", {}, 400),
            ("/api/v1/profile/sync", {"id": "nobody"}, 404),
            ("/api/v1/profile/sync", {"id": "empty"}, 409),
            ("/api/v1/snapshots", {"profile": "nobody"}, 404),
        ):
            await one.refused("POST", path, body, status=status)
        assert [each["id"] for each in (await one.read("/api/v1/profiles"))["profiles"]] == ["empty"]
