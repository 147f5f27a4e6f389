"""A worker of this host under MPS, in a whole appliance: what it is told, and what is said of its limits."""

import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.testing import RunningAppliance, running, scripted_gpus, until
from tests.plugins.gpu_sharing.mps_device import MpsDevice, is_alive, mps_device

SHARING = "/api/appliance/sharing"
CONFIG = """
[plugins.gpu_sharing]
default_command = "web"
[plugins.gpu_sharing.commands.web]
argv = ["/usr/bin/python3", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
user = "nobody"
folder = "/usr/share"
"""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs of others")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[MpsDevice]:
    with mps_device() as made:
        monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
        yield made


@pytest.fixture
async def appliance(tmp_path: Path, device: MpsDevice) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path, backends=[scripted_gpus(1)], config=CONFIG) as made:
        yield made


async def shown(appliance: RunningAppliance, worker_id: str, **wanted: Any) -> dict[str, Any]:
    """Return a worker once it is as wanted."""
    last: dict[str, Any] = {}
    with trio.move_on_after(30):
        while True:
            items = (await appliance.control("GET", f"{SHARING}/workers")).json["items"]
            (last,) = [item for item in items if item["worker_id"] == worker_id]
            if all(last[name] == value for name, value in wanted.items()):
                return last
            await trio.sleep(0.05)
    raise AssertionError(f"not {wanted}: {last}")


async def part_of_a_gpu(appliance: RunningAppliance) -> str:
    """Make a worker of part of the GPU, with nobody beside it."""
    (default,) = (await appliance.control("GET", f"{SHARING}/workers")).json["items"]
    await appliance.control("PATCH", f"{SHARING}/workers/{default['worker_id']}", {"enabled": False})
    (agent,) = (await appliance.control("GET", f"{SHARING}/agents")).json["items"]
    body = {"agent_id": agent["agent_id"], "name": "part", "gpu_ids": ["GPU-0"], "listen_port": 9333}
    made = await appliance.control("POST", f"{SHARING}/workers", body | {"compute_percent": 40, "vram_mb": 100})
    assert made.status == 201, made.text
    return str(made.json["worker_id"])


async def variables_of(appliance: RunningAppliance, worker_id: str) -> dict[str, str]:
    state = appliance.running.plugins.parts["gpu_sharing"].surfaces[0].state
    said = await trio.Path(f"/proc/{state.book.worker(worker_id).pid}/environ").read_text()
    return dict(one.split("=", 1) for one in said.split("\0") if one)


async def test_part_of_a_gpu_is_enforced_by_a_daemon_of_ours_that_its_command_is_told_of(
    appliance: RunningAppliance, device: MpsDevice
) -> None:
    worker_id = await part_of_a_gpu(appliance)
    found = await shown(appliance, worker_id, status="running", limits="enforced")
    assert "unproven on this host" in found["limits_reason"]
    (start,) = [json.loads(line) for line in device.lines("starts")]
    said = await variables_of(appliance, worker_id)
    assert said["CUDA_MPS_PIPE_DIRECTORY"] == start["CUDA_MPS_PIPE_DIRECTORY"] != "/tmp/nvidia-mps"
    assert said["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "40"
    assert said["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=100M"
    assert (start["CUDA_VISIBLE_DEVICES"], start["uid"]) == ("GPU-0", 65534)


async def test_worker_whose_daemon_ends_is_advisory_until_both_have_been_started_again(
    appliance: RunningAppliance, device: MpsDevice
) -> None:
    worker_id = await part_of_a_gpu(appliance)
    await shown(appliance, worker_id, status="running", limits="enforced")
    state = appliance.running.plugins.parts["gpu_sharing"].surfaces[0].state
    pid = state.book.worker(worker_id).pid
    os.kill(json.loads(device.lines("starts")[0])["pid"], signal.SIGKILL)
    found = await shown(appliance, worker_id, limits="advisory")
    assert "MPS control daemon ended with status -9" in found["limits_reason"]
    await shown(appliance, worker_id, limits="enforced")
    await until(lambda: state.book.worker(worker_id).pid not in (None, pid))
    await shown(appliance, worker_id, status="running", limits="enforced")


async def test_worker_without_a_daemon_that_works_runs_and_is_advisory(
    appliance: RunningAppliance, device: MpsDevice
) -> None:
    device.behave("dead")
    found = await shown(appliance, await part_of_a_gpu(appliance), status="running")
    assert found["limits"] == "advisory"
    assert "MPS control daemon ended with status 3" in found["limits_reason"]


async def test_daemon_ends_with_the_appliance(tmp_path: Path, device: MpsDevice) -> None:
    async with running(tmp_path, backends=[scripted_gpus(1)], config=CONFIG) as appliance:
        await shown(appliance, await part_of_a_gpu(appliance), limits="enforced")
    (start,) = [json.loads(line) for line in device.lines("starts")]
    await until(lambda: not is_alive(start["pid"]) and not is_alive(start["server"]))
    assert device.lines("asked")[-1].endswith(" quit")
    assert not await trio.Path(start["CUDA_MPS_PIPE_DIRECTORY"]).exists()
