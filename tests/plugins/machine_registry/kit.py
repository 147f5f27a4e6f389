"""Agents and operators, as the tests of whole requests need them."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from appliance.testing import Reply, RunningAppliance

MACHINE = "/api/v1/machine"
REGISTER: dict[str, Any] = {
    "token": "",
    "machine_id": "1165a9b6",
    "hostname": "gpu-worker-1",
    "provider_name": "generic",
    "pool_name": "default",
    "cpu": "8000m",
    "memory": "16Gi",
    "gpu_count": "1",
    "private_ip": "192.168.1.100",
}


@frozen
class Agent:
    """One agent with its token."""

    appliance: RunningAppliance
    token: str
    token_id: str = ""
    machine_id: str = "1165a9b6"
    pool: str = "default"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def get(self, path: str, **options: Any) -> Reply:
        return await self.appliance.get(path, headers=self.headers, **options)

    async def register(self, **changes: Any) -> Reply:
        body = REGISTER | {"machine_id": self.machine_id, "pool_name": self.pool} | changes
        return await self.appliance.post(f"{MACHINE}/register", body, headers=self.headers)

    async def beat(self, **changes: Any) -> Reply:
        body = {"machine_id": self.machine_id, "pool_name": self.pool} | changes
        return await self.appliance.post(f"{MACHINE}/keepalive", body, headers=self.headers)

    async def listed(self, query: str = "") -> list[str]:
        """Return the ids of the machines that this agent is shown, the appliance's own left out."""
        reply = await self.get(f"{MACHINE}/list{query}")
        assert reply.status == 200, reply.text
        return [item["state"]["machine_id"] for item in reply.json if item["state"]["agent_version"] != "appliance"]


async def agent(appliance: RunningAppliance, pool: str = "default", **body: Any) -> Agent:
    """Make a machine and return its agent."""
    made = await appliance.control("POST", "/api/appliance/machines", {"pool": pool} | body)
    assert made.status == 201, made.text
    return Agent(appliance, made.json["token"], made.json["token_id"], made.json["id"], pool)


async def token(appliance: RunningAppliance, kind: str, **body: Any) -> Mapping[str, str]:
    """Make a token of core and return its headers."""
    made = await appliance.control("POST", "/api/appliance/tokens", {"kind": kind} | body)
    assert made.status == 201, made.text
    return {"Authorization": f"Bearer {made.json['token']}"}
