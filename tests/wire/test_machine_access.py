"""Who may use the machine API, and how it answers whoever may not, against the built file."""

import json
from contextlib import closing
from typing import Any

import httpx2 as httpx
import pytest

from tests.product.served import Product, until
from tests.wire.machines import (
    CONFIG,
    KEEPALIVE,
    REFUSED,
    REGISTER,
    Registry,
    new_id,
    registry_of,
)

pytestmark = pytest.mark.zipapp


# ---------------------------------------------------------------- who may


def calls(pool: str = "gpu", machine_id: str = "1165a9b6") -> list[tuple[str, str, Any]]:
    """Return one well-formed request for every endpoint that agents have."""
    return [
        ("POST", "/register", {**REGISTER, "machine_id": machine_id, "pool_name": pool}),
        ("POST", "/keepalive", {**KEEPALIVE, "machine_id": machine_id, "pool_name": pool}),
        ("GET", "/config", None),
        ("GET", "/list", None),
    ]


def is_refused(path: str, answer: Any) -> None:
    """Fail unless this is how a token that does not count is answered."""
    assert answer.status == 403, (path, answer.body)
    assert answer.json == (REFUSED | {"error_code": "invalid_token"} if path.startswith("/keepalive") else REFUSED)


@pytest.mark.parametrize(
    "value",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "wrong", "Basic YTpi", "Bearer é", "Bearer " + "x" * 5000],
)
def test_missing_or_wrong_token_is_403_everywhere(registry: Registry, value: str | None) -> None:
    headers = {"Content-Type": "application/json"} | ({} if value is None else {"Authorization": value})
    encoded = {name: text.encode("latin-1").decode("latin-1") for name, text in headers.items()}
    for method, path, body in [*calls(), ("GET", "/lab/gpus", None)]:
        is_refused(path, registry.send(method, path, body, headers=encoded))


def test_token_is_looked_at_before_the_body(registry: Registry) -> None:
    for path in ("/register", "/keepalive"):
        is_refused(path, registry.send("POST", path, b"not json", token="wrong"))
        assert registry.send("POST", path, b"not json", token=registry.tokens["gpu"]).status == 400


def test_token_of_another_type_is_403(registry: Registry) -> None:
    person = registry.token("pat")
    for token in (person, registry.token("workspace", workspace="lab"), registry.token("drone", name="one")):
        for method, path, body in calls():
            is_refused(path, registry.send(method, path, body, token=token))


def test_cookie_of_a_logged_in_admin_is_no_machine_token(registry: Registry) -> None:
    for method, path, body in calls():
        answer = registry.browser.request(method, f"/api/v1/machine{path}", json=body)
        assert (answer.status_code, answer.json()["message"]) == (403, "Invalid token")


def test_local_process_without_a_token_is_403(registry: Registry) -> None:
    """Whatever else of ours trusts this machine: every endpoint of this API needs a token."""
    for method, path, body in calls():
        is_refused(path, registry.send(method, path, body))


def test_revoked_token_is_403(registry: Registry) -> None:
    made = registry.made("machine", pool="gpu")
    machine_id = new_id()
    assert registry.register(machine_id, token=made["token"]).status == 200
    assert registry.beat(machine_id, token=made["token"]).status == 200
    assert registry.browser.delete(f"/api/appliance/tokens/{made['id']}").status_code == 200
    for method, path, body in calls(machine_id=machine_id):
        is_refused(path, registry.send(method, path, body, token=made["token"]))


def test_expired_token_is_403(registry: Registry) -> None:
    token = registry.token("machine", pool="gpu", expires_in_days=1.0 / 86_400)
    until(lambda: registry.send("GET", "/config", token=token).status == 403)
    for method, path, body in calls():
        is_refused(path, registry.send(method, path, body, token=token))


def test_rotated_token_goes_on_for_the_overlap_beside_the_new_one(registry: Registry) -> None:
    made = registry.made("machine", pool="gpu")
    path = f"/api/appliance/tokens/{made['id']}/rotate"
    new = registry.browser.post(path, json={"overlap_seconds": 60}).json()["token"]
    machine_id = new_id()
    assert registry.register(machine_id, token=made["token"]).status == 200
    assert registry.beat(machine_id, token=new).status == 200
    assert registry.beat(machine_id, token=made["token"]).status == 200


def test_token_is_88_url_safe_characters_and_serves_any_number_of_machines(registry: Registry) -> None:
    token = registry.browser.post("/api/appliance/machines", json={"pool": "gpu"}).json()["token"]
    for each in (token, registry.tokens["gpu"], registry.worker):
        assert len(each) == 88
        assert set(each) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=")
    for _ in range(3):
        assert registry.register(new_id()).status == 200


def test_token_without_the_word_bearer_works_too(registry: Registry) -> None:
    token, machine_id = registry.tokens["gpu"], new_id()
    for value in (token, f"Bearer {token}"):
        headers = {"Authorization": value, "Content-Type": "application/json"}
        for method, path, body in calls(machine_id=machine_id):
            assert registry.send(method, path, body, headers=headers).status == 200


def test_token_in_the_address_is_not_accepted(registry: Registry) -> None:
    for method, path, body in calls():
        for query in (f"?auth_token={registry.worker}", f"?token={registry.worker}"):
            is_refused(path, registry.send(method, path + query, body))


def test_token_bound_to_another_pool_is_403_and_lists_nothing_of_it(registry: Registry) -> None:
    machine_id = registry.ready()
    other = registry.tokens["plain"]
    before = registry.all()
    for method, path, body in calls(machine_id=machine_id)[:2]:
        is_refused(path, registry.send(method, path, body, token=other))
    assert registry.listed("?pool_name=gpu", token=other) == []
    assert machine_id not in json.dumps(registry.listed(token=other))
    assert registry.all() == before


def test_token_bound_to_another_pool_is_403_before_the_pool_is_looked_up(registry: Registry) -> None:
    is_refused("/register", registry.register(new_id(), pool_name="no-such-pool", token=registry.tokens["gpu"]))
    is_refused("/register", registry.register(new_id(), pool_name="plain", cpu="x", token=registry.tokens["gpu"]))


def test_token_bound_to_a_machine_is_403_for_every_other(registry: Registry) -> None:
    own, other = new_id(), registry.ready()
    token = registry.token("machine", pool="gpu", machine_id=own)
    assert registry.register(own, token=token).status == 200
    assert registry.beat(own, token=token).status == 200
    for method, path, body in calls(machine_id=other)[:2]:
        is_refused(path, registry.send(method, path, body, token=token))
    is_refused("/register", registry.register(own.upper() + "x", token=token))


def test_worker_token_serves_all_pools(registry: Registry) -> None:
    for pool in ("gpu", "plain", "default"):
        machine_id = new_id()
        assert registry.register(machine_id, pool_name=pool, token=registry.worker).status == 200
        assert registry.beat(machine_id, pool_name=pool, token=registry.worker).status == 200
        assert registry.item(machine_id)["state"]["pool_name"] == pool


# ---------------------------------------------------------------- the rest


@pytest.mark.parametrize("slashes", ["/", "//"])
def test_slashes_at_the_end_change_nothing_and_redirect_nobody(registry: Registry, slashes: str) -> None:
    workspace = registry.token("workspace", workspace="lab")
    for method, path, body in calls(machine_id=new_id()):
        assert registry.send(method, path + slashes, body, token=registry.tokens["gpu"]).status == 200, path
    assert registry.send("GET", f"/lab/gpus{slashes}", token=workspace).status == 200
    answer = registry.send("POST", f"/keepalive{slashes}", KEEPALIVE, token="wrong")
    is_refused("/keepalive", answer)


@pytest.mark.parametrize(
    "path", ["", "/", "/nothing", "/register/me", "/list/all", "/lab/gpus/1", "/lab/cpus", "/REGISTER", "/a/b/gpus"]
)
def test_unknown_path_is_404_not_found(registry: Registry, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        for token in (registry.worker, None):
            answer = registry.send(method, path, token=token)
            assert (answer.status, answer.json) == (404, {"message": "Not Found"}), (method, path)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/register", "POST"), ("/keepalive", "POST"), ("/config", "GET"), ("/list", "GET"), ("/lab/gpus", "GET")],
)
def test_wrong_method_is_405_method_not_allowed(registry: Registry, path: str, allowed: str) -> None:
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - {allowed}:
        answer = registry.send(method, path, token=registry.worker)
        assert (answer.status, answer.json) == (405, {"message": "Method Not Allowed"}), method
        assert allowed in answer.headers["allow"]


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON", 200),
        ("text/plain", 400),
        ("application/x-www-form-urlencoded", 400),
        (None, 400),
    ],
)
def test_content_type_must_be_json(registry: Registry, kind: str | None, status: int) -> None:
    headers = {"Authorization": f"Bearer {registry.worker}"} | ({} if kind is None else {"Content-Type": kind})
    machine_id = registry.ready()
    for method, path, body in calls(machine_id=machine_id)[:2]:
        answer = registry.send(method, path, body, headers=headers)
        assert answer.status == status
        assert status == 200 or answer.json["message"] == "Invalid payload"


def test_there_is_no_limit_to_requests_and_wrong_tokens_lock_nobody_out(registry: Registry) -> None:
    machine_id = registry.ready()
    for _ in range(150):
        assert registry.beat(machine_id).status == 200
    for _ in range(150):
        is_refused("/list", registry.send("GET", "/list", token="wrong"))
    for method, path, body in calls(machine_id=machine_id):
        assert registry.send(method, path, body, token=registry.tokens["gpu"]).status == 200


def test_health_says_ok_to_anybody(registry: Registry) -> None:
    answer = httpx.get(f"{registry.product.base}/api/v1/health", timeout=30)
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_machines_stay_ready_through_a_restart_in_order(fresh: Product) -> None:
    fresh.stop()
    fresh.config.write_text(CONFIG)
    fresh.start()
    with closing(fresh.set_up()) as browser:
        before = registry_of(fresh, browser)
        machine_id, registered = before.ready(), new_id()
        assert before.register(registered).status == 200
        item = before.item(machine_id)
    fresh.restart()
    after = Registry(fresh, httpx.Client(base_url=fresh.base, timeout=30), before.worker, before.tokens)
    with closing(after.browser):
        assert after.item(machine_id) == item
        assert after.item(registered) is None
        for each in (machine_id, registered):
            assert after.beat(each).status == 200, "neither registers again"
