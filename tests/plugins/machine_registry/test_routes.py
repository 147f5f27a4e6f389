"""The documented endpoints, in one process; the built file is tested against the whole document elsewhere."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.testing import RunningAppliance, SteppingClock, running
from tests.plugins.machine_registry.kit import MACHINE, REGISTER, Agent, agent, token

CONFIG = """
[plugins.machine_registry]
revive_on_keepalive = {revive}
[plugins.machine_registry.pools.gpu]
gpu = "H100"
[plugins.machine_registry.workspaces.team]
pools = ["gpu"]
"""


@pytest.fixture
async def appliance(tmp_path: Path) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path, config=CONFIG.format(revive="false")) as made:
        yield made


async def test_machine_registers_and_is_ready_from_its_first_keepalive_on(appliance: RunningAppliance) -> None:
    one = await agent(appliance)
    registered = await one.register()
    assert (registered.status, registered.json["config"]) == (200, None)
    assert registered.json["machine_state"]["status"] == "registered"
    assert await one.listed() == []
    beaten = await one.beat(agent_version="0.1.0-python")
    state = beaten.json["machine_state"]
    assert (beaten.status, state["status"], state["agent_version"]) == (200, "ready", "0.1.0-python")
    assert await one.listed() == [one.machine_id]
    assert (await one.beat(metrics={"worker_count": 1})).json["machine_state"]["last_worker_seen"].isdigit()


async def test_machine_that_never_registered_or_is_unknown_is_told_to_register(appliance: RunningAppliance) -> None:
    one = await agent(appliance)
    for changes in ({}, {"machine_id": "nobody"}, {"provider_name": "aws"}):
        reply = await one.beat(**changes)
        assert (reply.status, reply.json["error_code"]) == (500, "machine_not_found")
        assert reply.json["message"] == "Machine state expired or never registered"


async def test_token_of_another_pool_or_machine_opens_nothing(appliance: RunningAppliance) -> None:
    other = await agent(appliance, "gpu")
    bound = await agent(appliance, machine_id="aaaaaaaa")
    for reply in (
        await other.register(pool_name="default"),
        await other.register(pool_name="nowhere"),
        await other.beat(pool_name="default"),
        await bound.register(machine_id="bbbbbbbb"),
    ):
        assert (reply.status, reply.json["message"]) == (403, "Invalid token")
    assert await other.listed("?pool_name=default") == []


async def test_worker_token_serves_every_pool_and_is_told_which_there_are(appliance: RunningAppliance) -> None:
    worker = Agent(appliance, (await token(appliance, "worker"))["Authorization"].removeprefix("Bearer "))
    for pool in ("default", "gpu"):
        assert (await worker.register(pool_name=pool)).status == 200
        assert (await worker.beat(pool_name=pool)).status == 200
    assert await worker.listed() == ["1165a9b6", "1165a9b6"]
    assert await worker.listed("?pool_name=gpu&provider_name=generic") == ["1165a9b6"]
    assert await worker.listed("?provider_name=aws") == []
    reply = await worker.register(pool_name="nowhere")
    assert (reply.status, reply.json["message"]) == (500, "Invalid pool name")
    assert reply.json["suggestion"] == "$.pool_name: one of default, gpu"


async def test_token_that_serves_one_machine_serves_no_second_and_the_first_goes_on(
    appliance: RunningAppliance,
) -> None:
    one = await agent(appliance, machines_max=1)
    assert (await one.register(machine_id="aaaaaaaa")).status == 200
    assert (await one.register(machine_id="bbbbbbbb")).status == 403
    assert (await one.beat(machine_id="aaaaaaaa")).status == 200
    assert (await one.register(machine_id="aaaaaaaa")).status == 200


async def test_credential_is_looked_at_before_anything_else(appliance: RunningAppliance) -> None:
    for headers in ({}, {"Authorization": "Bearer nobody"}, {"Authorization": ""}):
        reply = await appliance.post(f"{MACHINE}/register", b"not JSON", headers=headers)
        assert (reply.status, reply.json) == (403, {"message": "Invalid token"})
    one = await agent(appliance)
    bare = await appliance.post(f"{MACHINE}/register", REGISTER, headers={"Authorization": one.token})
    assert bare.status == 200
    typed = await appliance.post(
        f"{MACHINE}/register", b"{}", headers=one.headers | {"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert (typed.status, typed.json["message"]) == (400, "Invalid payload")


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"cpu": 8000}, 400, "Invalid payload"),
        ({"machine_id": ""}, 400, "Invalid payload"),
        ({"hostname": "a\x00b"}, 400, "Invalid payload"),
        ({"cpu": "8.5"}, 500, "Invalid machine cpu value"),
        ({"memory": "16G"}, 500, "Invalid machine memory value"),
        ({"gpu_count": "-1"}, 500, "Invalid gpu count"),
        ({"pool_name": "gpu"}, 403, "Invalid token"),
    ],
)
async def test_registration_that_is_wrong_is_refused_in_the_documented_words(
    appliance: RunningAppliance, changes: dict[str, object], status: int, message: str
) -> None:
    one = await agent(appliance)
    reply = await one.register(**changes)
    assert (reply.status, reply.json["message"]) == (status, message)
    shown = await appliance.control("GET", f"/api/appliance/machines/{one.machine_id}")
    assert shown.json["state"] == "pending"


async def test_workspace_counts_the_gpus_of_its_pools_and_every_known_name(appliance: RunningAppliance) -> None:
    for pool in ("gpu", "default"):
        one = await agent(appliance, pool)
        await one.register(gpu_count="4")
        await one.beat()
        machine = one
    team = await token(appliance, "workspace", workspace="team")
    counted = (await appliance.get(f"{MACHINE}/team/gpus", headers=team)).json
    assert (counted["H100"], counted["any"], counted["T4"], len(counted)) == (4, 0, 0, 11)
    other = await token(appliance, "workspace", workspace="other")
    assert (await appliance.get(f"{MACHINE}/team/gpus", headers=other)).status == 403
    assert (await appliance.get(f"{MACHINE}/other/gpus", headers=other)).json["any"] == 4
    assert (await machine.get(f"{MACHINE}/team/gpus")).status == 403
    assert (await appliance.get(f"{MACHINE}/team/gpus")).status == 403
    operator = await appliance.bearer("op")
    assert (await appliance.get(f"{MACHINE}/team/gpus", headers=operator)).json["H100"] == 4


async def test_config_is_null_and_paths_end_as_they_like(appliance: RunningAppliance) -> None:
    one = await agent(appliance)
    assert (await one.get(f"{MACHINE}/config")).json == {"config": None}
    assert (await one.get(f"{MACHINE}/config///")).json == {"config": None}
    assert (await one.get(f"{MACHINE}/nothing")).json == {"message": "Not Found"}
    wrong = await one.get(f"{MACHINE}/register")
    assert (wrong.status, wrong.json) == (405, {"message": "Method Not Allowed"})


async def test_expired_machine_stays_away_until_it_registers_unless_it_may_come_back_by_itself(tmp_path: Path) -> None:
    for revive, status in (("false", 500), ("true", 200)):
        clock = SteppingClock()
        async with running(tmp_path / revive, config=CONFIG.format(revive=revive), now=clock) as appliance:
            one = await agent(appliance)
            await one.register()
            await one.beat()
            machines = appliance.running.plugins.parts["machine_registry"].surfaces[0].state.machines
            found = machines.get(("generic", "default", one.machine_id))
            found.deadline_us = machines.clock()
            assert await one.listed() == []
            assert (await one.beat()).status == status
