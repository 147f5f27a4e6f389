"""What the task API's document says, one test for each statement, against the built file with real sandboxes."""

import socket
import time
from typing import Any

import httpx2 as httpx
import pytest

from tests.wire.tasks import PATIENCE_SECONDS, TASK, TASK_ID, TaskApi, failed, needs_sandbox

pytestmark = [pytest.mark.zipapp, needs_sandbox]

HERE = socket.gethostname()
RESOURCES = ("total_resources", "allocated_resources", "available_resources")


def now() -> int:
    return int(time.time())


# ---------------------------------------------------------------- health and status


def test_health_is_ok(tasks: TaskApi) -> None:
    assert tasks.read("/health")["status"] == "ok"


def test_telemetry_has_every_worker_by_its_id(tasks: TaskApi) -> None:
    worker = tasks.read("/telemetry")["workers"][HERE]
    assert (worker["worker_id"], worker["is_active"], worker["running_tasks"]) == (HERE, True, [])
    for name in ("cpu_usage", "memory_usage", "gpu_usage"):
        assert isinstance(worker[name], float)
        assert 0 <= worker[name] <= 100
    assert abs(worker["last_update"] - now()) < 60
    one = tasks.read(f"/telemetry/{HERE}")
    assert set(one) == set(worker)
    failed(tasks.send("GET", "/telemetry/nobody"), 404)


def test_workers_is_an_alias_of_api_workers(tasks: TaskApi) -> None:
    first, second = (tasks.read(path)["workers"][0] for path in ("/workers", "/api/workers"))
    assert set(first) == set(second)
    assert first["worker_id"] == second["worker_id"] == HERE


# ---------------------------------------------------------------- workers


def test_worker_has_resources_that_add_up_and_is_active(tasks: TaskApi) -> None:
    worker = next(each for each in tasks.read("/api/workers")["workers"] if each["worker_id"] == HERE)
    assert worker["address"] == worker["worker_ip"]
    for name in ("cpu", "memory", "storage", "gpu"):
        total, allocated, available = (worker[each][name] for each in RESOURCES)
        assert all(isinstance(value, float) for value in (total, allocated, available))
        assert total >= 0
        assert abs(total - allocated - available) < 1e-6
    assert worker["total_resources"]["cpu"] > 0
    assert abs(worker["last_heartbeat"] - now()) < 30
    assert worker["registered_at"] <= now()
    assert isinstance(worker["running_tasks_count"], int)


def test_worker_is_registered_once_and_stays_inactive(tasks: TaskApi) -> None:
    body = {"worker_id": "worker-1", "worker_ip": "192.168.1.100:50052"}
    answer = tasks.send("POST", "/api/workers", body)
    assert (answer.status_code, answer.json()) == (
        201,
        {
            "success": True,
            "message": "Worker registered successfully. It stays inactive until it connects; "
            "gRPC workers are not served by this version.",
            "worker_id": "worker-1",
            "worker": {"worker_id": "worker-1", "worker_ip": "192.168.1.100:50052", "is_active": False},
        },
    )
    failed(tasks.send("POST", "/api/workers", body), 409)
    for wrong in ({}, {"worker_id": "w"}, {"worker_ip": "10.0.0.1:1"}, {"worker_id": "w", "worker_ip": "10.0.0.1:x"}):
        failed(tasks.send("POST", "/api/workers", wrong), 400)
    detail = tasks.read("/api/workers/worker-1")
    assert (detail["is_active"], detail["worker_info"]["total_cpu"], detail["running_tasks"]) == (False, 0.0, [])
    assert tasks.read("/api/workers/worker-1/tasks") == {"worker_id": "worker-1", "tasks": [], "count": 0}
    failed(tasks.send("GET", "/api/workers/worker-2"), 404)


def test_worker_shows_the_tasks_that_it_runs_and_was_given(tasks: TaskApi) -> None:
    task_id = tasks.submit(command="sleep 1000")
    task = tasks.until(task_id, "running")
    detail = tasks.read(f"/api/workers/{HERE}")
    (running,) = detail["running_tasks"]
    assert running == {
        "task_id": task_id,
        "cpu_allocated": 0.2,
        "memory_allocated": pytest.approx(0.1, abs=1 / 1024),
        "gpu_allocated": 0.0,
        "status": "running",
    }
    assert detail["worker_info"]["worker_id"] == HERE
    given = tasks.read(f"/api/workers/{HERE}/tasks")
    assert {"task_id": task_id, "assigned_at": task["assigned_at"]} in given["tasks"]
    assert given["count"] == len(given["tasks"])
    assert tasks.read(f"/api/workers/{HERE}/metrics")["is_active"] is True
    tasks.send("DELETE", f"/api/tasks/{task_id}")
    tasks.until(task_id, "cancelled")


# ---------------------------------------------------------------- tasks


def test_submitted_task_runs_in_a_container_and_completes(tasks: TaskApi) -> None:
    answer = tasks.send("POST", "/api/tasks", TASK | {"command": "echo hello; echo trouble >&2"})
    made = answer.json()
    assert answer.status_code == 201
    assert TASK_ID.fullmatch(made["task_id"])
    assert made == {
        "success": True,
        "message": "Task submitted successfully",
        "task_id": made["task_id"],
        "status": "pending",
        "task": {
            "task_id": made["task_id"],
            "docker_image": "host",
            "status": "pending",
            "tag": "web-server",
            "k_value": 1.8,
        },
    }
    task = tasks.until(made["task_id"], "completed", "failed")
    assert (task["status"], task["exit_code"]) == ("completed", 0), task
    assert now() + 1 >= task["completed_at"] >= task["started_at"] >= task["assigned_at"] >= task["submitted_at"] > 0
    assert (task["assigned_worker"], task["user_id"], task["k_value"]) == (HERE, "admin", 1.8)
    assert task["command"] == "echo hello; echo trouble >&2"
    assert sorted(task["result"]["logs"].splitlines()) == ["hello", "trouble"]
    logs = tasks.read(f"/api/tasks/{made['task_id']}/logs")
    assert (logs["status"], logs["completed_at"]) == ("completed", task["completed_at"])
    assert sorted(logs["logs"].splitlines()) == ["hello", "trouble"]


def test_fields_have_the_documented_defaults_and_numbers_may_be_text(tasks: TaskApi) -> None:
    body = {"docker_image": "host", "cpu_required": "0.1", "memory_required": "0.1", "command": "true"}
    task_id = tasks.send("POST", "/api/tasks", body).json()["task_id"]
    task = tasks.until(task_id, "completed")
    assert (task["storage_required"], task["gpu_required"], task["user_id"], task["k_value"]) == (
        1.0,
        0.0,
        "guest",
        2.0,
    )
    assert task["cpu_required"] == 0.1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"docker_image": None}, "docker_image"),
        ({"docker_image": ""}, "docker_image"),
        ({"cpu_required": None}, "cpu_required"),
        ({"cpu_required": -1}, "cpu_required"),
        ({"cpu_required": 100_001}, "cpu_required"),
        ({"memory_required": "NaN"}, "memory_required"),
        ({"memory_required": 1_000_001}, "memory_required"),
        ({"storage_required": -0.1}, "storage_required"),
        ({"gpu_required": 10_001}, "gpu_required"),
        ({"k_value": 1.4}, "k_value"),
        ({"k_value": 2.6}, "k_value"),
    ],
)
def test_submission_out_of_bounds_is_400_and_names_the_field(tasks: TaskApi, change: Any, field: str) -> None:
    answer = tasks.send("POST", "/api/tasks", TASK | change)
    assert failed(answer, 400).startswith(field)


def test_tasks_are_listed_newest_first_and_filtered_by_status(tasks: TaskApi) -> None:
    first, second = tasks.ended(command="true"), tasks.ended(command="exit 3")
    assert (first["status"], second["status"], second["exit_code"]) == ("completed", "failed", 3)
    listed = [task["task_id"] for task in tasks.read("/api/tasks")["tasks"]]
    assert listed.index(second["task_id"]) < listed.index(first["task_id"])
    for status in ("pending", "running", "completed", "failed", "cancelled"):
        found = tasks.read(f"/api/tasks?status={status}")["tasks"]
        assert {task["status"] for task in found} <= {status}
    assert second["task_id"] in [task["task_id"] for task in tasks.read("/api/tasks?status=failed")["tasks"]]
    failed(tasks.send("GET", "/api/tasks?status=unknown"), 400)


def test_cancelled_task_is_really_stopped(tasks: TaskApi) -> None:
    running = tasks.submit(command="sleep 1000")
    waiting = tasks.submit(cpu_required=90_000)
    tasks.until(running, "running")
    for task_id in (waiting, running):
        answer = tasks.send("DELETE", f"/api/tasks/{task_id}")
        assert (answer.status_code, answer.json()["success"]) == (200, True)
        assert answer.json()["message"] == f"Task {task_id} cancelled successfully"
        assert tasks.until(task_id, "cancelled")["completed_at"] > 0
        failed(tasks.send("DELETE", f"/api/tasks/{task_id}"), 409)
    assert tasks.read(f"/telemetry/{HERE}")["running_tasks"] == []
    failed(tasks.send("DELETE", "/api/tasks/task-0"), 404)


def test_retry_runs_an_ended_task_again_as_a_new_one(tasks: TaskApi) -> None:
    first = tasks.ended(command="echo again; exit 1")
    answer = tasks.send("PUT", f"/api/tasks/{first['task_id']}/retry")
    made = answer.json()
    assert (made["success"], made["message"]) == (True, "Task retry initiated")
    assert made["original_task_id"] == first["task_id"] != made["new_task_id"]
    second = tasks.until(made["new_task_id"], "failed")
    assert (second["command"], second["retry_of"]) == (first["command"], first["task_id"])
    assert tasks.read(f"/api/tasks/{first['task_id']}")["retried_by"] == made["new_task_id"]
    failed(tasks.send("PUT", "/api/tasks/task-0/retry"), 404)


# ---------------------------------------------------------------- files


def test_files_below_output_are_listed_downloaded_and_deleted(tasks: TaskApi) -> None:
    command = "mkdir /output/results; echo data > /output/results/output.txt; ln -s /etc/passwd /output/link"
    task_id = tasks.ended(command=command, user_id="files")["task_id"]
    listed = tasks.read("/api/files?user_id=files")
    assert (listed["user_id"], listed["count"]) == ("files", 1)
    (item,) = listed["files"]
    assert (item["task_id"], item["file_name"], item["file_path"]) == (task_id, "output.txt", "results/output.txt")
    assert (item["file_size"], item["uploaded_at"] > 0) == (5, True)
    of_task = tasks.read(f"/api/files/{task_id}?user_id=files")
    assert of_task["files"][0]["content_type"] == "text/plain"
    path = f"/api/files/{task_id}/download/results/output.txt"
    got = tasks.send("GET", f"{path}?user_id=files")
    assert (got.content, got.headers["content-type"]) == (b"data\n", "text/plain")
    assert got.headers["content-disposition"].startswith('attachment; filename="output.txt"')
    failed(tasks.send("GET", f"/api/files/{task_id}/download/link?user_id=files"), 404)
    failed(tasks.send("GET", path), 400)
    failed(tasks.send("GET", f"{path}?user_id=other"), 403)
    failed(tasks.send("GET", f"{path}?user_id=files&requesting_user=admin"), 403)
    gone = tasks.send("DELETE", f"/api/files/{task_id}?user_id=files").json()
    assert (gone["success"], gone["message"]) == (True, f"All files for task {task_id} deleted successfully")
    assert tasks.read("/api/files?user_id=files")["files"] == []


# ---------------------------------------------------------------- WebSockets


def test_telemetry_is_pushed_on_connect_and_on_change(tasks: TaskApi) -> None:
    with tasks.socket("/ws/telemetry") as messages:
        first = messages.next()
        assert (first["type"], first["workers"][HERE]["running_tasks"]) == ("telemetry", [])
        task_id = tasks.submit(command="sleep 1000")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while [each["task_id"] for each in messages.next()["workers"][HERE]["running_tasks"]] != [task_id]:
            assert time.monotonic() < deadline
        tasks.until(task_id, "running")
        tasks.send("DELETE", f"/api/tasks/{task_id}")
        tasks.until(task_id, "cancelled")
        while messages.next()["workers"][HERE]["running_tasks"]:
            assert time.monotonic() < deadline
    with tasks.socket(f"/ws/telemetry/{HERE}") as messages:
        assert list(messages.next()["workers"]) == [HERE]


def test_log_stream_is_connected_lines_complete(tasks: TaskApi) -> None:
    task_id = tasks.submit(command="for i in 1 2 3 4 5; do echo line $i; sleep 0.05; done")
    with tasks.socket(f"/ws/tasks/{task_id}/logs") as messages:
        live = messages.rest()
    with tasks.socket(f"/ws/tasks/{task_id}/logs") as messages:
        stored = messages.rest()
    for found in (live, stored):
        assert found[0] == {
            "type": "connected",
            "task_id": task_id,
            "user_id": "admin",
            "message": "Connected to task log stream",
        }
        assert [message["line"] for message in found[1:-1]] == [f"line {number}" for number in range(1, 6)]
        assert {(message["type"], message["task_id"]) for message in found[1:-1]} == {("log", task_id)}
        assert found[-1] == {
            "type": "complete",
            "task_id": task_id,
            "status": "completed",
            "message": "Task completed with status: completed",
        }


@pytest.mark.parametrize("path", ["/ws/tasks/task-0/logs", "/ws/telemetry/nobody"])
def test_stream_of_what_does_not_exist_is_an_error_and_closed(tasks: TaskApi, path: str) -> None:
    with tasks.socket(path) as messages:
        (error,) = messages.rest()
    assert (error["type"], bool(error["error"]), messages.close_code) == ("error", True, 1008)


# ---------------------------------------------------------------- errors


def test_errors_have_the_documented_shape_and_status(tasks: TaskApi) -> None:
    cases: list[tuple[httpx.Response, int]] = [
        (tasks.send("POST", "/api/tasks", content=b"{", headers={"Content-Type": "application/json"}), 400),
        (tasks.send("GET", "/api/tasks/task-0"), 404),
        (tasks.send("PATCH", "/api/tasks"), 405),
        (tasks.send("GET", "/api/tasks/task-0/nothing"), 404),
        (tasks.send("POST", "/health"), 405),
        (tasks.send("GET", "/api/files"), 400),
    ]
    for answer, status in cases:
        failed(answer, status)
