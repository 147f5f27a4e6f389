"""Many machines in one process: prebuilt requests as the Python and the Go agent send them, as cheap as Python can be.

What it costs is told with the figures, since it shares the machine with what it measures.
"""

import json
import selectors
import socket
import time
from collections.abc import Sequence

from attrs import define, frozen

RECEIVE_BYTES = 65_536
PATIENCE_SECONDS = 30.0
"""How long answers may take before the benchmark gives up."""
_HEADERS = (
    "Accept: */*\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nUser-Agent: python-httpx/0.28.1\r\n",
    "User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n",
)


def machine_id(number: int) -> str:
    """Return the id of a machine of the fleet."""
    return f"{number:08x}"


def _request(number: int, path: str, token: str, body: object) -> bytes:
    """Return a request as the agent of this machine sends it: Python's for even numbers, Go's for odd ones."""
    separators = (", ", ": ") if number % 2 == 0 else (",", ":")
    text = json.dumps(body, separators=separators)
    return (
        f"POST /api/v1/machine/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{_HEADERS[number % 2]}"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}"
    ).encode()


def registration(number: int, token: str) -> bytes:
    """Return the request with which a machine registers."""
    body = {
        "token": "",
        "machine_id": machine_id(number),
        "hostname": f"machine-{machine_id(number)}",
        "provider_name": "generic",
        "pool_name": "default",
        "cpu": "64000m",
        "memory": "512Gi",
        "gpu_count": "8",
        "private_ip": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
    }
    return _request(number, "register", token, body)


def metrics(number: int) -> dict[str, int | float]:
    """Return the 13 figures of a keepalive, those of an agent that has just started."""
    return {
        "total_cpu_available": 64_000,
        "total_memory_available": 549_755_813_888 - number * 4096,
        "total_disk_space_bytes": 3_840_000_000_000,
        "cpu_utilization_pct": number % 1000 / 10,
        "memory_utilization_pct": 10 + number % 77 + 0.25,
        "total_disk_free_bytes": 2_840_000_000_000 - number * 4096,
        "worker_count": 0,
        "container_count": 0,
        "free_gpu_count": 8,
        "cache_usage_pct": 0.0 if number % 2 == 0 else 0,
        "cache_capacity": 0,
        "cache_memory_usage": 0,
        "cache_cpu_usage": 0.0 if number % 2 == 0 else 0,
    }


def keepalive(number: int, token: str) -> bytes:
    """Return the request with which a machine beats."""
    body: dict[str, object] = {
        "machine_id": machine_id(number),
        "provider_name": "generic",
        "pool_name": "default",
        "agent_version": "0.1.0-python" if number % 2 == 0 else "0.2.0-go",
        "metrics": metrics(number),
    }
    if number % 2:
        body["inference"] = {"status": "stopped"}
    return _request(number, "keepalive", token, body)


@frozen(kw_only=True)
class Beaten:
    """How beats went."""

    per_s: float
    p50_ms: float
    p99_ms: float
    most_ms: float
    own_percent: float
    """What the client itself took of one core."""

    @classmethod
    def of(cls, latencies: list[float], seconds: float, own_seconds: float) -> "Beaten":
        """Sum up the seconds that answers took."""
        ordered = sorted(latencies)
        return cls(
            per_s=len(ordered) / seconds,
            p50_ms=ordered[len(ordered) // 2] * 1000,
            p99_ms=ordered[len(ordered) * 99 // 100] * 1000,
            most_ms=ordered[-1] * 1000,
            own_percent=own_seconds / seconds * 100,
        )


@define(eq=False)
class Connection:
    """One connection, and the answer that it waits for."""

    sock: socket.socket
    asked_at: float = 0.0
    received: bytes = b""

    @classmethod
    def open(cls, port: int, source: str = "127.0.0.1") -> "Connection":
        """Connect; over the loopback that takes no time worth waiting for elsewhere.

        :param source: the address to connect from, any of 127.0.0.0/8.
        """
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS, source_address=(source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(sock)

    def send(self, request: bytes, asked_at: float) -> None:
        """Send a request.

        :param asked_at: when it was due, from which on its answer is waited for.
        """
        self.asked_at = asked_at
        self.sock.sendall(request)

    def is_answered(self) -> bool:
        """Take what has come; return whether that is the whole answer. Anything but a 200 ends the benchmark."""
        data = self.received + self.sock.recv(RECEIVE_BYTES)
        if not data.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not a 200: {data[:400]!r}")
        if data.endswith((b"}", b"}\n")):
            self.received = b""
            return True
        self.received = data
        return False


def hammer(
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int,
    per_s: float | None = None,
    sources: Sequence[str] = ("127.0.0.1",),
) -> Beaten:
    """Send every request, over so many connections that are kept, each one at a time.

    :param per_s: when given, requests are due at this rate, and a latency counts from when its request was due; as
        fast as they are answered without.
    :param sources: addresses to connect from, in turns.
    """
    selector = selectors.DefaultSelector()
    idle = [Connection.open(port, sources[number % len(sources)]) for number in range(connections)]
    for each in idle:
        selector.register(each.sock, selectors.EVENT_READ, each)
    everyone = list(idle)
    latencies: list[float] = []
    sent, count = 0, len(requests)
    start, own = time.perf_counter(), time.process_time()
    while len(latencies) < count:
        now = time.perf_counter()
        due = count if per_s is None else min(count, int((now - start) * per_s) + 1)
        while idle and sent < due:
            idle.pop().send(requests[sent], now if per_s is None else start + sent / per_s)
            sent += 1
        may_send = per_s is not None and idle and sent < count
        ready = selector.select(0.0005 if may_send else PATIENCE_SECONDS)
        if not ready and not may_send:
            raise SystemExit("no answer comes")
        now = time.perf_counter()
        for key, _ in ready:
            if key.data.is_answered():
                latencies.append(now - key.data.asked_at)
                idle.append(key.data)
    found = Beaten.of(latencies, time.perf_counter() - start, time.process_time() - own)
    selector.close()
    for each in everyone:
        each.sock.close()
    return found


def drip(port: int, requests: Sequence[bytes], *, seconds: float) -> Beaten:
    """Send every request on a connection of its own, evenly spread over a time; latencies include connecting."""
    selector = selectors.DefaultSelector()
    latencies: list[float] = []
    sent, count = 0, len(requests)
    start, own = time.perf_counter(), time.process_time()
    while len(latencies) < count:
        now = time.perf_counter()
        due_at = start + sent * seconds / count
        if sent < count and due_at <= now:
            one = Connection.open(port)
            selector.register(one.sock, selectors.EVENT_READ, one)
            one.send(requests[sent], now)
            sent += 1
            continue
        ready = selector.select(due_at - now if sent < count else PATIENCE_SECONDS)
        if not ready and sent == count:
            raise SystemExit("no answer comes")
        now = time.perf_counter()
        for key, _ in ready:
            if key.data.is_answered():
                latencies.append(now - key.data.asked_at)
                selector.unregister(key.data.sock)
                key.data.sock.close()
    selector.close()
    return Beaten.of(latencies, time.perf_counter() - start, time.process_time() - own)
