"""Agents and people, as the tests of whole requests need them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import frozen

from appliance.testing import Reply, RunningAppliance

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(unix_us: int) -> str:
    """Return a moment as agents write it."""
    return (EPOCH + timedelta(microseconds=unix_us)).isoformat()


def sample(at_unix_us: int, **changes: Any) -> dict[str, Any]:
    """Return a sample with a GPU and a disk."""
    return {
        "collected_at": iso(at_unix_us),
        "cpu_usage_percent": 32.0,
        "cpu_iowait_percent": 1.0,
        "memory_percent": 50.0,
        "swap_percent": 0.0,
        "network_rx_bytes_total": 1000,
        "network_tx_bytes_total": 100,
        "disks": [disk()],
        "gpus": [gpu()],
        **changes,
    }


def disk(device: str = "sda", **changes: Any) -> dict[str, Any]:
    """Return a disk that has done nothing yet."""
    totals = ("read_bytes_total", "write_bytes_total", "read_count_total", "write_count_total", "busy_time_ms_total")
    return {"device": device, **dict.fromkeys(totals, 0), **changes}


def gpu(index: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a busy GPU."""
    return {
        "gpu_index": index,
        "name": "NVIDIA A100",
        "uuid": f"GPU-{index}",
        "utilization_gpu_percent": 98.0,
        "memory_percent": 80.0,
        "temperature_c": 64.0,
        **changes,
    }


@frozen
class Agent:
    """One agent of one registered server."""

    appliance: RunningAppliance
    slug: str
    token: str

    async def post(self, body: Any, *, headers: Mapping[str, str] | None = None, slug: str | None = None) -> Reply:
        """Post a payload (bytes as they are)."""
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = f"/api/ingest/servers/{self.slug if slug is None else slug}/metrics/"
        own = {"X-Monitoring-Token": self.token} if headers is None else dict(headers)
        return await self.appliance.request("POST", path, body=payload, headers=own)

    async def send(self, at_unix_us: int, **changes: Any) -> Reply:
        """Post one sample, which must be taken."""
        reply = await self.post({"sample": sample(at_unix_us, **changes)})
        assert reply.status == 200, reply.text
        return reply


async def agent(appliance: RunningAppliance, slug: str = "box") -> Agent:
    """Register a server and return its agent."""
    made = await appliance.control("POST", "/api/appliance/servers", {"slug": slug})
    assert made.status == 201, made.text
    return Agent(appliance, slug, made.json["token"])
