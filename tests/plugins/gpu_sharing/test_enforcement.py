"""Whether limits hold, and why or why not."""

from pathlib import Path

import pytest
from attrs import evolve

from plugins.gpu_sharing.enforcement import NOT_RUNNING, Enforcement
from plugins.gpu_sharing.launching import Identity
from plugins.gpu_sharing.models import Agent, Gpu, Worker
from plugins.gpu_sharing.mps import STARTING, Mps


def agent(*gpu_ids: str, is_local: bool = True) -> Agent:
    gpus = tuple(
        Gpu(gpu_id=gpu_id, gpu_index=place, vendor="nvidia", model="H200", vram_mb=1000)
        for place, gpu_id in enumerate(gpu_ids)
    )
    return Agent(
        agent_id="agent_1",
        owner="",
        hostname="box",
        os="linux",
        arch="amd64",
        host_id="host",
        gpus=gpus,
        is_local=is_local,
        created_unix_us=1,
    )


def worker(gpu_id: str, *, isolation_mode: str | None = None, vram_mb: int | None = 100) -> Worker:
    return Worker(
        worker_id="worker_1",
        agent_id="agent_1",
        name="part",
        gpu_ids=(gpu_id,),
        listen_port=9001,
        vram_mb=vram_mb,
        isolation_mode=isolation_mode,
        created_unix_us=1,
    )


class Starter:
    """What runs the workers, told what it knows of them."""

    def __init__(self, folder: Path, *, holds: bool = False) -> None:
        self.mps = Mps(folder, "instance-1")
        self.holds = holds

    def is_held_by_mps(self, worker_id: str) -> bool:
        return self.holds


@pytest.mark.parametrize(
    ("one", "gpu_id", "is_local", "limits", "words"),
    [
        (worker("MIG-1"), "MIG-1", True, "enforced", "(1000 MB); unproven on this host"),
        (worker("GPU-1", isolation_mode="hard"), "GPU-1", True, "advisory", "not all of its GPUs are MIG instances"),
        (worker("GPU-1"), "GPU-1", True, "advisory", "nvidia-cuda-mps-control is missing"),
        (worker("GPU-1"), "GPU-1", False, "advisory", "its agent sets the limits"),
        (worker("GPU-1", vram_mb=None), "GPU-1", True, "none", ""),
    ],
)
def test_limits_are_never_said_to_hold_without_what_holds_them(
    tmp_path: Path, one: Worker, gpu_id: str, is_local: bool, limits: str, words: str
) -> None:
    found = Enforcement(Starter(tmp_path)).limits(one, agent(gpu_id, is_local=is_local))
    assert found.limits == limits
    assert words in found.reason


def test_limits_hold_under_a_daemon_of_ours_and_say_so_as_long_as_they_do(tmp_path: Path) -> None:
    one, host = worker("GPU-1"), agent("GPU-1")
    held = Enforcement(Starter(tmp_path, holds=True)).limits(one, host)
    assert held.limits == "enforced"
    assert "unproven on this host" in held.reason
    hard = worker("GPU-1", isolation_mode="hard")
    assert Enforcement(Starter(tmp_path, holds=True)).limits(hard, host).limits == "advisory"


def test_daemon_that_does_not_answer_is_named_as_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-cuda-mps-control"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    one, host, starter = worker("GPU-1"), agent("GPU-1"), Starter(tmp_path)
    assert Enforcement(starter).limits(one, host).reason == NOT_RUNNING
    starter.mps.want(one, host, Identity(uid=0, gid=0, home=tmp_path, is_own=True))
    assert Enforcement(starter).limits(one, host).reason == STARTING


def test_instance_that_others_use_too_holds_nobody_to_a_part_of_it(tmp_path: Path) -> None:
    one, host = worker("MIG-1"), agent("MIG-1")
    beside = worker("MIG-1", vram_mb=None)
    host.workers = {"worker_1": one, "worker_2": beside}
    found = Enforcement(Starter(tmp_path)).limits(one, host)
    assert (found.limits, "others use its MIG instance" in found.reason) == ("advisory", True)
    beside.enabled = False
    assert Enforcement(Starter(tmp_path)).limits(one, host).limits == "enforced"


def test_gpus_of_others_than_nvidia_cannot_be_held_to_a_part(tmp_path: Path) -> None:
    host = agent("AMD-1")
    host.gpus = (evolve(host.gpus[0], vendor="amd"),)
    found = Enforcement(Starter(tmp_path)).limits(worker("AMD-1"), host)
    assert (found.limits, found.reason) == ("advisory", "only GPUs of NVIDIA can be held to a part of them")


@pytest.mark.parametrize(
    ("status", "enabled", "limits"),
    [
        ("running", True, "advisory"),
        ("pending", True, "advisory"),
        ("stopped", True, "enforced"),
        ("stopped", False, "enforced"),
    ],
)
def test_part_beside_a_worker_that_runs_without_limits_is_advisory(
    tmp_path: Path, status: str, enabled: bool, limits: str
) -> None:
    one, host = worker("GPU-1"), agent("GPU-1")
    beside = worker("GPU-1", vram_mb=None)
    beside.worker_id, beside.name, beside.status, beside.enabled = "worker_2", "default", status, enabled
    host.workers = {"worker_1": one, "worker_2": beside}
    found = Enforcement(Starter(tmp_path, holds=True)).limits(one, host)
    assert found.limits == limits
    assert ("without limits on the same GPU: 'default'" in found.reason) is (limits == "advisory")
