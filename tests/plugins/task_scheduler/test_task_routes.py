"""The documented endpoints about tasks, in one process."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.credentials.kinds import Role
from tests.plugins.task_scheduler.kit import TASK, Tasks, tasks

FIELDS = {
    "task_id": str,
    "docker_image": str,
    "status": str,
    "cpu_required": float,
    "memory_required": float,
    "storage_required": float,
    "gpu_required": float,
    "user_id": str,
    "tag": str,
    "k_value": float,
    "created_at": int,
    "submitted_at": int,
    "assigned_at": int,
    "started_at": int,
    "completed_at": int,
    "assigned_worker": str,
}
"""Of every task, as documented; ``created_at`` is what the front end shows."""


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Tasks]:
    async with tasks(tmp_path) as made:
        yield made


def shaped(task: dict[str, Any]) -> None:
    assert {name: type(task[name]) for name in FIELDS} == FIELDS


async def test_submission_is_answered_as_documented_with_201(api: Tasks) -> None:
    reply = await api.send("POST", "/api/tasks", TASK)
    task_id = reply.json["task_id"]
    assert reply.status == 201
    assert task_id.startswith("task-")
    assert reply.json == {
        "success": True,
        "message": "Task submitted successfully",
        "task_id": task_id,
        "status": "pending",
        "task": {
            "task_id": task_id,
            "docker_image": "nginx:latest",
            "status": "pending",
            "tag": "web-server",
            "k_value": 1.8,
        },
    }


async def test_task_goes_from_pending_to_running_to_completed(api: Tasks) -> None:
    api.engine.hold_starts()
    task_id = await api.submit(command="sleep 1", user_id="user-001")
    starting = await api.until(task_id, "starting")
    assert (starting["status"], starting["started_at"], starting["completed_at"]) == ("pending", 0, 0)
    assert starting["assignment"] == {"worker_id": starting["assigned_worker"], "assigned_at": starting["assigned_at"]}
    api.engine.hold_starts(hold=False)
    running = await api.until(task_id, "running")
    shaped(running)
    assert running["started_at"] >= running["assigned_at"] >= running["submitted_at"] == running["created_at"] > 0
    assert (running["command"], running["user_id"], running["result"]) == ("sleep 1", "user-001", None)
    attempt = await api.engine.running(task_id)
    assert (attempt.launch.command, attempt.launch.millicores, attempt.launch.memory_mib) == ("sleep 1", 100, 11)
    attempt.write(b"hello\n")
    attempt.end()
    ended = await api.until(task_id, "completed")
    assert ended["completed_at"] >= ended["started_at"]
    assert ended["result"] == {"status": "completed", "completed_at": ended["completed_at"], "logs": "hello\n"}


async def test_list_is_newest_first_and_filtered_by_status(api: Tasks) -> None:
    failed = await api.ended(exit_code=3)
    running, _ = await api.running()
    found = (await api.read("/api/tasks"))["tasks"]
    assert [task["task_id"] for task in found] == [running, failed]
    for task in found:
        shaped(task)
        assert "command" not in task
    for status, ids in (
        ("failed", [failed]),
        ("running", [running]),
        ("pending", []),
        ("queued", []),
        ("", [running, failed]),
    ):
        listed = (await api.read(f"/api/tasks?status={status}"))["tasks"]
        assert [task["task_id"] for task in listed] == ids, status
    assert (await api.read("/api/tasks?limit=1"))["tasks"] == found[:1]
    refused = await api.send("GET", "/api/tasks?status=nonsense")
    assert (refused.status, refused.json["field"]) == (400, "status")


async def test_field_that_is_wrong_is_named_as_error_and_message(api: Tasks) -> None:
    wrong: list[tuple[str, Any]] = [
        ("docker_image", ""),
        ("docker_image", 5),
        ("cpu_required", -1),
        ("cpu_required", True),
        ("cpu_required", [1]),
        ("memory_required", "many"),
        ("storage_required", -1),
        ("gpu_required", 10_001),
        ("k_value", 3),
        ("user_id", {}),
    ]
    for field, value in wrong:
        reply = await api.send("POST", "/api/tasks", TASK | {field: value})
        assert (reply.status, reply.json["field"]) == (400, field)
        assert reply.json["error"] == reply.json["message"]
        assert reply.json["error"].startswith(field)
    assert (await api.read("/api/tasks"))["tasks"] == []


async def test_missing_field_and_body_that_is_no_json_are_400(api: Tasks) -> None:
    for name in ("docker_image", "cpu_required", "memory_required"):
        reply = await api.send("POST", "/api/tasks", {key: value for key, value in TASK.items() if key != name})
        assert (reply.status, reply.json["field"]) == (400, name)
    for body in (b"", b"{", b"[]", b"null", b"\xff", b'{"cpu_required":NaN}', b"[" * 10_000):
        reply = await api.send("POST", "/api/tasks", body)
        assert (reply.status, set(reply.json) >= {"error", "message"}) == (400, True)


async def test_unknown_fields_are_ignored_and_strings_taken_for_numbers(api: Tasks) -> None:
    task_id = await api.submit(cpu_required="0.25", gpu_required="0.0", k_value="2.0", extra={"a": 1})
    found = await api.read(f"/api/tasks/{task_id}")
    assert (found["cpu_required"], found["gpu_required"], found["k_value"]) == (0.25, 0.0, 2.0)


async def test_unknown_task_is_404_everywhere(api: Tasks) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/logs"), ("PUT", "/retry")):
        for task_id in ("task-1", "nobody", "..%2f..", "x" * 300):
            reply = await api.send(method, f"/api/tasks/{task_id}{path}")
            assert reply.status == 404, (method, path, task_id)
            assert reply.json["error"] == reply.json["message"]


async def test_cancel_works_in_every_state_and_is_409_once_ended(api: Tasks) -> None:
    blocked = await api.submit(cpu_required=90_000)
    api.engine.hold_starts()
    starting = await api.submit()
    await api.until(starting, "starting")
    for task_id in (blocked, starting):
        reply = await api.send("DELETE", f"/api/tasks/{task_id}")
        assert reply.json == {
            "success": True,
            "message": f"Task {task_id} cancelled successfully",
            "task_id": task_id,
            "status": "cancelled",
        }
        assert (await api.until(task_id, "cancelled"))["status"] == "cancelled"
    api.engine.hold_starts(hold=False)
    running, attempt = await api.running()
    assert (await api.send("DELETE", f"/api/tasks/{running}")).status == 200
    await api.until(running, "cancelled")
    assert attempt.terms == 1
    for task_id in (blocked, starting, running, await api.ended()):
        reply = await api.send("DELETE", f"/api/tasks/{task_id}")
        assert (reply.status, reply.json["error"]) == (409, reply.json["message"])


async def test_retry_makes_a_new_task_from_any_ended_one_and_links_both(api: Tasks) -> None:
    for first in (await api.ended(), await api.ended(exit_code=1)):
        reply = await api.send("PUT", f"/api/tasks/{first}/retry")
        made = reply.json["new_task_id"]
        assert reply.json == {
            "success": True,
            "message": "Task retry initiated",
            "new_task_id": made,
            "original_task_id": first,
        }
        await api.engine.running(made)
        new, old = await api.read(f"/api/tasks/{made}"), await api.read(f"/api/tasks/{first}")
        assert (new["retry_of"], old["retried_by"]) == (first, made)
        assert all(new[name] == old[name] for name in ("docker_image", "cpu_required", "user_id", "tag", "k_value"))
        unfinished = await api.send("PUT", f"/api/tasks/{made}/retry")
        assert unfinished.status == 409


async def test_logs_are_200_before_during_and_after(api: Tasks) -> None:
    waits = await api.submit(cpu_required=90_000)
    logs = await api.read(f"/api/tasks/{waits}/logs")
    assert logs == {
        "task_id": waits,
        "logs": "",
        "status": "pending",
        "completed_at": 0,
        "truncated": False,
        "next_offset": 0,
    }
    task_id, attempt = await api.running()
    attempt.write(b"one\ntwo\n")
    with trio.fail_after(30):
        while (logs := await api.read(f"/api/tasks/{task_id}/logs"))["logs"] != "one\ntwo\n":  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert (logs["status"], logs["completed_at"], logs["next_offset"]) == ("running", 0, 8)
    attempt.write(b"\xff caf\xc3\xa9", "stderr")
    attempt.end(exit_code=1)
    ended = await api.until(task_id, "failed")
    logs = await api.read(f"/api/tasks/{task_id}/logs")
    assert (logs["logs"], logs["status"]) == ("one\ntwo\n\ufffd café", "failed")
    assert logs["completed_at"] == ended["completed_at"] > 0
    assert (await api.read(f"/api/tasks/{task_id}/logs?offset=4"))["logs"] == "two\n\ufffd café"


async def test_log_larger_than_an_answer_comes_in_whole_lines(api: Tasks) -> None:
    line = b"x" * 1023 + b"\n"
    task_id = await api.ended(log=line * (9 * 1024))
    first = await api.read(f"/api/tasks/{task_id}/logs")
    assert (first["truncated"], len(first["logs"]), first["next_offset"]) == (True, 8 * 2**20, 8 * 2**20)
    second = await api.read(f"/api/tasks/{task_id}/logs?offset={first['next_offset']}")
    assert (second["truncated"], len(second["logs"])) == (False, 2**20)


async def test_path_with_another_method_or_more_to_it_is_refused_in_this_apis_shape(api: Tasks) -> None:
    for method, path, status in (
        ("POST", "/api/tasks/task-1", 405),
        ("PUT", "/api/tasks", 405),
        ("GET", "/api/tasks/task-1/logsx", 404),
        ("GET", "/api/tasks/task-1/x/logs", 404),
    ):
        reply = await api.send(method, path)
        assert (reply.status, set(reply.json) >= {"error", "message"}) == (status, True), path


async def test_user_sees_own_tasks_and_an_operator_all_without_their_commands(api: Tasks) -> None:
    ana, bob, op = await api.as_("ana"), await api.as_("bob"), await api.as_("op", Role.OPERATOR)
    boss = await api.as_("boss", Role.ADMIN)
    hers = await ana.submit(command="echo hers", user_id="user-001")
    shared = await api.submit(command="echo trusted", user_id="user-001")
    assert [task["task_id"] for task in (await ana.read("/api/tasks"))["tasks"]] == [hers]
    assert (await bob.read("/api/tasks"))["tasks"] == []
    for who in (op, api):
        assert [task["task_id"] for task in (await who.read("/api/tasks"))["tasks"]] == [shared, hers]
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/logs"), ("PUT", "/retry")):
        assert (await bob.send(method, f"/api/tasks/{hers}{path}")).status == 404
    seen = [(await who.read(f"/api/tasks/{hers}"))["command"] for who in (ana, op, api, boss)]
    assert seen == ["echo hers", "", "", "echo hers"]
    assert (await api.read(f"/api/tasks/{shared}"))["command"] == "echo trusted"


async def test_operator_who_tries_anothers_task_again_leaves_it_to_its_owner(api: Tasks) -> None:
    ana, op = await api.as_("ana"), await api.as_("op", Role.OPERATOR)
    first = await ana.ended(command="echo secret")
    made = (await op.send("PUT", f"/api/tasks/{first}/retry")).json["new_task_id"]
    assert (await op.read(f"/api/tasks/{made}"))["command"] == ""
    assert (await ana.read(f"/api/tasks/{made}"))["command"] == "echo secret"


async def test_viewer_may_look_and_not_submit(api: Tasks) -> None:
    viewer = await api.as_("vic", Role.VIEWER)
    assert (await viewer.read("/api/tasks"))["tasks"] == []
    assert (await viewer.send("POST", "/api/tasks", TASK)).status == 403


async def test_list_is_cut_at_what_is_configured(tmp_path: Path) -> None:
    async with tasks(tmp_path, config="[plugins.task_scheduler]\nlisted_max = 2\n") as api:
        ids = [await api.submit(cpu_required=90_000) for _ in range(3)]
        for query in ("", "?limit=100"):
            listed = (await api.read(f"/api/tasks{query}"))["tasks"]
            assert [task["task_id"] for task in listed] == [ids[2], ids[1]]


async def test_long_list_is_whole(api: Tasks) -> None:
    body = {"image": "busybox", "cpu_millicores": 90_000_000, "array": {"count": 1100}}
    made = (await api.send("POST", "/api/appliance/tasks", body)).json["items"]
    listed = (await api.read("/api/tasks"))["tasks"]
    assert [task["task_id"] for task in listed] == [item["id"] for item in reversed(made)]
