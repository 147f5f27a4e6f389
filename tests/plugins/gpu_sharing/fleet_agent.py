"""One agent with two GPUs and three workers, and what it reports, as real agents write it."""

import json
from typing import Any

from plugins.gpu_sharing.models import Agent, Gpu, Worker

AGENT_ID = "agent_1"
GPU_IDS = tuple(f"gpu-1b2c3d4e-0000-1111-2222-{number:012x}" for number in range(2))
SECOND_US = 1_000_000


def agent() -> Agent:
    gpus = tuple(
        Gpu(gpu_id=gpu_id, gpu_index=place, vendor="nvidia", model="H200", vram_mb=143_771)
        for place, gpu_id in enumerate(GPU_IDS)
    )
    made = Agent(
        agent_id=AGENT_ID,
        owner="ana",
        hostname="box",
        os="linux",
        arch="amd64",
        gpus=gpus,
        host_id="shared_1",
        created_unix_us=SECOND_US,
    )
    for place in range(3):
        made.workers[f"worker_{place}"] = Worker(
            worker_id=f"worker_{place}",
            agent_id=AGENT_ID,
            name=f"part {place}",
            gpu_ids=(GPU_IDS[place % 2],),
            listen_port=9001 + place,
            created_unix_us=SECOND_US,
        )
    return made


def written(number: int) -> str:
    """Return a moment as Go writes it, later by a number of seconds."""
    return f"2026-11-21T02:{number // 60 % 60:02d}:{number % 60:02d}.72155238Z"


def lines(number: int) -> list[str]:
    ms = 1_795_000_000_000 + number * 1000
    found = [f"system_metrics,agent_id={AGENT_ID} cpu_usage=12.50,memory_used_mb=2000i,memory_total_mb=8000i {ms}"]
    found += [
        f"gpu_metrics,agent_id={AGENT_ID},gpu_id={gpu_id},model=NVIDIA\\ H200,vendor=nvidia utilization=75.50,"
        f"vram_used_mb=8192i,vram_total_mb=143771i,temperature={60 + place}.0,power_usage_w=450.5,pcie_rx_kb=1.0,"
        f"pcie_tx_kb=2.0 {ms}"
        for place, gpu_id in enumerate(GPU_IDS)
    ]
    return [
        *found,
        f"worker_metrics,agent_id={AGENT_ID},worker_id=worker_0 status=1i,connections=2i,restarts=0i {ms}",
    ]


def report(number: int, **changes: Any) -> dict[str, Any]:
    """Return what is reported at the number of seconds."""
    workers = [
        {
            "worker_id": f"worker_{place}",
            "status": "running",
            "pid": 4000 + place,
            "gpu_ids": [GPU_IDS[place % 2]],
            "connections": [
                {"client_ip": "192.0.2.7", "client_port": 40_000 + each, "connected_at": written(number)}
                for each in range(2)
            ],
        }
        for place in range(3)
    ]
    body = {
        "timestamp": written(number),
        "gpus": [{"gpu_id": gpu_id, "used_by_worker": None, "vendor": "nvidia"} for gpu_id in GPU_IDS],
        "workers": workers,
        "metrics": "\n".join(lines(number)),
        "license_expiration": 1_795_000_000_000,
    }
    return body | changes


def encoded(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
