"""Agents of GPU sharing in one process: a fleet in the database, and requests as the Go agent and its users send them.

Each agent has 8 GPUs, 16 workers that have half a GPU each, two connections a worker, and one share.
"""

import json
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from attrs import define, field

from appliance.plugin import Kind, Minted, mint_credential
from plugins.gpu_sharing import codes
from plugins.gpu_sharing.models import Agent, Gpu, Peer, Share, Worker

GPUS = 8
WORKERS = 16
MODEL = "NVIDIA H200"
VRAM_MB = 143_771
SECOND_US = 1_000_000
LICENSE_MS = 90 * 60 * 1000
_MS = "@MILLISECONDS@"
_ISO = "@TIME@"


def _gpu_id(number: int, place: int) -> str:
    """Return a driver's id as agents write it."""
    return f"gpu-1b2c3d4e-0000-1111-{number:04x}-{place:012x}"


@define(eq=False)
class FleetAgent:
    """One agent, and its requests."""

    agent: Agent
    share: Share
    minted: Minted
    _template: bytes = field(init=False)
    last_unix_ms: int = 0
    """Of its last report; no two have the same time, since the second would not be stored."""
    reports: int = 0

    @property
    def secret(self) -> str:
        """What it signs its requests with."""
        return self.minted.secret

    def __attrs_post_init__(self) -> None:
        self._template = json.dumps(_body(self.agent), separators=(",", ":")).encode()

    def report(self) -> bytes:
        """Return the next status report."""
        self.last_unix_ms = max(self.last_unix_ms + 1000, time.time_ns() // 1_000_000)
        self.reports += 1
        moment = datetime.fromtimestamp(self.last_unix_ms / 1000, UTC)
        written = f"{moment:%Y-%m-%dT%H:%M:%S}.{self.last_unix_ms % 1000:03d}552380Z"
        body = self._template.replace(_MS.encode(), b"%d" % self.last_unix_ms).replace(_ISO.encode(), written.encode())
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return self._request("POST", f"/api/v1/agents/{self.agent.agent_id}/status", head) + body

    def poll(self) -> bytes:
        """Return the request for its configuration."""
        return self._request("GET", f"/api/v1/agents/{self.agent.agent_id}/config")

    def _request(self, method: str, path: str, head: str = "") -> bytes:
        return (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: go-resty/2.16.5\r\n{head}"
            f"Accept: application/json\r\nAuthorization: Bearer {self.secret}\r\nAccept-Encoding: gzip\r\n\r\n"
        ).encode()

    def redemption(self) -> bytes:
        """Return the request of a guest who follows its share's link."""
        return (
            f"GET /s/{self.share.short_code} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: go-resty/2.16.5\r\n"
            "Accept: application/json\r\nAccept-Encoding: gzip\r\n\r\n"
        ).encode()


def _body(agent: Agent) -> dict[str, object]:
    gpus = [
        {
            "gpu_id": gpu.gpu_id,
            "used_by_worker": None,
            "gpu_index": gpu.gpu_index,
            "vendor": gpu.vendor,
            "model": gpu.model,
            "vram_mb": gpu.vram_mb,
            "driver_version": gpu.driver_version,
            "cuda_version": gpu.cuda_version,
        }
        for gpu in agent.gpus
    ]
    workers = [
        {
            "worker_id": worker.worker_id,
            "status": "running",
            "pid": worker.pid,
            "gpu_ids": list(worker.gpu_ids),
            "connections": [
                {
                    "client_ip": peer.client_ip,
                    "client_port": peer.client_port,
                    "client_pid": peer.client_pid,
                    "connected_at": _ISO,
                }
                for peer in worker.connections
            ],
        }
        for worker in agent.workers.values()
    ]
    return {
        "timestamp": _ISO,
        "gpus": gpus,
        "workers": workers,
        "metrics": "\n".join(_lines(agent)),
        "license_expiration": time.time_ns() // 1_000_000 + LICENSE_MS,
    }


def _lines(agent: Agent) -> Iterator[str]:
    """Yield the line protocol of a report: a line for the host, for each GPU and for each worker."""
    host = "cpu_usage=12.50,memory_used_mb=262144i,memory_total_mb=524288i"
    yield f"system_metrics,agent_id={agent.agent_id} {host} {_MS}"
    for gpu in agent.gpus:
        yield (
            f"gpu_metrics,agent_id={agent.agent_id},gpu_id={gpu.gpu_id},model=NVIDIA\\ H200,vendor=nvidia "
            f"utilization=75.50,vram_used_mb=8192i,vram_total_mb={VRAM_MB}i,temperature={60 + gpu.gpu_index}.0,"
            f"power_usage_w=450.5,pcie_rx_kb=1.0,pcie_tx_kb=2.0 {_MS}"
        )
    for worker in agent.workers.values():
        yield (
            f"worker_metrics,agent_id={agent.agent_id},worker_id={worker.worker_id} "
            f"status=1i,connections=2i,restarts=0i {_MS}"
        )


def made(number: int, owner: str) -> FleetAgent:
    """Return an agent that has reported before."""
    now = time.time_ns() // 1000
    agent = Agent(
        agent_id=codes.new_agent_id(),
        owner=owner,
        hostname=f"gpu-box-{number}",
        os="linux",
        arch="amd64",
        network_ips=(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",),
        gpus=tuple(
            Gpu(
                gpu_id=_gpu_id(number, place),
                gpu_index=place,
                vendor="nvidia",
                model=MODEL,
                vram_mb=VRAM_MB,
                driver_version="580.65.06",
                cuda_version="13.0",
            )
            for place in range(GPUS)
        ),
        host_id=f"shared_{secrets.token_hex(16)}",
        reported_from="127.0.0.1",
        last_seen_unix_us=now,
        license_expires_unix_us=now + LICENSE_MS * 1000,
        created_unix_us=now - SECOND_US * 3600 + number,
    )
    for place in range(WORKERS):
        worker = _worker(agent, place)
        agent.workers[worker.worker_id] = worker
    shared = next(iter(agent.workers.values()))
    share = Share(
        share_id=codes.new_share_id(),
        short_code=codes.new_code(),
        worker_id=shared.worker_id,
        agent_id=agent.agent_id,
        owner=owner,
        connection_ip=agent.network_ips[0],
        created_unix_us=agent.created_unix_us,
    )
    minted = mint_credential(Kind.AGENT, now_unix_us=now, subject=agent.agent_id, label=agent.hostname)
    return FleetAgent(agent, share, minted)


def _worker(agent: Agent, place: int) -> Worker:
    return Worker(
        worker_id=codes.new_worker_id(),
        agent_id=agent.agent_id,
        name=f"half {place}",
        gpu_ids=(agent.gpus[place // 2].gpu_id,),
        listen_port=9001 + place,
        is_default=place == 0,
        status="running",
        pid=4000 + place,
        vram_mb=VRAM_MB // 2,
        compute_percent=50,
        started_unix_us=agent.created_unix_us,
        created_unix_us=agent.created_unix_us,
        connections={
            Peer(
                client_ip=f"192.0.2.{place}", client_port=40_000 + each, client_pid=50_000 + each
            ): agent.created_unix_us
            for each in range(2)
        },
    )
