"""An agent of a machine as the registry knows it: registers once, then beats."""

import json
import urllib.error
import urllib.request
from typing import Any

from attrs import frozen

GIB = 2**30
HOSTILE = "<script>document.title='broken-into'</script>"


@frozen(kw_only=True)
class Agent:
    """A machine's agent, with its token."""

    base: str
    token: str
    machine_id: str
    pool: str = "default"
    hostname: str = "box-1"

    def register(self, *, gpus: int = 4) -> int:
        """Register the machine; return the status."""
        said = {
            "token": "",
            "hostname": self.hostname,
            "cpu": "64000m",
            "memory": "256Gi",
            "gpu_count": str(gpus),
            "private_ip": "192.0.2.7",
        }
        return self._post("register", said)

    def beat(self, *, cpu: float = 41.5, memory: float = 62.0, free: int = 3) -> int:
        """Send a keepalive; return the status."""
        metrics = {
            "total_cpu_available": 64000,
            "total_memory_available": 256 * GIB,
            "total_disk_space_bytes": 900 * GIB,
            "total_disk_free_bytes": 300 * GIB,
            "cpu_utilization_pct": cpu,
            "memory_utilization_pct": memory,
            "worker_count": 2,
            "container_count": 5,
            "free_gpu_count": free,
            "cache_usage_pct": 12.5,
            "cache_capacity": 0,
            "cache_memory_usage": 0,
            "cache_cpu_usage": 0.0,
        }
        return self._post("keepalive", {"agent_version": "0.1.0-python", "metrics": metrics})

    def _post(self, action: str, said: dict[str, Any]) -> int:
        body = {"machine_id": self.machine_id, "provider_name": "generic", "pool_name": self.pool, **said}
        request = urllib.request.Request(
            f"{self.base}/api/v1/machine/{action}",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code
