"""The exact exchanges of both open agents, replayed byte by byte, and what each would conclude from the answers."""

import gzip
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from attrs import define, field

from tests.product.served import Product
from tests.wire.machines import FLOATS, INTEGERS, Registry, new_id, registry_of

pytestmark = pytest.mark.zipapp

MEMORY_BYTES = 25_276_514_304
"""What both agents send as MB."""


@define(eq=False)
class Agent:
    """What both agents do: register once, then beat; three failed beats in a row end it."""

    product: Product
    token: str
    machine_id: str
    pool: str = "gpu"
    hostname: str = ""
    gpu_count: str = "1"
    memory: str = "23Gi"
    failures: int = 0
    printed: list[str] = field(factory=list)
    exit_status: int | None = None
    _kept: socket.socket | None = None

    gives_up_with = 0
    version = "0.1.0-python"

    def head(self, path: str, length: int) -> bytes:
        """Return the request as this agent's HTTP library writes it."""
        raise NotImplementedError

    def encoded(self, body: Any) -> bytes:
        """Return JSON as this agent's library writes it."""
        raise NotImplementedError

    def exchange(self, path: str, body: Any, *, keeps: bool = False) -> tuple[int, bytes]:
        """Send one request, on the connection kept from the last one or a new one; return status and body."""
        payload = self.encoded(body)
        one = self._kept or socket.create_connection(("127.0.0.1", self.product.port), timeout=30)
        self._kept = None
        one.sendall(self.head(path, len(payload)) + payload)
        answer = http.client.HTTPResponse(one)
        answer.begin()
        assert answer.getheader("content-type") == "application/json"
        assert answer.getheader("location") is None
        said = answer.read()
        if keeps and not answer.will_close:
            self._kept = one
        else:
            one.close()
        return answer.status, gzip.decompress(said) if answer.getheader("content-encoding") == "gzip" else said

    def register_body(self) -> dict[str, Any]:
        """Return what it registers with: its k3s token, which is empty when nobody gave it one."""
        return {
            "token": "",
            "machine_id": self.machine_id,
            "hostname": self.hostname or f"machine-{self.machine_id}",
            "provider_name": "generic",
            "pool_name": self.pool,
            "cpu": "8000m",
            "memory": self.memory,
            "gpu_count": self.gpu_count,
            "private_ip": "127.0.0.1",
        }

    def metrics(self) -> dict[str, Any]:
        """Return all 13 figures, memory in bytes."""
        raise NotImplementedError

    def beat_body(self) -> dict[str, Any]:
        """Return a keepalive."""
        return {
            "machine_id": self.machine_id,
            "provider_name": "generic",
            "pool_name": self.pool,
            "agent_version": self.version,
            "metrics": self.metrics(),
        }

    def register(self) -> None:
        """Register; anything but 200 with JSON ends it."""
        status, said = self.exchange("/api/v1/machine/register", self.register_body(), keeps=True)
        if status != 200:
            self.printed.append("Invalid token" if status == 403 else said.decode())
            self.exit_status = 1
            return
        found = json.loads(said)
        assert found["config"] is None or isinstance(found["config"], dict), "a Go agent dies of anything else"

    def beat(self) -> bool:
        """Beat; return whether it counts as done: 200, and nothing else."""
        try:
            status, _ = self.exchange("/api/v1/machine/keepalive", self.beat_body())
        except OSError:
            status = 0
        self.failures = 0 if status == 200 else self.failures + 1
        if self.failures >= 3:
            self.exit_status = self.gives_up_with
        return status == 200

    def is_connected(self) -> bool:
        """Whether the next request goes over the connection of the last one."""
        return self._kept is not None

    def close(self) -> None:
        """End what is kept open."""
        if self._kept is not None:
            self._kept.close()


class PythonAgent(Agent):
    """Agent 0.1.0: httpx, a new connection for every request."""

    def head(self, path: str, length: int) -> bytes:
        self.close()
        self._kept = None
        return (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.product.port}\r\nAccept: */*\r\n"
            "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nUser-Agent: python-httpx/0.28.1\r\n"
            f"Authorization: Bearer {self.token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    def encoded(self, body: Any) -> bytes:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()

    def exchange(self, path: str, body: Any, *, keeps: bool = False) -> tuple[int, bytes]:
        return super().exchange(path, body)

    def metrics(self) -> dict[str, Any]:
        counts = dict.fromkeys(INTEGERS, 0) | {"total_cpu_available": 8000, "total_memory_available": MEMORY_BYTES}
        disks = {"total_disk_space_bytes": 1_081_101_176_832, "total_disk_free_bytes": 540_550_588_416}
        shares = dict.fromkeys(FLOATS, 0.0) | {"cpu_utilization_pct": 15.5, "memory_utilization_pct": 42.3}
        return counts | disks | shares | {"free_gpu_count": 1}


class GoAgent(Agent):
    """Agent 0.2.0: net/http; its registration and first keepalive share a connection, each later one has its own."""

    gives_up_with = 1
    version = "0.2.0-go"
    inference: Any = None

    def head(self, path: str, length: int) -> bytes:
        return (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.product.port}\r\nUser-Agent: Go-http-client/1.1\r\n"
            f"Content-Length: {length}\r\nAuthorization: Bearer {self.token}\r\nContent-Type: application/json\r\n"
            "Accept-Encoding: gzip\r\n\r\n"
        ).encode()

    def encoded(self, body: Any) -> bytes:
        # encoding/json escapes what could end a script, and writes whole-number floats without a fraction.
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        for character in "<>&":
            text = text.replace(character, f"\\u{ord(character):04x}")
        return text.encode()

    def metrics(self) -> dict[str, Any]:
        shares = {"cpu_utilization_pct": 3.3333333333333335, "memory_utilization_pct": 42.347891234567891}
        whole = {"total_cpu_available": 8000, "total_memory_available": MEMORY_BYTES, "free_gpu_count": 1}
        return dict.fromkeys(INTEGERS, 0) | dict.fromkeys(FLOATS, 0) | whole | shares

    def beat_body(self) -> dict[str, Any]:
        return super().beat_body() | ({} if self.inference is None else {"inference": self.inference})


AGENTS = [PythonAgent, GoAgent]


@pytest.fixture(params=AGENTS)
def agent(request: pytest.FixtureRequest, registry: Registry) -> Iterator[Agent]:
    """An agent of either kind, not yet registered."""
    with closing(request.param(registry.product, registry.tokens["gpu"], new_id())) as one:
        yield one


@pytest.fixture
def go(registry: Registry) -> Iterator[GoAgent]:
    """A Go agent that has registered."""
    with closing(GoAgent(registry.product, registry.tokens["gpu"], new_id())) as one:
        one.register()
        yield one


def test_agent_registers_and_stays_ready(registry: Registry, agent: Agent) -> None:
    agent.register()
    assert agent.exit_status is None
    assert registry.item(agent.machine_id) is None, "it has not beaten yet"
    for _ in range(5):
        assert agent.beat()
        found = registry.item(agent.machine_id)
        assert (found["state"]["status"], found["state"]["agent_version"]) == ("ready", agent.version)
        assert found["metrics"] == agent.metrics()
    assert found["state"]["hostname"] == f"machine-{agent.machine_id}"


def test_memory_that_agents_send_in_bytes_is_that_many_bytes_to_people(registry: Registry, agent: Agent) -> None:
    agent.register()
    assert agent.beat()
    shown = registry.browser.get(f"/api/appliance/machines/{agent.machine_id}").json()
    assert shown["memory_bytes"] in {MEMORY_BYTES, 23 * 2**30}
    assert (shown["memory_percent"], shown["free_gpu_count"]) == (agent.metrics()["memory_utilization_pct"], 1)


def test_agent_on_a_machine_without_gpu_and_with_little_memory_is_taken(registry: Registry, agent: Agent) -> None:
    agent.gpu_count, agent.memory, agent.hostname = "0", "0Gi", "192.0.2.7"
    agent.register()
    assert agent.beat()
    state = registry.item(agent.machine_id)["state"]
    assert (state["gpu_count"], state["memory"], state["hostname"]) == (0, 0, "192.0.2.7")


def test_agent_with_a_wrong_token_prints_its_own_words_and_ends(agent: Agent) -> None:
    agent.token = "wrong"
    agent.register()
    assert (agent.printed, agent.exit_status) == (["Invalid token"], 1)


def test_agent_whose_pool_is_not_there_prints_what_is_wrong_and_ends(registry: Registry, agent: Agent) -> None:
    agent.token, agent.pool = registry.worker, "nowhere"
    agent.register()
    assert agent.exit_status == 1
    assert json.loads(agent.printed[0])["message"] == "Invalid pool name"


def test_agent_of_a_deleted_machine_gives_up_after_three_beats(registry: Registry, agent: Agent) -> None:
    agent.register()
    assert agent.beat()
    assert registry.browser.delete(f"/api/appliance/machines/{agent.machine_id}").status_code == 200
    assert [agent.beat() for _ in range(3)] == [False] * 3
    assert agent.exit_status == agent.gives_up_with
    assert registry.item(agent.machine_id) is None


def test_agent_that_is_started_again_is_ready_again(registry: Registry, agent: Agent) -> None:
    for _ in range(3):
        agent.register()
        assert agent.exit_status is None
        assert agent.beat()
        assert registry.item(agent.machine_id) is not None


def test_registration_and_first_keepalive_of_a_go_agent_share_one_connection(go: GoAgent) -> None:
    assert go.is_connected(), "the server closed it"
    assert go.beat()
    assert not go.is_connected()
    assert go.beat(), "each later one has its own"


def test_go_agent_that_does_not_read_the_answer_s_body_harms_nobody(registry: Registry, go: GoAgent) -> None:
    payload = go.encoded(go.beat_body())
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", registry.product.port), timeout=30) as one:
            one.sendall(go.head("/api/v1/machine/keepalive", len(payload)) + payload)
            assert one.recv(12) == b"HTTP/1.1 200"
    assert go.beat()


def test_id_of_a_go_agent_is_kept_as_typed(registry: Registry) -> None:
    with closing(GoAgent(registry.product, registry.tokens["gpu"], f"ABCD{new_id()[4:]}")) as one:
        one.register()
        assert one.beat()
        assert registry.item(one.machine_id)["state"]["machine_id"] == one.machine_id
        assert registry.item(one.machine_id.lower()) is None


def nodes(registry: Registry) -> dict[str, Any]:
    found = registry.browser.get("/api/v1/inference/nodes")
    assert found.status_code == 200, found.text
    return {each["node_id"]: each for each in found.json()["nodes"]}


@pytest.mark.parametrize(
    "inference", [None, {"status": "stopped"}, {"status": "starting"}, {"status": "error", "models": None}]
)
def test_go_agent_without_a_running_model_server_is_no_inference_node(
    registry: Registry, go: GoAgent, inference: Any
) -> None:
    go.inference = inference
    assert go.beat()
    assert go.machine_id not in nodes(registry)


def test_go_agent_with_a_running_model_server_is_an_inference_node_until_it_stops(
    registry: Registry, go: GoAgent
) -> None:
    go.inference = {"status": "running", "ip": "100.64.0.7", "port": 11434, "models": ["llama3:8b", "qwen2:0.5b"]}
    assert go.beat()
    node = nodes(registry)[go.machine_id]
    assert (node["tailscale_ip"], node["port"], node["healthy"]) == ("100.64.0.7", 11434, True)
    assert set(node["models"]) == {"llama3:8b", "qwen2:0.5b"}
    go.inference = {"status": "stopped"}
    assert go.beat()
    assert go.machine_id not in nodes(registry)


def test_agents_outlive_a_restart_of_ours_without_registering_again(fresh: Product) -> None:
    with closing(fresh.set_up()) as browser:
        registry = registry_of(fresh, browser)
        fleet = [kind(fresh, registry.tokens["default"], new_id(), pool="default") for kind in AGENTS]
        for one in fleet:
            one.register()
            assert one.beat()
    port = fresh.port
    assert fresh.stop() == 0
    for one in fleet:
        with suppress(ConnectionError):
            assert not one.beat(), "nobody listens"
        assert one.exit_status is None
    fresh.start(f"127.0.0.1:{port}")
    listed = {each["state"]["machine_id"]: each for each in registry.listed()}
    assert {one.machine_id for one in fleet} <= set(listed)
    for one in fleet:
        assert listed[one.machine_id]["metrics"] == one.metrics()
        assert one.beat()
        one.close()
