"""The one seam between the appliance and the network: `serve`.

Composing a server out of surfaces::

    edge = Edge(authenticate=auth.authenticate, still_valid=auth.still_valid, audit=..., access_log=...)
    for surface, reason in failed_plugins:
        edge.add_unavailable(surface, reason)
    listener = Listener(name="127.0.0.1:8080", sockets=(bound_socket,), surfaces=tuple(bound_surfaces))
    addresses = await nursery.start(partial(serve, edge, [listener], limits=Limits(drain_seconds=10.0)))

Sockets are bound by the caller (after the data directory's lock is held) and not yet listening; ``addresses`` are
those of the sockets, in order. Cancelling `serve` stops accepting, closes resting connections at once, lets requests
in flight finish within ``drain_seconds`` and returns.

hypercorn's classes are used underneath: its h11 protocol, its streams to ASGI and its WebSockets; its own accept loop,
connection class, timers, logs and HTTP/2 are not.
"""

import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import structlog
import trio
from attrs import define, field, frozen
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from appliance.http.app import Application
from appliance.http.blueprints import run_blueprint
from appliance.http.connection import Connection
from appliance.http.direct import DirectH11
from appliance.http.front import Front
from appliance.http.hardened import HardenedH11
from appliance.http.limits import Limits, PeerCount, raise_file_limit
from appliance.http.pipeline import Edge
from appliance.http.routing import Table
from appliance.surface import BoundSurface

log = structlog.get_logger("appliance.http")

Dispatch = Literal["quart-asgi", "direct", "front"]
"""How declared endpoints are reached: the last is what runs, the others are what it is held to."""

BACKLOG = 1024
_PROTOCOLS: dict[str, Callable[..., Any]] = {"quart-asgi": HardenedH11, "direct": DirectH11, "front": Front}
_SHORT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


@frozen(kw_only=True)
class TlsFiles:
    """Where a listener's certificate chain and private key are (PEM)."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Load both; raises `OSError` or `ssl.SSLError` when they are missing or do not fit."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        context.set_alpn_protocols(["http/1.1"])
        return context


@frozen(kw_only=True)
class Listener:
    """One configured listener."""

    name: str
    """Its address as configured; handlers and authentication see it as ``head.listener``."""
    sockets: tuple[socket.socket, ...]
    """Bound, not yet listening; `serve` closes them."""
    surfaces: Sequence[BoundSurface]
    tls: TlsFiles | None = None
    site: Path | None = None
    """A folder with another system's front end, served where no surface has declared a path."""


class Faults(Protocol):
    """What the test kit puts between a connection and its socket; either may raise."""

    def on_read(self, data: bytes) -> None:
        """Called in the read task with what was received."""

    def on_send(self, data: bytes) -> None:
        """Called before bytes are sent."""


@define(eq=False)
class Listening:
    """A listener with its routes and its TLS context."""

    listener: Listener
    table: Table
    tls: ssl.SSLContext | None


@define(eq=False)
class Server:
    """What the connections of one `serve` share."""

    edge: Edge
    limits: Limits
    protocol: Callable[..., Any]
    app: Any
    config: Config
    faults: Faults | None = None
    context: WorkerContext = field(factory=lambda: WorkerContext(None))
    connections: set[Connection] = field(factory=set)
    peers: PeerCount = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.peers = PeerCount(self.limits.connections_per_peer, self.limits.exempt)

    async def stop(self) -> None:
        """Let requests in flight finish; connections that rest end now."""
        # hypercorn's setter never waits, so this also runs while being cancelled.
        await self.context.terminated.set()
        for connection in tuple(self.connections):
            if connection.resting:
                connection.handshake.cancel()
                connection.scope.cancel()


async def serve(
    edge: Edge,
    listeners: Sequence[Listener],
    *,
    limits: Limits | None = None,
    dispatch: Dispatch = "front",
    faults: Faults | None = None,
    task_status: trio.TaskStatus[list[Any]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on every listener until cancelled; ``started()`` carries the sockets' addresses, in order.

    :raises ClaimConflict: two surfaces of one listener claim one method and path; nothing has been opened then.
    """
    limits = limits or Limits()
    listening = [
        Listening(one, edge.table(one.surfaces, one.site), one.tls.context() if one.tls else None) for one in listeners
    ]
    log.debug("file limit", files=raise_file_limit())
    application = Application(edge)
    asgi: Any = application
    server = Server(edge, limits, _PROTOCOLS[dispatch], ASGIWrapper(asgi), _config(limits), faults)
    gone = trio.Event()
    async with trio.open_nursery() as outer:
        stop = trio.Event()
        handlers, drain = await outer.start(_hold_open, stop, gone)
        try:
            for route in (route for one in listening for route in one.table.routes if route.mount is not None):
                if not route.in_process and id(route.mount) not in application.blueprints:
                    application.blueprints[id(route.mount)] = await outer.start(run_blueprint, route.mount, gone)
            async with trio.open_nursery() as accepting:
                for one in listening:
                    for bound in one.listener.sockets:
                        bound.setblocking(False)
                        bound.listen(BACKLOG)
                        accepting.start_soon(_accept, server, one, bound, handlers)
                task_status.started([bound.getsockname() for one in listeners for bound in one.sockets])
        finally:
            drain.deadline = trio.current_time() + limits.drain_seconds
            await server.stop()
            stop.set()
            for bound in (bound for one in listeners for bound in one.sockets):
                bound.close()


async def _hold_open(
    stop: trio.Event, gone: trio.Event, *, task_status: trio.TaskStatus[tuple[trio.Nursery, trio.CancelScope]]
) -> None:
    """Hold the nursery of connections: not cancelled with the server, but bounded by its scope's deadline."""
    try:
        with trio.CancelScope(shield=True) as scope:
            async with trio.open_nursery() as nursery:
                task_status.started((nursery, scope))
                await stop.wait()
    finally:
        gone.set()


async def _accept(server: Server, one: Listening, bound: socket.socket, handlers: trio.Nursery) -> None:
    listening = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
    while True:
        try:
            stream = await listening.accept()
        except OSError as failure:
            if failure.errno not in _SHORT_OF:
                raise
            log.exception("cannot accept connections", listener=one.listener.name)
            await trio.sleep(0.1)
            continue
        handlers.start_soon(_connection, server, one, stream)


async def _connection(server: Server, one: Listening, stream: trio.SocketStream) -> None:
    try:
        connection = Connection(server, one, stream)
    except OSError:  # gone before we looked
        await trio.aclose_forcefully(stream)
        return
    address = connection.peer[0] if connection.peer is not None else None
    if address is not None and not server.peers.enter(address):
        server.edge.metrics.refused_connections += 1
        log.warning("too many connections from one address", peer=address, listener=one.listener.name)
        await trio.aclose_forcefully(stream)
        return
    try:
        await connection.run()
    finally:
        if address is not None:
            server.peers.leave(address)


def _config(limits: Limits) -> Config:
    config = Config()
    config.h11_max_incomplete_size = limits.head_bytes
    config.websocket_max_message_size = limits.websocket_message_bytes
    config.websocket_ping_interval = 20.0
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = None
    return config


__all__ = ["Dispatch", "Edge", "Faults", "Limits", "Listener", "TlsFiles", "serve"]
