"""People, agents and guests of the sharing API as their programs speak it: a new connection for every request."""

import gzip
import http.client
import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

import httpx2 as httpx
from attrs import define

from tests.product.served import Product
from tests.wire.metrics import Answer

_NUMBERS = itertools.count(1)
CONFIG = """
[plugins.gpu_sharing]
short_link_base = "https://go.example.net"
[plugins.gpu_sharing.people]
free = "free"
poor = "free"
"""
AT = "2026-11-21T02:07:28.72155238Z"
"""As Go writes a time."""
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z")
"""RFC 3339 in UTC: all that Go's time.Time reads without doubt."""
GPU: dict[str, Any] = {
    "gpu_id": "GPU-0",
    "vendor": "nvidia",
    "model": "NVIDIA H200",
    "vram_mb": 143_771,
    "driver_version": "580.65",
    "cuda_version": "13.0",
}
REGISTER: dict[str, Any] = {
    "hostname": "gpu-box",
    "os": "linux",
    "arch": "amd64",
    "gpus": [GPU],
    "network_ips": ["192.0.2.7"],
}
"""The documented registration, with all that it may have."""
WORKER: dict[str, Any] = {"agent_id": "", "name": "part", "gpu_ids": ["GPU-0"], "listen_port": 9100, "enabled": True}
STATUS: dict[str, Any] = {"timestamp": AT, "gpus": [{"gpu_id": "GPU-0", "used_by_worker": None}], "workers": []}
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


@define(eq=False)
class Client:
    """Whoever sends requests with one credential, or none."""

    product: Product
    token: str = ""

    def send(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Send one request on a connection of its own; bodies that are no bytes go as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.product.port, timeout=30)
        try:
            payload = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            sent = {} if payload is None else {"Content-Type": "application/json"}
            sent |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
            connection.request(method, path, payload, {**sent, **(headers or {})})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            content = answer.read()
            if found.get("content-encoding") == "gzip":
                content = gzip.decompress(content)
            return Answer(status=answer.status, headers=found, body=content)
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> Answer:
        return self.send("GET", path, **options)

    def read(self, path: str) -> Any:
        """GET what must be there, and return it."""
        answer = self.get(path)
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"].startswith("application/json")
        return answer.json

    def made(self, path: str, body: Any) -> Any:
        """POST what must be taken, and return the answer."""
        answer = self.send("POST", path, body)
        assert answer.status == 201, answer.body
        assert answer.headers["content-type"].startswith("application/json")
        return answer.json

    def share(self, worker_id: str, **changes: Any) -> Any:
        return self.made("/api/v1/shares", {"worker_id": worker_id, "connection_ip": "10.0.0.4"} | changes)

    def worker(self, agent_id: str, **changes: Any) -> Any:
        port = 10_000 + next(_NUMBERS)
        return self.made("/api/v1/workers", WORKER | {"agent_id": agent_id, "listen_port": port} | changes)

    def state(self) -> Any:
        """Return all that this person sees."""
        return {what: self.read(f"/api/v1/{what}") for what in ("agents", "workers", "shares", "tokens/pat")}


@define(eq=False)
class Host(Client):
    """A GPU host with its agent's secret."""

    agent_id: str = ""
    worker_id: str = ""
    license: Any = None

    @property
    def path(self) -> str:
        return f"/api/v1/agents/{self.agent_id}"

    def report(self, *workers: Any, **changes: Any) -> Any:
        """Send a status report that must be taken, and return the answer."""
        answer = self.send("POST", f"{self.path}/status", STATUS | {"workers": list(workers)} | changes)
        assert answer.status in (200, 201), answer.body
        return answer.json

    def says(self, worker_id: str = "", status: str = "running", **changes: Any) -> dict[str, Any]:
        said = {"worker_id": worker_id or self.worker_id, "status": status, "pid": 4711, "gpu_ids": ["GPU-0"]}
        return said | changes


@define(eq=False)
class Sharing:
    """One running product, its admin's browser, and a user with a token."""

    product: Product
    browser: httpx.Client
    user: Client
    other: Client
    guest: Client

    def install_token(self, who: Client | None = None) -> str:
        made = (who or self.user).made("/api/v1/tokens/generate", {"type": "agent_install"})
        return str(made["token"])

    def register(self, token: str, **changes: Any) -> Answer:
        return Client(self.product, token).send("POST", "/api/v1/agents/register", REGISTER | changes)

    def host(self, who: Client | None = None, **changes: Any) -> Host:
        """Install an agent."""
        owner = who or self.user
        answer = self.register(self.install_token(owner), **changes)
        assert answer.status == 201, answer.body
        agent_id = answer.json["agent_id"]
        workers = owner.read(f"/api/v1/agents/{agent_id}")["workers"]
        worker_id = workers[0]["worker_id"] if workers else ""
        return Host(self.product, answer.json["agent_secret"], agent_id, worker_id, answer.json["license"])

    def person(self, name: str, role: str = "user") -> Client:
        """Make a person, and return a client with a token of theirs."""
        password = f"{name} has a long password"
        made = self.browser.post("/api/appliance/users", json={"name": name, "role": role, "password": password})
        assert made.status_code == 201, made.text
        with httpx.Client(base_url=self.product.base, timeout=30) as browser:
            assert browser.post("/api/auth/login", json={"username": name, "password": password}).status_code == 200
            token = browser.post("/api/v1/tokens/pat", json={"expires_in_days": None})
            assert token.status_code == 201, token.text
        return Client(self.product, token.json()["token"])


def sharing_of(one: Product, browser: httpx.Client) -> Sharing:
    """Return the sharing side of a running product, with two users."""
    made = Sharing(one, browser, Client(one), Client(one), Client(one))
    made.user, made.other = made.person("uma"), made.person("otto")
    return made


def failed(answer: Answer, status: int) -> str:
    """Require the documented status and this API's error; return its words."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"].startswith("application/json")
    assert set(answer.json) == {"error", "hint"}
    return str(answer.json["error"])


def whole_numbers(value: Any, path: str = "$") -> None:
    """Fail where a number has a fraction: Go puts none of these into an int."""
    if isinstance(value, dict):
        for name, each in value.items():
            whole_numbers(each, f"{path}.{name}")
    elif isinstance(value, list):
        for place, each in enumerate(value):
            whole_numbers(each, f"{path}[{place}]")
    else:
        assert not isinstance(value, float), path


def times(value: Any, name: str = "") -> None:
    """Fail where a time is neither null nor one that Go reads."""
    if isinstance(value, dict):
        for key, each in value.items():
            times(each, key)
    elif isinstance(value, list):
        for each in value:
            times(each)
    elif name.endswith("_at") or name == "releaseDate":
        assert value is None or TIME.fullmatch(value), (name, value)
