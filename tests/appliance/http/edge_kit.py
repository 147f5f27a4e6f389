"""A small edge on a real socket, with one surface that shows everything an endpoint can do."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio
from attrs import Factory, define, field, frozen
from attrs.validators import ge

from appliance.credentials.kinds import ANONYMOUS, Caller, Kind, Role
from appliance.errors import ApplianceError, Conflict, Forbidden, NotAuthenticated
from appliance.http.limits import Limits
from appliance.http.server import Dispatch, Edge, Faults, Listener, serve
from appliance.surface import (
    RAW,
    Answer,
    BoundSurface,
    Call,
    Cookie,
    Endpoint,
    File,
    Head,
    Redirect,
    ServerEvent,
    Socket,
    Stream,
    Surface,
)

WAYS: tuple[Dispatch, ...] = ("quart-asgi", "direct", "front")


@frozen(kw_only=True)
class Gpu:
    name: str
    vram_mb: int = field(validator=ge(0))
    power_watts: float | None = None


@frozen(kw_only=True)
class Beat:
    host: str
    gpus: list[Gpu] = Factory(list)


@frozen(kw_only=True)
class Page:
    limit: int = field(default=10, validator=ge(1))
    verbose: bool = False
    name: str | None = None


@define
class State:
    """What the surface's handlers see and leave behind."""

    folder: Path
    beats: list[Beat] = Factory(list)
    closed_streams: int = 0
    stream_closed: trio.Event = Factory(trio.Event)
    cancelled: trio.Event = Factory(trio.Event)
    entered: trio.Event = Factory(trio.Event)
    release: trio.Event = Factory(trio.Event)
    order: list[str] = Factory(list)


def shaped(error: ApplianceError, head: Head) -> Answer:
    return Answer(model={"ok": False, "detail": error.message, "field": error.field}, status=error.status)


def make_surface() -> Surface:
    api = Surface("kit", prefixes=("/kit",), errors=shaped)

    @api.get("/kit/hello", hot=True, access="public")
    async def hello(call: Call[None]) -> dict[str, str]:
        """Say hello."""
        return {"hello": "world"}

    @api.get("/kit/who", hot=True)
    async def who(call: Call[None]) -> dict[str, Any]:
        return {"kind": call.caller.kind.value, "method": call.head.method, "path": call.head.path}

    @api.post("/kit/beat", body=Beat, hot=True, status=201, limit_bytes=4096)
    async def beat(call: Call[Beat]) -> dict[str, Any]:
        call.state.beats.append(call.body)
        return {"gpus": len(call.body.gpus), "host": call.body.host}

    @api.post("/kit/echo", body=RAW, hot=True, limit_bytes=100_000)
    async def echo(call: Call[bytes]) -> bytes:
        call.state.order.append("handler")
        return call.body

    @api.get("/kit/page", query=Page, hot=True)
    async def page(call: Call[None]) -> Page:
        result: Page = call.query
        return result

    @api.get("/kit/items/{item_id}", hot=True)
    async def item(call: Call[None]) -> dict[str, str]:
        return {"item": call.path["item_id"]}

    @api.get("/kit/tree/{path:path}", hot=True)
    async def tree(call: Call[None]) -> dict[str, str]:
        return {"path": call.path["path"]}

    @api.get("/kit/big", hot=True)
    async def big(call: Call[None]) -> list[int]:
        return list(range(4000))

    @api.get("/kit/crash", hot=True)
    async def crash(call: Call[None]) -> None:
        raise RuntimeError("a secret of the inside")

    @api.get("/kit/exit", hot=True)
    async def exit_(call: Call[None]) -> None:
        raise SystemExit(7)

    @api.post("/kit/conflict", body=RAW, hot=True)
    async def conflict(call: Call[bytes]) -> None:
        raise Conflict("taken", hint="another name")

    @api.delete("/kit/nothing", hot=True)
    async def nothing(call: Call[None]) -> None:
        return None

    @api.get("/kit/cookie", hot=True)
    async def cookie(call: Call[None]) -> Answer:
        return Answer(model={"ok": True}, cookies=(Cookie(name="s", value="v1"),), headers=(("X-Kit", "yes"),))

    @api.get("/kit/split", hot=True)
    async def split(call: Call[None]) -> Answer:
        return Answer(model={}, headers=(("X-Kit", "a\r\nSet-Cookie: evil=1"),))

    @api.get("/kit/away", hot=True)
    async def away(call: Call[None]) -> Redirect:
        return Redirect(location="/kit/hello")

    @api.get("/kit/file/{name}", hot=True)
    async def file(call: Call[None]) -> File:
        return File(path=call.state.folder / call.path["name"], content_type="text/plain")

    @api.get("/kit/stream", hot=True)
    async def stream(call: Call[None]) -> Stream:
        async def chunks() -> AsyncIterator[bytes]:
            for number in range(3):
                yield b"chunk %d\n" % number

        return Stream(chunks=chunks(), content_type="text/plain")

    @api.get("/kit/endless", waits=True)
    async def endless(call: Call[None]) -> Stream:
        async def chunks() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 100
                    await trio.sleep(0.01)
            finally:
                call.state.stream_closed.set()

        return Stream(chunks=chunks())

    @api.get("/kit/wait", waits=True)
    async def wait(call: Call[None]) -> dict[str, bool]:
        call.state.entered.set()
        try:
            await call.state.release.wait()
        except trio.Cancelled:
            call.state.cancelled.set()
            raise
        return {"released": True}

    @api.get("/kit/slow", hot=True)
    async def slow(call: Call[None]) -> dict[str, bool]:
        call.state.entered.set()
        await call.state.release.wait()
        return {"released": True}

    @api.stream("/kit/events")
    async def events(call: Call[None]) -> AsyncIterator[ServerEvent]:
        try:
            yield ServerEvent(data={"n": 1}, event="sample", event_id="a\nb")
            await call.state.release.wait()
            yield ServerEvent(data={"n": 2})
        finally:
            call.state.closed_streams += 1
            call.state.stream_closed.set()

    @api.stream("/kit/events/none")
    async def no_events(call: Call[None]) -> AsyncIterator[ServerEvent]:
        if call.state is not None:
            raise Conflict("no events today")
        yield ServerEvent(data=None)

    @api.websocket("/kit/ws")
    async def ws(call: Call[None], socket: Socket) -> None:
        while True:
            message = await socket.receive()
            if message == "crash":
                raise RuntimeError("inside")
            await socket.send(message)

    return api


def authenticate(head: Head, endpoint: Endpoint, bound: BoundSurface) -> Caller:
    """Let everybody in but two named tokens; hold the order of events."""
    if bound.state is not None and isinstance(bound.state, State):
        bound.state.order.append("authenticate")
    token = head.header(b"authorization")
    if token == "Bearer wrong":
        raise NotAuthenticated("who are you", hint="log in")
    if token == "Bearer weak":
        raise Forbidden("not you")
    if token == "Bearer trusted":
        return Caller(kind=Kind.TRUST, role=Role.OPERATOR)
    return Caller(kind=Kind.PAT, role=Role.ADMIN, name="ana") if token else ANONYMOUS


PATIENCE_SECONDS = 30.0
"""How long a client waits for what must come: longer than a crowded machine takes, shorter than `QUICK` keeps alive."""


@define
class Running:
    """A serving edge and where it is."""

    address: tuple[str, int]
    state: State
    edge: Edge
    addresses: list[Any]
    nursery: trio.Nursery
    clients: list["Raw"] = Factory(list)

    async def until_connections(self, count: int) -> None:
        """Wait until so many connections are open."""
        with trio.fail_after(PATIENCE_SECONDS):
            while self.edge.metrics.connections != count:  # noqa: ASYNC110
                await trio.sleep(0.01)

    async def connect(self) -> "Raw":
        client = Raw(await trio.open_tcp_stream(*self.address))
        self.clients.append(client)
        return client


def bound_socket(host: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, 0))
    return sock


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    dispatch: Dispatch = "front",
    limits: Limits | None = None,
    surfaces: Sequence[BoundSurface] = (),
    edge: Edge | None = None,
    faults: Faults | None = None,
    **listener: Any,
) -> AsyncIterator[Running]:
    """Serve the kit's surface (and more) on port 0 until the block ends."""
    state = State(folder=folder)
    edge = edge or Edge(authenticate=authenticate)
    one = Listener(name="test", sockets=(bound_socket(),), surfaces=(make_surface().bind(state), *surfaces), **listener)
    async with trio.open_nursery() as nursery:
        run = partial(serve, edge, [one], limits=limits, dispatch=dispatch, faults=faults)
        addresses = await nursery.start(run)
        running = Running(addresses[0], state, edge, addresses, nursery)
        try:
            yield running
        finally:
            for client in running.clients:
                client.stream.socket.close()
            nursery.cancel_scope.cancel()


@define
class Reply:
    """One answer, read byte by byte."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes


@define
class Raw:
    """A client that sends exactly what it is told."""

    stream: trio.SocketStream
    buffer: bytes = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def more(self, *, seconds: float = PATIENCE_SECONDS) -> bytes:
        with trio.fail_after(seconds):
            data = bytes(await self.stream.receive_some(65536))
        self.buffer += data
        return data

    async def until(self, mark: bytes, *, seconds: float = PATIENCE_SECONDS) -> bytes:
        while mark not in self.buffer:
            if not await self.more(seconds=seconds):
                raise EOFError(self.buffer)
        end = self.buffer.index(mark) + len(mark)
        data, self.buffer = self.buffer[:end], self.buffer[end:]
        return data

    async def exactly(self, count: int, *, seconds: float = PATIENCE_SECONDS) -> bytes:
        while len(self.buffer) < count:
            if not await self.more(seconds=seconds):
                raise EOFError(self.buffer)
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    async def reply(self, *, head_only: bool = False, seconds: float = PATIENCE_SECONDS) -> Reply:
        head = await self.until(b"\r\n\r\n", seconds=seconds)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        body = b""
        raw = head
        if status == 100 or head_only or status in {204, 304}:
            pass
        elif "content-length" in headers:
            body = await self.exactly(int(headers["content-length"]), seconds=seconds)
            raw += body
        elif headers.get("transfer-encoding") == "chunked":
            while True:
                size = await self.until(b"\r\n", seconds=seconds)
                chunk = await self.exactly(int(size, 16) + 2, seconds=seconds)
                raw += size + chunk
                body += chunk[:-2]
                if int(size, 16) == 0:
                    break
        else:
            while await self.more(seconds=seconds):
                pass
            body, self.buffer = self.buffer, b""
            raw += body
        return Reply(status, headers, body, raw)

    async def ask(self, data: bytes, **keywords: Any) -> Reply:
        await self.send(data)
        return await self.reply(**keywords)

    async def is_closed(self, *, seconds: float = PATIENCE_SECONDS) -> bool:
        """Whether the server ends the connection, with whatever it still says."""
        try:
            while await self.more(seconds=seconds):
                pass
        except trio.BrokenResourceError:
            return True
        except trio.TooSlowError:
            return False
        return True


def request(method: str, target: str, *headers: str, body: bytes | None = None, version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: localhost", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")
