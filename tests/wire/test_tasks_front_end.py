"""The task API as its React front end uses it: across origins, with a cookie, numbers as text, sockets of its own."""

from collections.abc import Iterator
from contextlib import closing

import httpx2 as httpx
import pytest

from tests.wire.tasks import UI, TaskApi, failed, needs_sandbox

pytestmark = [pytest.mark.zipapp, needs_sandbox]

PAGE = {"Origin": UI, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
"""What Chromium sends from a page of the development server on another port."""
SOCKET = {"Origin": UI, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "websocket", "Sec-Fetch-Dest": "websocket"}
PERSON = {"name": "Uma", "email": "uma@example.net", "password": "uma has a long password"}
FORM = {
    "docker_image": "host",
    "command": "",
    "cpu_required": "0.5",
    "memory_required": "0.5",
    "storage_required": 1,
    "gpu_required": 0,
    "tag": "cpu-light",
    "k_value": 2.0,
    "user_id": "user-001",
}
"""What its form sends: edited numbers as text, the others as numbers, always the same user."""


@pytest.fixture(scope="module")
def page(tasks: TaskApi) -> Iterator[TaskApi]:
    """Pages of the front end, where somebody has registered and been made a user."""
    with closing(tasks.product.set_up()) as admin, httpx.Client(base_url=tasks.product.base, timeout=60) as client:
        ui = TaskApi(tasks.product, client, dict(PAGE))
        made = ui.send("POST", "/api/auth/register", PERSON)
        assert made.status_code == 201, made.text
        (person,) = [
            each for each in admin.get("/api/appliance/users").json()["items"] if each["name"] == PERSON["name"]
        ]
        changed = admin.patch(f"/api/appliance/users/{person['id']}", json={"role": "user"})
        assert changed.status_code == 200, changed.text
        logged_in = ui.send("POST", "/api/auth/login", {"email": PERSON["email"], "password": PERSON["password"]})
        assert (logged_in.status_code, logged_in.json()["success"]) == (200, True)
        yield ui


def allowed(answer: httpx.Response) -> None:
    assert answer.headers["access-control-allow-origin"] == UI
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "origin" in answer.headers["vary"].lower()


def test_person_is_known_by_the_cookie_alone(page: TaskApi) -> None:
    me = page.send("GET", "/api/auth/me")
    allowed(me)
    assert (me.json()["success"], me.json()["user"]["email"]) == (True, PERSON["email"])


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/tasks"), ("DELETE", "/api/tasks/task-1"), ("POST", "/api/workers"), ("GET", "/api/workers")],
)
def test_preflight_allows_the_method_with_credentials(page: TaskApi, method: str, path: str) -> None:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "content-type"}
    answer = page.send("OPTIONS", path, headers=asked)
    assert answer.status_code in (200, 204)
    allowed(answer)
    assert method in answer.headers["access-control-allow-methods"]
    assert "content-type" in answer.headers["access-control-allow-headers"].lower()


def test_errors_may_be_read_across_origins_too(page: TaskApi) -> None:
    for answer, status in (
        (page.send("POST", "/api/tasks", {}), 400),
        (page.send("GET", "/api/tasks/task-0"), 404),
        (page.send("DELETE", "/api/tasks"), 405),
        (page.send("POST", "/api/workers", {"worker_id": "w", "worker_ip": "10.0.0.1:1"}), 403),
    ):
        failed(answer, status)
        allowed(answer)


def test_another_origin_is_neither_allowed_nor_served(page: TaskApi) -> None:
    foreign = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    for method, path in (("GET", "/api/tasks"), ("POST", "/api/tasks")):
        answer = page.send(method, path, FORM if method == "POST" else None, headers=foreign)
        assert "access-control-allow-origin" not in answer.headers
        if method == "POST":
            assert answer.status_code == 403
    with page.socket("/ws/telemetry", {**SOCKET, **foreign, "Cookie": cookie(page)}) as messages:
        assert messages.rejected == 403


def cookie(page: TaskApi) -> str:
    return "; ".join(f"{each.name}={each.value}" for each in page.client.cookies.jar)


def test_dashboard_reads_workers_as_numbers(page: TaskApi) -> None:
    answer = page.send("GET", "/api/workers")
    allowed(answer)
    worker = answer.json()["workers"][0]
    for group in ("total_resources", "allocated_resources", "available_resources"):
        assert all(isinstance(value, float) for value in worker[group].values()), group


def test_form_is_submitted_listed_followed_and_cancelled(page: TaskApi) -> None:
    answer = page.send("POST", "/api/tasks", FORM | {"command": "echo ready; sleep 1000"})
    allowed(answer)
    assert (answer.status_code, answer.json()["success"]) == (201, True)
    task_id = answer.json()["task_id"]
    page.until(task_id, "running")
    newest = page.read("/api/tasks")["tasks"][0]
    assert newest["task_id"] == task_id
    assert (newest["cpu_required"], newest["memory_required"], newest["k_value"]) == (0.5, 0.5, 2.0)
    assert (newest["status"], newest["created_at"] > 0) == ("running", True)
    # Its sockets come from the page's origin and carry the cookie of the host, whatever the port.
    with page.socket(f"/ws/tasks/{task_id}/logs", {**SOCKET, "Cookie": cookie(page)}) as messages:
        assert [messages.next()["type"], messages.next()["line"]] == ["connected", "ready"]
        with page.socket("/ws/telemetry", {**SOCKET, "Cookie": cookie(page)}) as telemetry:
            workers = telemetry.next()["workers"].values()
            assert task_id in [task["task_id"] for worker in workers for task in worker["running_tasks"]]
        cancelled = page.send("DELETE", f"/api/tasks/{task_id}")
        allowed(cancelled)
        assert cancelled.status_code == 200
        assert messages.rest()[-1]["status"] == "cancelled"
    allowed(page.send("DELETE", f"/api/tasks/{task_id}"))


def test_failed_submission_says_why_in_the_field_that_the_form_shows(page: TaskApi) -> None:
    answer = page.send("POST", "/api/tasks", FORM | {"cpu_required": ""})
    assert (answer.status_code, answer.json()["message"]) == (400, "cpu_required: missing, and required")


def test_nobody_without_the_cookie_is_let_in_from_a_page(page: TaskApi) -> None:
    with httpx.Client(base_url=page.product.base, timeout=60) as client:
        answer = client.get("/api/auth/me", headers=PAGE)
        assert (answer.status_code, answer.json()["success"]) == (401, False)
        allowed(answer)


def test_logging_out_ends_the_session(page: TaskApi) -> None:
    with httpx.Client(base_url=page.product.base, timeout=60) as client:
        ui = TaskApi(page.product, client, dict(PAGE))
        body = {"email": PERSON["email"], "password": PERSON["password"]}
        assert ui.send("POST", "/api/auth/login", body).status_code == 200
        kept = cookie(ui)
        assert ui.send("POST", "/api/auth/logout").json()["success"] is True
        assert ui.send("GET", "/api/tasks", headers={"Cookie": kept}).status_code == 401
