"""Every statement of the machine API's document, against the built file."""

import json
import sqlite3
import time
from contextlib import closing
from typing import Any

import httpx2 as httpx
import pytest

from tests.product.served import Product, until
from tests.wire.machines import (
    CONFIG,
    FLOATS,
    INTEGERS,
    KEEPALIVE,
    METRICS,
    REFUSED,
    REGISTER,
    Registry,
    new_id,
    registry_of,
)

pytestmark = pytest.mark.zipapp

NOT_THERE = "Machine state expired or never registered"
GPU_NAMES = ("A10G", "A100-40", "A100-80", "L4", "T4", "H100", "A6000", "RTX4090", "L40S", "MPS", "any")
STATE_KEYS = {"machine_id", "pool_name", "status", "hostname", "cpu", "memory", "gpu_count", "agent_version"}


# ---------------------------------------------------------------- register


def test_register_answers_the_document_s_example_with_the_document_s_answer(registry: Registry) -> None:
    answer = registry.send("POST", "/register", REGISTER, token=registry.tokens["gpu"])
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json == {
        "config": None,
        "machine_state": {
            "machine_id": "1165a9b6",
            "status": "registered",
            "pool_name": "gpu",
            "ttl_seconds": 300,
        },
    }
    assert type(answer.json["machine_state"]["ttl_seconds"]) is int


@pytest.mark.parametrize("name", [name for name in REGISTER if name != "provider_name"])
def test_register_without_a_required_field_is_400_invalid_payload_and_stores_nothing(
    registry: Registry, name: str
) -> None:
    before = registry.all()
    body = {key: value for key, value in {**REGISTER, "machine_id": new_id()}.items() if key != name}
    answer = registry.send("POST", "/register", body, token=registry.tokens["gpu"])
    assert (answer.status, answer.json["message"]) == (400, "Invalid payload")
    assert registry.all() == before


@pytest.mark.parametrize("value", [8000, 1.5, True, [], {}, None])
@pytest.mark.parametrize("name", REGISTER)
def test_register_with_a_field_that_is_no_string_is_400_invalid_payload(
    registry: Registry, name: str, value: Any
) -> None:
    if name == "provider_name" and value is None:
        pytest.skip("null is as if it were left out")
    answer = registry.send(
        "POST", "/register", {**REGISTER, "machine_id": new_id(), name: value}, token=registry.worker
    )
    assert (answer.status, answer.json["message"]) == (400, "Invalid payload")


@pytest.mark.parametrize("body", [b"not json", b"{", b"", b"null", b"{}", b"[]", b"5", b'"text"', b'[{"cpu":"1m"}]'])
def test_register_with_a_body_that_is_no_registration_is_400_invalid_payload(registry: Registry, body: bytes) -> None:
    answer = registry.send("POST", "/register", body, token=registry.tokens["gpu"])
    assert (answer.status, answer.json["message"]) == (400, "Invalid payload")


def test_register_without_provider_is_with_provider_generic(registry: Registry) -> None:
    for changes in ({}, {"provider_name": None}, {"provider_name": ""}):
        machine_id = new_id()
        body = {key: value for key, value in {**REGISTER, "machine_id": machine_id}.items() if key != "provider_name"}
        assert registry.send("POST", "/register", {**body, **changes}, token=registry.worker).status == 200
        assert registry.beat(machine_id, provider_name="generic").status == 200
        found = registry.listed("?pool_name=gpu&provider_name=generic")
        assert machine_id in [each["state"]["machine_id"] for each in found]


def test_machine_is_known_by_its_provider_too(registry: Registry) -> None:
    machine_id = new_id()
    assert registry.register(machine_id, provider_name="lambda").status == 200
    assert registry.beat(machine_id).json["error_code"] == "machine_not_found"
    assert registry.beat(machine_id, provider_name="lambda").status == 200


def test_body_s_token_is_never_looked_at(registry: Registry) -> None:
    for token in ("", "mock-k3s-token", registry.tokens["h100"], "x" * 4000):
        assert registry.register(new_id(), body_token=token, token=registry.worker).status == 200
        body = {**REGISTER, "machine_id": new_id(), "token": token}
        assert registry.send("POST", "/register", body, token=registry.tokens["gpu"]).status == 200


@pytest.mark.parametrize("machine_id", ["test1234", "1165A9B6", "a", "node-7.rack_2", "é" * 8, "x" * 64])
def test_id_need_not_be_hexadecimal_and_is_kept_as_written(registry: Registry, machine_id: str) -> None:
    assert registry.register(machine_id).json["machine_state"]["machine_id"] == machine_id
    assert registry.beat(machine_id).json["machine_state"]["machine_id"] == machine_id
    assert registry.item(machine_id)["state"]["machine_id"] == machine_id


@pytest.mark.parametrize(
    ("cpu", "millicores"), [("8000m", 8000), ("8000", 8000), ("8", 8), ("+5m", 5), ("0", 0), ("0m", 0)]
)
def test_cpu_is_millicores_with_or_without_their_unit(registry: Registry, cpu: str, millicores: int) -> None:
    assert registry.item(registry.ready(cpu=cpu))["state"]["cpu"] == millicores


@pytest.mark.parametrize(
    "cpu", ["", "m", "8.5", "1e3", "-1m", "8000mm", "8 m", " 8", "8000M", "0x10", "٣", "9" * 5000, str(2**63), "8_000"]
)
def test_cpu_that_is_no_such_quantity_is_500_invalid_machine_cpu_value(registry: Registry, cpu: str) -> None:
    answer = registry.register(new_id(), cpu=cpu)
    assert (answer.status, answer.json["message"]) == (500, "Invalid machine cpu value") or len(cpu) > 255
    assert len(cpu) <= 255 or (answer.status, answer.json["message"]) == (400, "Invalid payload")


@pytest.mark.parametrize(
    ("memory", "mib"),
    [("16Gi", 16384), ("32768Mi", 32768), ("16384", 16384), ("2047Ki", 1), ("1023Ki", 0), ("0Gi", 0), ("16", 16)],
)
def test_memory_is_mib_in_any_documented_unit(registry: Registry, memory: str, mib: int) -> None:
    assert registry.item(registry.ready(memory=memory))["state"]["memory"] == mib


@pytest.mark.parametrize(
    "memory",
    ["", "16G", "16GB", "16Ti", "1.5Gi", "-1Gi", "+1Gi", "Gi", "16 Gi", "16gi", "16GiMi", "٣Gi", f"{2**63}", "1e3Mi"],
)
def test_memory_that_is_no_such_quantity_is_500_invalid_machine_memory_value(registry: Registry, memory: str) -> None:
    answer = registry.register(new_id(), memory=memory)
    assert (answer.status, answer.json["message"]) == (500, "Invalid machine memory value")


@pytest.mark.parametrize("count", ["0", "1", "8", "007", str(2**32 - 1)])
def test_gpu_count_is_a_decimal_in_a_string(registry: Registry, count: str) -> None:
    machine_id = registry.ready(gpu_count=count, pool_name="plain")
    assert registry.item(machine_id)["state"]["gpu_count"] == int(count)
    assert registry.browser.delete(f"/api/appliance/machines/{machine_id}").status_code == 200


@pytest.mark.parametrize("count", ["", "-1", "+1", " 1", "1 ", "1.0", "one", "0x1", "²", str(2**32), "9" * 200])
def test_gpu_count_that_is_no_integer_is_500_invalid_gpu_count(registry: Registry, count: str) -> None:
    answer = registry.register(new_id(), gpu_count=count)
    assert (answer.status, answer.json["message"]) == (500, "Invalid gpu count")


@pytest.mark.parametrize("pool", ["no-such-pool", "GPU", "gpu ", "Default"])
def test_pool_that_is_not_in_the_configuration_is_500_invalid_pool_name(registry: Registry, pool: str) -> None:
    answer = registry.register(new_id(), pool_name=pool)
    assert (answer.status, answer.json["message"]) == (500, "Invalid pool name")
    bound = registry.token("machine", pool=pool)
    answer = registry.register(new_id(), pool_name=pool, token=bound)
    assert (answer.status, answer.json["message"]) == (500, "Invalid pool name")


def test_pool_default_is_there_without_configuration(registry: Registry) -> None:
    machine_id = registry.ready(pool_name="default")
    assert registry.item(machine_id)["state"]["pool_name"] == "default"


def test_pool_made_over_our_own_api_takes_machines_at_once(registry: Registry) -> None:
    made = registry.browser.post("/api/appliance/pools", json={"name": "made", "gpu": "L40S"})
    assert made.status_code == 201, made.text
    machine_id = registry.ready(pool_name="made")
    assert registry.item(machine_id)["state"]["pool_name"] == "made"


def test_register_looks_at_cpu_then_memory_then_gpu_count_then_the_pool(registry: Registry) -> None:
    wrong = {"cpu": "x", "memory": "x", "gpu_count": "x", "pool_name": "x"}
    messages = [
        "Invalid machine cpu value",
        "Invalid machine memory value",
        "Invalid gpu count",
        "Invalid pool name",
    ]
    for message in messages:
        answer = registry.register(new_id(), token=registry.worker, **wrong)
        assert (answer.status, answer.json["message"]) == (500, message)
        wrong.pop(next(iter(wrong)))


def test_store_that_fails_is_500_failed_to_register_machine_and_nothing_is_stored(fresh: Product) -> None:
    with closing(fresh.set_up()) as browser:
        token = browser.post("/api/appliance/tokens", json={"kind": "machine", "pool": "default"}).json()["token"]
        made = Registry(fresh, browser, token, {"default": token})
        machine_id = new_id()
        # Another program holds the database for longer than ours waits for it.
        with closing(sqlite3.connect(fresh.data / "appliance.db", timeout=20, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = made.register(machine_id, pool_name="default")
            other.execute("ROLLBACK")
        assert (answer.status, answer.json["message"]) == (500, "Failed to register machine")
        assert made.beat(machine_id, pool_name="default").json["error_code"] == "machine_not_found"
        assert made.register(machine_id, pool_name="default").status == 200


def test_further_fields_are_accepted(registry: Registry) -> None:
    machine_id = new_id()
    assert registry.register(machine_id, zone="eu", tags=[1, {"a": None}]).status == 200
    assert registry.beat(machine_id, zone="eu", metrics={**METRICS, "load": [1.5]}).status == 200


def test_machine_that_registers_again_is_unlisted_until_its_next_keepalive(registry: Registry) -> None:
    machine_id = registry.ready()
    created = registry.item(machine_id)["state"].get("created")
    assert registry.register(machine_id, cpu="4000m").json["machine_state"]["status"] == "registered"
    assert registry.item(machine_id) is None
    assert registry.beat(machine_id).json["machine_state"]["status"] == "ready"
    found = registry.item(machine_id)["state"]
    assert (found["cpu"], found.get("created")) == (4000, created)


def test_same_id_may_exist_in_two_pools(registry: Registry) -> None:
    machine_id = registry.ready()
    assert registry.register(machine_id, pool_name="plain").status == 200
    assert registry.beat(machine_id, pool_name="plain").status == 200
    found = [each["state"] for each in registry.listed() if each["state"]["machine_id"] == machine_id]
    assert sorted(each["pool_name"] for each in found) == ["gpu", "plain"]


# ---------------------------------------------------------------- keepalive


def test_keepalive_answers_the_document_s_example_with_the_document_s_answer(registry: Registry) -> None:
    assert registry.send("POST", "/register", REGISTER, token=registry.tokens["gpu"]).status == 200
    for _ in range(2):
        answer = registry.send("POST", "/keepalive", KEEPALIVE, token=registry.tokens["gpu"])
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("application/json")
        found = answer.json
        moment = found["machine_state"].pop("last_keepalive")
        assert isinstance(moment, str)
        assert abs(int(moment) - time.time()) < 30
        assert found["machine_state"].pop("pool_name", "gpu") == "gpu"
        assert found == {
            "status": "ok",
            "machine_state": {
                "machine_id": "1165a9b6",
                "status": "ready",
                "last_worker_seen": "",
                "ttl_seconds": 300,
                "agent_version": "0.1.0-python",
            },
        }


def test_last_worker_seen_is_when_the_machine_had_workers_last(registry: Registry) -> None:
    machine_id = registry.ready()
    busy = registry.beat(machine_id, metrics={**METRICS, "worker_count": 2}).json["machine_state"]
    assert busy["last_worker_seen"] == busy["last_keepalive"]
    idle = registry.beat(machine_id, metrics={**METRICS, "worker_count": 0}).json["machine_state"]
    assert idle["last_worker_seen"] == busy["last_worker_seen"]


@pytest.mark.parametrize(
    "changes",
    [
        {"machine_id": None},
        {"machine_id": ""},
        {"pool_name": None},
        {"pool_name": ""},
        {"machine_id": "", "pool_name": ""},
    ],
)
def test_keepalive_without_id_or_pool_is_400_with_the_documented_words(
    registry: Registry, changes: dict[str, Any]
) -> None:
    left_out = {key: value for key, value in KEEPALIVE.items() if key not in changes}
    for body in ({**KEEPALIVE, **changes}, left_out):
        answer = registry.send("POST", "/keepalive", body, token=registry.tokens["gpu"])
        assert (answer.status, answer.json["message"]) == (400, "machine_id and pool_name are required")
        assert "error_code" not in answer.json


@pytest.mark.parametrize("body", [b"not json", b"{", b"", b"[]", b"5", b'{"machine_id":5,"pool_name":"gpu"}'])
def test_keepalive_with_malformed_json_is_400(registry: Registry, body: bytes) -> None:
    answer = registry.send("POST", "/keepalive", body, token=registry.tokens["gpu"])
    assert answer.status == 400
    assert answer.json["message"] in {"Invalid payload", "machine_id and pool_name are required"}


def test_keepalive_provider_is_generic_by_default(registry: Registry) -> None:
    machine_id = new_id()
    assert registry.register(machine_id).status == 200
    body = {"machine_id": machine_id, "pool_name": "gpu"}
    for changes in ({}, {"provider_name": None}, {"provider_name": ""}):
        assert registry.send("POST", "/keepalive", {**body, **changes}, token=registry.worker).status == 200


@pytest.mark.parametrize("changes", [{}, {"metrics": None}, {"metrics": {}}, {"agent_version": None}])
def test_keepalive_needs_neither_version_nor_metrics(registry: Registry, changes: dict[str, Any]) -> None:
    machine_id = new_id()
    assert registry.register(machine_id).status == 200
    body = {"machine_id": machine_id, "pool_name": "gpu", **changes}
    answer = registry.send("POST", "/keepalive", body, token=registry.tokens["gpu"])
    assert answer.status == 200
    assert answer.json["machine_state"]["status"] == "ready"
    assert answer.json["machine_state"].get("agent_version", "") == ""


def test_document_s_shell_example_of_a_keepalive_is_taken(registry: Registry) -> None:
    machine_id = new_id()
    assert registry.register(machine_id).status == 200
    some = {"cpu_utilization_pct": 15.5, "memory_utilization_pct": 42.3}
    body = {"machine_id": machine_id, "pool_name": "gpu", "agent_version": "0.1.0-python", "metrics": some}
    assert registry.send("POST", "/keepalive", body, token=registry.tokens["gpu"]).status == 200
    shown = registry.item(machine_id)["metrics"]
    assert shown == dict.fromkeys(INTEGERS, 0) | dict.fromkeys(FLOATS, 0) | some


def test_metrics_are_shown_as_sent_and_what_the_next_beat_leaves_out_is_0(registry: Registry) -> None:
    machine_id = registry.ready()
    sent = {name: number + 1 for number, name in enumerate(INTEGERS)}
    sent |= {"total_memory_available": 25_276_514_304, "total_disk_space_bytes": 2**45}
    every: dict[str, float] = sent | {name: number + 0.25 for number, name in enumerate(FLOATS)}
    assert registry.beat(machine_id, metrics=every).status == 200
    shown = registry.item(machine_id)["metrics"]
    assert shown == every
    assert all(type(shown[name]) is int for name in INTEGERS)
    assert registry.beat(machine_id, metrics={"free_gpu_count": 1}).status == 200
    zero = dict.fromkeys((*INTEGERS, *FLOATS), 0) | {"free_gpu_count": 1}
    assert registry.item(machine_id)["metrics"] == zero


@pytest.mark.parametrize("name", FLOATS)
def test_float_without_a_fraction_and_with_17_digits_is_taken(registry: Registry, name: str) -> None:
    machine_id = registry.ready()
    for text in ("0", "12", "12.0", "42.347891234567891", "1e1"):
        body = json.dumps({**KEEPALIVE, "machine_id": machine_id, "metrics": {name: 77}}).replace("77", text).encode()
        assert registry.send("POST", "/keepalive", body, token=registry.tokens["gpu"]).status == 200
        assert registry.item(machine_id)["metrics"][name] == float(text)


def test_keepalive_of_a_machine_that_never_registered_is_500_machine_not_found(registry: Registry) -> None:
    pending = registry.browser.post("/api/appliance/machines", json={"pool": "gpu", "machine_id": new_id()})
    assert pending.status_code == 201, pending.text
    for machine_id in (new_id(), pending.json()["id"]):
        answer = registry.beat(machine_id)
        assert answer.status == 500
        assert (answer.json["error_code"], answer.json["message"]) == ("machine_not_found", NOT_THERE)
        assert registry.item(machine_id) is None


def test_keepalive_of_a_machine_that_was_deleted_is_500_machine_not_found(registry: Registry) -> None:
    machine_id = registry.ready()
    assert registry.browser.delete(f"/api/appliance/machines/{machine_id}").status_code == 200
    answer = registry.beat(machine_id)
    assert (answer.status, answer.json["error_code"]) == (500, "machine_not_found")
    assert registry.register(machine_id).status == 200, "its token still counts"
    assert registry.beat(machine_id).status == 200


def test_machine_of_another_pool_is_none_of_this_one(registry: Registry) -> None:
    machine_id = registry.ready()
    answer = registry.beat(machine_id, pool_name="plain")
    assert (answer.status, answer.json["error_code"]) == (500, "machine_not_found")


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


# ---------------------------------------------------------------- config


def test_config_is_null(registry: Registry) -> None:
    for token in (registry.tokens["gpu"], registry.worker):
        answer = registry.send("GET", "/config", token=token)
        assert (answer.status, answer.json) == (200, {"config": None})


# ---------------------------------------------------------------- list


def test_list_shows_the_documented_fields_of_ready_machines(registry: Registry) -> None:
    machine_id = registry.ready()
    item = registry.item(machine_id)
    assert set(item) == {"state", "metrics"}
    shown = {name: item["state"][name] for name in STATE_KEYS}
    assert shown == {
        "machine_id": machine_id,
        "pool_name": "gpu",
        "status": "ready",
        "hostname": "gpu-worker-1",
        "cpu": 8000,
        "memory": 16384,
        "gpu_count": 1,
        "agent_version": "0.1.0-python",
    }
    assert all(type(shown[name]) is int for name in ("cpu", "memory", "gpu_count"))
    assert set(item["metrics"]) == {*INTEGERS, *FLOATS}
    assert {name: item["metrics"][name] for name in METRICS} == METRICS


def test_list_shows_null_for_the_metrics_of_a_machine_that_reports_none(registry: Registry) -> None:
    machine_id = registry.ready()
    assert registry.beat(machine_id, metrics=None).status == 200
    assert registry.item(machine_id)["metrics"] is None


def test_list_has_only_machines_that_are_ready(registry: Registry) -> None:
    pending = registry.browser.post("/api/appliance/machines", json={"pool": "gpu"}).json()["id"]
    registered = new_id()
    assert registry.register(registered).status == 200
    ready = registry.ready()
    found = [each["state"]["machine_id"] for each in registry.listed()]
    assert ready in found
    assert pending not in found
    assert registered not in found
    assert {each["state"]["status"] for each in registry.listed()} == {"ready"}


def test_list_is_narrowed_by_pool_and_provider_and_both_are_optional(registry: Registry) -> None:
    here, there, foreign = registry.ready(), registry.ready(pool_name="plain"), registry.ready(provider_name="lambda")
    own = {here, there, foreign}

    def found(query: str) -> set[str]:
        return {each["state"]["machine_id"] for each in registry.listed(query)} & own

    assert found("") == found("?pool_name=&provider_name=") == own
    assert found("?pool_name=gpu") == {here, foreign}
    assert found("?provider_name=lambda") == {foreign}
    assert found("?pool_name=gpu&provider_name=generic") == {here}
    assert found("?pool_name=plain&provider_name=lambda") == set()
    assert found("?pool_name=no-such-pool") == set()


def test_list_leaks_neither_the_body_s_token_nor_any_other(registry: Registry) -> None:
    secret = "k3s-cluster-admin-secret"
    machine_id = new_id()
    assert registry.register(machine_id, token=registry.worker).status == 200
    body = {**REGISTER, "machine_id": machine_id, "token": secret}
    assert registry.send("POST", "/register", body, token=registry.tokens["gpu"]).status == 200
    assert registry.beat(machine_id).status == 200
    text = json.dumps([registry.listed(), registry.browser.get("/api/appliance/machines").json()])
    assert machine_id in text
    for each in (secret, registry.worker, *registry.tokens.values()):
        assert each not in text
    assert not {"token", "registration_token"} & set(registry.item(machine_id)["state"])


# ---------------------------------------------------------------- gpus


def gpus(registry: Registry, workspace: str, token: str) -> Any:
    answer = registry.send("GET", f"/{workspace}/gpus", token=token)
    assert answer.status == 200, answer.body
    return answer.json


def test_gpus_counts_those_of_ready_machines_by_the_pool_s_name_and_knows_all_eleven(registry: Registry) -> None:
    token = registry.token("workspace", workspace="lab")
    assert gpus(registry, "lab", token) == dict.fromkeys(GPU_NAMES, 0)
    first = registry.ready(pool_name="h100", gpu_count="4")
    registry.ready(pool_name="h100", gpu_count="2")
    registry.ready(pool_name="odd", gpu_count="1")
    registry.ready(gpu_count="5")
    assert gpus(registry, "lab", token) == dict.fromkeys(GPU_NAMES, 0) | {"H100": 6, "GH200": 1}
    assert registry.register(first, pool_name="h100", gpu_count="8").status == 200
    assert gpus(registry, "lab", token)["H100"] == 2, "a machine that is registered is not ready"
    assert registry.beat(first, pool_name="h100").status == 200
    assert gpus(registry, "lab", token)["H100"] == 10


def test_gpus_of_a_workspace_are_those_of_its_pools_by_default_of_all(registry: Registry) -> None:
    everyone = registry.token("workspace", workspace="everyone")
    before = gpus(registry, "everyone", everyone)
    registry.ready(gpu_count="3")
    registry.ready(pool_name="plain", gpu_count="2")
    after = gpus(registry, "everyone", everyone)
    assert after["A100-80"] - before["A100-80"] == 3
    assert after["any"] - before["any"] == 2, "a pool without a GPU name"
    bare = gpus(registry, "bare", registry.token("workspace", workspace="bare"))
    assert {name for name, count in bare.items() if count} == {"any"}
    idle = gpus(registry, "idle", registry.token("workspace", workspace="idle"))
    assert idle == dict.fromkeys(GPU_NAMES, 0)


def test_gpus_needs_the_workspace_s_own_token_or_an_operator(registry: Registry) -> None:
    wrong = {
        "of a machine": registry.tokens["h100"],
        "of a worker": registry.worker,
        "of another workspace": registry.token("workspace", workspace="bare"),
        "nobody's": "wrong",
    }
    for whose, token in wrong.items():
        answer = registry.send("GET", "/lab/gpus", token=token)
        assert (answer.status, answer.json) == (403, REFUSED), whose
    assert set(gpus(registry, "lab", registry.token("pat"))) >= set(GPU_NAMES)


@pytest.mark.parametrize(("role", "status"), [("operator", 200), ("viewer", 403), ("user", 403)])
def test_gpus_takes_the_personal_token_of_an_operator_and_of_nobody_below(
    registry: Registry, role: str, status: int
) -> None:
    made = registry.browser.post(
        "/api/appliance/users", json={"name": f"{role}-1", "role": role, "password": "a long password of theirs"}
    )
    assert made.status_code == 201, made.text
    answer = registry.send("GET", "/lab/gpus", token=registry.token("pat", user=f"{role}-1"))
    assert answer.status == status
    assert status == 200 or answer.json == REFUSED


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
    answer = httpx.get(f"{registry.product.base}/api/v1/health")
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
    after = Registry(fresh, httpx.Client(base_url=fresh.base), before.worker, before.tokens)
    with closing(after.browser):
        assert after.item(machine_id) == item
        assert after.item(registered) is None
        for each in (machine_id, registered):
            assert after.beat(each).status == 200, "neither registers again"
