"""Who may call the documented API where nobody is trusted, and from networks that the configuration opens."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.plugins.task_scheduler.kit import TASK, Tasks, tasks

DOCUMENTED = [
    ("GET", "/telemetry"),
    ("GET", "/telemetry/w"),
    ("GET", "/workers"),
    ("GET", "/api/workers"),
    ("POST", "/api/workers"),
    ("GET", "/api/workers/w"),
    ("GET", "/api/workers/w/tasks"),
    ("GET", "/api/workers/w/metrics"),
    ("GET", "/api/tasks"),
    ("POST", "/api/tasks"),
    ("GET", "/api/tasks/x"),
    ("DELETE", "/api/tasks/x"),
    ("GET", "/api/tasks/x/logs"),
    ("PUT", "/api/tasks/x/retry"),
    ("GET", "/api/files"),
    ("GET", "/api/files/x"),
    ("GET", "/api/files/x/download/y"),
    ("DELETE", "/api/files/x"),
]
SOCKETS = ["/ws/telemetry", "/ws/telemetry/w", "/ws/tasks/x/logs"]
STRANGE = '[[listeners]]\naddress = "127.0.0.1:0"\ntrust = "none"\n'
OPENED = STRANGE + '[plugins.task_scheduler]\nopen_to = ["127.0.0.0/8"]\n'


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Tasks]:
    async with tasks(tmp_path, config=STRANGE, listen=()) as made:
        yield made


async def test_nobody_without_a_credential_gets_more_than_health(api: Tasks) -> None:
    assert (await api.send("GET", "/health")).status == 200
    for method, path in DOCUMENTED:
        reply = await api.send(method, path, TASK if method == "POST" else None)
        assert (reply.status, set(reply.json) >= {"error", "message"}) == (401, True), (method, path)
    for path in SOCKETS:
        async with api.socket(path) as messages:
            assert (await messages.rest(), messages.close_code) == ([], 401), path
    assert await api.appliance.state.scheduler.page() == []


async def test_wrong_credential_is_401_everywhere(api: Tasks) -> None:
    wrong = {"Authorization": "Bearer nonsense"}
    for method, path in DOCUMENTED:
        assert (await api.send(method, path, TASK if method == "POST" else None, headers=wrong)).status == 401, path


async def test_person_with_a_token_may_do_all_that_the_document_says(api: Tasks) -> None:
    ana = await api.as_("ana")
    task_id = await ana.ended(log=b"hello\n", user_id="x")
    assert (await ana.read(f"/api/tasks/{task_id}/logs"))["logs"] == "hello\n"
    async with ana.socket(f"/ws/tasks/{task_id}/logs") as messages:
        assert [message["type"] for message in await messages.rest()] == ["connected", "log", "complete"]


async def test_opened_network_acts_as_a_user_of_its_own(tmp_path: Path) -> None:
    async with tasks(tmp_path, config=OPENED, listen=()) as api:
        ana = await api.as_("ana")
        hers, theirs = await ana.submit(), await api.submit(user_id="user-001")
        assert [task["task_id"] for task in (await api.read("/api/tasks"))["tasks"]] == [theirs]
        assert (await api.send("DELETE", f"/api/tasks/{hers}")).status == 404
        assert (await api.read(f"/api/tasks/{theirs}"))["user_id"] == "user-001"
        attempt = await api.engine.running(theirs)
        attempt.files = {"a": b"a"}
        attempt.end()
        await api.until(theirs, "completed")
        assert (await api.send("GET", f"/api/files/{theirs}/download/a?user_id=user-001")).body == b"a"
        assert (await api.send("GET", f"/api/files/{theirs}/download/a?user_id=admin")).status == 403
        assert (await api.send("POST", "/api/workers", {"worker_id": "w", "worker_ip": "a"})).status == 401
        assert (await api.send("GET", "/api/appliance/tasks")).status == 401
        assert [task["task_id"] for task in (await ana.read("/api/tasks"))["tasks"]] == [hers]
