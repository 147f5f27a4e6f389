"""People, tasks and WebSockets, as the tests of whole requests need them."""

import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio
from attrs import define, field
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Event, Message, Ping, RejectConnection, Request, TextMessage

from appliance.credentials.kinds import Role
from appliance.testing import Reply, RunningAppliance, ScriptedAttempt, ScriptedBackend, ScriptedEngine, running

PATIENCE_SECONDS = 30.0
TASK: dict[str, Any] = {
    "docker_image": "nginx:latest",
    "command": "",
    "cpu_required": 0.1,
    "memory_required": 0.01,
    "storage_required": 0.01,
    "gpu_required": 0.0,
    "user_id": "admin",
    "tag": "web-server",
    "k_value": 1.8,
}
"""The documented submission, small enough for any machine."""
OWN: dict[str, Any] = {"image": "busybox", "cpu_millicores": 10, "memory_mib": 8, "storage_mib": 8}
"""A submission to our own API."""


@define(eq=False)
class Tasks:
    """A running appliance whose tasks run on an engine that does as it is told."""

    appliance: RunningAppliance
    engine: ScriptedEngine
    headers: Mapping[str, str] = field(factory=dict)

    async def as_(self, name: str, role: Role = Role.USER) -> "Tasks":
        """Return the same, called by a person."""
        return Tasks(self.appliance, self.engine, await self.appliance.bearer(name, role))

    async def send(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        return await self.appliance.request(method, path, body=body, headers={**self.headers, **(headers or {})})

    async def read(self, path: str) -> Any:
        """GET what must be there, and return it."""
        reply = await self.send("GET", path)
        assert reply.status == 200, reply.text
        return reply.json

    async def submit(self, **changes: Any) -> str:
        """Submit a task as documented, and return its id."""
        reply = await self.send("POST", "/api/tasks", TASK | changes)
        assert reply.status == 201, reply.text
        return str(reply.json["task_id"])

    async def made(self, **changes: Any) -> str:
        """Submit a task by our own API, and return its id."""
        reply = await self.send("POST", "/api/appliance/tasks", OWN | changes)
        assert reply.status == 201, reply.text
        return str(reply.json["items"][0]["id"])

    async def running(self, **changes: Any) -> tuple[str, ScriptedAttempt]:
        """Submit a task and return it with its attempt once that runs."""
        task_id = await self.submit(**changes)
        attempt = await self.engine.running(task_id)
        await self.until(task_id, "running")
        return task_id, attempt

    async def until(self, task_id: str, status: str) -> Any:
        """Wait until a task has a status, and return it as documented."""
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                found = self.appliance.state.scheduler.get(task_id)
                if found.state.value == status:
                    return await self.read(f"/api/tasks/{task_id}")
                await trio.sleep(0.01)

    async def ended(self, *, log: bytes = b"", exit_code: int = 0, **changes: Any) -> str:
        """Return a task that has written something and ended."""
        task_id, attempt = await self.running(**changes)
        if log:
            attempt.write(log)
        attempt.end(exit_code=exit_code)
        await self.until(task_id, "completed" if exit_code == 0 else "failed")
        return task_id

    @asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator["Messages"]:
        """Open a WebSocket."""
        async with await trio.open_tcp_stream("127.0.0.1", self.appliance.port) as stream:
            messages = Messages(stream)
            await messages.open(path, [(name.encode(), value.encode()) for name, value in self.headers.items()])
            yield messages


@define(eq=False)
class Messages:
    """What a WebSocket says. A client that leaves just goes, as a closed browser does."""

    stream: trio.SocketStream
    protocol: WSConnection = field(factory=lambda: WSConnection(ConnectionType.CLIENT))
    close_code: int | None = None
    _whole: deque[str] = field(factory=deque)
    _part: str = ""

    async def open(self, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        """Shake hands."""
        await self._send(Request(host="127.0.0.1", target=path, extra_headers=headers))
        with trio.fail_after(PATIENCE_SECONDS):
            while self.protocol.state is ConnectionState.CONNECTING:
                await self._take()

    async def say(self, text: str) -> None:
        """Send a message."""
        await self._send(TextMessage(data=text))

    async def next(self) -> Any:
        """Return the next message; raise `EOFError` when the other side closes."""
        with trio.fail_after(PATIENCE_SECONDS):
            while not self._whole:
                if self.close_code is not None:
                    raise EOFError(self.close_code)
                await self._take()
        return json.loads(self._whole.popleft())

    async def rest(self) -> list[Any]:
        """Return every message until the other side closes."""
        found = []
        with suppress(EOFError):
            while True:
                found.append(await self.next())
        return found

    async def _take(self) -> None:
        data = await self.stream.receive_some(65_536)
        self.protocol.receive_data(bytes(data) or None)
        for event in self.protocol.events():
            if isinstance(event, RejectConnection):
                self.close_code = event.status_code
            elif isinstance(event, Message):
                self._part += event.data
                if event.message_finished:
                    self._whole.append(self._part)
                    self._part = ""
            elif isinstance(event, Ping):
                await self._send(event.response())
            elif isinstance(event, CloseConnection):
                self.close_code = event.code

    async def _send(self, event: Event) -> None:
        await self.stream.send_all(self.protocol.send(event))


@asynccontextmanager
async def tasks(
    folder: Path,
    *,
    config: str = "",
    backend: ScriptedBackend | None = None,
    listen: tuple[str, ...] = ("127.0.0.1:0",),
) -> AsyncIterator[Tasks]:
    """Run an appliance with one scripted engine; requests without headers are trusted, unless its listener trusts none.

    :param listen: empty to let the configuration say where to listen.
    """
    engine = ScriptedEngine()
    backends = () if backend is None else (backend,)
    async with running(folder, config=config, engines=[engine], backends=backends, listen=listen) as appliance:
        yield Tasks(appliance, engine)
