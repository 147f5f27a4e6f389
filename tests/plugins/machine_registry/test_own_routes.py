"""Making, marking and deleting machines and pools: who may, and what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.credentials.kinds import Role
from appliance.testing import RunningAppliance, running
from plugins.machine_registry.telemetry import Telemetry
from tests.plugins.machine_registry.kit import agent

MACHINES = "/api/appliance/machines"
POOLS = "/api/appliance/pools"
CONFIG = """
[plugins.machine_registry.pools.gpu]
gpu = "A100-80"
provider = "aws"
"""


@pytest.fixture
async def appliance(tmp_path: Path) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path, config=CONFIG) as made:
        yield made


async def ask(appliance: RunningAppliance, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    reply = await appliance.control(method, path, body)
    return reply.status, reply.json


async def test_operators_change_machines_and_pools_and_viewers_only_look(appliance: RunningAppliance) -> None:
    one = await agent(appliance)
    await one.register()
    writes: list[tuple[str, str, Any]] = [
        ("POST", MACHINES, {"pool": "default"}),
        ("POST", f"{MACHINES}/{one.machine_id}/cordon", {"reason": ""}),
        ("POST", f"{MACHINES}/{one.machine_id}/drain", {"reason": ""}),
        ("POST", f"{MACHINES}/{one.machine_id}/uncordon", None),
        ("DELETE", f"{MACHINES}/{one.machine_id}", None),
        ("POST", POOLS, {"name": "new"}),
        ("DELETE", f"{POOLS}/new", None),
    ]
    for who, role, allowed in (("eve", Role.USER, False), ("oscar", Role.OPERATOR, True)):
        bearer = await appliance.bearer(who, role)
        for path in (MACHINES, POOLS, f"{MACHINES}/{one.machine_id}"):
            assert (await appliance.get(path, headers=bearer)).status == 200
        for method, path, body in writes:
            reply = await appliance.request(method, path, body=body, headers=bearer)
            assert (reply.status < 300) == allowed, (who, method, path, reply.text)


async def test_token_is_shown_once_and_in_no_list(appliance: RunningAppliance) -> None:
    one = await agent(appliance)
    await one.register()
    await one.beat()
    worker = await appliance.control("POST", "/api/appliance/tokens", {"kind": "worker"})
    bearer = {"Authorization": f"Bearer {worker.json['token']}"}
    assert len(one.token) == 88
    for reply in (
        await appliance.control("GET", MACHINES),
        await appliance.control("GET", f"{MACHINES}/{one.machine_id}"),
        await appliance.control("GET", "/api/appliance/tokens"),
        await appliance.control("GET", "/api/v1/gateway/machines"),
        await appliance.get("/api/v1/machine/list", headers=bearer),
    ):
        assert reply.status == 200
        assert one.token not in reply.text


async def test_pools_are_made_counted_and_deleted_once_they_are_empty(appliance: RunningAppliance) -> None:
    assert (await ask(appliance, "POST", POOLS, {"name": "new", "gpu": "H100"}))[0] == 201
    assert (await ask(appliance, "POST", POOLS, {"name": "new"}))[0] == 409
    one = await agent(appliance, "new")
    await one.register(gpu_count="8")
    await one.beat(metrics={"free_gpu_count": 3})
    items = {item["name"]: item for item in (await ask(appliance, "GET", POOLS))[1]["items"]}
    assert list(items) == ["default", "gpu", "new"]
    assert (items["gpu"]["gpu"], items["gpu"]["provider"], items["gpu"]["is_configured"]) == ("A100-80", "aws", True)
    new = items["new"]
    assert (new["machine_count"], new["ready_count"], new["gpu_count"], new["free_gpu_count"]) == (1, 1, 8, 3)
    for name in ("default", "gpu", "new"):
        assert (await ask(appliance, "DELETE", f"{POOLS}/{name}"))[0] == 409
    assert (await ask(appliance, "DELETE", f"{POOLS}/nothing"))[0] == 404
    await ask(appliance, "DELETE", f"{MACHINES}/{one.machine_id}")
    assert (await ask(appliance, "DELETE", f"{POOLS}/new"))[1] == {"deleted": "new"}


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "a/b"}, {"name": "x" * 65}, {"name": "a", "gpu": "a b"}])
async def test_pool_with_a_name_that_none_has_is_refused(appliance: RunningAppliance, body: dict[str, str]) -> None:
    status, said = await ask(appliance, "POST", POOLS, body)
    assert (status, said["field"].startswith("$.")) == (400, True)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"pool": "nowhere"}, 404),
        ({"pool": "default", "machine_id": "xyz"}, 400),
        ({"pool": "default", "machines_max": 0}, 400),
        ({"pool": "default", "expires_in_days": -1}, 400),
        ({"pool": "default", "colour": "red"}, 400),
        ({}, 400),
    ],
)
async def test_machine_that_cannot_be_made_is_refused_and_leaves_no_token(
    appliance: RunningAppliance, body: dict[str, Any], status: int
) -> None:
    assert (await ask(appliance, "POST", MACHINES, body))[0] == status
    assert (await ask(appliance, "GET", "/api/appliance/tokens"))[1]["items"] == []


async def test_marks_of_a_machine_are_those_of_its_host_in_the_inventory(appliance: RunningAppliance) -> None:
    one = await agent(appliance)
    assert (await ask(appliance, "POST", f"{MACHINES}/{one.machine_id}/cordon", {}))[0] == 409
    await one.register()
    _, item = await ask(appliance, "POST", f"{MACHINES}/{one.machine_id}/drain", {"reason": "new disk"})
    assert (item["is_draining"], item["is_cordoned"], item["mark_reason"]) == (True, False, "new disk")
    host = appliance.state.inventory.host(item["host_id"])
    assert [(mark.kind, mark.reason) for mark in host.marks] == [("draining", "new disk")]
    _, item = await ask(appliance, "POST", f"{MACHINES}/{one.machine_id}/uncordon")
    assert (item["is_draining"], appliance.state.inventory.host(item["host_id"]).marks) == (False, ())


async def test_deleted_machine_is_gone_and_its_token_ends_only_when_asked(appliance: RunningAppliance) -> None:
    one, two = await agent(appliance, machine_id="aaaaaaaa"), await agent(appliance, machine_id="bbbbbbbb")
    for each in (one, two):
        await each.register()
    assert (await ask(appliance, "DELETE", f"{MACHINES}/aaaaaaaa"))[1] == {"deleted": "aaaaaaaa", "revoked_tokens": 0}
    assert (await one.register()).status == 200
    _, said = await ask(appliance, "DELETE", f"{MACHINES}/bbbbbbbb?revoke_token=true")
    assert said == {"deleted": "bbbbbbbb", "revoked_tokens": 1}
    assert (await two.register()).status == 403
    assert (await ask(appliance, "GET", f"{MACHINES}/bbbbbbbb"))[0] == 404


async def test_id_in_two_pools_needs_its_pool(appliance: RunningAppliance) -> None:
    for pool in ("default", "gpu"):
        one = await agent(appliance, pool, machine_id="aaaaaaaa")
        await one.register(provider_name="aws" if pool == "gpu" else "generic")
    assert (await ask(appliance, "GET", f"{MACHINES}/aaaaaaaa"))[0] == 409
    status, item = await ask(appliance, "GET", f"{MACHINES}/aaaaaaaa?pool=gpu&provider=aws")
    assert (status, item["pool"], item["gpu"], item["state"]) == (200, "gpu", "A100-80", "registered")


async def test_machines_are_listed_by_pool_and_state(appliance: RunningAppliance) -> None:
    one = await agent(appliance, "gpu")
    await one.register(provider_name="aws")
    _, said = await ask(appliance, "GET", f"{MACHINES}?pool=gpu")
    assert [item["id"] for item in said["items"]] == [one.machine_id]
    assert (await ask(appliance, "GET", f"{MACHINES}?state=expired"))[1]["items"] == []
    assert (await ask(appliance, "GET", f"{MACHINES}?state=asleep"))[0] == 400


async def test_token_goes_on_beside_its_successor_for_as_long_as_was_said(appliance: RunningAppliance) -> None:
    one = await agent(appliance)
    await one.register()
    path = f"/api/appliance/tokens/{one.token_id}/rotate"
    _, made = await ask(appliance, "POST", path, {"overlap_seconds": 3600})
    assert len(made["token"]) == 88
    for token in (one.token, made["token"]):
        reply = await appliance.post(
            "/api/v1/machine/keepalive",
            {"machine_id": one.machine_id, "pool_name": "default"},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert reply.status == 200


async def test_registry_is_on_the_overview_and_in_the_metrics(appliance: RunningAppliance) -> None:
    one = await agent(appliance, "gpu")
    await one.register(provider_name="aws", gpu_count="8")
    await one.beat(provider_name="aws")
    text = (await appliance.control("GET", "/metrics")).text
    assert 'appliance_registry_machines{pool="gpu",state="ready"} 1' in text
    assert 'appliance_registry_gpus{pool="gpu"} 8' in text
    overview = (await appliance.control("GET", "/api/appliance/overview")).json
    (card,) = [panel for panel in overview["panels"] if panel["title"] == "Machines"]
    assert {row["label"]: row["value"] for row in card["rows"]}["gpu"] == "1 ready of 1, 8 GPUs"


async def test_figures_of_keepalives_have_a_past_of_their_own(appliance: RunningAppliance) -> None:
    one = await agent(appliance)
    await one.register()
    await one.beat(metrics={"free_gpu_count": 3})
    state = appliance.running.plugins.parts["machine_registry"].surfaces[0].state
    await Telemetry(state.core, state.machines).write()
    path = f"{MACHINES}/{one.machine_id}/series"
    _, said = await ask(appliance, "GET", f"{path}?metrics=free_gpu_count,container_count")
    (found,) = said["series"]
    assert (found["metric"], found["max"], len(found["at_unix_s"])) == ("free_gpu_count", [3.0], 1)
    assert (await ask(appliance, "GET", f"{path}?metrics=free_gpu_count&from_unix_s=0&to_unix_s=1"))[1]["series"] == []
    assert (await ask(appliance, "GET", f"{path}?metrics=colour"))[0] == 400
