"""Drones in one process: prebuilt requests over connections that are kept, as cheap as Python can be."""

import json
import re
import selectors
import socket
import time
from collections.abc import Callable, Sequence

from attrs import define

from tests.bench.beats import PATIENCE_SECONDS, Beaten

RECEIVE_BYTES = 1_048_576
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_PACKAGE = re.compile(rb'"package":"([^"]+)"')
Next = Callable[[bytes], bytes | None]
"""Given the body of an answer, returns the next request of the same connection; ``None`` ends it."""


def drone_id(number: int) -> str:
    """Return the id of a drone of the fleet, a machine-id."""
    return f"{number:032x}"


def get(path: str) -> bytes:
    """Return a request that reads."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\r\n".encode()


def post(path: str, body: object) -> bytes:
    """Return a request that writes."""
    text = json.dumps(body)
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\n\r\n{text}"
    ).encode()


def heartbeat(number: int, beat: int = 0) -> bytes:
    """Return a heartbeat, with figures that differ from the last one's."""
    body = {
        "id": drone_id(number),
        "name": f"drone-{number:02}",
        "ip": f"10.0.0.{number + 1}",
        "type": "drone",
        "capabilities": {"cores": 16, "ram_gb": 32.0, "auto_reboot": True, "portage_timestamp": "2026-02-12"},
        "metrics": {"cpu_percent": beat % 100 + 0.5, "ram_percent": 62.1, "load_1m": 2.4},
        "current_task": None,
        "version": "0.4.0-alpha",
    }
    return post("/api/v1/register", body)


def queueing(count: int) -> bytes:
    """Return the request that queues so many packages."""
    return post("/api/v1/queue", {"packages": [f"dev-bench/package{number}-1.0" for number in range(count)]})


def cycle(number: int, cycles: int) -> Next:
    """Return a drone that asks for work and reports it built, so many times; begins with the answer to nothing."""
    work = get(f"/api/v1/work?id={drone_id(number)}&cores=16")
    left = cycles

    def following(answer: bytes) -> bytes | None:
        nonlocal left
        if answer.startswith(b'{"package"'):
            found = _PACKAGE.search(answer)
            if found is None:
                raise SystemExit(f"an empty answer while packages wait: {answer[:200]!r}")
            report = {"id": drone_id(number), "package": found[1].decode(), "status": "success"}
            return post("/api/v1/complete", report | {"build_duration_s": 323.5, "error_detail": None})
        if answer and b'"accepted":true' not in answer.replace(b" ", b""):
            raise SystemExit(f"a report that did not count: {answer[:200]!r}")
        left -= 1
        return work if left >= 0 else None

    return following


@define(eq=False)
class Connection:
    """One connection, and the answer that it waits for."""

    sock: socket.socket
    next: Next
    asked_at: float = 0.0
    received: bytes = b""

    def send(self, request: bytes) -> None:
        self.asked_at = time.perf_counter()
        self.sock.sendall(request)

    def answer(self) -> bytes | None:
        """Take what has come; return the body once it is whole. Anything but a 200 ends the benchmark."""
        data = self.received + self.sock.recv(RECEIVE_BYTES)
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            if not data.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"not a 200: {data[:400]!r}")
            length = _LENGTH.search(data, 0, end + 2)
            if length is None:
                raise SystemExit(f"an answer without a length: {data[:400]!r}")
            if len(data) >= end + 4 + int(length[1]):
                self.received = b""
                return data[end + 4 :]
        self.received = data
        return None


def talk(port: int, nexts: Sequence[Next]) -> Beaten:
    """Let each of some connections send its next request as soon as its last one is answered."""
    selector = selectors.DefaultSelector()
    latencies: list[float] = []
    everyone = []
    for one in nexts:
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        everyone.append(Connection(sock, one))
    start, own = time.perf_counter(), time.process_time()
    talking = 0
    for each in everyone:
        if (request := each.next(b"")) is not None:
            selector.register(each.sock, selectors.EVENT_READ, each)
            each.send(request)
            talking += 1
    while talking:
        ready = selector.select(PATIENCE_SECONDS)
        if not ready:
            raise SystemExit("no answer comes")
        for key, _ in ready:
            each = key.data
            if (body := each.answer()) is None:
                continue
            latencies.append(time.perf_counter() - each.asked_at)
            if (request := each.next(body)) is None:
                selector.unregister(each.sock)
                talking -= 1
            else:
                each.send(request)
    found = Beaten.of(latencies, time.perf_counter() - start, time.process_time() - own)
    selector.close()
    for each in everyone:
        each.sock.close()
    return found


def repeating(requests: Sequence[bytes]) -> Next:
    """Return a connection that sends some requests one after another."""
    left = iter(requests)
    return lambda answer: next(left, None)
