"""What the document of the build swarm says of its public server, one test for each statement, on the built file."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.wire.shapes import Only, differences, optional
from tests.wire.swarm import KEY, ORIGIN, STRANGER, VERSION, WITH_KEY, Swarm, atom, until, wire

pytestmark = pytest.mark.zipapp

NUMBER = Only("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool))
SESSION = {
    "id": str,
    "name": str,
    "status": Only("active or completed", lambda value: value in ("active", "completed")),
    "total_packages": int,
    "completed_packages": int,
    "failed_packages": int,
}
STATUS = {
    "version": str,
    "nodes": int,
    "nodes_online": int,
    "total_cores": int,
    "queue_depth": int,
    "queue_received": int,
    "queue_blocked": int,
    "needed": int,
    "delegated": int,
    "paused": bool,
    "session": optional(SESSION),
    "timing": {
        "total_builds": int,
        "success_rate": NUMBER,
        "avg_duration_s": NUMBER,
        "total_duration_s": NUMBER,
        "failed": int,
    },
    "drones": dict,
}
PROGRESS = {
    "package": str,
    "building_since": optional(int),
    "elapsed_s": NUMBER,
    "estimated_s": optional(NUMBER),
    "progress_pct": optional(int),
}
NODE = {
    "id": str,
    "name": str,
    "ip": str,
    "tailscale_ip": optional(str),
    "type": str,
    "drone_type": Only("a type", lambda value: value in ("lxc", "qemu", "bare-metal", "unknown")),
    "cores": int,
    "ram_gb": NUMBER,
    "status": str,
    "paused": bool,
    "last_seen": float,
    "version": str,
    "cpu_percent": NUMBER,
    "ram_percent": NUMBER,
    "assigned_packages": [str],
    "build_progress": [PROGRESS],
    "builds_completed": int,
    "builds_failed": int,
}
EVENT = {"id": int, "timestamp": float, "type": str, "message": str, "details": dict}
BUILD = {
    "id": int,
    "package": str,
    "drone_id": str,
    "drone_name": str,
    "status": str,
    "duration_seconds": NUMBER,
    "error_message": optional(str),
    "session_id": str,
    "built_at": float,
}


@pytest.fixture
def swarm(shared_swarm: Swarm) -> Iterator[Swarm]:
    """A swarm at rest."""
    yield shared_swarm
    shared_swarm.clear()


# ---------------------------------------------------------------- health and status


def test_health_is_ok_with_a_version_and_the_seconds_that_it_runs(swarm: Swarm) -> None:
    found = swarm.read("/api/v1/health")
    assert found["status"] == "ok"
    assert isinstance(found["version"], str)
    assert found["uptime_s"] >= 0


def test_status_has_every_documented_figure(swarm: Swarm) -> None:
    drone = swarm.drone()
    first, second, third = atom(), atom(), atom()
    swarm.queue(first, second, third, session_name="World rebuild")
    drone.build(first)
    drone.take(second)
    found = swarm.read("/api/v1/status")
    assert differences(STATUS, found) == []
    assert found["version"] == VERSION
    assert (found["nodes"], found["nodes_online"], found["total_cores"]) == (1, 1, 4)
    assert found["queue_depth"] == found["needed"] + found["delegated"] == 2
    assert (found["queue_received"], found["queue_blocked"], found["delegated"], found["paused"]) == (1, 0, 1, False)
    assert found["session"]["name"] == "World rebuild"
    assert found["session"]["status"] == "active"
    assert (found["session"]["total_packages"], found["session"]["completed_packages"]) == (3, 1)
    assert found["timing"]["total_builds"] == 1
    assert found["timing"]["avg_duration_s"] == found["timing"]["total_duration_s"] == 323.5
    shown = found["drones"][drone.name]
    assert (shown["name"], shown["ip"], shown["status"], shown["cores"]) == (drone.name, "10.0.0.175", "online", 4)
    assert shown["assigned_packages"] == [wire(second)]


def test_status_shows_what_a_drone_says_it_builds(swarm: Swarm) -> None:
    drone = swarm.drone()
    package = atom()
    swarm.queue(package)
    drone.take(package)
    drone.register(current_task=package)
    assert swarm.read("/api/v1/status")["drones"][drone.name]["current_task"] in (package, wire(package))


def test_session_is_null_when_none_is_active(swarm: Swarm) -> None:
    assert swarm.read("/api/v1/status")["session"] is None


# ---------------------------------------------------------------- nodes


def test_nodes_is_an_array_of_drones_with_every_documented_field(swarm: Swarm) -> None:
    drone = swarm.drone(cores=16, tailscale_ip="100.92.27.91")
    package = atom()
    swarm.queue(package)
    drone.take(package)
    drone.register(current_task=package, tailscale_ip="100.92.27.91")
    (node,) = swarm.read("/api/v1/nodes")
    assert differences(NODE, node) == []
    assert (node["id"], node["name"], node["type"], node["drone_type"]) == (drone.id, drone.name, "drone", "unknown")
    assert (node["ip"], node["tailscale_ip"], node["cores"], node["ram_gb"]) == (
        "10.0.0.175",
        "100.92.27.91",
        16,
        32.0,
    )
    assert (node["cpu_percent"], node["ram_percent"], node["version"]) == (45.2, 62.1, VERSION)
    assert abs(node["last_seen"] - time.time()) < 60
    assert node["assigned_packages"] == [wire(package)]
    (progress,) = node["build_progress"]
    assert progress["package"] == wire(package)
    assert abs(progress["building_since"] - time.time()) < 60
    assert progress["elapsed_s"] >= 0


def test_progress_is_estimated_from_what_was_built_before(swarm: Swarm) -> None:
    drone = swarm.drone()
    package = atom()
    swarm.queue(package)
    drone.build(package, build_duration_s=1000.0)
    swarm.queue(package)
    drone.take(package)
    drone.register(current_task=package)
    (progress,) = drone.node["build_progress"]
    assert progress["estimated_s"] == 1000
    assert progress["progress_pct"] == 0


def test_builds_of_a_drone_are_counted(swarm: Swarm) -> None:
    drone, other = swarm.drone(), swarm.drone()
    good, bad = atom(), atom()
    swarm.queue(good)
    drone.build(good)
    swarm.queue(bad)
    drone.build(bad, "failed")
    assert (drone.node["builds_completed"], drone.node["builds_failed"]) == (1, 1)
    assert (other.node["builds_completed"], other.node["builds_failed"]) == (0, 0)


def test_nodes_in_the_legacy_format_are_an_object_of_drones_and_orchestrators(swarm: Swarm) -> None:
    drone = swarm.drone()
    found = swarm.read("/api/v1/nodes?format=legacy")
    assert found["orchestrators"] == []
    assert [each["name"] for each in found["drones"]] == [drone.name]


# ---------------------------------------------------------------- events


def test_events_have_an_id_a_time_a_type_a_message_and_details(swarm: Swarm) -> None:
    drone = swarm.drone()
    package = atom()
    swarm.queue(package)
    drone.build(package)
    (event,) = [each for each in swarm.events("complete") if each["details"]["package"] == wire(package)]
    assert differences(EVENT, event) == []
    assert (event["details"]["drone_id"], event["details"]["duration_s"]) == (drone.id, 323.5)
    assert abs(event["timestamp"] - time.time()) < 60
    assert drone.name in event["message"]


def test_events_are_limited_to_the_newest_oldest_first(swarm: Swarm) -> None:
    for _ in range(3):
        swarm.control("pause")
        swarm.control("resume")
    ids = [each["id"] for each in swarm.read("/api/v1/events?limit=4")["events"]]
    assert len(ids) == 4
    assert ids == sorted(ids)
    assert ids[-1] == swarm.latest_event
    assert len(swarm.read("/api/v1/events")["events"]) <= 200


def test_events_since_a_time_are_the_later_ones(swarm: Swarm) -> None:
    swarm.control("pause")
    (last,) = swarm.read("/api/v1/events?limit=1")["events"]
    later = swarm.read(f"/api/v1/events?since={last['timestamp'] - 0.001:.3f}")["events"]
    assert last["id"] in [each["id"] for each in later]
    assert swarm.read(f"/api/v1/events?since={last['timestamp'] + 3600}")["events"] == []


def test_events_are_filtered_by_type(swarm: Swarm) -> None:
    swarm.drone()
    swarm.control("pause")
    assert {each["type"] for each in swarm.read("/api/v1/events?type=control")["events"]} == {"control"}
    assert swarm.read("/api/v1/events?type=nothing-is")["events"] == []


def test_drone_that_comes_online_is_an_event_of_type_register(swarm: Swarm) -> None:
    before = swarm.latest_event
    drone = swarm.drone()
    drone.register()
    (event,) = swarm.events("register", before)
    assert drone.name in event["message"]


def test_build_that_fails_is_an_event_of_type_fail(swarm: Swarm) -> None:
    before = swarm.latest_event
    drone = swarm.drone()
    package = atom()
    swarm.queue(package)
    drone.build(package, "failed", error_detail="no space left")
    (event,) = swarm.events("fail", before)
    assert event["details"]["package"] == wire(package)


def test_drone_that_fails_too_often_is_grounded_which_is_an_event(swarm: Swarm) -> None:
    before = swarm.latest_event
    drone = swarm.drone()
    for _ in range(8):
        package = atom()
        swarm.queue(package)
        drone.build(package, "failed")
        swarm.control("block", package=package)
    (event,) = swarm.events("grounded", before)
    assert drone.name in event["message"]
    swarm.queue(atom())
    assert drone.work()["package"] is None
    swarm.control("unground")
    assert drone.work()["package"] is not None


def test_control_action_is_an_event_of_type_control(swarm: Swarm) -> None:
    before = swarm.latest_event
    swarm.control("pause")
    assert len(swarm.events("control", before)) == 1


@pytest.mark.long
def test_silent_drone_is_offline_an_event_of_type_stale_and_only_listed_when_asked_for(brief_swarm: Swarm) -> None:
    drone = brief_swarm.drone()
    package = atom()
    brief_swarm.queue(package)
    drone.take(package)
    until(lambda: brief_swarm.read("/api/v1/nodes") == [])
    (node,) = brief_swarm.read("/api/v1/nodes?all=true")
    assert (node["name"], node["status"]) == (drone.name, "offline")
    (event,) = until(lambda: brief_swarm.events("stale"))
    assert drone.name in event["message"]
    until(lambda: brief_swarm.status_of(package) == "needed")
    status = brief_swarm.read("/api/v1/status")
    assert (status["nodes"], status["nodes_online"]) == (1, 0)


def test_stored_events_are_filtered_by_time_type_and_drone(swarm: Swarm) -> None:
    drone, other = swarm.drone(), swarm.drone()
    package = atom()
    swarm.queue(package)
    drone.build(package)
    found = until(lambda: swarm.read(f"/api/v1/events/history?drone={drone.name}&type=complete")["events"])
    assert [each["details"]["package"] for each in found] == [wire(package)]
    assert differences([EVENT], found) == []
    assert swarm.read(f"/api/v1/events/history?drone={other.name}&type=complete")["events"] == []
    assert swarm.read(f"/api/v1/events/history?since={time.time() + 3600}")["events"] == []
    assert len(swarm.read("/api/v1/events/history?limit=2")["events"]) == 2


# ---------------------------------------------------------------- history and sessions


def test_history_lists_builds_with_every_documented_field(swarm: Swarm) -> None:
    drone = swarm.drone()
    package = atom()
    session = swarm.queue(package)["session_id"]
    drone.build(package)
    (found,) = [each for each in swarm.read("/api/v1/history")["builds"] if each["package"] == wire(package)]
    assert differences(BUILD, found) == []
    assert (found["drone_id"], found["drone_name"], found["status"]) == (drone.id, drone.name, "success")
    assert (found["duration_seconds"], found["error_message"], found["session_id"]) == (323.5, None, session)
    assert abs(found["built_at"] - time.time()) < 60


def test_history_is_filtered_by_status_and_drone_and_limited(swarm: Swarm) -> None:
    drone, other = swarm.drone(), swarm.drone()
    good, bad = atom(), atom()
    swarm.queue(good)
    drone.build(good)
    swarm.queue(bad)
    drone.build(bad, "failed", error_detail="broken")
    mine = swarm.read(f"/api/v1/history?drone={drone.name}")["builds"]
    assert [each["package"] for each in mine] == [wire(bad), wire(good)]
    (failed,) = swarm.read(f"/api/v1/history?drone={drone.name}&status=failed")["builds"]
    assert (failed["package"], failed["error_message"]) == (wire(bad), "broken")
    assert swarm.read(f"/api/v1/history?drone={other.name}")["builds"] == []
    assert len(swarm.read(f"/api/v1/history?drone={drone.name}&limit=1")["builds"]) == 1


def test_sessions_are_listed_with_their_counts_and_complete_by_themselves(swarm: Swarm) -> None:
    drone = swarm.drone()
    package = atom()
    name = f"World {package}"
    session_id = swarm.queue(package, session_name=name)["session_id"]
    (found,) = [each for each in swarm.read("/api/v1/sessions")["sessions"] if each["id"] == session_id]
    assert differences(SESSION | {"started_at": int, "completed_at": optional(int)}, found) == []
    assert (found["name"], found["status"], found["total_packages"], found["completed_at"]) == (name, "active", 1, None)
    drone.build(package)
    (found,) = [each for each in swarm.read("/api/v1/sessions")["sessions"] if each["id"] == session_id]
    assert (found["status"], found["completed_packages"]) == ("completed", 1)
    assert abs(found["completed_at"] - time.time()) < 60


# ---------------------------------------------------------------- queue and control


def test_queueing_opens_a_session_and_answers_what_was_queued(swarm: Swarm) -> None:
    first, second = atom(), atom()
    found = swarm.queue(first, second, session_name="Security updates")
    assert (found["status"], found["queued"], found["packages"]) == ("ok", 2, [wire(first), wire(second)])
    assert found["session_id"].startswith("session-20")
    assert swarm.read("/api/v1/status")["session"]["id"] == found["session_id"]
    assert swarm.read("/api/v1/status")["session"]["name"] == "Security updates"


def test_queueing_joins_the_session_that_is_being_built(swarm: Swarm) -> None:
    first = swarm.queue(atom(), session_name="One")["session_id"]
    assert swarm.queue(atom())["session_id"] == first


ACTIONS = (
    "pause",
    "resume",
    "unblock",
    "unground",
    "reset",
    "rebalance",
    "clear_failures",
    "retry_failures",
)


@pytest.mark.parametrize("action", ACTIONS)
def test_control_action_answers_status_action_and_message(swarm: Swarm, action: str) -> None:
    found = swarm.control(action)
    assert (found["status"], found["action"]) == ("ok", action)
    assert found["message"]


def test_pause_gives_nobody_work_until_resume(swarm: Swarm) -> None:
    drone = swarm.drone()
    package = atom()
    swarm.queue(package)
    assert swarm.control("pause")["message"] == "Queue paused"
    assert drone.work()["package"] is None
    assert swarm.read("/api/v1/status")["paused"] is True
    swarm.control("resume")
    assert drone.work()["package"] == wire(package)


def test_unblock_makes_all_blocked_packages_needed(swarm: Swarm) -> None:
    package = atom()
    swarm.queue(package)
    swarm.control("block", package=package)
    assert swarm.status_of(package) == "blocked"
    assert swarm.read("/api/v1/status")["queue_blocked"] == 1
    swarm.control("unblock")
    assert swarm.status_of(package) == "needed"


def test_reset_brings_the_queue_to_its_start(swarm: Swarm) -> None:
    drone = swarm.drone()
    first, second = atom(), atom()
    swarm.queue(first, second)
    drone.build(first, "failed")
    swarm.control("block", package=first)
    swarm.control("reset")
    listed = {each["package"]: each for each in swarm.read("/api/v1/queue")}
    assert {each["status"] for each in listed.values()} == {"needed"}
    assert listed[wire(first)]["failures"] == 0


def test_rebalance_reclaims_delegated_packages_that_nobody_compiles(swarm: Swarm) -> None:
    drone = swarm.drone()
    package = atom()
    swarm.queue(package)
    drone.take(package)
    swarm.control("rebalance")
    assert swarm.status_of(package) == "needed"


@pytest.mark.parametrize("action", ["clear_failures", "retry_failures"])
def test_failed_packages_are_queued_again_by_control(swarm: Swarm, action: str) -> None:
    drone, package = swarm.drone(), atom()
    swarm.queue(package)
    drone.build(package, "masked")
    assert swarm.status_of(package) == "blocked"
    swarm.control(action)
    assert swarm.status_of(package) == "needed"


def test_paused_drone_gets_no_work(swarm: Swarm) -> None:
    drone, package = swarm.drone(), atom()
    swarm.queue(package)
    found = swarm.post(f"/api/v1/nodes/{drone.name}/pause")
    assert (found["status"], found["drone"], found["paused"]) == ("ok", drone.name, True)
    assert drone.work()["package"] is None
    assert drone.node["paused"] is True
    assert drone.register()["paused"] is True


@pytest.mark.parametrize("drone_type", ["lxc", "qemu", "bare-metal", "unknown"])
def test_type_of_a_drone_is_set(swarm: Swarm, drone_type: str) -> None:
    drone = swarm.drone()
    found = swarm.post(f"/api/v1/nodes/{drone.name}/set-type", {"drone_type": drone_type})
    assert (found["status"], found["drone"], found["drone_type"]) == ("ok", drone.name, drone_type)
    assert drone.node["drone_type"] == drone_type


# ---------------------------------------------------------------- drones


def test_register_answers_where_to_work(swarm: Swarm) -> None:
    found = swarm.drone().register()
    assert found["status"] == "registered"
    assert (found["orchestrator"], found["orchestrator_port"]) == ("127.0.0.1", swarm.product.port)
    assert found["orchestrator_name"] == "build-swarm-v3"
    assert found["paused"] is False


def test_work_answers_package_and_session_or_null(swarm: Swarm) -> None:
    drone = swarm.drone()
    assert drone.work() == {"package": None}
    package = atom()
    session = swarm.queue(package)["session_id"]
    assert drone.work() == {"package": wire(package), "session_id": session}


def test_complete_answers_ok_and_the_package(swarm: Swarm) -> None:
    drone, package = swarm.drone(), atom()
    swarm.queue(package)
    found = drone.build(package)
    assert (found["status"], found["package"]) == ("ok", wire(package))
    assert swarm.status_of(package) == "received"


def test_failed_package_is_needed_again(swarm: Swarm) -> None:
    drone, package = swarm.drone(), atom()
    swarm.queue(package)
    drone.build(package, "failed", error_detail="compile error")
    (found,) = [each for each in swarm.read("/api/v1/queue") if each["package"] == wire(package)]
    assert (found["status"], found["failures"], found["error_message"]) == ("needed", 1, "compile error")


def test_returned_package_is_no_failure(swarm: Swarm) -> None:
    drone, package = swarm.drone(), atom()
    swarm.queue(package)
    drone.build(package, "returned")
    (found,) = [each for each in swarm.read("/api/v1/queue") if each["package"] == wire(package)]
    assert (found["status"], found["failures"]) == ("needed", 0)


# ---------------------------------------------------------------- access and errors

READS = (
    "/api/v1/status",
    "/api/v1/nodes",
    "/api/v1/events",
    "/api/v1/events/history",
    "/api/v1/history",
    "/api/v1/sessions",
)
WRITES: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/api/v1/queue", {"packages": ["dev-test/never"]}),
    ("POST", "/api/v1/control", {"action": "pause"}),
    ("POST", "/api/v1/nodes/drone-01/pause", None),
    ("POST", "/api/v1/nodes/drone-01/resume", None),
    ("POST", "/api/v1/nodes/drone-01/set-type", {"drone_type": "lxc"}),
    ("DELETE", "/api/v1/nodes/drone-01", None),
    ("POST", "/api/v1/profiles", {"name": "x"}),
    ("DELETE", "/api/v1/profiles/x", None),
    ("POST", "/api/v1/profiles/x/world", {"packages": []}),
    ("POST", "/api/v1/profile/sync", {"profile": "x"}),
    ("POST", "/api/v1/snapshots", {}),
    ("POST", "/api/v1/provision/drone", {"ip": "10.0.0.1"}),
    ("GET", "/api/v1/provision/bootstrap", None),
    ("GET", "/api/v1/drone-health", None),
)
"""Everything that changes something, and reads that need the key; the document's and those it leaves out."""


@pytest.mark.parametrize("path", READS)
def test_reads_take_the_key_of_the_environment(swarm: Swarm, path: str) -> None:
    assert swarm.send("GET", path, headers=WITH_KEY).status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=lambda value: str(value) if value else "")
def test_write_without_the_key_is_401_and_changes_nothing(swarm: Swarm, method: str, path: str, body: Any) -> None:
    words = swarm.refused(method, path, body, status=401, headers=STRANGER)
    assert words == "Admin authentication required"
    assert swarm.refused(method, path, body, status=401, headers=STRANGER | {"X-Admin-Key": KEY + "x"})
    assert swarm.read("/api/v1/status")["paused"] is False


def test_write_with_the_key_is_done(swarm: Swarm) -> None:
    answer = swarm.send("POST", "/api/v1/control", {"action": "pause"}, headers=WITH_KEY)
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_key_in_the_query_is_none_on_this_server(swarm: Swarm) -> None:
    swarm.refused("POST", f"/api/v1/control?key={KEY}", {"action": "pause"}, status=401, headers=STRANGER)


def test_unknown_drone_is_404_with_a_hint(swarm: Swarm) -> None:
    for path in ("pause", "resume"):
        swarm.refused("POST", f"/api/v1/nodes/nobody/{path}", status=404)
    swarm.refused("POST", "/api/v1/nodes/nobody/set-type", {"drone_type": "lxc"}, status=404)
    swarm.refused("DELETE", "/api/v1/nodes/nobody", status=404)


def test_unknown_path_is_404_in_the_same_shape(swarm: Swarm) -> None:
    swarm.refused("GET", "/api/v1/nodes/a/b/c/d", status=404)


@pytest.mark.parametrize("path", ["/api/v2/nodes", "/api/v2/status/x", "/api/v1/orchestrators"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_generation_before_is_410_with_a_hint(swarm: Swarm, method: str, path: str) -> None:
    swarm.refused(method, path, status=410)


@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/nodes", "/api/v1/nodes/a/b/c/d"])
def test_page_of_an_allowed_origin_may_read_every_answer(swarm: Swarm, path: str) -> None:
    answer = swarm.send("GET", path, headers={"Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    other = swarm.send("GET", path, headers={"Origin": "https://other.example.org"})
    assert "access-control-allow-origin" not in other.headers


def test_preflight_allows_the_key(swarm: Swarm) -> None:
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-admin-key",
    }
    answer = swarm.send("OPTIONS", "/api/v1/control", headers=headers)
    assert answer.status_code == 200
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "x-admin-key" in answer.headers["access-control-allow-headers"].lower()
