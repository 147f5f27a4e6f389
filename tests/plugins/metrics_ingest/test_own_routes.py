"""Managing servers: who may, and what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.credentials.kinds import Role
from appliance.testing import RunningAppliance, running
from tests.plugins.metrics_ingest.kit import agent, sample

SERVERS = "/api/appliance/servers"


@pytest.fixture
async def appliance(tmp_path: Path) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path) as made:
        yield made


async def ask(
    appliance: RunningAppliance, who: dict[str, str], method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    reply = await appliance.request(method, path, body=body, headers=who)
    return reply.status, reply.json


async def test_person_owns_what_they_register_and_nobody_below_an_operator_changes_it(
    appliance: RunningAppliance,
) -> None:
    ana = await appliance.bearer("ana", Role.USER)
    bo = await appliance.bearer("bo", Role.USER)
    eve = await appliance.bearer("eve", Role.VIEWER)
    oscar = await appliance.bearer("oscar", Role.OPERATOR)
    status, made = await ask(appliance, ana, "POST", SERVERS, {"name": "Ana's Box", "description": "under the desk"})
    assert (status, made["slug"], made["name"]) == (201, "anas-box", "Ana's Box")
    one = f"{SERVERS}/anas-box"
    assert (await ask(appliance, eve, "POST", SERVERS, {"name": "mine"}))[0] == 403
    for stranger in (bo, eve):
        assert (await ask(appliance, stranger, "PATCH", one, {"is_active": False}))[0] == 403
        assert (await ask(appliance, stranger, "POST", f"{one}/rotate-token", {}))[0] == 403
        assert (await ask(appliance, stranger, "DELETE", one))[0] == 403
    assert (await ask(appliance, ana, "PATCH", one, {"name": "Box"}))[1]["owner"] == "ana"
    assert (await ask(appliance, oscar, "PATCH", one, {"is_active": False}))[1]["is_active"] is False
    assert (await ask(appliance, bo, "PATCH", f"{SERVERS}/local", {"is_active": False}))[0] == 403
    assert (await ask(appliance, eve, "GET", SERVERS))[0] == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "日本"}, "name"),
        ({"slug": "Bad Slug"}, "slug"),
        ({"slug": "x" * 65}, "$.slug"),
        ({"name": "bell\x07"}, "name"),
        ({"name": "a", "colour": "red"}, "$.colour"),
    ],
)
async def test_registration_names_the_field_that_is_wrong(
    appliance: RunningAppliance, body: dict[str, Any], field: str
) -> None:
    reply = await appliance.control("POST", SERVERS, body)
    assert (reply.status, reply.json["field"]) == (400, field)


async def test_slug_is_taken_once(appliance: RunningAppliance) -> None:
    assert (await appliance.control("POST", SERVERS, {"slug": "box"})).status == 201
    reply = await appliance.control("POST", SERVERS, {"slug": "box"})
    assert (reply.status, reply.json["error"]) == (409, "Slug already exists. Choose another.")


async def test_rotated_token_ends_the_old_one_and_a_deleted_server_is_gone_with_its_history(
    appliance: RunningAppliance,
) -> None:
    box = await agent(appliance)
    assert (await box.post({"sample": {}})).status == 200
    made = await appliance.control("POST", f"{SERVERS}/box/rotate-token")
    assert (await box.post({"sample": {}})).status == 401
    assert (await box.post({"sample": {}}, headers={"X-Monitoring-Token": made.json["token"]})).status == 200
    series_id = next(iter(set(appliance.state.series.hosts()) - {appliance.state.host_id}))
    assert (await appliance.control("DELETE", f"{SERVERS}/box")).json == {"deleted": "box"}
    assert (await box.post({"sample": {}}, headers={"X-Monitoring-Token": made.json["token"]})).status == 404
    assert appliance.state.series.latest(series_id) is None
    again = await agent(appliance)
    assert again.token != made.json["token"]
    listed = (await appliance.control("GET", SERVERS)).json["items"]
    assert [item["snapshot_count"] for item in listed if item["slug"] == "box"] == [0]


async def test_local_server_is_there_unasked_and_cannot_be_deleted_or_posted_to(appliance: RunningAppliance) -> None:
    (local,) = (await appliance.control("GET", SERVERS)).json["items"]
    assert (local["slug"], local["is_local"], local["is_active"]) == ("local", True, True)
    assert (await appliance.control("DELETE", f"{SERVERS}/local")).status == 409
    assert (await appliance.control("POST", f"{SERVERS}/local/rotate-token")).status == 409
    reply = await appliance.post("/api/ingest/servers/local/metrics/", {"sample": sample(0)})
    assert (reply.status, reply.json["error"]) == (401, "Invalid ingest token.")


async def test_server_survives_a_restart_as_it_was(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        box = await agent(appliance)
        assert (await box.post({"sample": {}, "agent": {"version": "0.2.0"}})).status == 200
    async with running(tmp_path) as appliance:
        items = (await appliance.control("GET", SERVERS)).json["items"]
        assert sorted(item["slug"] for item in items) == ["box", "local"]
        (kept,) = (item for item in items if item["slug"] == "box")
        assert (kept["agent_version"], kept["snapshot_count"]) == ("0.2.0", 1)
        headers = {"X-Monitoring-Token": box.token}
        reply = await appliance.request("POST", "/api/ingest/servers/box/metrics/", body=b"{}", headers=headers)
        assert reply.status == 200


async def test_local_server_tells_clients_of_this_host_what_an_agent_would(appliance: RunningAppliance) -> None:
    reply = await appliance.get("/api/servers/", headers=await appliance.bearer())
    (local,) = reply.json["servers"]
    info = local["agent_info"]
    assert info["hostname"] == local["hostname"]
    assert info["system_info"]["cpu_count_logical"] >= 1
    assert info["system_info"]["memory_total_bytes"] > 2**20
