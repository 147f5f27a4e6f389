"""A running push proxy, agents in memory that hear of changes, and clients that speak TLS to it."""

import base64
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h11
import trio
from attrs import define, field

from appliance.clock import Now, unix_now_us
from plugins.gpu_sharing.push_ca import STREAM_HOST, PushCertificates
from plugins.gpu_sharing.push_proxy import PushProxy

AGENT = "agent_0123456789abcdef0123456789abcdef"
SECRET = "gpu_secret_0123456789"
OTHER = "agent_ffffffffffffffffffffffffffffffff"
OTHER_SECRET = "gpu_secret_9876543210"


@define(eq=False)
class One:
    """An agent as the plugin would know it."""

    secret: str
    version: int = 1
    restarts: list[str] = field(factory=list)
    news: trio.Event = field(factory=trio.Event)


@define(eq=False)
class Agents:
    """Agents in memory; what is noted wakes those who follow."""

    agents: dict[str, One] = field(factory=lambda: {AGENT: One(SECRET), OTHER: One(OTHER_SECRET)})
    following: int = 0
    breaks: bool = False

    def authenticate(self, token: str) -> str | None:
        return next((agent_id for agent_id, one in self.agents.items() if one.secret == token), None)

    def knows(self, agent_id: str) -> bool:
        return agent_id in self.agents

    def change(self, agent_id: str = AGENT) -> int:
        """Give an agent's config its next version, and return that."""
        one = self.agents[agent_id]
        one.version += 1
        self._wake(one)
        return one.version

    def ask_restart(self, *worker_ids: str, agent_id: str = AGENT) -> None:
        one = self.agents[agent_id]
        one.restarts += worker_ids
        self._wake(one)

    def revoke(self, agent_id: str = AGENT) -> None:
        self._wake(self.agents.pop(agent_id))

    def _wake(self, one: One) -> None:
        one.news.set()
        one.news = trio.Event()

    async def subscribe(self, agent_id: str) -> AsyncIterator[int]:
        one = self.agents[agent_id]
        seen = one.version
        self.following += 1
        try:
            while self.agents.get(agent_id) is one:
                if one.version > seen:
                    seen = one.version
                    yield seen
                else:
                    await one.news.wait()
                    if self.breaks:
                        raise RuntimeError("a defect of the caller")
        finally:
            self.following -= 1

    async def restarts(self, agent_id: str) -> AsyncIterator[Sequence[str]]:
        one = self.agents[agent_id]
        seen = len(one.restarts)
        self.following += 1
        try:
            while self.agents.get(agent_id) is one:
                if len(one.restarts) > seen:
                    new, seen = one.restarts[seen:], len(one.restarts)
                    yield new
                else:
                    await one.news.wait()
        finally:
            self.following -= 1


@define(eq=False)
class Running:
    """A proxy, its agents, and where it listens."""

    proxy: PushProxy
    agents: Agents
    _clients: list[trio.SocketStream] = field(factory=list, init=False)

    @property
    def address(self) -> tuple[str, int]:
        return self.proxy.addresses[0]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"

    @property
    def authorities(self) -> str:
        return str(self.proxy.certificates.authorities)

    async def open(self) -> trio.SocketStream:
        """Connect; `close` closes what a test leaves open."""
        stream = await trio.open_tcp_stream(*self.address)
        self._clients.append(stream)
        return stream

    async def close(self) -> None:
        for stream in self._clients:
            await trio.aclose_forcefully(stream)

    async def asked(self, request: bytes) -> bytes:
        """Send a request, and return all that comes until the proxy closes."""
        async with await self.open() as stream:
            await stream.send_all(request)
            return await read_all(stream)

    async def tunnelled(self, *, secret: str = "", host: str = STREAM_HOST) -> "trio.SSLStream[trio.SocketStream]":
        """Connect as an agent does, up to the end of the handshake."""
        stream = await self.open()
        await stream.send_all(connect(f"{host}:443", secret=secret))
        assert await read_head(stream) == b"HTTP/1.1 200 Connection established\r\n\r\n"
        context = ssl.create_default_context(cafile=self.authorities)
        secured = trio.SSLStream(stream, context, server_hostname=host, https_compatible=True)
        await secured.do_handshake()
        return secured

    async def events(self, *topics: str, secret: str = "", path: str = "/v1/stream") -> "Events":
        """Open an event stream as an agent does."""
        stream = await self.tunnelled(secret=secret)
        await stream.send_all(get(",".join(topics or (AGENT,)), path=path))
        return Events(stream)


def prepared(folder: Path, *, listen: str = "127.0.0.1:0", now: Now = unix_now_us, **options: Any) -> Running:
    """Return a proxy that does not run yet."""
    agents = Agents()
    proxy = PushProxy(
        changes=agents,
        authenticate=agents.authenticate,
        certificates=PushCertificates(folder / "push", now=now),
        listen=listen,
        **options,
    )
    return Running(proxy, agents)


@asynccontextmanager
async def pushing(folder: Path, **options: Any) -> AsyncIterator[Running]:
    """Run a proxy on a port of its own; nothing in the body may take longer than 20 seconds."""
    running = prepared(folder, **options)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(running.proxy.run)
            try:
                yield running
            finally:
                await running.close()
                nursery.cancel_scope.cancel()


def connect(target: str, *, secret: str = "") -> bytes:
    """Return the CONNECT that Go's client sends."""
    encoded = base64.b64encode(f"agent:{secret}".encode()).decode()
    credential = f"Proxy-Authorization: Basic {encoded}\r\n" if secret else ""
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: Go-http-client/1.1\r\n{credential}\r\n".encode()


def get(topic: str, *, path: str = "/v1/stream", host: str = STREAM_HOST, method: str = "GET") -> bytes:
    """Return the request that an agent sends within the tunnel."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}",
        "User-Agent: Go-http-client/1.1",
        "Accept: text/event-stream",
        "Cache-Control: no-cache",
        f"X-Sse-Topic: {topic}",
        "Accept-Encoding: gzip",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


async def read_head(stream: trio.abc.ReceiveStream) -> bytes:
    """Return the bytes up to an empty line, and not one more."""
    found = b""
    while not found.endswith(b"\r\n\r\n"):
        more = await stream.receive_some(1)
        if not more:
            break
        found += more
    return found


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Return all bytes to the end, also where a reset ends them."""
    found = b""
    try:
        while more := await stream.receive_some():
            found += more
    except trio.BrokenResourceError:
        pass
    return found


@define(eq=False)
class Events:
    """An agent's side of a stream, read by an HTTP parser that is not ours."""

    stream: "trio.SSLStream[trio.SocketStream]"
    answer: h11.Response | None = None
    _parser: h11.Connection = field(factory=lambda: h11.Connection(h11.CLIENT))
    _text: str = ""
    _asked: bool = False

    async def next_part(self) -> str | None:
        """Return the next frame or comment, without the empty line; ``None`` when the stream has ended well."""
        if not self._asked:
            self._asked = True
            self._parser.send(h11.Request(method="GET", target="/", headers=[("host", STREAM_HOST)]))
            self._parser.send(h11.EndOfMessage())
        while "\n\n" not in self._text:
            event = self._parser.next_event()
            if event is h11.NEED_DATA:
                self._parser.receive_data(bytes(await self.stream.receive_some()))
            elif isinstance(event, h11.Response):
                self.answer = event
            elif isinstance(event, h11.Data):
                self._text += bytes(event.data).decode()
            else:
                assert isinstance(event, h11.EndOfMessage)
                return None
        part, _, self._text = self._text.partition("\n\n")
        return part

    async def next_frame(self) -> list[str] | None:
        """Return the data lines of the next frame; comments are skipped, as agents do."""
        while (part := await self.next_part()) is not None:
            data = [line.removeprefix("data:").strip() for line in part.split("\n") if line.startswith("data:")]
            if data:
                return data
        return None

    async def begun(self) -> "Events":
        """Wait until the proxy has answered."""
        assert await self.next_part() == ":"
        assert self.answer is not None
        assert self.answer.status_code == 200
        return self

    async def close(self) -> None:
        await trio.aclose_forcefully(self.stream)
