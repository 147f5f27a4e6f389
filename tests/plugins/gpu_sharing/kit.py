"""People and their agents, as the tests of whole requests need them."""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from appliance.credentials.kinds import Role
from appliance.testing import Reply, RunningAppliance

AT = "2026-11-21T02:07:28.72155238Z"
"""As Go writes a time."""
SHARING = "/api/appliance/sharing"
METRICS: dict[str, Any] = {
    "timestamp": AT,
    "system": {"cpu_usage": 12.5, "memory_used_mb": 2000, "memory_total_mb": 8000},
    "gpus": [
        {
            "gpu_id": "GPU-0",
            "utilization": 87.5,
            "vram_used_mb": 1000,
            "vram_total_mb": 143_771,
            "temperature": 61,
            "power_usage_w": 450.5,
        }
    ],
}
"""The documented metrics."""


def gpu(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return one GPU as an agent registers it."""
    return {"gpu_id": f"GPU-{number}", "vendor": "nvidia", "model": "H200", "vram_mb": 143_771} | changes


def uuid(number: int = 0) -> str:
    """Return a driver's id as real agents write it."""
    return f"gpu-1b2c3d4e-0000-1111-2222-{number:012x}"


@frozen(kw_only=True)
class Caller:
    """Whoever sends requests with a credential."""

    appliance: RunningAppliance
    headers: Mapping[str, str]

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        return await self.appliance.request(method, path, body=body, headers={**self.headers, **headers})

    async def get(self, path: str) -> Reply:
        return await self.send("GET", path)

    async def read(self, path: str) -> Any:
        """GET what must be there, and return it."""
        reply = await self.get(path)
        assert reply.status == 200, reply.text
        return reply.json

    async def made(self, path: str, body: Any = None) -> Any:
        """POST what must be taken, and return the answer."""
        reply = await self.send("POST", path, {} if body is None else body)
        assert reply.status == 201, reply.text
        return reply.json

    async def worker(self, agent_id: str, **changes: Any) -> Any:
        """Make a worker on the first GPU."""
        body = {"agent_id": agent_id, "name": "part", "gpu_ids": ["GPU-0"], "listen_port": 9100}
        return await self.made("/api/v1/workers", body | changes)

    async def share(self, worker_id: str, **changes: Any) -> Any:
        """Share a worker."""
        return await self.made("/api/v1/shares", {"worker_id": worker_id, "connection_ip": "10.0.0.4"} | changes)


@frozen(kw_only=True)
class Agent(Caller):
    """An agent with its secret."""

    agent_id: str
    secret: str
    default: str
    """The id of its default worker; empty where it has none."""
    owner: Caller

    @property
    def path(self) -> str:
        return f"/api/v1/agents/{self.agent_id}"

    async def report(self, workers: Iterable[Mapping[str, Any]] | None = (), **changes: Any) -> Any:
        """Send a status report that must be taken, and return the answer."""
        body = {"timestamp": AT, "gpus": [], "workers": None if workers is None else list(workers)}
        reply = await self.send("POST", f"{self.path}/status", body | changes)
        assert reply.status == 200, reply.text
        return reply.json

    def says(self, worker_id: str = "", status: str = "running", **changes: Any) -> dict[str, Any]:
        """Return what it reports of a worker, its default one unless another is named."""
        said = {"worker_id": worker_id or self.default, "status": status, "gpu_ids": ["GPU-0"]}
        return said | ({"pid": 4711} if status == "running" else {}) | changes

    async def config(self) -> Any:
        return await self.read(f"{self.path}/config")

    async def shown(self) -> Any:
        """Return what its owner sees of it."""
        return await self.owner.read(self.path)

    async def shown_worker(self, worker_id: str = "") -> Any:
        return await self.owner.read(f"/api/v1/workers/{worker_id or self.default}")


async def person(appliance: RunningAppliance, name: str = "ana", role: Role = Role.USER) -> Caller:
    """Return a person with a personal access token."""
    return Caller(appliance=appliance, headers=await appliance.bearer(name, role))


async def install_token(owner: Caller) -> str:
    made = await owner.made("/api/v1/tokens/generate", {"type": "agent_install"})
    return str(made["token"])


def registration(**changes: Any) -> dict[str, Any]:
    """Return the body of a registration."""
    body = {"hostname": "gpu-box", "os": "linux", "arch": "amd64", "network_ips": ["192.0.2.7"], "gpus": [gpu()]}
    return body | changes


async def register(appliance: RunningAppliance, token: str, **changes: Any) -> Reply:
    headers = {"Authorization": f"Bearer {token}"}
    return await appliance.post("/api/v1/agents/register", registration(**changes), headers=headers)


async def agent(owner: Caller, **changes: Any) -> Agent:
    """Install an agent of a person, with one GPU unless ``gpus`` says otherwise."""
    reply = await register(owner.appliance, await install_token(owner), **changes)
    assert reply.status == 201, reply.text
    agent_id, secret = reply.json["agent_id"], reply.json["agent_secret"]
    workers = (await owner.read(f"/api/v1/agents/{agent_id}"))["workers"]
    return Agent(
        appliance=owner.appliance,
        headers={"Authorization": f"Bearer {secret}"},
        agent_id=agent_id,
        secret=secret,
        default=workers[0]["worker_id"] if workers else "",
        owner=owner,
    )
