"""What the machine API's document says of registering and keeping alive, against the built file."""

import json
import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest

from tests.product.served import Product
from tests.wire.machines import (
    FLOATS,
    INTEGERS,
    KEEPALIVE,
    METRICS,
    REGISTER,
    Registry,
    new_id,
)

pytestmark = pytest.mark.zipapp

NOT_THERE = "Machine state expired or never registered"


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


@pytest.mark.parametrize("name", REGISTER)
def test_register_with_a_field_that_is_no_string_is_400_invalid_payload(registry: Registry, name: str) -> None:
    wrong: list[Any] = [8000, 1.5, True, [], {}]
    # A provider that is null is as if it were left out.
    for value in wrong if name == "provider_name" else [*wrong, None]:
        body = {**REGISTER, "machine_id": new_id(), name: value}
        answer = registry.send("POST", "/register", body, token=registry.worker)
        assert (answer.status, answer.json["message"]) == (400, "Invalid payload"), value


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
