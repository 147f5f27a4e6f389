"""The JSON twins of the original operator calls."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.credentials.kinds import Role
from appliance.testing import RunningAppliance, running
from tests.plugins.machine_registry.kit import Agent

PATH = "/api/v1/gateway/machines"


@pytest.fixture
async def appliance(tmp_path: Path) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path) as made:
        yield made


async def test_machine_is_made_listed_and_deleted_by_an_operator(appliance: RunningAppliance) -> None:
    operator = await appliance.bearer("oscar", Role.OPERATOR)
    made = (await appliance.post(PATH, {"poolName": "default"}, headers=operator)).json
    assert (made["ok"], made["errMsg"]) == (True, "")
    machine = made["machine"]
    assert len(machine["registrationToken"]) == 88
    assert (machine["status"], machine["poolName"], machine["providerName"]) == ("pending", "default", "generic")
    one = Agent(appliance, machine["registrationToken"], "", machine["id"])
    await one.register()
    await one.beat(metrics={"total_memory_available": 25_276_514_304, "cache_capacity": 2**40})
    listed = (await appliance.get(f"{PATH}?poolName=default&limit=20", headers=operator)).json
    found: dict[str, Any] = next(each for each in listed["machines"] if each["id"] == machine["id"])
    assert (found["status"], found["cpu"], found["memory"], found["registrationToken"]) == (
        "ready",
        "8000",
        "16384",
        "",
    )
    assert found["created"].isdigit()
    assert found["lastKeepalive"].isdigit()
    assert found["machineMetrics"]["totalMemoryAvailable"] == 24_105
    assert found["machineMetrics"]["cacheCapacity"] == 2**31 - 1
    assert (len(listed["gpus"]), listed["gpus"]["any"], listed["gpus"]["H100"]) == (11, True, False)
    assert len((await appliance.get(f"{PATH}?limit=1", headers=operator)).json["machines"]) == 1
    gone = await appliance.request("DELETE", f"{PATH}/{machine['id']}?poolName=default", headers=operator)
    assert gone.json == {"ok": True, "errMsg": ""}
    assert (await one.register()).status == 200  # as with the original, the token still counts


async def test_refusals_are_told_with_status_200_and_their_words(appliance: RunningAppliance) -> None:
    operator = await appliance.bearer("oscar", Role.OPERATOR)
    viewer = await appliance.bearer("eve", Role.VIEWER)
    user = await appliance.bearer("ursula", Role.USER)
    for headers, words in ((operator, "Invalid pool name"), (user, "This action is not permitted")):
        for reply in (
            await appliance.post(PATH, {"poolName": "nowhere"}, headers=headers),
            await appliance.get(f"{PATH}?poolName=nowhere", headers=headers),
            await appliance.request("DELETE", f"{PATH}/x?poolName=nowhere", headers=headers),
        ):
            assert (reply.status, reply.json["ok"], reply.json["errMsg"]) == (200, False, words)
    assert (await appliance.get(PATH, headers=viewer)).json["errMsg"] == "This action is not permitted"
    missing = await appliance.request("DELETE", f"{PATH}/nobody?poolName=default", headers=operator)
    assert (missing.status, missing.json["ok"]) == (200, False)


async def test_failures_have_the_shape_of_the_original_gateway(appliance: RunningAppliance) -> None:
    operator = await appliance.bearer("oscar", Role.OPERATOR)
    nobody = await appliance.get(PATH)
    assert (nobody.status, nobody.json) == (401, {"code": 16, "message": "invalid or missing token", "details": []})
    wrong = await appliance.post(PATH, {"poolName": 5}, headers=operator)
    assert (wrong.status, wrong.json["code"]) == (400, 3)
    assert (await appliance.get("/api/v1/gateway/other", headers=operator)).json["code"] == 5
    assert (await appliance.request("PUT", PATH, headers=operator)).json["code"] == 12
