"""Agents over whole requests: how they join, report and fetch, who sees them, and what goes with them."""

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.credentials.kinds import Role
from appliance.testing import RunningAppliance, SteppingClock, running
from tests.plugins.gpu_sharing.kit import AT, METRICS, Caller, agent, gpu, install_token, person, register, uuid

PLANS = """
[plugins.gpu_sharing.people]
free = "free"
poor = "bare"
[plugins.gpu_sharing.plans.bare]
agents = 0
"""


@pytest.fixture
def now() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
async def appliance(tmp_path: Path, now: SteppingClock) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path, config=PLANS, now=now) as one:
        yield one


@pytest.fixture
async def ana(appliance: RunningAppliance) -> Caller:
    return await person(appliance)


# ---------------------------------------------------------------- register


async def test_registration_gives_agent_secret_licence_and_a_default_worker_on_all_gpus(ana: Caller) -> None:
    reply = await register(ana.appliance, await install_token(ana), gpus=[gpu(), gpu(1)])
    assert reply.status == 201
    made = reply.json
    assert set(made) == {"agent_id", "agent_secret", "license"}
    random = made["agent_id"].removeprefix("agent_")
    assert random.isalnum()
    assert len(random) * math.log2(62) >= 128
    assert all(made["license"][name] for name in ("plain", "encrypted"))
    shown = await ana.read(f"/api/v1/agents/{made['agent_id']}")
    assert (shown["status"], shown["last_seen_at"], shown["gpuCount"], shown["gpu_count"]) == ("pending", None, 2, 2)
    (worker,) = shown["workers"]
    assert (worker["is_default"], worker["name"], worker["status"]) == (True, "default", "pending")
    assert (worker["gpu_ids"], worker["gpu_indices"], worker["listen_port"]) == (["GPU-0", "GPU-1"], [0, 1], 9001)


async def test_host_without_gpus_registers_and_has_no_worker(ana: Caller) -> None:
    nothing: list[list[Any] | None] = [[], None]
    for gpus in nothing:
        one = await agent(ana, gpus=gpus, network_ips=None)
        shown = await one.shown()
        assert (shown["gpus"], shown["workers"], shown["network_ips"]) == ([], [], [])
        assert (shown["gpu_count"], shown["gpu_summary"]) == (0, None)
        assert (await one.config())["workers"] == []


async def test_driver_ids_and_vendors_in_any_case_are_taken(ana: Caller) -> None:
    one = await agent(ana, gpus=[gpu(gpu_id=uuid(), vendor="NVIDIA"), gpu(gpu_id="GPU-1", vendor="Amd")])
    shown = await one.shown()
    assert [(each["gpu_id"], each["vendor"]) for each in shown["gpus"]] == [(uuid(), "nvidia"), ("GPU-1", "amd")]
    made = await ana.worker(one.agent_id, gpu_ids=[uuid().upper()])
    assert made["gpu_ids"] == [uuid()]


async def test_unknown_vendor_is_refused_by_name_and_the_token_stays_good(ana: Caller) -> None:
    token = await install_token(ana)
    refused = await register(ana.appliance, token, gpus=[gpu(vendor="Hygon")])
    assert refused.status == 400
    assert "Hygon" in refused.json["error"]
    assert "vendors" in refused.json["hint"]
    assert (await register(ana.appliance, token)).status == 201


async def test_vendor_that_is_configured_is_taken(tmp_path: Path) -> None:
    config = '[plugins.gpu_sharing]\nvendors = ["nvidia", "hygon"]\n'
    async with running(tmp_path, config=config) as appliance:
        one = await agent(await person(appliance), gpus=[gpu(vendor="Hygon")])
        assert (await one.shown())["gpus"][0]["vendor"] == "hygon"


async def test_install_token_registers_exactly_one_agent_of_many_at_once(ana: Caller) -> None:
    token = await install_token(ana)
    statuses: list[int] = []

    async def one() -> None:
        statuses.append((await register(ana.appliance, token)).status)

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(one)
    assert sorted(statuses) == [201] + [401] * 11
    assert len((await ana.read("/api/v1/agents"))["agents"]) == 1
    assert (await register(ana.appliance, token)).status == 401


async def test_install_token_ends_after_thirty_minutes(ana: Caller, now: SteppingClock) -> None:
    first, second = await install_token(ana), await install_token(ana)
    now.advance(30 * 60 - 1)
    assert (await register(ana.appliance, first)).status == 201
    now.advance(2)
    refused = await register(ana.appliance, second)
    assert (refused.status, set(refused.json)) == (401, {"error", "hint"})


async def test_plan_limits_gpus_of_an_agent_and_names_limit_and_plan(appliance: RunningAppliance) -> None:
    owner = await person(appliance, "free")
    token = await install_token(owner)
    refused = await register(appliance, token, gpus=[gpu(), gpu(1)])
    assert refused.status == 403
    assert set(refused.json) == {"error", "hint"}
    assert "'free'" in refused.json["error"]
    assert "gpus_per_agent" in refused.json["error"]
    assert (await register(appliance, token)).status == 201, "the token was not used up by the refusal"
    second = await register(appliance, await install_token(owner))
    assert (second.status, "(agents)" in second.json["error"]) == (403, True)


async def test_plan_without_agents_takes_none(appliance: RunningAppliance) -> None:
    refused = await register(appliance, await install_token(await person(appliance, "poor")))
    assert refused.status == 403
    assert "'bare' allows no agents" in refused.json["error"]


async def test_register_takes_install_tokens_alone(appliance: RunningAppliance, ana: Caller) -> None:
    one = await agent(ana)
    for headers in ({}, ana.headers, one.headers, {"Authorization": "Bearer nonsense"}):
        reply = await appliance.post("/api/v1/agents/register", {"hostname": "x"}, headers=headers)
        assert reply.status in (401, 403), headers
        assert set(reply.json) == {"error", "hint"}


# ---------------------------------------------------------------- status


async def test_agent_is_pending_then_online_then_offline_after_three_minutes(ana: Caller, now: SteppingClock) -> None:
    one = await agent(ana)
    assert (await one.shown())["status"] == "pending"
    await one.report()
    shown = await one.shown()
    assert (shown["status"], shown["last_seen_at"]) == ("online", "2026-11-18T11:06:40Z")
    now.advance(179)
    assert (await one.shown())["status"] == "online"
    now.advance(1)
    assert (await one.shown())["status"] == "offline"
    await one.report()
    assert (await one.shown())["status"] == "online"


async def test_report_answers_version_codes_and_no_licence_while_it_is_fresh(ana: Caller) -> None:
    one = await agent(ana)
    share = await ana.share(one.default)
    answer = await one.report()
    assert set(answer) == {"success", "config_version", "license", "worker_share_codes"}
    assert (answer["success"], answer["license"]) == (True, None)
    assert answer["worker_share_codes"] == {one.default: [share["short_code"]]}
    config = await one.config()
    assert config["config_version"] == answer["config_version"]
    assert config["workers"][0]["share_codes"] == [share["short_code"]]


async def test_licence_renewed_in_an_answer_raises_the_version_of_the_configuration(
    ana: Caller, now: SteppingClock
) -> None:
    one = await agent(ana)
    before = await one.report()
    now.advance(111 * 60)
    renewed = await one.report(license_expiration=(now() + 9 * 60_000_000) // 1000)
    assert all(renewed["license"][name] for name in ("plain", "encrypted"))
    assert renewed["config_version"] > before["config_version"]
    again = await one.report(license_expiration=(now() + 7200_000_000) // 1000)
    assert (again["license"], again["config_version"]) == (None, renewed["config_version"])


async def test_worker_without_shares_is_sent_one_code_that_opens_nothing(
    ana: Caller, appliance: RunningAppliance
) -> None:
    one = await agent(ana)
    (dead,) = (await one.report())["worker_share_codes"][one.default]
    assert (await one.config())["workers"][0]["share_codes"] == [dead]
    assert (await appliance.get(f"/s/{dead}")).status == 404
    share = await ana.share(one.default)
    assert (await one.report())["worker_share_codes"][one.default] == [share["short_code"]]
    assert (await ana.send("DELETE", f"/api/v1/shares/{share['share_id']}")).status == 200
    assert (await one.report())["worker_share_codes"][one.default] == [dead]


async def test_version_rises_with_every_change_of_workers_and_shares(ana: Caller) -> None:
    one = await agent(ana)
    versions = [(await one.report())["config_version"]]

    async def rose() -> None:
        versions.append((await one.report())["config_version"])
        assert versions[-1] > versions[-2]

    made = await ana.worker(one.agent_id)
    await rose()
    assert (await ana.send("PATCH", f"/api/v1/workers/{made['worker_id']}", {"name": "other"})).status == 200
    await rose()
    share = await ana.share(made["worker_id"])
    await rose()
    assert (await ana.send("DELETE", f"/api/v1/shares/{share['share_id']}")).status == 200
    await rose()
    assert (await ana.send("DELETE", f"/api/v1/workers/{made['worker_id']}")).status == 200
    await rose()
    assert versions[0] >= 1
    await one.report([one.says()])
    assert (await one.report())["config_version"] == versions[-1], "reports alone change nothing"


async def test_agent_reports_and_fetches_for_itself_alone(ana: Caller) -> None:
    one, other = await agent(ana), await agent(ana)
    body = {"timestamp": AT, "gpus": [], "workers": []}
    assert (await one.send("POST", f"{other.path}/status", body)).status == 404
    assert (await one.get(f"{other.path}/config")).status == 404
    assert (await one.send("POST", f"{other.path}/metrics", METRICS)).status == 404
    assert (await other.shown())["last_seen_at"] is None
    for path in ("status", "metrics"):
        assert (await ana.send("POST", f"{one.path}/{path}", body)).status in (401, 403)
    assert (await ana.get(f"{one.path}/config")).status in (401, 403)


# ---------------------------------------------------------------- who sees and deletes


async def test_nobody_sees_or_deletes_anothers_agent(ana: Caller, appliance: RunningAppliance) -> None:
    one, bob = await agent(ana), await person(appliance, "bob")
    assert (await bob.read("/api/v1/agents")) == {"agents": []}
    for method in ("GET", "DELETE"):
        reply = await bob.send(method, one.path)
        assert (reply.status, set(reply.json)) == (404, {"error", "hint"})
    admin = await person(appliance, "root", Role.ADMIN)
    assert (await admin.send("DELETE", one.path)).status == 404, "not even an admin, on the documented surface"
    assert (await one.shown())["agent_id"] == one.agent_id


async def test_agent_secret_acts_for_its_owner(ana: Caller) -> None:
    one, other = await agent(ana), await agent(ana)
    assert await one.read("/api/v1/agents") == await ana.read("/api/v1/agents")
    assert await one.read(other.path) == await ana.read(other.path)
    made = await one.worker(other.agent_id)
    share = await one.share(made["worker_id"])
    assert [each["share_id"] for each in (await ana.read("/api/v1/shares"))["shares"]] == [share["share_id"]]
    assert (await one.send("PATCH", f"/api/v1/workers/{made['worker_id']}", {"name": "x"})).status == 200
    assert (await one.send("DELETE", f"/api/v1/shares/{share['share_id']}")).status == 200
    assert (await one.send("DELETE", f"/api/v1/workers/{made['worker_id']}")).status == 200


async def test_agent_secret_deletes_its_own_agent_only_and_ends_with_it(ana: Caller) -> None:
    one, other = await agent(ana), await agent(ana)
    assert (await one.send("DELETE", other.path)).status == 404
    assert (await other.shown())["agent_id"] == other.agent_id
    gone = await one.send("DELETE", one.path)
    assert (gone.status, gone.json) == (200, {"success": True})
    for path in (one.path, f"{one.path}/config", "/api/v1/workers"):
        assert (await one.get(path)).status == 401, path
    assert [each["agent_id"] for each in (await ana.read("/api/v1/agents"))["agents"]] == [other.agent_id]


async def test_delete_takes_gpus_workers_shares_and_the_secret_along(ana: Caller, appliance: RunningAppliance) -> None:
    one = await agent(ana)
    share = await ana.share(one.default)
    assert (await ana.send("DELETE", one.path)).json == {"success": True}
    for path in (one.path, f"/api/v1/workers/{one.default}"):
        assert (await ana.get(path)).status == 404
    assert (await ana.read("/api/v1/workers")) == {"workers": []}
    assert (await ana.read("/api/v1/shares")) == {"shares": []}
    assert (await appliance.get(f"/s/{share['short_code']}")).status == 404
    assert (await one.get(f"{one.path}/config")).status == 401
    assert (await ana.send("DELETE", one.path)).status == 404
    left = appliance.state.database.read_now(
        lambda conn: [
            conn.execute(f"SELECT count(*) FROM gpu_sharing_{table} WHERE {column} = ?", (value,)).fetchone()[0]
            for table, column, value in (
                ("agent", "agent_id", one.agent_id),
                ("worker", "agent_id", one.agent_id),
                ("share", "worker_id", one.default),
                ("redeemed", "share_id", share["share_id"]),
            )
        ]
    )
    assert left == [0, 0, 0, 0]
    assert [host.hostname for host in appliance.state.inventory.hosts() if host.hostname == "gpu-box"] == []


async def test_viewer_looks_and_changes_nothing_nor_does_a_viewers_agent(
    ana: Caller, appliance: RunningAppliance
) -> None:
    one = await agent(ana)
    eve = await person(appliance, "eve", Role.VIEWER)
    assert (await eve.read("/api/v1/agents")) == {"agents": []}
    assert (await eve.send("POST", "/api/v1/tokens/generate", {"type": "agent_install"})).status == 403
    people = appliance.state.people
    await people.set_role(people.find("ana").person_id, Role.VIEWER)
    assert (await one.get(one.path)).status == 200
    refused = await one.send("POST", "/api/v1/shares", {"worker_id": one.default, "connection_ip": "10.0.0.4"})
    assert refused.status == 403
    assert (await one.report())["success"] is True, "it still reports"


async def test_agent_unregisters_itself_also_when_its_owner_may_only_look_or_is_gone(
    ana: Caller, appliance: RunningAppliance
) -> None:
    one, other = await agent(ana), await agent(ana)
    people = appliance.state.people
    owner = people.find("ana").person_id
    await people.set_role(owner, Role.VIEWER)
    assert (await one.send("DELETE", other.path)).status == 404
    assert (await one.send("DELETE", one.path)).status == 200
    await people.remove(owner)
    assert (await other.get("/api/v1/workers")).status == 401
    assert (await other.send("DELETE", other.path)).status == 200


async def test_agent_that_belongs_to_no_person_reaches_nothing_of_the_appliances_own(
    appliance: RunningAppliance,
) -> None:
    made = await appliance.control("POST", "/api/v1/tokens/generate", {"type": "agent_install"})
    one = (await register(appliance, made.json["token"])).json
    bearer = {"Authorization": f"Bearer {one['agent_secret']}"}
    own = f"/api/v1/agents/{one['agent_id']}"
    assert (await appliance.get(f"{own}/config", headers=bearer)).status == 200
    for path in ("/api/v1/agents", "/api/v1/workers", "/api/v1/shares", own):
        assert (await appliance.get(path, headers=bearer)).status == 403, path
    (local,) = [
        each
        for each in (await appliance.control("GET", "/api/v1/agents")).json["agents"]
        if each["agent_id"] not in own
    ]
    share = {"agent_id": local["agent_id"], "name": "mine", "listen_port": 9100}
    assert (await appliance.post("/api/v1/workers", share, headers=bearer)).status == 403
    assert (await appliance.request("DELETE", own, headers=bearer)).status == 200


async def test_slashes_are_folded_as_clients_with_a_slash_at_the_end_of_their_base_send_them(ana: Caller) -> None:
    one = await agent(ana)
    assert (await ana.read("//api/v1/agents"))["agents"][0]["agent_id"] == one.agent_id
    reply = await one.send("POST", f"/{one.path}/status", {"timestamp": AT, "gpus": [], "workers": []})
    assert reply.status == 200
    assert (await ana.get(f"{one.path}/")).status == 200


async def test_agents_workers_and_shares_are_there_after_a_restart_and_versions_have_risen(tmp_path: Path) -> None:
    now = SteppingClock()
    async with running(tmp_path, now=now) as appliance:
        one = await agent(await person(appliance))
        share = await one.share(one.default, max_uses=2)
        await one.report([one.says(connections=[{"client_ip": "10.0.0.9", "connected_at": "2026-11-18T12:00:00Z"}])])
        before, shown = (await one.report())["config_version"], await one.shown()
        assert (await appliance.get(f"/s/{share['short_code']}")).status == 200
    now.advance(1)
    async with running(tmp_path, now=now) as appliance:
        back = Caller(appliance=appliance, headers=one.headers)
        found = await back.read(one.path)
        assert found["workers"][0]["connections"] == shown["workers"][0]["connections"]
        assert {**found, "last_seen_at": None} == {**shown, "last_seen_at": None}
        assert (await back.read(f"{one.path}/config"))["config_version"] > before
        assert (await back.read("/api/v1/shares"))["shares"][0]["used_count"] == 1
