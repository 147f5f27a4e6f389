"""Whether limits hold, and why or why not."""

import pytest

from plugins.gpu_sharing.enforcement import Enforcement
from plugins.gpu_sharing.models import Agent, Gpu, Worker


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


@pytest.mark.parametrize(
    ("one", "gpu_id", "is_local", "limits", "words"),
    [
        (worker("MIG-1"), "MIG-1", True, "enforced", "unproven on this host"),
        (worker("GPU-1", isolation_mode="hard"), "GPU-1", True, "advisory", "no MIG instance"),
        (worker("GPU-1"), "GPU-1", True, "advisory", "no MPS control daemon"),
        (worker("GPU-1"), "GPU-1", False, "advisory", "its agent sets the limits"),
        (worker("GPU-1", vram_mb=None), "GPU-1", True, "none", ""),
    ],
)
def test_limits_are_never_said_to_hold_without_what_holds_them(
    one: Worker, gpu_id: str, is_local: bool, limits: str, words: str
) -> None:
    found = Enforcement().limits(one, agent(gpu_id, is_local=is_local))
    assert found.limits == limits
    assert words in found.reason
