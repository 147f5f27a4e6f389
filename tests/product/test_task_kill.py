"""kill -9 amid running tasks and a full queue: none is lost, none runs twice, and their logs have no gap."""

import random
import shutil
import signal
import time
from typing import Any

import httpx2 as httpx
import pytest

from tests.product.served import Product, until

pytestmark = [
    pytest.mark.zipapp,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed here"),
]
LINES = 100
TASKS = "/api/appliance/tasks"
COMMAND = (
    f"echo started; i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line $i; echo error $i >&2; sleep 0.02; done;"
    " echo result >/output/result; echo ended"
)


def submit(one: Product, number: int) -> str:
    """Submit a task that is a twentieth of a core: many run at once."""
    body = {
        "image": "host",
        "command": COMMAND,
        "cpu_millicores": 50,
        "memory_mib": 64,
        "storage_mib": 16,
        "engine": "sandbox",
        "name": f"number {number}",
    }
    answer = httpx.post(one.base + TASKS, json=body, timeout=30)
    assert answer.status_code == 201, answer.text
    task_id: str = answer.json()["items"][0]["id"]
    return task_id


def tasks(one: Product) -> dict[str, dict[str, Any]]:
    return {item["id"]: item for item in one.get(f"{TASKS}?limit=1000").json()["items"]}


def in_state(one: Product, *states: str) -> list[str]:
    return [task_id for task_id, item in tasks(one).items() if item["state"] in states]


def log_of(one: Product, task_id: str) -> list[str]:
    answer = one.get(f"{TASKS}/{task_id}/log")
    assert answer.status_code == 200, answer.text
    return answer.text.splitlines()


def survive(one: Product, *, count: int, kills: int) -> None:
    """Run so many tasks through so many kills; afterwards each has run once, whole."""
    one.start()
    submitted = [submit(one, number) for number in range(count)]
    chance = random.Random(20261121)
    for _ in range(kills):
        until(lambda: len(in_state(one, "running")) >= 10 or not in_state(one, "pending"))
        time.sleep(chance.uniform(0, 0.5))  # the kill falls anywhere
        one.process.send_signal(signal.SIGKILL)
        one.end()
        one.start()
    until(lambda: not in_state(one, "pending", "starting", "running", "stopping"), seconds=180)
    found = tasks(one)
    assert sorted(found) == sorted(submitted)
    for task_id, item in found.items():
        assert (item["state"], item["attempt_count"], item["exit_code"]) == ("completed", 1, 0), item
        numbered = range(1, LINES + 1)
        log = log_of(one, task_id)
        assert [line for line in log if line.startswith("error")] == [f"error {number}" for number in numbered]
        rest = [line for line in log if not line.startswith("error")]
        assert rest == ["started", *(f"line {number}" for number in numbered), "ended"]
        assert [file["path"] for file in one.get(f"{TASKS}/{task_id}/files").json()["items"]] == ["result"]
    assert "Traceback" not in one.log


def test_kill_amid_ten_running_tasks_and_a_queue_loses_none_and_runs_none_twice(fresh: Product) -> None:
    survive(fresh, count=45, kills=2)


@pytest.mark.long
def test_many_kills_amid_hundreds_of_tasks_lose_none_and_run_none_twice(fresh: Product) -> None:
    survive(fresh, count=400, kills=15)
