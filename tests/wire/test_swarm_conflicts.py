"""Where the document of the build swarm and the server that it describes differ: each row is answered with both.

For a key that the two fill differently the document wins, and what the server says has a name of its own.
"""

import base64
import hashlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.wire.sshd import Sshd, running_sshd
from tests.wire.swarm import KEY, STRANGER, Drone, Swarm, atom, until, wire

pytestmark = pytest.mark.zipapp

Check = Callable[[Swarm], None]
ROWS: Final[dict[str, Check]] = {}
"""What holds for each row, by the row's first column."""


def row(name: str) -> Callable[[Check], Check]:
    """Add what holds for a row."""

    def add(check: Check) -> Check:
        assert name not in ROWS
        ROWS[name] = check
        return check

    return add


@pytest.fixture
def swarm(shared_swarm: Swarm) -> Iterator[Swarm]:
    """A swarm at rest."""
    yield shared_swarm
    shared_swarm.clear()


@row("history")
def history(swarm: Swarm) -> None:
    drone, other = swarm.drone(), swarm.drone()
    good, bad = atom(), atom()
    session = swarm.queue(good)["session_id"]
    drone.build(good)
    swarm.queue(bad)
    drone.build(bad, "failed")
    found = swarm.read(f"/api/v1/history?drone={drone.name}&status=success")
    assert [each["package"] for each in found["builds"]] == [wire(good)]
    assert found["history"] == found["builds"]
    stats = found["stats"]
    for name in ("total_builds", "successful", "failed", "success_rate", "avg_duration_s", "total_duration_s"):
        assert isinstance(stats[name], int | float)
    mine = next(each for each in stats["per_drone"] if each["drone_name"] == drone.name)
    assert (mine["total_builds"], mine["successful"], mine["failed"]) == (2, 1, 1)
    of_session = swarm.read(f"/api/v1/history?session={session}")["history"]
    assert {each["session_id"] for each in of_session} == {session}
    assert wire(good) in [each["package"] for each in of_session]
    assert swarm.read(f"/api/v1/history?drone={other.name}")["builds"] == []


@row("events since")
def events_since(swarm: Swarm) -> None:
    swarm.control("pause")
    found = swarm.read("/api/v1/events")
    assert found["latest_id"] == found["events"][-1]["id"]
    newest = found["events"][-1]
    assert swarm.read(f"/api/v1/events?since={newest['id']}")["events"] == []
    assert [each["id"] for each in swarm.read(f"/api/v1/events?since={newest['id'] - 1}")["events"]] == [newest["id"]]
    assert [each["id"] for each in swarm.read(f"/api/v1/events?since={newest['id'] - 0.5}")["events"]] == [newest["id"]]
    assert newest["id"] in [
        each["id"] for each in swarm.read(f"/api/v1/events?since={newest['timestamp'] - 1}")["events"]
    ]
    assert len(swarm.read("/api/v1/events?limit=1&type=control")["events"]) == 1


@row("events details of complete")
def details_of_complete(swarm: Swarm) -> None:
    drone, package = swarm.drone(), atom()
    swarm.queue(package)
    drone.build(package)
    details = swarm.events("complete")[-1]["details"]
    assert (details["drone_id"], details["package"], details["duration_s"]) == (drone.id, wire(package), 323.5)
    assert (details["drone"], details["duration"]) == (drone.name, 323.5)


@row("event types")
def event_types(swarm: Swarm) -> None:
    before = swarm.latest_event
    drone = swarm.drone()
    first, second, third = atom(), atom(), atom()
    swarm.queue(first, second, third)
    drone.build(first)
    drone.build(second, "failed")
    swarm.control("block", package=second)
    drone.build(third, "returned")
    drone.complete(first)
    swarm.control("unblock")
    drone.work()
    swarm.control("rebalance")
    swarm.control("pause")
    found = {each["type"] for each in swarm.events(after=before)}
    # The document's, and the upstream server's: "register" is told as documented, which that server never does.
    assert {"register", "complete", "fail", "control"} <= found
    assert {"assign", "return", "stale", "queue", "unblock", "rebalance", "blocked"} <= found


@row("queue POST")
def queue_post(swarm: Swarm) -> None:
    first, second = atom(), atom()
    found = swarm.queue(first, second, session_name="Union", portage_timestamp="2026-02-12")
    assert found["packages"] == [wire(first), wire(second)]
    assert (found["queued"], found["portage_timestamp"]) == (2, "2026-02-12")
    assert found["session_id"] == found["session"]["id"]
    assert found["session"]["name"] == "Union"
    drone = swarm.drone(capabilities={"cores": 8, "portage_timestamp": "2025-01-01"})
    assert drone.work() == {"package": None, "action": "sync_portage", "expected_timestamp": "2026-02-12"}
    drone.register(capabilities={"cores": 8, "portage_timestamp": "2026-02-12"})
    assert drone.work()["package"] == wire(first)


@row("work")
def work(swarm: Swarm) -> None:
    busy, package = swarm.drone(), atom()
    session = swarm.queue(package)["session_id"]
    assert busy.work() == {"package": wire(package), "session_id": session}
    assert busy.work() == {"package": wire(package), "session_id": session}
    swarm.control("rebalance")
    swarm.control("pause")
    assert busy.work()["revoke"] == [wire(package)]
    assert busy.work() == {"package": None}


@row("complete")
def complete(swarm: Swarm) -> None:
    drone, other, package = swarm.drone(), swarm.drone(), atom()
    swarm.queue(package)
    drone.take(package)
    stale = other.complete(package)
    assert (stale["status"], stale["package"], stale["accepted"], stale["stale"]) == ("ok", wire(package), False, True)
    assert (stale["action"], stale["reassigned_to"]) == ("stop_work", drone.name)
    assert stale["reason"]
    assert drone.complete(package) == {"status": "ok", "package": wire(package), "accepted": True}
    again = drone.complete(package)
    assert (again["accepted"], again["stale"]) == (False, True)
    failing = atom()
    swarm.queue(failing)
    assert drone.build(failing, "failed") == {"status": "ok", "package": wire(failing), "accepted": False}


@row("register")
def register(swarm: Swarm) -> None:
    drone, package = swarm.drone(), atom()
    assert drone.register()["paused"] is False
    swarm.post(f"/api/v1/nodes/{drone.id}/pause")
    assert drone.register()["paused"] is True
    swarm.post(f"/api/v1/nodes/{drone.id}/resume")
    swarm.queue(package)
    drone.take(package)
    drone.register(current_task=package)
    swarm.control("reclaim", package=package)
    told = drone.register(current_task=package)
    assert told.get("revoke") == [wire(package)] or told["stop_work"]["package"] == wire(package)


@row("control")
def control(swarm: Swarm) -> None:
    assert swarm.control("pause").items() >= {"status": "ok", "action": "pause", "state": "paused"}.items()
    assert swarm.control("resume").items() >= {"status": "ok", "action": "resume", "state": "active"}.items()
    drone, first, second = swarm.drone(), atom(), atom()
    swarm.queue(first, second)
    assert swarm.control("block", package=first).items() >= {"status": "ok", "package": wire(first)}.items()
    assert swarm.control("block", package=first)["status"] == "no_change"
    assert swarm.control("unblock", package=first).items() >= {"status": "ok", "package": wire(first)}.items()
    assert swarm.control("unblock", package=first)["status"] == "no_change"
    swarm.control("block", package=first)
    assert swarm.control("unblock")["unblocked"] == 1
    swarm.control("block", package=first)
    assert swarm.control("retry_failures")["requeued"] == 1
    assert drone.work()["package"]
    assert swarm.control("rebalance")["reclaimed"] == 1
    assert swarm.control("optimize")["reclaimed"] == 0
    drone.work()
    assert swarm.control("reclaim", package=first)["status"] == "ok"
    assert swarm.control("reset").items() >= {"status": "ok", "state": "reset"}.items()
    assert isinstance(swarm.control("reset")["affected"], int)
    for action, more in (
        ("unground", {}),
        ("unground", {"drone_id": drone.id}),
        ("unground", {"drone": drone.name}),
        ("clear_failures", {}),
        ("clear_history", {}),
    ):
        assert swarm.control(action, **more)["status"] == "ok"
    for action in ("block", "reclaim"):
        swarm.refused("POST", "/api/v1/control", {"action": action}, status=400)
    assert "fly" in swarm.refused("POST", "/api/v1/control", {"action": "fly"}, status=400)


@row("nodes/X/pause")
def pause(swarm: Swarm) -> None:
    drone = swarm.drone()
    for named in (drone.name, drone.id):
        found = swarm.post(f"/api/v1/nodes/{named}/pause")
        expected = {"status": "ok", "drone": drone.name, "paused": True, "name": drone.name, "state": "paused"}
        assert found.items() >= expected.items()
        found = swarm.post(f"/api/v1/nodes/{named}/resume", {})
        assert found.items() >= {"status": "resumed", "name": drone.name, "paused": False}.items()


@row("set-type")
def set_type(swarm: Swarm) -> None:
    drone = swarm.drone()
    for body in ({"drone_type": "lxc"}, {"type": "lxc"}):
        found = swarm.post(f"/api/v1/nodes/{drone.name}/set-type", body)
        expected = {"status": "ok", "ok": True, "drone": drone.name, "name": drone.name, "drone_type": "lxc"}
        assert found == expected
        swarm.post(f"/api/v1/nodes/{drone.name}/set-type", {"type": "unknown"})
    for wrong in ({}, {"type": "toaster"}, {"drone_type": 7}):
        swarm.refused("POST", f"/api/v1/nodes/{drone.name}/set-type", wrong, status=400)


@row("drones.X.cores in status")
def cores(swarm: Swarm) -> None:
    drone = swarm.drone(cores=24)
    shown = swarm.read("/api/v1/status")["drones"][drone.name]
    assert shown["cores"] == shown["capabilities"]["cores"] == 24
    assert shown["metrics"]["cpu_percent"] == 45.2
    assert abs(shown["last_seen"] - time.time()) < 60
    assert shown["build_progress"] == []


@row("status.timing")
def timing(swarm: Swarm) -> None:
    drone = swarm.drone()
    before = swarm.read("/api/v1/status")["timing"]
    good, back, rest = atom(), atom(), atom()
    swarm.queue(good, back, rest)
    drone.build(good, build_duration_s=100.0)
    drone.build(back, "returned")
    # Of the session that is being built; what was given back without building is neither built nor failed.
    found = swarm.read("/api/v1/status")["timing"]
    assert (found["total_builds"], found["successful"], found["failed"]) == (1, 1, 0)
    assert (found["success_rate"], found["avg_duration_s"], found["total_duration_s"]) == (100.0, 100.0, 100.0)
    swarm.clear()
    after = swarm.read("/api/v1/status")["timing"]
    assert after["total_builds"] >= before["total_builds"] + 1


@row("nodes in the legacy format")
def legacy(swarm: Swarm) -> None:
    swarm.drone()
    found = swarm.read("/api/v1/nodes?all=true&format=legacy")
    assert set(found) == {"drones", "orchestrators"}
    assert found["drones"] == swarm.read("/api/v1/nodes?all=true")


@row("sessions")
def sessions(swarm: Swarm) -> None:
    drone = swarm.drone()
    made = []
    for _ in range(3):
        package = atom()
        made.append(swarm.queue(package)["session_id"])
        drone.build(package)
    listed = [each["id"] for each in swarm.read("/api/v1/sessions")["sessions"]]
    assert listed[:3] == made[::-1]
    assert len(listed) <= 50
    # Ids have a resolution of one second: those of the same second are told apart.
    assert len(set(made)) == 3
    assert all(re.fullmatch(r"session-[0-9]{8}-[0-9]{6}(-[0-9]+)?", each) for each in made)


@row("events/history")
def event_history(swarm: Swarm) -> None:
    swarm.control("pause")
    found = swarm.read("/api/v1/events/history?limit=3")
    assert found["total"] == len(found["events"]) == 3
    ids = [each["id"] for each in found["events"]]
    assert ids == sorted(ids)


@row("register and orchestrator name the port")
def way_in(swarm: Swarm) -> None:
    port = swarm.product.port
    assert port != 8100
    answer = swarm.drone().register()
    assert (answer["orchestrator"], answer["orchestrator_port"]) == ("127.0.0.1", port)
    expected = {"ip": "127.0.0.1", "name": "build-swarm-v3", "port": port}
    assert swarm.read("/api/v1/orchestrator") == expected


@row("status")
def status(swarm: Swarm) -> None:
    drone, first, second, third = swarm.drone(), atom(), atom(), atom()
    swarm.queue(first, second, third)
    drone.take(first)
    swarm.control("block", package=second)
    found = swarm.read("/api/v1/status")
    assert found["total"] == sum(found[name] for name in ("needed", "delegated", "received", "blocked", "failed"))
    assert found["packages"]["needed"] == [wire(third)]
    assert found["packages"]["delegated"][wire(first)]["drone"] == drone.name
    assert found["packages"]["blocked"] == [wire(second)]
    assert isinstance(found["drone_health"], dict)
    drone.complete(first, "failed")
    assert swarm.read("/api/v1/status")["drone_health"][drone.name]["failures"] == 1


# ---------------------------------------------------------------- what enters drones

Entering = Callable[[Swarm, Drone, Sshd], None]
SSH_ROWS: Final[dict[str, Entering]] = {}
"""What holds for the rows about a drone that an operator has approved."""


def ssh_row(name: str) -> Callable[[Entering], Entering]:
    """Add what holds for a row."""

    def add(check: Entering) -> Entering:
        assert name not in ROWS
        assert name not in SSH_ROWS
        SSH_ROWS[name] = check
        return check

    return add


@ssh_row("nodes/X/ping")
def ping_node(swarm: Swarm, drone: Drone, sshd: Sshd) -> None:
    found = swarm.post(f"/api/v1/nodes/{drone.name}/ping")
    assert (found["status"], found["drone"], found["ok"]) == ("ok", drone.name, True)
    assert found["latency_ms"] > 0
    assert (found["load"], found["disk_percent"]) == (found["metrics"]["load"], found["metrics"]["disk_percent"])
    assert {"mem_percent", "emerge_running", "uptime_seconds"} <= set(found["metrics"])
    assert isinstance(found["seq"], int)
    assert abs(found["timestamp"] - time.time()) < 60
    sshd.down()
    failed = swarm.post(f"/api/v1/nodes/{drone.id}/ping")
    assert (failed["ok"], failed["latency_ms"], failed["load"]) == (False, None, None)
    assert failed["status"] in ("error", "timeout")


@ssh_row("reset-escalation")
def reset_escalation(swarm: Swarm, drone: Drone, sshd: Sshd) -> None:
    found = swarm.post(f"/api/v1/nodes/{drone.name}/reset-escalation")
    assert found.items() >= {"status": "ok", "drone": drone.name, "previous_level": 0, "current_level": 0}.items()
    assert found.items() >= {"ok": True, "name": drone.name, "state": "reset"}.items()


@ssh_row("ping")
def ping(swarm: Swarm, drone: Drone, sshd: Sshd) -> None:
    swarm.post(f"/api/v1/nodes/{drone.name}/ping")
    found = swarm.read("/api/v1/ping")["drones"][drone.name]
    assert found["status"] == "ok"
    assert found["ping_latency_ms"] > 0
    assert found["last_ping_at"] <= found["last_pong_at"] <= time.time() + 1
    for query in (f"id={drone.id}", f"name={drone.name}"):
        one = swarm.read(f"/api/v1/ping?{query}")
        assert (one["drone"], one["status"]) == (drone.name, "ok")
    swarm.refused("GET", "/api/v1/ping?name=nobody", status=404)


@ssh_row("ping/all")
def ping_all(swarm: Swarm, drone: Drone, sshd: Sshd) -> None:
    # Rounds begin ten seconds apart at least: what an earlier test began is given once more, and is not waited for.
    found = until(lambda: (one := swarm.read("/api/v1/ping/all"))["drones"] == [drone.name] and one)
    assert (found["status"], found["pinged"]) == ("ok", 1)
    assert [each["drone"] for each in found["results"]] == [drone.name]


@ssh_row("escalation")
def escalation(swarm: Swarm, drone: Drone, sshd: Sshd) -> None:
    found = swarm.read("/api/v1/escalation")
    assert isinstance(found["monitor_running"], bool)
    one = found["drones"][drone.name]
    documented = {"name": drone.name, "status": "online", "drone_type": "lxc", "escalation_level": 0}
    assert one.items() >= documented.items()
    assert {"last_escalation_at", "last_ping_at", "ping_latency_ms"} <= set(one)
    assert {"drone_id", "level", "last_action", "attempts", "consecutive_failures", "first_failure_at"} <= set(one)


@ssh_row("admin self-healing status")
def self_healing(swarm: Swarm, drone: Drone, sshd: Sshd) -> None:
    found = swarm.read("/admin/api/self-healing/status")
    assert found["probe_interval_s"] == 3600
    assert "last_probe_at" in found
    assert found["escalation_summary"] == {f"level_{each}": 1 if each == 0 else 0 for each in range(5)}
    assert isinstance(found["enabled"], bool)
    assert isinstance(found["drones"], dict)


@ssh_row("admin drone escalation")
def drone_escalation(swarm: Swarm, drone: Drone, sshd: Sshd) -> None:
    swarm.post(f"/api/v1/nodes/{drone.name}/ping")
    found = swarm.read(f"/admin/api/drones/{drone.name}/escalation")
    flat = {"drone": drone.name, "status": "online", "drone_type": "lxc", "escalation_level": 0}
    assert found.items() >= flat.items()
    assert found["escalation_attempts"] == 0
    assert {"status", "load", "disk_percent", "emerge_running"} <= set(found["last_probe_result"])
    assert found["escalation"]["level"] == 0
    assert isinstance(found["health"], dict)
    assert found["last_probe"]["drone"] == drone.name
    assert found["last_probe_at"] <= time.time() + 1


@ssh_row("admin drone ping")
def admin_ping(swarm: Swarm, drone: Drone, sshd: Sshd) -> None:
    for method in ("POST", "GET"):
        found = swarm.send(method, f"/admin/api/drones/{drone.name}/ping").json()
        assert (found["status"], found["drone"]) == ("ok", drone.name)
        assert found["latency_ms"] > 0
        assert {"load", "disk_percent", "emerge_running"} <= set(found["probe_result"])


@ssh_row("syslog")
def syslog(swarm: Swarm, drone: Drone, sshd: Sshd) -> None:
    sshd.stub("dmesg", "echo one; echo two; echo three")
    found = swarm.read(f"/admin/api/drones/{drone.name}/syslog?type=dmesg&lines=2")
    assert found.items() >= {"drone": drone.name, "lines": ["two", "three"]}.items()
    assert found.items() >= {"line_count": 2, "content": "two\nthree", "log_type": "dmesg", "error": None}.items()
    swarm.refused("GET", f"/admin/api/drones/{drone.name}/syslog?type=shadow", status=400)


@row("control-plane log")
def control_plane_log(swarm: Swarm) -> None:
    swarm.control("pause")
    found = swarm.read("/admin/api/logs/control-plane?lines=5")
    assert found["path"] == found["log_file"]
    assert found["line_count"] == len(found["lines"]) <= 5
    assert found["content"] == "\n".join(found["lines"])
    assert "paused" in found["lines"][-1]


@row("payload hash")
def payload_hash(swarm: Swarm) -> None:
    content = b"what drones run"
    digest = hashlib.sha256(content).hexdigest()
    body = {"type": "config", "version": "1.0", "content": base64.b64encode(content).decode()}
    made = swarm.post("/admin/api/payloads", body, status=201)["version"]
    assert (made["hash"], made["hash_hex"]) == (f"sha256:{digest}", digest)
    (listed,) = swarm.read("/admin/api/payloads")["versions"]
    assert (listed["hash"], listed["hash_hex"]) == (f"sha256:{digest}", digest)
    latest = swarm.read("/admin/api/payloads/status")["latest_versions"]["config"]
    assert latest["hash"] == digest


@row("deploy of an unknown drone or version")
def unknown_deploy(swarm: Swarm) -> None:
    drone = swarm.drone()
    swarm.refused("POST", "/admin/api/payloads/config/9.9/deploy", {"drone": drone.name}, status=404)
    body = {"type": "script", "version": "1.0", "content": "eA=="}
    swarm.post("/admin/api/payloads", body, status=201)
    swarm.refused("POST", "/admin/api/payloads/script/1.0/deploy", {"drone": "nobody"}, status=404)
    swarm.refused("POST", "/admin/api/payloads/script/1.0/deploy", {}, status=400)


@row("websocket")
def websocket(swarm: Swarm) -> None:
    drone = swarm.drone()
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    # The document's path, before any upgrade: who calls, then which drone, then whether it may be entered.
    for path, headers, status in (
        (drone.name, STRANGER, 401),
        (f"{drone.name}?key=wrong", STRANGER, 401),
        (f"nobody?key={KEY}", STRANGER, 404),
        (f"{drone.name}?key={KEY}", STRANGER, 409),
    ):
        assert swarm.send("GET", f"/ws/ssh/{path}", headers=upgrade | headers).status_code == status


@pytest.mark.parametrize("name", SSH_ROWS)
def test_row_about_an_approved_drone_is_answered_with_the_union(swarm: Swarm, tmp_path: Path, name: str) -> None:
    with running_sshd(tmp_path / "sshd") as sshd:
        sshd.authorize(swarm.read("/api/appliance/swarm/approvals")["public_key"])
        sshd.stub("pgrep", "echo 1")
        drone = swarm.drone()
        told = {"address": "127.0.0.1", "port": sshd.port, "user": sshd.user, "host_key": sshd.host_key}
        swarm.post(f"/api/appliance/swarm/drones/{drone.name}/approve", told | {"drone_type": "lxc"})
        try:
            SSH_ROWS[name](swarm, drone, sshd)
        finally:
            swarm.post(f"/api/appliance/swarm/drones/{drone.name}/unapprove")


@pytest.mark.parametrize("path", ["nodes/{}/ping", "nodes/{}/reset-escalation"])
def test_drone_that_nobody_approved_is_not_entered(swarm: Swarm, path: str) -> None:
    drone = swarm.drone()
    status = 409 if path.endswith("/ping") else 200
    answer = swarm.send("POST", "/api/v1/" + path.format(drone.name))
    assert answer.status_code == status
    if status == 409:
        assert answer.json()["hint"] == f"appliance swarm approve {drone.name}"


@pytest.mark.parametrize("name", ROWS)
def test_row_is_answered_with_the_union_of_document_and_server(swarm: Swarm, name: str) -> None:
    ROWS[name](swarm)


def test_every_further_endpoint_of_the_public_server_is_there(swarm: Swarm) -> None:
    drone, package = swarm.drone(), atom()
    swarm.queue(package)
    listed: list[dict[str, Any]] = swarm.read("/api/v1/queue")
    assert [each["package"] for each in listed] == [wire(package)]
    keys = {"package", "status", "assigned_to", "failures", "error_message", "assigned_at", "completed_at"}
    assert keys <= set(listed[0])
    assert swarm.read(f"/api/v1/poll?node={drone.name}")["package"] == wire(package)
    report = {"node": drone.name, "package": package, "status": "success", "duration": 3.5, "error": None}
    assert swarm.post("/api/v1/report", report)["accepted"] is True
    (build,) = [each for each in swarm.read("/api/v1/history")["builds"] if each["package"] == wire(package)]
    assert build["duration_seconds"] == 3.5
    counted = swarm.read("/api/v1/build-stats/by-package")["packages"]
    (mine,) = [each for each in counted if each["package"] == wire(package)]
    assert (mine["attempts"], mine["successes"], mine["tried_on"]) == (1, 1, drone.name)
    versions = swarm.read("/api/v1/versions")
    assert versions["control_plane"] == {"name": "build-swarm-v3", "version": "0.4.0-alpha", "status": "online"}
    assert versions["drones"] == [{"name": drone.name, "ip": "10.0.0.175", "version": "0.4.0-alpha", "online": True}]
    assert swarm.read("/api/v1/portage-config") == {"make.conf": 'MAKEOPTS="-j16"'}
    deleted = swarm.send("DELETE", f"/api/v1/nodes/{drone.name}")
    assert deleted.json().items() >= {"status": "deleted", "id": drone.id}.items()
    assert swarm.read("/api/v1/nodes?all=true") == []


def test_drone_of_the_generation_before_registers_by_its_name_alone(swarm: Swarm) -> None:
    body = {"node_name": "drone-old", "capabilities": {"cores": 4}}
    assert swarm.post("/api/v1/register", body)["status"] == "registered"
    (node,) = swarm.read("/api/v1/nodes")
    assert (node["id"], node["name"]) == ("drone-old", "drone-old")
    ignored = swarm.post("/api/v1/register", {"id": "x", "type": "orchestrator"})
    assert ignored["status"] == "ignored"


def test_profile_is_made_changed_queued_kept_and_deleted(swarm: Swarm) -> None:
    first, second = atom(), atom()
    made = swarm.post("/api/v1/profiles", {"id": "desktop", "name": "Desktop", "packages": [first]}, status=201)
    assert (made["id"], made["profile"]["packages"]) == ("desktop", [wire(first)])
    swarm.refused("POST", "/api/v1/profiles", {"id": "desktop", "name": "Other"}, status=409)
    assert swarm.post("/api/v1/profiles/desktop/world", {"packages": [first, second]})["packages"] == 2
    assert [each["id"] for each in swarm.read("/api/v1/profiles")["profiles"]] == ["desktop"]
    assert swarm.read("/api/v1/profiles/desktop")["packages"] == [wire(first), wire(second)]
    queued = swarm.post("/api/v1/profile/sync", {"profile_id": "desktop"})
    assert (queued["queued"], queued["session"]["name"]) == (2, "Profile Desktop")
    kept = swarm.post("/api/v1/snapshots", {"profile_id": "desktop", "name": "before"}, status=201)
    assert kept["snapshot"]["packages"] == [wire(first), wire(second)]
    assert swarm.send("DELETE", "/api/v1/profiles/desktop").json() == {"status": "deleted", "id": "desktop"}
    assert [each["name"] for each in swarm.read("/api/v1/snapshots")["snapshots"]] == ["before"]
    for path in ("/api/v1/profiles/desktop", "/api/v1/profiles/none"):
        swarm.refused("GET", path, status=404)
        swarm.refused("DELETE", path, status=404)
    swarm.refused("POST", "/api/v1/profile/sync", {"profile_id": "none"}, status=404)


def test_bootstrap_script_names_this_server_and_the_file_that_it_gives(swarm: Swarm) -> None:
    answer = swarm.send("GET", "/api/v1/provision/bootstrap?name=drone-7")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    script = answer.text
    assert script.startswith("#!/bin/sh\n")
    assert "name=drone-7\n" in script
    (digest,) = re.findall(r"^sha256=([0-9a-f]{64})$", script, re.MULTILINE)
    found = swarm.send("GET", "/api/v1/provision/appliance.pyz")
    assert hashlib.sha256(found.content).hexdigest() == digest
    assert found.content == swarm.product.pyz.read_bytes()
    swarm.refused("GET", "/api/v1/provision/bootstrap?name=a;b", status=400)


def test_bootstrap_script_is_a_json_string_for_whoever_takes_json_alone(swarm: Swarm) -> None:
    script = swarm.send("GET", "/api/v1/provision/bootstrap?name=drone-7").text
    for accept, is_json in (
        ("application/json", True),  # the command line's: it reads every answer as JSON, and prints a string as it is
        ("*/*", False),
        ("application/json, */*", False),
        ("text/plain", False),
    ):
        answer = swarm.send("GET", "/api/v1/provision/bootstrap?name=drone-7", headers={"Accept": accept})
        assert answer.headers["content-type"].startswith("application/json" if is_json else "text/plain")
        assert "accept" in answer.headers["vary"].lower()
        assert (answer.json() if is_json else answer.text) == script


def test_approved_host_is_provisioned_with_a_credential_of_its_own(swarm: Swarm, tmp_path: Path) -> None:
    with running_sshd(tmp_path / "sshd") as sshd:
        sshd.authorize(swarm.read("/api/appliance/swarm/approvals")["public_key"])
        # The script itself is not let loose on this host: it is kept, and says what a shell would.
        sshd.stub("sh", f'cat > "{tmp_path}/script"; echo works')
        drone = swarm.drone()
        told = {"address": "127.0.0.1", "port": sshd.port, "user": sshd.user, "host_key": sshd.host_key}
        swarm.post(f"/api/appliance/swarm/drones/{drone.name}/approve", told | {"drone_type": "lxc"})
        secrets = []
        for body in ({"name": drone.name}, {"ip": "127.0.0.1"}, {"ip": "127.0.0.1", "name": drone.name}):
            found = swarm.post("/api/v1/provision/drone", body)
            assert found.items() >= {"status": "provisioning", "name": drone.name, "output": "works\n"}.items()
            first, script = (tmp_path / "script").read_text().split("\n", 1)
            assert script.startswith("#!/bin/sh\n")
            assert f"name={drone.name}\n" in script
            secrets.append(first.removeprefix("SWARM_TOKEN="))
        statuses = [
            swarm.send("GET", f"/api/v1/work?id={drone.id}", headers=STRANGER | {"Authorization": f"Bearer {each}"})
            for each in secrets
        ]
        # What an earlier provisioning gave counts no more.
        assert [each.status_code for each in statuses] == [401, 401, 200]
        sshd.stub("sh", f'cat > "{tmp_path}/script"; echo "there is no emerge here" >&2; exit 1')
        said = swarm.post("/api/v1/provision/drone", {"name": drone.name})
        assert said["status"] == "ssh_failed"
        assert "there is no emerge here" in said["error"]
        failed = (tmp_path / "script").read_text().split("\n", 1)[0].removeprefix("SWARM_TOKEN=")
        for secret, status in ((failed, 401), (secrets[-1], 200)):
            headers = STRANGER | {"Authorization": f"Bearer {secret}"}
            assert swarm.send("GET", f"/api/v1/work?id={drone.id}", headers=headers).status_code == status
        said = swarm.post("/api/v1/provision/drone", {"name": drone.name, "ip": "10.0.0.9"})
        assert said["status"] == "ssh_failed"
        assert "is approved at 127.0.0.1, not at 10.0.0.9" in said["error"]
        swarm.post(f"/api/appliance/swarm/drones/{drone.name}/unapprove")
    for body in ({"name": drone.name}, {"ip": "10.0.0.9"}):
        said = swarm.post("/api/v1/provision/drone", body)
        assert said["status"] == "ssh_failed"
        assert "appliance swarm approve" in said["error"]
    for wrong in ({"ip": "drone; reboot"}, {"name": "-x"}, {}):
        swarm.refused("POST", "/api/v1/provision/drone", wrong, status=400)
