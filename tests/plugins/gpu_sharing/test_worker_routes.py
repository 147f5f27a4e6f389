"""Workers over whole requests: made where they fit, changed, stopped, deleted, and seen by their owner alone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.credentials.kinds import Role
from appliance.testing import RunningAppliance, running
from tests.plugins.gpu_sharing.kit import Agent, Caller, agent, gpu, person

PLANS = '[plugins.gpu_sharing.people]\nfree = "free"\n'


@pytest.fixture
async def appliance(tmp_path: Path) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path, config=PLANS) as one:
        yield one


@pytest.fixture
async def ana(appliance: RunningAppliance) -> Caller:
    return await person(appliance)


@pytest.fixture
async def one(ana: Caller) -> Agent:
    return await agent(ana, gpus=[gpu(), gpu(1)])


async def refused(caller: Caller, **changes: Any) -> tuple[int, str]:
    """Ask for a worker that is not made; return status and error."""
    before = await caller.read("/api/v1/workers")
    body = {"name": "part", "gpu_ids": ["GPU-0"], "listen_port": 9100} | changes
    reply = await caller.send("POST", "/api/v1/workers", body)
    assert set(reply.json) == {"error", "hint"}
    assert await caller.read("/api/v1/workers") == before
    return reply.status, reply.json["error"]


async def test_worker_is_made_with_all_that_clients_read(ana: Caller, one: Agent) -> None:
    made = await ana.worker(one.agent_id, gpu_ids=["gpu-1"], vram_mb=1000, compute_percent=25, isolation_mode="soft")
    assert made["worker_id"].replace("_", "").replace("-", "").isalnum()
    expected = {
        "agent_id": one.agent_id,
        "agent_hostname": "gpu-box",
        "name": "part",
        "gpu_ids": ["GPU-1"],
        "gpu_indices": [1],
        "listen_port": 9100,
        "enabled": True,
        "is_default": False,
        "status": "pending",
        "restarts": 0,
        "connections": [],
        "vram_mb": 1000,
        "compute_percent": 25,
        "isolation_mode": "soft",
        "limits": "advisory",
        "started_at": None,
    }
    assert {name: made[name] for name in expected} == expected
    assert "default" in made["limits_reason"], "the default worker may use all of its GPU"
    assert await ana.read(f"/api/v1/workers/{made['worker_id']}") == made
    assert made in (await ana.read("/api/v1/workers"))["workers"]
    (config,) = [each for each in (await one.config())["workers"] if each["worker_id"] == made["worker_id"]]
    assert (config["vram_mb"], config["compute_percent"], config["isolation_mode"]) == (1000, 25, "soft")


async def test_worker_that_is_made_disabled_is_stopped(ana: Caller, one: Agent) -> None:
    made = await ana.worker(one.agent_id, enabled=False)
    assert (made["enabled"], made["status"]) == (False, "stopped")


async def test_placement_picks_a_gpu_where_none_is_named(ana: Caller, one: Agent) -> None:
    await ana.worker(one.agent_id, vram_mb=100_000)
    for gpu_ids in (None, ...):
        body = {"agent_id": one.agent_id, "name": "x", "listen_port": 9200 + (gpu_ids is None), "vram_mb": 70_000}
        made = await ana.made("/api/v1/workers", body if gpu_ids is ... else body | {"gpu_ids": gpu_ids})
        assert made["gpu_ids"] == ["GPU-1"]


async def test_worker_list_can_be_narrowed_by_agent_and_host(ana: Caller, one: Agent) -> None:
    other = await agent(ana, hostname="second")

    async def listed(query: str) -> set[str]:
        return {each["agent_id"] for each in (await ana.read(f"/api/v1/workers{query}"))["workers"]}

    assert await listed("") == {one.agent_id, other.agent_id}
    assert await listed(f"?agent_id={one.agent_id}") == {one.agent_id}
    assert await listed("?hostname=second") == {other.agent_id}
    assert await listed("?agent_id=&hostname=") == {one.agent_id, other.agent_id}
    assert await listed(f"?agent_id={one.agent_id}&hostname=second") == set()


async def test_what_does_not_fit_is_refused(ana: Caller, one: Agent) -> None:
    to = {"agent_id": one.agent_id}
    assert await refused(ana, **to, gpu_ids=["GPU-7"]) == (400, "$.gpu_ids[0]: the agent has no GPU 'GPU-7'")
    assert (await refused(ana, **to, gpu_ids=["GPU-0", "gpu-0"]))[0] == 400
    assert (await refused(ana, **to, gpu_ids=[]))[0] == 400
    assert "taken by the worker 'default'" in (await refused(ana, **to, listen_port=9001))[1]
    assert (await refused(ana, **to, listen_port=9001))[0] == 409
    assert (await refused(ana, **to, vram_mb=143_772))[0] == 409
    await ana.worker(one.agent_id, vram_mb=143_000, compute_percent=60)
    assert (await refused(ana, **to, listen_port=9101, vram_mb=772))[0] == 409
    assert (await refused(ana, **to, listen_port=9101, compute_percent=41))[0] == 409
    assert (await ana.worker(one.agent_id, listen_port=9101, vram_mb=771, compute_percent=40))["status"] == "pending"


async def test_agent_without_gpus_has_no_workers(ana: Caller) -> None:
    bare = await agent(ana, gpus=[])
    status, error = await refused(ana, agent_id=bare.agent_id, gpu_ids=None)
    assert (status, "no GPUs" in error) == (409, True)


async def test_plan_limits_workers_with_the_default_ones_and_names_limit_and_plan(appliance: RunningAppliance) -> None:
    owner = await person(appliance, "free")
    mine = await agent(owner)
    second = await owner.worker(mine.agent_id)
    status, error = await refused(owner, agent_id=mine.agent_id, listen_port=9101)
    assert (status, "'free'" in error, "(workers)" in error) == (403, True, True)
    assert (await owner.send("DELETE", f"/api/v1/workers/{second['worker_id']}")).status == 200
    await owner.worker(mine.agent_id)


async def test_last_place_of_a_plan_is_given_once(appliance: RunningAppliance) -> None:
    owner = await person(appliance, "free")
    mine = await agent(owner)
    statuses: list[int] = []

    async def ask(port: int) -> None:
        body = {"agent_id": mine.agent_id, "name": "w", "gpu_ids": ["GPU-0"], "listen_port": port}
        statuses.append((await owner.send("POST", "/api/v1/workers", body)).status)

    async with trio.open_nursery() as nursery:
        for port in range(9100, 9108):
            nursery.start_soon(ask, port)
    assert sorted(statuses) == [201] + [403] * 7


async def test_patch_changes_what_is_given_and_nothing_else(ana: Caller, one: Agent) -> None:
    made = await ana.worker(one.agent_id, vram_mb=1000, compute_percent=25)
    path = f"/api/v1/workers/{made['worker_id']}"

    async def patched(**changes: Any) -> Any:
        reply = await ana.send("PATCH", path, changes)
        assert reply.status == 200, reply.text
        assert reply.json == await ana.read(path)
        return reply.json

    assert await patched() == made
    assert await patched(name="other") == made | {"name": "other"}
    assert (await patched(listen_port=9200))["listen_port"] == 9200
    moved = await patched(gpu_ids=["GPU-1"])
    assert (moved["gpu_ids"], moved["gpu_indices"], moved["vram_mb"]) == (["GPU-1"], [1], 1000)
    lifted = await patched(vram_mb=None, compute_percent=None)
    assert "vram_mb" not in lifted
    assert (lifted["limits"], "compute_percent" in lifted) == ("none", False)


async def test_disabled_running_worker_is_stopping_and_an_idle_one_stopped(ana: Caller, one: Agent) -> None:
    made = await ana.worker(one.agent_id)
    await one.report([one.says()])
    for worker_id, status in ((one.default, "stopping"), (made["worker_id"], "stopped")):
        reply = await ana.send("PATCH", f"/api/v1/workers/{worker_id}", {"enabled": False})
        assert (reply.json["status"], reply.json["enabled"]) == (status, False)
    await one.report([one.says()])
    assert (await one.shown_worker())["status"] == "stopping", "the agent has not heard of it yet"
    back = await ana.send("PATCH", f"/api/v1/workers/{one.default}", {"enabled": True})
    assert back.json["status"] == "pending"


async def test_worker_that_is_enabled_again_must_fit_again(ana: Caller, one: Agent) -> None:
    made = await ana.worker(one.agent_id, vram_mb=100_000)
    path = f"/api/v1/workers/{made['worker_id']}"
    assert (await ana.send("PATCH", path, {"enabled": False})).status == 200
    await ana.worker(one.agent_id, listen_port=9101, vram_mb=100_000)
    taken = await ana.send("PATCH", path, {"enabled": True})
    assert taken.status == 409
    assert (await ana.read(path))["enabled"] is False


async def test_delete_takes_shares_along(ana: Caller, one: Agent, appliance: RunningAppliance) -> None:
    share, kept = await ana.share(one.default), await ana.worker(one.agent_id)
    gone = await ana.send("DELETE", f"/api/v1/workers/{one.default}")
    assert (gone.status, gone.json) == (200, {"success": True})
    assert (await ana.read("/api/v1/shares")) == {"shares": []}
    assert (await appliance.get(f"/s/{share['short_code']}")).status == 404
    assert [each["worker_id"] for each in (await one.config())["workers"]] == [kept["worker_id"]]
    assert (await ana.send("DELETE", f"/api/v1/workers/{one.default}")).status == 404


async def test_nobody_sees_or_touches_anothers_workers(ana: Caller, one: Agent, appliance: RunningAppliance) -> None:
    path = f"/api/v1/workers/{one.default}"
    for name, role in (("bob", Role.USER), ("root", Role.ADMIN)):
        other = await person(appliance, name, role)
        assert one.default not in (await other.get("/api/v1/workers")).text
        for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
            reply = await other.send(method, path, body)
            assert (reply.status, set(reply.json)) == (404, {"error", "hint"}), method
        assert (await refused(other, agent_id=one.agent_id))[0] == 404
    theirs = await agent(await person(appliance, "bob"))
    assert (await theirs.get(path)).status == 404
    assert (await one.shown_worker())["name"] == "default"


async def test_viewer_may_look_at_workers_only(appliance: RunningAppliance) -> None:
    eve = await person(appliance, "eve", Role.VIEWER)
    assert (await eve.read("/api/v1/workers")) == {"workers": []}
    for method, path in (("POST", ""), ("PATCH", "/worker_1"), ("DELETE", "/worker_1")):
        body = {"agent_id": "a", "name": "w", "listen_port": 9100} if method == "POST" else {}
        assert (await eve.send(method, f"/api/v1/workers{path}", body)).status == 403


async def test_without_a_credential_everything_is_401(appliance: RunningAppliance) -> None:
    for method, path in (
        ("GET", "/api/v1/workers"),
        ("POST", "/api/v1/workers"),
        ("GET", "/api/v1/workers/x"),
        ("PATCH", "/api/v1/workers/x"),
        ("DELETE", "/api/v1/workers/x"),
        ("GET", "/api/v1/agents"),
        ("GET", "/api/v1/shares"),
        ("DELETE", "/api/v1/shares/x"),
        ("GET", "/api/v1/tokens/pat"),
    ):
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic YTpi"}):
            reply = await appliance.request(method, path, body={} if method != "GET" else None, headers=headers)
            assert (reply.status, set(reply.json)) == (401, {"error", "hint"}), (method, path, headers)
