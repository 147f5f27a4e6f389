"""What anybody may read, by whole requests."""

from pathlib import Path

from tests.plugins.build_swarm.kit import atom, swarm


async def test_status_nodes_and_queue_follow_every_change(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        assert (await one.read("/api/v1/status"))["session"] is None
        assert await one.read("/api/v1/nodes") == await one.read("/api/v1/queue") == []
        drone, first, second = await one.drone(), atom(), atom()
        await one.queue(first, second, session_name="World")
        assert [each["package"] for each in await one.read("/api/v1/queue")] == [first, second]
        await drone.work()
        status = await one.read("/api/v1/status")
        assert (status["queue_depth"], status["delegated"], status["session"]["name"]) == (2, 1, "World")
        assert status["packages"]["needed"] == [second]
        assert status["packages"]["delegated"][first]["drone"] == drone.name
        assert status["drones"][drone.name]["assigned_packages"] == [first]
        (node,) = await one.read("/api/v1/nodes")
        assert node["build_progress"][0]["package"] == first
        await drone.complete(first, "failed")
        status = await one.read("/api/v1/status")
        assert status["drone_health"][drone.name]["failures"] == 1
        assert (await one.package(first))["failures"] == 1
        await one.post(f"/api/v1/nodes/{drone.id}/pause")
        assert [each["paused"] for each in await one.read("/api/v1/nodes")] == [True]
        legacy = await one.read("/api/v1/nodes?format=legacy&all=true")
        assert legacy == {"drones": await one.read("/api/v1/nodes?all=true"), "orchestrators": []}
        await one.send("DELETE", f"/api/v1/nodes/{drone.name}")
        assert await one.read("/api/v1/nodes?all=true") == []
        assert (await one.read("/api/v1/status"))["drones"] == {}


async def test_history_events_and_sessions_are_filtered_and_bounded(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        drone, good, bad = await one.drone(), atom(), atom()
        session = (await one.queue(good))["session_id"]
        await drone.build(good)
        await one.queue(bad)
        await drone.build(bad, "exploded")
        found = await one.read(f"/api/v1/history?drone={drone.name}&limit=2147483648")
        assert [each["status"] for each in found["builds"]] == ["exploded", "success"]
        assert found["history"] == found["builds"]
        assert found["stats"]["per_drone"][0]["drone_name"] == drone.name
        only = await one.read(f"/api/v1/history?session={session}&status=success&package={good}")
        assert [each["package"] for each in only["builds"]] == [good]
        assert (await one.read(f"/api/v1/history?before={only['builds'][0]['id']}"))["builds"] == []
        events = await one.read("/api/v1/events?type=complete")
        assert [each["details"]["duration"] for each in events["events"]] == [5.0]
        newest = events["latest_id"]
        assert (await one.read(f"/api/v1/events?since={newest}"))["events"] == []
        stored = await one.read(f"/api/v1/events/history?type=complete&drone={drone.name}&since=1e9")
        assert stored["total"] == 1
        assert (await one.read(f"/api/v1/events/history?since={newest}"))["total"] == 0
        sessions = (await one.read("/api/v1/sessions?limit=1"))["sessions"]
        assert [each["status"] for each in sessions] == ["active"]
        counted = {each["package"]: each for each in (await one.read("/api/v1/build-stats/by-package"))["packages"]}
        assert (counted[good]["successes"], counted[bad]["successes"]) == (1, 0)
        (version,) = (await one.read("/api/v1/versions"))["drones"]
        assert (version["name"], version["version"], version["online"]) == (drone.name, "unknown", True)
        (health,) = (await one.read("/api/v1/drone-health"))["drones"]
        assert (health["drone"], health["failures"], health["last_probe"]) == (drone.name, 1, None)


async def test_query_that_means_nothing_is_refused(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        for query in (
            "events?limit=abc",
            "events?limit=0",
            "events?since=nan",
            "events?since=-1",
            "history?limit=1.5",
            "history?before=-1",
            "sessions?limit=x",
            f"nodes?all={'x' * 20}",
        ):
            assert await one.refused("GET", f"/api/v1/{query}", status=400)


async def test_generation_before_is_gone_and_what_nobody_has_is_not_found(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        for method in ("GET", "POST", "PUT", "DELETE"):
            assert await one.refused(method, "/api/v2/nodes", status=410)
        assert await one.refused("GET", "/api/v1/orchestrators", status=410)
        assert await one.refused("GET", "/api/v1/nodes/a/b/c", status=404)
