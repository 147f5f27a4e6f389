"""Push for agents as they are: a proxy that answers for the host from which agents want to hear of changes.

An agent keeps two event streams open to a host that is compiled into it. Started with HTTPS_PROXY naming this proxy and
SSL_CERT_FILE naming our authority (`agent_environment`), it asks us to connect it there: CONNECT, TLS, GET, events. We
answer all of that ourselves. CONNECT to any other host is refused, or with ``forward`` passed on untouched.

Agents send no credential to the stream host. Who may hear an agent's stream is whoever knows its id, of 128 random
bits; what is heard is that something changed, and ids of workers. ``http://agent:SECRET@HOST:PORT`` as HTTPS_PROXY
makes the agent say its secret as well: then that alone counts. Peers elsewhere must say it to be passed on.
"""

import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

import structlog
import trio
from attrs import define, field, frozen

from appliance.plugin import ApplianceError

from .push_ca import Generation, PushCertificates
from .push_connect import read_credential, read_target, who_are_you
from .push_frames import Topics
from .push_head import Prefixed, PushRefused, read_head, refusal, refuse
from .push_stream import Changes, EventStream, Pace, topics_of
from .push_tunnel import Tunnels

log = structlog.get_logger(__name__)

STREAM_PORT: Final = 443
ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
CHECK_SECONDS: Final = 3600.0
"""How often the certificates are looked at."""
BACKLOG: Final = 1024
LOST_MILLISECONDS: Final = 60_000
FULL_SECONDS: Final = 1.0
"""For somebody over the limit to take the answer."""


class PushNotListening(ApplianceError):
    """The push proxy's address is in use, not of this host, or not allowed."""


@frozen(kw_only=True)
class PushLimits:
    """What connections may take."""

    head_seconds: float = 10.0
    """For each head, and for the TLS handshake between the two."""
    connections: int = 8192
    """At once; an agent takes two. Never more than a quarter of the descriptors that this process may have."""
    connections_per_peer: int = 512
    """Of them, from one address."""


@frozen(kw_only=True)
class PushReport:
    """What a proxy does and has done since it was made."""

    connections: int
    """Open now, whatever they are for."""
    streams: int
    """Of agents, open now."""
    tunnels: int
    """To other hosts, open now."""
    frames_total: int
    refused_total: int


@define(eq=False)
class _Counts:
    streams: int = 0
    tunnels: int = 0
    frames: int = 0
    refused: int = 0
    peers: Counter[str] = field(factory=Counter)

    def a_frame(self) -> None:
        self.frames += 1


@define(eq=False, kw_only=True)
class PushProxy:
    """The listener; a service that runs until cancelled."""

    changes: Changes
    authenticate: Callable[[str], str | None]
    """Returns the id of the agent whose secret is given, ``None`` for anything else."""
    certificates: PushCertificates
    listen: str = "127.0.0.1:8090"
    """``HOST:PORT`` or ``[IPV6]:PORT``; port 0 takes any."""
    forward: bool = False
    """Whether connections to other hosts are passed on."""
    limits: PushLimits = field(factory=PushLimits)
    pace: Pace = field(factory=Pace)
    tunnels: Tunnels = field(factory=Tunnels)
    name: str = "push_proxy"
    addresses: list[tuple[str, int]] = field(factory=list, init=False)
    """Where it listens, once it runs."""
    _generation: Generation | None = field(default=None, init=False)
    _connections_max: int = field(default=0, init=False)
    _context: ssl.SSLContext = field(init=False)
    _counts: _Counts = field(factory=_Counts, init=False)

    def report(self) -> PushReport:
        """Return counts."""
        counts = self._counts
        return PushReport(
            connections=counts.peers.total(),
            streams=counts.streams,
            tunnels=counts.tunnels,
            frames_total=counts.frames,
            refused_total=counts.refused,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; every connection ends with it.

        :raises PushNotListening: it cannot listen there.
        :raises PushCertificateUnusable: there is no certificate to serve.
        """
        await self.renew()
        # A tunnel takes two descriptors, and most of the process' are for others.
        self._connections_max = min(self.limits.connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        listeners = await _bind(self.listen)
        self.addresses = [one.socket.getsockname()[:2] for one in listeners]
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_renewing)
                task_status.started()
                await trio.serve_listeners(self._welcome, listeners)  # closes them
        finally:
            self.addresses = []

    async def renew(self) -> None:
        """Look at the certificates; connections from now on get the one that is to be served."""
        generation = await trio.to_thread.run_sync(self.certificates.ensure)
        if generation != self._generation:
            self._context = generation.context()
            self._generation = generation

    async def _keep_renewing(self) -> None:
        while True:
            await trio.sleep(CHECK_SECONDS)
            try:
                await self.renew()
            except ApplianceError as error:
                # What is served holds on for at least the days of grace; a crash would end every stream for nothing.
                log.warning("the push certificate cannot be renewed", problem=error.message, hint=error.hint)

    async def _welcome(self, stream: trio.SocketStream) -> None:
        peers = self._counts.peers
        try:
            peer = str(stream.socket.getpeername()[0])
            # A peer that has lost its power says nothing more; what it never takes ends the connection.
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_MILLISECONDS)
            # Who connects to an address of this host from that same address is on this host.
            is_local = _is_loopback(peer) or peer == stream.socket.getsockname()[0]
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        peers[peer] += 1
        try:
            if peers[peer] > self.limits.connections_per_peer or peers.total() > self._connections_max:
                self._counts.refused += 1
                with trio.fail_after(FULL_SECONDS):
                    await stream.send_all(refusal(PushRefused(503, "too many connections to this proxy")))
            else:
                await self._serve(stream, is_local)
        except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the other side is gone, or might as well be
        except* Exception:
            log.exception("a push connection failed", peer=peer)  # the edge: one connection ends, the others do not
        finally:
            peers[peer] -= 1
            if not peers[peer]:
                del peers[peer]
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.SocketStream, is_local: bool) -> None:
        far: trio.SocketStream | None = None
        try:
            read = await read_head(stream, seconds=self.limits.head_seconds)
            if read is None:
                return
            head, rest = read
            host, port = read_target(head)
            agent_id = read_credential(head, self.authenticate)
            is_stream = (host, port) == (self.certificates.host, STREAM_PORT)
            if not is_stream:
                far = await self._far(host, port, is_local=is_local, is_known=agent_id is not None)
        except PushRefused as error:
            await self._refuse(stream, error)
            return
        near = Prefixed(stream, rest)
        try:
            with trio.fail_after(self.pace.send_seconds):
                await stream.send_all(ESTABLISHED)
            if far is None:
                await self._answer_agent(near, agent_id)
            else:
                await self._pass_on(near, far)
        finally:
            if far is not None:
                await trio.aclose_forcefully(far)

    async def _far(self, host: str, port: int, *, is_local: bool, is_known: bool) -> trio.SocketStream:
        if not self.forward:
            raise PushRefused(
                403,
                f"this proxy connects to {self.certificates.host}:{STREAM_PORT} alone",
                hint="put the other hosts into NO_PROXY, or set push_proxy_forward = true on the appliance",
            )
        if not is_local and not is_known:
            raise who_are_you("this proxy passes on agents alone, with their secrets")
        return await self.tunnels.open(host, port, peer_is_local=is_local)

    async def _pass_on(self, near: Prefixed, far: trio.SocketStream) -> None:
        self._counts.tunnels += 1
        try:
            await self.tunnels.carry(near, far)
        finally:
            self._counts.tunnels -= 1

    async def _answer_agent(self, transport: Prefixed, agent_id: str | None) -> None:
        stream = trio.SSLStream(transport, self._context, server_side=True, https_compatible=True)
        with trio.fail_after(self.limits.head_seconds):
            await stream.do_handshake()
        try:
            read = await read_head(stream, seconds=self.limits.head_seconds)
            if read is None:
                return
            topics = self._permitted(topics_of(read[0], self.certificates.host), agent_id)
        except PushRefused as error:
            await self._refuse(stream, error)
            return
        self._counts.streams += 1
        try:
            events = EventStream(stream, topics, self.changes, self.pace, on_frame=self._counts.a_frame)
            await events.run()
        finally:
            self._counts.streams -= 1

    def _permitted(self, topics: Topics, agent_id: str | None) -> Topics:
        if agent_id not in (None, topics.agent_id):
            raise PushRefused(403, "the topic is another agent's than the secret")
        if not self.changes.knows(topics.agent_id):
            raise PushRefused(404, "there is no such agent", hint="register it again")
        return topics

    async def _refuse(self, stream: trio.abc.Stream, error: PushRefused) -> None:
        self._counts.refused += 1
        log.debug("refused at the push proxy", status=error.status, reason=error.message)
        await refuse(stream, error, send_seconds=self.pace.send_seconds)


def agent_environment(proxy: str, authorities: str, *, direct: Sequence[str]) -> dict[str, str]:
    """Return the variables that make an agent as it is listen to our pushes.

    :param proxy: ``http://HOST:PORT`` of this proxy as the agent reaches it, with or without ``agent:SECRET@``.
    :param authorities: where `PushCertificates.authorities` lies on the agent's host. Go reads it in place of the
        system's bundle; folders of single certificates, such as Debian's, are still read besides.
    :param direct: hosts that the agent goes on to reach directly, the appliance's own above all. HTTPS_PROXY stands for
        https alone: what is fetched by http needs no entry.
    """
    return {"HTTPS_PROXY": proxy, "SSL_CERT_FILE": authorities, "NO_PROXY": ",".join(direct)}


async def _bind(listen: str) -> list[trio.SocketListener]:
    host, _, port = listen.rpartition(":")
    try:
        return await trio.open_tcp_listeners(int(port), host=host.strip("[]"), backlog=BACKLOG)
    except (OSError, UnicodeError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PushNotListening(
            f"the push proxy cannot listen on {listen}: {reason}", hint="set push_proxy_listen to another address"
        ) from error


def _is_loopback(address: str) -> bool:
    ip = ip_address(address.partition("%")[0])
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
