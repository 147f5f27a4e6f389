"""The documented WebSockets, in one process."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.credentials.kinds import Role
from tests.plugins.task_scheduler.kit import PATIENCE_SECONDS, Messages, Tasks, tasks

HERE = socket.gethostname()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Tasks]:
    async with tasks(tmp_path) as made:
        yield made


async def shows(messages: Messages, check: Any) -> Any:
    """Read telemetry until this host is as wanted, and return it."""
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            worker = (await messages.next())["workers"][HERE]
            if check(worker):
                return worker


# ---------------------------------------------------------------- telemetry


async def test_telemetry_is_sent_on_connect_and_on_every_change(api: Tasks) -> None:
    async with api.socket("/ws/telemetry") as messages:
        first = await messages.next()
        assert (set(first), first["type"]) == ({"type", "workers"}, "telemetry")
        worker = first["workers"][HERE]
        assert set(worker) >= {
            "worker_id",
            "is_active",
            "cpu_usage",
            "memory_usage",
            "gpu_usage",
            "total_resources",
            "allocated_resources",
            "available_resources",
            "running_tasks",
            "last_update",
            "worker_ip",
        }
        assert worker["running_tasks"] == []
        task_id, attempt = await api.running()
        await shows(messages, lambda one: [task["task_id"] for task in one["running_tasks"]] == [task_id])
        attempt.end()
        idle = await shows(messages, lambda one: one["running_tasks"] == [])
        assert idle["allocated_resources"]["cpu"] == 0


async def test_registered_worker_shows_at_once_to_those_who_watch(api: Tasks) -> None:
    async with api.socket("/ws/telemetry") as messages:
        await messages.next()
        await api.send("POST", "/api/workers", {"worker_id": "worker-1", "worker_ip": "10.0.0.1:1"})
        with trio.fail_after(PATIENCE_SECONDS):
            while "worker-1" not in (found := await messages.next())["workers"]:
                pass
        assert found["workers"]["worker-1"]["is_active"] is False


async def test_telemetry_of_one_worker_is_of_that_one_alone(api: Tasks) -> None:
    await api.send("POST", "/api/workers", {"worker_id": "worker-1", "worker_ip": "10.0.0.1:1"})
    async with api.socket("/ws/telemetry/worker-1") as messages:
        found = await messages.next()
        assert (found["type"], list(found["workers"])) == ("telemetry", ["worker-1"])


async def test_watchers_are_counted_and_forgotten_when_they_go(api: Tasks) -> None:
    async with api.socket("/ws/telemetry") as first, api.socket("/ws/telemetry") as second:
        await first.next()
        await second.next()
        # However much a watcher has to say: nobody listens, and nothing is kept.
        for _ in range(100):
            await first.say("hello")
        assert (await api.read("/health"))["active_clients"] == 2
    with trio.fail_after(PATIENCE_SECONDS):
        while (await api.read("/health"))["active_clients"]:  # noqa: ASYNC110  nothing tells of it
            await trio.sleep(0.01)


async def test_unknown_worker_or_task_gets_an_error_and_1008(api: Tasks) -> None:
    for path in ("/ws/telemetry/nobody", "/ws/tasks/nobody/logs"):
        async with api.socket(path) as messages:
            (error,) = await messages.rest()
            assert (error["type"], "nobody" in error["error"]) == ("error", True)
            assert messages.close_code == 1008


async def test_front_end_that_wants_no_zeros_gets_none_over_the_socket_alone(tmp_path: Path) -> None:
    async with tasks(tmp_path, config="[plugins.task_scheduler]\nnever_zero = true\n") as api:
        async with api.socket("/ws/telemetry") as messages:
            allocated = (await messages.next())["workers"][HERE]["allocated_resources"]
        assert allocated == {"cpu": 1e-9, "memory": 1e-9, "storage": 1e-9, "gpu": 0.0}
        (worker,) = (await api.read("/api/workers"))["workers"]
        assert worker["allocated_resources"]["cpu"] == 0.0


# ---------------------------------------------------------------- logs


def lines(messages: list[Any]) -> list[str]:
    return [message["line"] for message in messages if message["type"] == "log"]


async def test_log_is_connected_then_every_line_then_complete(api: Tasks) -> None:
    task_id, attempt = await api.running(user_id="admin")
    async with api.socket(f"/ws/tasks/{task_id}/logs") as messages:
        assert await messages.next() == {
            "type": "connected",
            "task_id": task_id,
            "user_id": "admin",
            "message": "Connected to task log stream",
        }
        attempt.write(b"one\n")
        one = await messages.next()
        assert one == {"type": "log", "line": "one", "task_id": task_id, "stream": "stdout", "next_offset": 4}
        attempt.write(b"two\r\nthr", "stderr")
        attempt.write(b"ee\nno end", "stderr")
        attempt.end(exit_code=2)
        rest = await messages.rest()
        assert lines(rest) == ["two", "three", "no end"]
        assert {message["stream"] for message in rest[:-1]} == {"stderr"}
        assert rest[-1] == {
            "type": "complete",
            "task_id": task_id,
            "status": "failed",
            "message": "Task completed with status: failed",
        }
        assert messages.close_code == 1000


async def test_late_joiner_gets_the_stored_log_first_without_gap_or_double(api: Tasks) -> None:
    task_id, attempt = await api.running()
    wanted = [f"line {number}" for number in range(2000)]
    attempt.write("".join(f"{line}\n" for line in wanted[:1000]).encode())
    async with api.socket(f"/ws/tasks/{task_id}/logs") as messages:
        found = [await messages.next() for _ in range(500)]
        attempt.write("".join(f"{line}\n" for line in wanted[1000:]).encode())
        attempt.end()
        found += await messages.rest()
    assert lines(found) == wanted
    async with api.socket(f"/ws/tasks/{task_id}/logs") as messages:
        again = await messages.rest()
    assert (lines(again), again[-1]["status"]) == (wanted, "completed")


async def test_log_is_resumed_at_the_offset_of_the_last_line_also_after_a_restart(tmp_path: Path) -> None:
    async with tasks(tmp_path) as api:
        task_id, attempt = await api.running()
        attempt.write(b"one\ntwo\nthree\n")
        async with api.socket(f"/ws/tasks/{task_id}/logs") as messages:
            await messages.next()
            offset = (await messages.next())["next_offset"]
        attempt.end()
        await api.until(task_id, "completed")
    async with tasks(tmp_path) as api, api.socket(f"/ws/tasks/{task_id}/logs?offset={offset}") as messages:
        assert lines(await messages.rest()) == ["two", "three"]


async def test_empty_log_completes_too_and_a_pending_task_is_waited_for(api: Tasks) -> None:
    empty = await api.ended()
    async with api.socket(f"/ws/tasks/{empty}/logs") as messages:
        assert [message["type"] for message in await messages.rest()] == ["connected", "complete"]
    waits = await api.submit(cpu_required=90_000)
    async with api.socket(f"/ws/tasks/{waits}/logs") as messages:
        assert (await messages.next())["type"] == "connected"
        await api.send("DELETE", f"/api/tasks/{waits}")
        (last,) = await messages.rest()
        assert (last["type"], last["status"]) == ("complete", "cancelled")


async def test_line_that_is_no_utf8_is_shown_with_marks(api: Tasks) -> None:
    task_id = await api.ended(log=b'\xff "caf\xc3\xa9" \x1b[31m\x00\n')
    async with api.socket(f"/ws/tasks/{task_id}/logs") as messages:
        assert lines(await messages.rest()) == ['\ufffd "café" \x1b[31m\x00']


async def test_what_is_not_kept_of_a_log_is_told_as_a_gap(tmp_path: Path) -> None:
    async with tasks(tmp_path, config="[scheduler]\nlog_limit_bytes = 65536\n") as api:
        written = b"".join(b"%039999d\n" % number for number in range(150))
        task_id, attempt = await api.running()
        for at in range(0, len(written), 40_000):
            attempt.write(written[at : at + 40_000])
        attempt.end()
        await api.until(task_id, "completed")
        async with api.socket(f"/ws/tasks/{task_id}/logs") as messages:
            found = await messages.rest()
    at, gaps = 0, 0
    for message in found:
        if message["type"] == "gap":
            gaps += 1
            assert message["from_offset"] == at
            at = message["next_offset"]
        elif message["type"] == "log":
            assert message["line"].encode() + b"\n" == written[at : message["next_offset"]]
            at = message["next_offset"]
    assert (gaps >= 1, at) == (True, len(written))


async def test_anothers_log_is_as_one_that_does_not_exist(api: Tasks) -> None:
    ana, bob = await api.as_("ana"), await api.as_("bob", Role.USER)
    task_id = await ana.ended(log=b"secret\n")
    async with bob.socket(f"/ws/tasks/{task_id}/logs") as messages:
        assert [message["type"] for message in await messages.rest()] == ["error"]
    async with ana.socket(f"/ws/tasks/{task_id}/logs") as messages:
        assert lines(await messages.rest()) == ["secret"]
