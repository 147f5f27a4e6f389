"""Drones and operators of a running appliance, as the tests of whole requests need them."""

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from appliance.clock import Now, unix_now_us
from appliance.testing import Reply, RunningAppliance, running

KEY = "key-of-the-environment"
STRANGER = {"X-Forwarded-For": "192.0.2.7"}
"""Makes a request one that a proxy passed on: nothing is trusted about it."""
_NUMBERS = itertools.count(1)


def atom() -> str:
    """Return a package that no other test has, as the swarm writes it."""
    return f"=dev-test/pkg{next(_NUMBERS)}-1.0"


@define(eq=False)
class Swarm:
    """A running appliance, called by a trusted program unless headers say otherwise."""

    appliance: RunningAppliance
    headers: Mapping[str, str] = field(factory=dict)

    async def send(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        return await self.appliance.request(method, path, body=body, headers={**self.headers, **(headers or {})})

    async def read(self, path: str) -> Any:
        """GET what must be there."""
        reply = await self.send("GET", path)
        assert reply.status == 200, reply.text
        return reply.json

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """POST what must succeed."""
        reply = await self.send("POST", path, {} if body is None else body)
        assert reply.status == status, reply.text
        return reply.json

    async def refused(self, method: str, path: str, body: Any = None, *, status: int, **options: Any) -> str:
        """Require a status and the documented error; return its words."""
        reply = await self.send(method, path, body, **options)
        assert reply.status == status, reply.text
        assert set(reply.json) <= {"error", "hint", "field"}
        assert reply.json["hint"]
        return str(reply.json["error"])

    async def drone(self, name: str = "", **changes: Any) -> "Drone":
        """Register a drone."""
        number = next(_NUMBERS)
        made = Drone(self, name or f"drone-{number}", f"{number:032x}")
        await made.register(**changes)
        return made

    async def queue(self, *packages: str, **more: Any) -> Any:
        """Queue packages."""
        return await self.post("/api/v1/queue", {"packages": list(packages), **more})

    async def control(self, action: str, **more: Any) -> Any:
        """Do a control action."""
        return await self.post("/api/v1/control", {"action": action, **more})

    async def package(self, name: str) -> Any:
        """Return a package of the queue."""
        return next(each for each in await self.read("/api/v1/queue") if each["package"] == name)


@define(eq=False)
class Drone:
    """One drone."""

    swarm: Swarm
    name: str
    id: str

    async def register(self, **changes: Any) -> Any:
        body = {"id": self.id, "name": self.name, "capabilities": {"cores": 4, "ram_gb": 32.0}}
        return await self.swarm.post("/api/v1/register", body | changes)

    async def work(self) -> Any:
        return await self.swarm.read(f"/api/v1/work?id={self.id}&cores=4")

    async def complete(self, package: str, status: str = "success", **changes: Any) -> Any:
        body = {"id": self.id, "package": package, "status": status, "build_duration_s": 5.0}
        return await self.swarm.post("/api/v1/complete", body | changes)

    async def build(self, package: str, status: str = "success") -> Any:
        assert (await self.work())["package"] == package
        return await self.complete(package, status)


@asynccontextmanager
async def swarm(
    folder: Path, config: str = "", *, now: Now = unix_now_us, listen: tuple[str, ...] = ("127.0.0.1:0",)
) -> AsyncIterator[Swarm]:
    """Run an appliance with a swarm."""
    environment = {"ADMIN_KEY": KEY}
    async with running(folder, config=config, environment=environment, now=now, listen=listen) as appliance:
        yield Swarm(appliance)
