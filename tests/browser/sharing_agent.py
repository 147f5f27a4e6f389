"""An agent of GPU sharing as its documentation has it: registers once with its token, then reports."""

import json
import urllib.request
from typing import Any

from attrs import define, field

AT = "2026-01-25T10:00:00Z"
HOSTILE = "<script>document.title='broken-into'</script>"


@define(kw_only=True)
class SharingAgent:
    """A host with two GPUs that joined with an install token."""

    base: str
    token: str
    hostname: str = "box-7"
    agent_id: str = field(default="", init=False)
    _secret: str = field(default="", init=False)

    def register(self) -> None:
        """Join; raises for a refusal."""
        gpus = [
            {
                "gpu_id": f"GPU-{self.hostname[:20].encode().hex()}-{n}",
                "vendor": "NVIDIA",
                "model": "H100",
                "vram_mb": 81_559,
            }
            for n in range(2)
        ]
        said = {"hostname": self.hostname, "os": "linux", "arch": "amd64", "gpus": gpus, "network_ips": ["192.0.2.77"]}
        made = self._post("register", said, self.token)
        self.agent_id, self._secret = made["agent_id"], made["agent_secret"]

    def report(self, *workers: dict[str, Any], event: str = "") -> None:
        """Send a status report; raises for a refusal."""
        body = {"timestamp": AT, "gpus": [], "workers": list(workers)} | ({"event": event} if event else {})
        self._post(f"{self.agent_id}/status", body, self._secret)

    def running(self, worker_id: str, *addresses: str) -> dict[str, Any]:
        """Return what it reports of a worker that runs, and of who is connected to it."""
        peers = [{"client_ip": address, "connected_at": AT} for address in addresses]
        return {"worker_id": worker_id, "status": "running", "pid": 4711, "connections": peers}

    def _post(self, path: str, body: object, credential: str) -> Any:
        request = urllib.request.Request(
            f"{self.base}/api/v1/agents/{path}",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {credential}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
