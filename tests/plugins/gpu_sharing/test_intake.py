"""What agents report, over whole requests: workers, connections, GPUs and figures."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.testing import RunningAppliance, SteppingClock, running, until
from tests.plugins.gpu_sharing.kit import AT, METRICS, Caller, agent, gpu, person, uuid

PLANS = '[plugins.gpu_sharing.people]\nfree = "free"\n'


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


async def test_shutdown_makes_offline_at_once_and_wipes_nothing(ana: Caller) -> None:
    one = await agent(ana)
    await one.report([one.says(connections=[{"client_ip": "10.0.0.9", "connected_at": AT}])])
    await one.report(None, gpus=None, event="shutdown")
    shown = await one.shown()
    assert (shown["status"], len(shown["gpus"]), shown["workers"][0]["status"]) == ("offline", 1, "running")
    await one.report()
    assert (await one.shown())["status"] == "online"


async def test_worker_that_a_report_leaves_out_is_as_it_was(ana: Caller) -> None:
    one = await agent(ana)
    await one.report([one.says(restarts=2)])
    before = await one.shown_worker()
    assert (before["status"], before["pid"], before["restarts"]) == ("running", 4711, 2)
    assert before["started_at"] is not None
    await one.report([])
    await one.report(None)
    assert await one.shown_worker() == before


async def test_state_that_could_not_be_stored_is_stored_with_the_next_report(
    ana: Caller, appliance: RunningAppliance
) -> None:
    one, database = await agent(ana), appliance.state.database
    refuse = "BEGIN SELECT RAISE(ABORT, 'no'); END"
    await database.write(lambda conn: conn.execute(f"CREATE TRIGGER no BEFORE UPDATE ON gpu_sharing_worker {refuse}"))
    body = {"timestamp": AT, "gpus": [], "workers": [one.says()]}
    assert (await one.send("POST", f"{one.path}/status", body)).status == 500

    def stored() -> str:
        sql = "SELECT status FROM gpu_sharing_worker WHERE worker_id = ?"
        return str(database.read_now(lambda conn: conn.execute(sql, (one.default,)).fetchone()[0]))

    assert stored() == "pending"
    await database.write(lambda conn: conn.execute("DROP TRIGGER no"))
    await one.report([one.says()])
    assert stored() == "running"


async def test_gpu_is_used_by_its_running_worker_whatever_the_agent_says(ana: Caller) -> None:
    one = await agent(ana)
    said = [{"gpu_id": "GPU-0", "used_by_worker": None}]
    await one.report([one.says()], gpus=said)
    assert (await one.shown())["gpus"][0]["used_by_worker"] == one.default
    await one.report([one.says(status="stopped")], gpus=said)
    assert (await one.shown())["gpus"][0]["used_by_worker"] is None


async def test_connection_keeps_the_time_of_its_first_report(ana: Caller, now: SteppingClock) -> None:
    one = await agent(ana)

    async def connected(*ports: int) -> dict[int, str]:
        at = datetime.fromtimestamp(now() / 1e6, UTC).isoformat()
        said = [{"client_ip": "10.0.0.9", "client_port": port, "client_pid": 7, "connected_at": at} for port in ports]
        await one.report([one.says(connections=said)])
        shown = (await one.shown_worker())["connections"]
        return {each["client_port"]: each["connected_at"] for each in shown}

    first = await connected(5000)
    now.advance(30)
    second = await connected(5000, 5001)
    assert second[5000] == first[5000]
    assert second[5001] > first[5000]
    assert await connected() == {}
    assert (await connected(5000))[5000] == second[5001]


async def test_report_says_anew_what_a_gpu_is_and_none_comes_or_goes_by_it(ana: Caller) -> None:
    one = await agent(ana)
    said = {"gpu_id": "gpu-0", "model": "H200 NVL", "vram_mb": 140_000, "driver_version": "580.1", "vendor": "NVIDIA"}
    await one.report(gpus=[said, gpu(7)])
    (shown,) = (await one.shown())["gpus"]
    assert (shown["gpu_id"], shown["model"], shown["vram_mb"]) == ("GPU-0", "H200 NVL", 140_000)
    assert (shown["driver_version"], shown["vendor"]) == ("580.1", "nvidia")
    await one.report(gpus=[{"gpu_id": "GPU-0", "vram_mb": 0}])
    assert (await one.shown())["gpus"] == [shown]


async def test_worker_of_another_agent_is_passed_over(ana: Caller) -> None:
    one, other = await agent(ana), await agent(ana)
    await one.report([one.says(other.default), one.says("worker_nobody"), one.says()])
    assert (await other.shown_worker())["status"] == "pending"
    assert (await one.shown_worker())["status"] == "running"


async def test_connections_that_have_not_changed_may_be_left_out(ana: Caller) -> None:
    one = await agent(ana)
    await one.report([one.says(connections=[{"client_ip": "10.0.0.9", "connected_at": AT}])])
    await one.report([one.says(connections=None, connection_changed=False)])
    assert len((await one.shown_worker())["connections"]) == 1
    await one.report([one.says(connections=None)])
    assert (await one.shown_worker())["connections"] == []


async def test_figures_of_the_future_are_of_now(ana: Caller, appliance: RunningAppliance, now: SteppingClock) -> None:
    one = await agent(ana, gpus=[gpu(gpu_id=uuid())])
    body = METRICS | {"timestamp": "2099-01-01T00:00:00Z"}
    assert (await one.send("POST", f"{one.path}/metrics", body)).status == 200
    assert (await newest(appliance, one.agent_id)).sample.taken_at_unix_us == now()


# ---------------------------------------------------------------- figures


async def newest(appliance: RunningAppliance, agent_id: str) -> Any:
    """Return the newest figures of an agent's host; ``None`` where there are none."""
    host_id = await until(lambda: appliance.state.inventory.host_of("gpu_sharing", agent_id))
    return appliance.state.series.latest(host_id)


async def test_documented_metrics_are_kept(ana: Caller, appliance: RunningAppliance) -> None:
    one = await agent(ana, gpus=[gpu(gpu_id=uuid())])
    body = METRICS | {"gpus": [METRICS["gpus"][0] | {"gpu_id": uuid().upper()}]}
    reply = await one.send("POST", f"{one.path}/metrics", body)
    assert (reply.status, reply.json) == (200, {"success": True})
    sample = (await newest(appliance, one.agent_id)).sample
    assert (sample.cpu_percent, sample.memory_percent) == (12.5, 25.0)
    (found,) = sample.gpus
    assert (found.gpu_id, found.utilization_percent) == (f"GPU-{uuid()[4:]}", 87.5)
    assert found.vram_used_bytes == 1000 * 2**20


async def test_metrics_of_a_plan_without_them_are_refused_alone_but_dropped_from_reports(
    appliance: RunningAppliance,
) -> None:
    one = await agent(await person(appliance, "free"))
    refused = await one.send("POST", f"{one.path}/metrics", METRICS)
    assert refused.status == 403
    assert "'free'" in refused.json["error"]
    line = f"system_metrics,agent_id={one.agent_id} cpu_usage=5 1795000000000"
    assert (await one.report(metrics=line))["success"] is True
    assert await newest(appliance, one.agent_id) is None


async def test_line_protocol_inside_a_report_is_kept_and_a_bad_line_costs_itself(
    ana: Caller, appliance: RunningAppliance, now: SteppingClock
) -> None:
    one = await agent(ana, gpus=[gpu(gpu_id=uuid())])
    ms = now() // 1000
    lines = "\n".join(
        (
            f"gpu_metrics,agent_id={one.agent_id},gpu_id={uuid().upper()} utilization=33.5,vram_used_mb=5i {ms}",
            "nonsense that nobody can read",
            f"gpu_metrics,agent_id=agent_somebody_else,gpu_id={uuid()} utilization=99 {ms}",
        )
    )
    assert (await one.report(metrics=lines))["success"] is True
    (found,) = (await newest(appliance, one.agent_id)).sample.gpus
    assert found.utilization_percent == 33.5
