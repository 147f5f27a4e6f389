"""The documented endpoints about health, telemetry and workers, in one process."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.credentials.kinds import Role
from appliance.testing import scripted_gpus
from tests.plugins.task_scheduler.kit import Tasks, tasks

HERE = socket.gethostname()
RESOURCES = {"cpu": float, "memory": float, "storage": float, "gpu": float}
THREE = ("total_resources", "allocated_resources", "available_resources")
REGISTERED = (
    "Worker registered successfully. It stays inactive until it connects; gRPC workers are not served by this version."
)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Tasks]:
    async with tasks(tmp_path, backend=scripted_gpus(2)) as made:
        yield made


def types(item: dict[str, Any]) -> dict[str, Any]:
    return {name: types(value) if isinstance(value, dict) else type(value) for name, value in item.items()}


async def test_health_says_ok_and_counts_workers(api: Tasks) -> None:
    found = await api.read("/health")
    assert (found["status"], found["workers"], found["active_workers"], found["active_clients"]) == ("ok", 1, 1, 0)


async def test_this_host_is_a_worker_with_documented_fields(api: Tasks) -> None:
    (worker,) = (await api.read("/api/workers"))["workers"]
    assert types(worker) == {
        "worker_id": str,
        "address": str,
        "worker_ip": str,
        "is_active": bool,
        **dict.fromkeys(THREE, RESOURCES),
        "last_heartbeat": int,
        "registered_at": int,
        "cpu_usage": float,
        "memory_usage": float,
        "gpu_usage": float,
        "running_tasks_count": int,
    }
    assert (worker["worker_id"], worker["is_active"], worker["running_tasks_count"]) == (HERE, True, 0)
    assert worker["address"] == worker["worker_ip"] != ""
    assert worker["total_resources"]["gpu"] == 2.0
    (same,) = (await api.read("/workers"))["workers"]
    assert (types(same), same["worker_id"], same["registered_at"]) == (types(worker), HERE, worker["registered_at"])


async def test_running_task_is_allocated_shown_and_given_back(api: Tasks) -> None:
    task_id, attempt = await api.running(cpu_required=0.5, memory_required=0.25, gpu_required=1.0)
    detail = await api.read(f"/api/workers/{HERE}")
    assert detail["running_tasks"] == [
        {
            "task_id": task_id,
            "cpu_allocated": 0.5,
            "memory_allocated": 0.25,
            "gpu_allocated": 1.0,
            "status": "running",
        }
    ]
    allocated, available = detail["allocated_resources"], detail["available_resources"]
    assert (allocated["cpu"], allocated["memory"], allocated["gpu"], available["gpu"]) == (0.5, 0.25, 1.0, 1.0)
    info = detail["worker_info"]
    assert types(info) == {
        "worker_id": str,
        "worker_ip": str,
        "total_cpu": float,
        "total_memory": float,
        "total_storage": float,
        "total_gpu": float,
        "registered_at": int,
        "last_heartbeat": int,
    }
    assert (await api.read("/api/workers"))["workers"][0]["running_tasks_count"] == 1
    given = await api.read(f"/api/workers/{HERE}/tasks")
    assigned_at = (await api.read(f"/api/tasks/{task_id}"))["assigned_at"]
    assert given == {"worker_id": HERE, "tasks": [{"task_id": task_id, "assigned_at": assigned_at}], "count": 1}
    attempt.end()
    await api.until(task_id, "completed")
    idle = await api.read(f"/telemetry/{HERE}")
    assert (idle["running_tasks"], idle["allocated_resources"]["cpu"]) == ([], 0.0)
    assert idle["available_resources"]["gpu"] == idle["total_resources"]["gpu"]


async def test_telemetry_of_all_is_wrapped_and_of_one_is_not(api: Tasks) -> None:
    every = await api.read("/telemetry")
    assert list(every) == ["workers"]
    one = await api.read(f"/telemetry/{HERE}")
    assert set(every["workers"][HERE]) == set(one)
    assert set(one) >= {
        "worker_id", "is_active", "cpu_usage", "memory_usage", "gpu_usage", "running_tasks", "last_update"
    }  # fmt: skip
    metrics = await api.read(f"/api/workers/{HERE}/metrics")
    assert set(metrics) == {
        "worker_id", "cpu_usage", "memory_usage", "gpu_usage", "is_active", "last_update", "timestamp"
    }  # fmt: skip


async def test_usage_comes_from_the_newest_sample(api: Tasks) -> None:
    state = api.appliance.state
    reading = state.series.latest(state.host_id)
    assert reading is not None
    found = await api.read(f"/telemetry/{HERE}")
    assert found["gpu_usage"] == 42.0
    assert found["last_update"] >= reading.at_unix_us // 1_000_000 > 0


async def test_registered_worker_is_stored_inactive_with_nothing(api: Tasks) -> None:
    reply = await api.send("POST", "/api/workers", {"worker_id": "worker-1", "worker_ip": "192.168.1.100:50052"})
    assert (reply.status, reply.json) == (
        201,
        {
            "success": True,
            "message": REGISTERED,
            "worker_id": "worker-1",
            "worker": {"worker_id": "worker-1", "worker_ip": "192.168.1.100:50052", "is_active": False},
        },
    )
    found = (await api.read("/api/workers"))["workers"]
    assert [worker["worker_id"] for worker in found] == [HERE, "worker-1"]
    nothing = {"cpu": 0.0, "memory": 0.0, "storage": 0.0, "gpu": 0.0}
    assert [found[1][name] for name in ("is_active", *THREE)] == [False, nothing, nothing, nothing]
    assert found[1]["address"] == "192.168.1.100:50052"
    for again in ("worker-1", HERE):
        reply = await api.send("POST", "/api/workers", {"worker_id": again, "worker_ip": "10.0.0.1:1"})
        assert (reply.status, reply.json["error"]) == (409, reply.json["message"])
    assert (await api.read("/api/workers/worker-1/tasks"))["count"] == 0
    assert (await api.read("/api/workers/worker-1"))["running_tasks"] == []
    assert (await api.read("/health"))["active_workers"] == 1


async def test_registered_worker_survives_a_restart(tmp_path: Path) -> None:
    async with tasks(tmp_path) as api:
        body = {"worker_id": "worker-1", "worker_ip": "192.168.1.100", "worker_port": "50052"}
        assert (await api.send("POST", "/api/workers", body)).status == 201
    async with tasks(tmp_path) as api:
        assert (await api.read("/api/workers/worker-1"))["worker_ip"] == "192.168.1.100:50052"


async def test_registration_that_is_wrong_is_400_by_field(api: Tasks) -> None:
    for body, field in (
        ({}, "worker_id"),
        ({"worker_id": "w"}, "worker_ip"),
        ({"worker_id": "w", "worker_ip": "a b"}, "worker_ip"),
        ({"worker_id": 5, "worker_ip": "a"}, "worker_id"),
        ({"worker_id": "w", "worker_ip": "a", "worker_port": 0}, "worker_port"),
    ):
        reply = await api.send("POST", "/api/workers", body)
        assert (reply.status, reply.json["field"]) == (400, field), body


async def test_unknown_worker_is_404_everywhere(api: Tasks) -> None:
    for path in ("/telemetry/w", "/api/workers/w", "/api/workers/w/tasks", "/api/workers/w/metrics"):
        reply = await api.send("GET", path)
        assert (reply.status, reply.json["error"]) == (404, reply.json["message"]), path


async def test_worker_is_registered_by_operators_only(api: Tasks) -> None:
    user = await api.as_("uma", Role.USER)
    body = {"worker_id": "w", "worker_ip": "10.0.0.1:1"}
    assert (await user.send("POST", "/api/workers", body)).status == 403
    assert len((await user.read("/api/workers"))["workers"]) == 1
