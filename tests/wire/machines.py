"""Agents of the machine API as their machines speak it: a new connection for every request, and their own headers."""

import http.client
import itertools
import json
from collections.abc import Mapping
from typing import Any

import httpx2 as httpx
from attrs import define

from tests.product.served import Product
from tests.wire.metrics import Answer

_NUMBERS = itertools.count(1)
CONFIG = """
[plugins.machine_registry.pools.gpu]
gpu = "A100-80"
[plugins.machine_registry.pools.h100]
gpu = "H100"
[plugins.machine_registry.pools.odd]
gpu = "GH200"
[plugins.machine_registry.pools.plain]
[plugins.machine_registry.workspaces.lab]
pools = ["h100", "odd"]
[plugins.machine_registry.workspaces.bare]
pools = ["plain"]
[plugins.machine_registry.workspaces.idle]
pools = []
"""
REGISTER: dict[str, Any] = {
    "token": "swwMV_WA4C...",
    "machine_id": "1165a9b6",
    "hostname": "gpu-worker-1",
    "provider_name": "generic",
    "pool_name": "gpu",
    "cpu": "8000m",
    "memory": "16Gi",
    "gpu_count": "1",
    "private_ip": "192.168.1.100",
}
"""The registration of the API's own document."""
METRICS: dict[str, Any] = {
    "cpu_utilization_pct": 15.5,
    "memory_utilization_pct": 42.3,
    "total_cpu_available": 8000,
    "total_memory_available": 16384,
    "free_gpu_count": 1,
}
KEEPALIVE: dict[str, Any] = {
    "machine_id": "1165a9b6",
    "provider_name": "generic",
    "pool_name": "gpu",
    "agent_version": "0.1.0-python",
    "metrics": METRICS,
}
"""The keepalive of the API's own document."""
INTEGERS = (
    "total_cpu_available",
    "total_memory_available",
    "total_disk_space_bytes",
    "total_disk_free_bytes",
    "free_gpu_count",
    "worker_count",
    "container_count",
    "cache_capacity",
    "cache_memory_usage",
)
FLOATS = ("cpu_utilization_pct", "memory_utilization_pct", "cache_usage_pct", "cache_cpu_usage")
REFUSED = {"message": "Invalid token"}
PREFIX = "/api/v1/machine"


def new_id() -> str:
    """Return a machine id that no other test has."""
    return f"{next(_NUMBERS):08x}"


@define(eq=False)
class Registry:
    """One running product, its admin, and the tokens that agents of its pools have."""

    product: Product
    browser: httpx.Client
    worker: str
    """A token that serves all pools."""
    tokens: dict[str, str]
    """A token of each pool that serves any of its machines."""

    def made(self, kind: str, **fields: Any) -> Any:
        """Make a token of a kind and return the whole answer."""
        answer = self.browser.post("/api/appliance/tokens", json={"kind": kind, **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def token(self, kind: str, **fields: Any) -> str:
        """Make a token of a kind."""
        return str(self.made(kind, **fields)["token"])

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request on a connection of its own; bodies that are no bytes go as JSON.

        :param path: below ``/api/v1/machine``.
        :param headers: all of them, instead of the token as Bearer and the content type.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.product.port, timeout=30)
        try:
            payload = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            sent = dict(headers or {})
            if headers is None:
                sent |= {} if payload is None else {"Content-Type": "application/json"}
                sent |= {} if token is None else {"Authorization": f"Bearer {token}"}
            connection.request(method, PREFIX + path, payload, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(status=answer.status, headers=found, body=answer.read())
        finally:
            connection.close()

    def register(self, machine_id: str, *, token: str | None = None, **changes: Any) -> Answer:
        """Register a machine with the documented body, changed."""
        body = {**REGISTER, "machine_id": machine_id, **changes}
        return self.send("POST", "/register", body, token=token or self._token(body))

    def beat(self, machine_id: str, *, token: str | None = None, **changes: Any) -> Answer:
        """Send the documented keepalive, changed."""
        body = {**KEEPALIVE, "machine_id": machine_id, **changes}
        return self.send("POST", "/keepalive", body, token=token or self._token(body))

    def ready(self, **changes: Any) -> str:
        """Register a machine of its own and make it ready; return its id."""
        machine_id = new_id()
        assert self.register(machine_id, **changes).status == 200
        own = {name: changes[name] for name in ("pool_name", "provider_name") if name in changes}
        assert self.beat(machine_id, **own).status == 200
        return machine_id

    def listed(self, query: str = "", *, token: str | None = None) -> Any:
        """Return the list of ready machines; of all pools without a token."""
        answer = self.send("GET", f"/list{query}", token=token or self.worker)
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"].startswith("application/json")
        return answer.json

    def item(self, machine_id: str) -> Any:
        """Return what the list says of a machine, ``None`` when it is not there."""
        found = [each for each in self.listed() if each["state"]["machine_id"] == machine_id]
        assert len(found) < 2
        return found[0] if found else None

    def all(self) -> dict[str, Any]:
        """Return every machine of our own list by pool and id, without what time alone changes."""
        items = self.browser.get("/api/appliance/machines").json()["items"]
        moving = ("deadline_in_seconds", "cpu_percent", "memory_percent", "disk_total_bytes", "disk_free_bytes")
        return {
            f"{each['provider']}/{each['pool']}/{each['id']}": {
                name: value for name, value in each.items() if name not in moving
            }
            for each in items
            if not each["is_local"]
        }

    def _token(self, body: Mapping[str, Any]) -> str:
        pool = body.get("pool_name")
        return self.tokens.get(pool, self.worker) if isinstance(pool, str) else self.worker


def registry_of(one: Product, browser: httpx.Client) -> Registry:
    """Return the machines' side of a running product, with a token for each pool."""
    made = Registry(one, browser, "", {})
    made.worker = made.token("worker")
    made.tokens = {pool: made.token("machine", pool=pool) for pool in ("gpu", "h100", "odd", "plain", "default")}
    return made
