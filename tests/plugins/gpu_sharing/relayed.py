"""Real sockets around a running relay: a worker, clients, and resets."""

import socket
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, evolve, field

from appliance.testing import SteppingClock, until
from plugins.gpu_sharing.relay import Access, Anyone, PeerReport, Relay, SessionReport, ShareReport, Terms

HOST = "127.0.0.1"
Sock = trio.socket.SocketType


def reset(one: Sock) -> None:
    """Close a connection with a reset."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


async def read(one: Sock, size_bytes: int) -> bytes:
    """Return exactly so many bytes, fewer at the end."""
    found = bytearray()
    while len(found) < size_bytes and (more := await one.recv(min(1 << 18, size_bytes - len(found)))):
        found += more
    return bytes(found)


async def read_all(one: Sock) -> bytes:
    """Return all bytes to the end; raises `ConnectionResetError` where a reset ends them."""
    return await read(one, 1 << 40)


async def send(one: Sock, data: bytes | memoryview) -> None:
    """Send all of it."""
    view = memoryview(data)
    while view:
        view = view[await one.send(view) :]


async def fill(one: Sock, data: bytes | memoryview) -> int:
    """Send until nothing goes any more for a fifth of a second; return how many bytes went."""
    view, sent = memoryview(data), 0
    with trio.CancelScope() as stalled:
        while True:
            stalled.deadline = trio.current_time() + 0.2
            sent += await one.send(view[sent % len(view) :])
    return sent


async def talk(one: Sock) -> bool:
    """Send a little, again and again, until the other side will not have it; return true."""
    try:
        while True:
            await one.send(b"and another thing")
            await trio.sleep(0.01)
    except (BrokenPipeError, ConnectionResetError):
        return True


async def is_reset(one: Sock) -> bool:
    """Wait for the end of a connection; return whether it is a reset and not an orderly one."""
    with trio.fail_after(30):
        try:
            while await one.recv(1 << 18):
                pass
        except ConnectionResetError:
            return True
        return False


async def is_closed(port: int, host: str = HOST) -> bool:
    """Return whether nobody listens on a port."""
    with trio.socket.socket() as one:
        try:
            await one.connect((host, port))
        except ConnectionRefusedError:
            return True
    return False


def bound(host: str = HOST) -> socket.socket:
    """Return a socket that holds a free port without listening: whoever connects is refused."""
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    one.bind((host, 0))
    return one


@define(eq=False)
class Bench:
    """A relay with a share, its worker, and the clock of both."""

    relay: Relay
    clock: SteppingClock
    worker: Sock
    ended: list[SessionReport]
    share_id: str = "share"
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    """What stops the relay."""
    opened: list[Sock] = field(factory=list)

    @property
    def target(self) -> tuple[str, int]:
        """Where the worker listens."""
        host, port = self.worker.getsockname()
        return host, port

    @property
    def report(self) -> ShareReport:
        """The share's report."""
        found = self.relay.report(self.share_id)
        assert found is not None
        return found

    @property
    def peer(self) -> PeerReport:
        """The report of the only address that has been there."""
        (found,) = self.report.peers
        return found

    @property
    def port(self) -> int:
        """Where the share listens."""
        assert self.report.port is not None
        return self.report.port

    def terms(self, access: Access | None = None, **changes: Any) -> Terms:
        """Return terms that let anyone in, but for the changes."""
        terms = Terms(share_id=self.share_id, target=self.target, access=access or Anyone())
        return evolve(terms, **changes)

    async def dial(self, *, host: str = HOST, source: str = "") -> Sock:
        """Connect to the share as a client."""
        one = trio.socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.opened.append(one)
        if source:
            await one.bind((source, 0))
        await one.connect((host, self.port))
        return one

    async def join(self, *, source: str = "") -> tuple[Sock, Sock]:
        """Connect to the share; return the client's end and the worker's."""
        before = self.report.connections_total
        client = await self.dial(source=source)
        worker = await self.accept()
        await until(lambda: self.report.connections_total > before, seconds=30)
        return client, worker

    async def is_turned_away(self, *, port: int | None = None) -> bool:
        """Connect; return whether a reset answers, as opposed to an orderly end."""
        one = trio.socket.socket()
        self.opened.append(one)
        try:
            await one.connect((HOST, port or self.port))
        except ConnectionResetError:
            return True  # it came before the connect had returned
        return await is_reset(one)

    async def accept(self) -> Sock:
        """Return the worker's end of the next connection."""
        with trio.fail_after(30):
            one, _ = await self.worker.accept()
        self.opened.append(one)
        return one

    async def refused(self, reason: str, times: int = 1) -> None:
        """Wait until so many connections have been refused for this reason."""
        await until(lambda: self.report.refused.get(reason) == times, seconds=30)

    async def gone(self, times: int = 1) -> list[SessionReport]:
        """Wait until so many sessions have ended; return them."""
        await until(lambda: len(self.ended) >= times, seconds=30)
        return self.ended


async def _run(relay: Relay, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(relay.run)
            task_status.started(scope)


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[trio.CancelScope]:
    """Run a relay; gives what stops it."""
    async with trio.open_nursery() as nursery:
        scope = await nursery.start(_run, relay)
        yield scope
        scope.cancel()


@asynccontextmanager
async def bench(
    *, access: Access | None = None, ports: Iterable[int] = (0,), hosts: tuple[str, ...] = (HOST,), **settings: Any
) -> AsyncIterator[Bench]:
    """Run a relay with one share for anyone, in front of a worker that listens and does nothing."""
    clock, ended = SteppingClock(), list[SessionReport]()
    settings = {"on_ended": ended.append, "drain_seconds": 0.0, **settings}
    relay = Relay(ports=tuple(ports), hosts=hosts, now=clock, **settings)
    worker = trio.socket.socket()
    await worker.bind((HOST, 0))
    worker.listen(64)
    made = Bench(relay, clock, worker, ended)
    try:
        async with running(relay) as made.scope:
            relay.put(made.terms(access))
            yield made
    finally:
        for one in (*made.opened, worker):
            one.close()
