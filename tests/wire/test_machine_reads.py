"""What the machine API's document says of config, list and GPU counts, against the built file."""

import json
from typing import Any

import pytest

from tests.wire.machines import (
    FLOATS,
    INTEGERS,
    METRICS,
    REFUSED,
    REGISTER,
    Registry,
    new_id,
)

pytestmark = pytest.mark.zipapp

GPU_NAMES = ("A10G", "A100-40", "A100-80", "L4", "T4", "H100", "A6000", "RTX4090", "L40S", "MPS", "any")
STATE_KEYS = {"machine_id", "pool_name", "status", "hostname", "cpu", "memory", "gpu_count", "agent_version"}


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
