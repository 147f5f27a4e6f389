"""The task API as its programs speak it, on a product whose tasks run in real sandboxes."""

import json
import re
import shutil
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx2 as httpx
import pytest
from attrs import define, field
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Event, Message, Ping, RejectConnection, Request

from tests.product.served import Product

UI = "http://localhost:3000"
"""Where the front end's own server runs; its pages call across origins."""
PATIENCE_SECONDS = 60.0
CONFIG = f"""
[server]
allowed_origins = ["{UI}"]
[people]
self_registration = true
[plugins.engine_docker]
enabled = false
[plugins.engine_sandbox]
limits = "advisory"
"""
TASK: dict[str, Any] = {
    "docker_image": "host",
    "command": "",
    "cpu_required": 0.2,
    "memory_required": 0.1,
    "storage_required": 0.1,
    "gpu_required": 0.0,
    "user_id": "admin",
    "tag": "web-server",
    "k_value": 1.8,
}
"""The documented submission; the image is this host's own system, read only, which every sandbox can have."""
TASK_ID = re.compile(r"task-[0-9]+")

needs_sandbox = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed here")


@define(eq=False)
class TaskApi:
    """Whoever calls, with some headers."""

    product: Product
    client: httpx.Client
    headers: dict[str, str] = field(factory=dict)

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        return (
            self.client.request(method, path, json=body, headers=headers, **options)
            if body is not None
            else (self.client.request(method, path, headers=headers, **options))
        )

    def read(self, path: str) -> Any:
        answer = self.send("GET", path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    def submit(self, **changes: Any) -> str:
        answer = self.send("POST", "/api/tasks", TASK | changes)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["task_id"])

    def until(self, task_id: str, *statuses: str) -> Any:
        """Wait until a task has one of some statuses, and return it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := self.read(f"/api/tasks/{task_id}"))["status"] not in statuses:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found

    def ended(self, **changes: Any) -> Any:
        """Run a task to its end."""
        return self.until(self.submit(**changes), "completed", "failed", "cancelled")

    @contextmanager
    def socket(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator["Messages"]:
        """Open a WebSocket."""
        with socket.create_connection(("127.0.0.1", self.product.port), timeout=PATIENCE_SECONDS) as plain:
            messages = Messages(plain)
            given = {**self.headers, **(headers or {})}
            messages.open(path, [(name.encode(), value.encode()) for name, value in given.items()])
            yield messages


@define(eq=False)
class Messages:
    """What a WebSocket says."""

    plain: socket.socket
    protocol: WSConnection = field(factory=lambda: WSConnection(ConnectionType.CLIENT))
    close_code: int | None = None
    rejected: int | None = None
    """The HTTP status of a refused handshake."""
    _whole: deque[str] = field(factory=deque)
    _part: str = ""

    def open(self, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        self._send(Request(host=f"127.0.0.1:{self.plain.getpeername()[1]}", target=path, extra_headers=headers))
        while self.protocol.state is ConnectionState.CONNECTING and self.rejected is None:
            self._take()

    def next(self) -> Any:
        """Return the next message; raise `EOFError` when the other side closes."""
        while not self._whole:
            if self.close_code is not None or self.rejected is not None:
                raise EOFError
            self._take()
        return json.loads(self._whole.popleft())

    def rest(self) -> list[Any]:
        """Return every message until the other side closes."""
        found = []
        with suppress(EOFError):
            while True:
                found.append(self.next())
        return found

    def _take(self) -> None:
        self.protocol.receive_data(self.plain.recv(65_536) or None)
        for event in self.protocol.events():
            if isinstance(event, RejectConnection):
                self.rejected = event.status_code
            elif isinstance(event, Message):
                self._part += event.data
                if event.message_finished:
                    self._whole.append(self._part)
                    self._part = ""
            elif isinstance(event, Ping):
                self._send(event.response())
            elif isinstance(event, CloseConnection):
                self.close_code = event.code

    def _send(self, event: Event) -> None:
        self.plain.sendall(self.protocol.send(event))


def failed(answer: httpx.Response, status: int) -> str:
    """Require a status and this API's error; return its words."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) <= {"error", "message", "hint", "field"}
    assert body["error"] == body["message"] != ""
    return str(body["error"])
