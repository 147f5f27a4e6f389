"""Passes connections on to other hosts, where the operator allows it; never to this host, never into the clear.

Whoever is connected by us comes from our address and, on this host, from our user: services that trust loopback, the
appliance's own listeners among them, would take strangers for the owner. So no tunnel ends on this host or its links.
Hosts elsewhere are passed on to public addresses alone, or they would see the inside of this network through us.
"""

import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import trio
from attrs import frozen

from .hosts import read_address
from .push_head import PushRefused

TRIES_MAX: Final = 4
"""Addresses of a name that are tried, one after the other."""
CHUNK_BYTES: Final = 65_536

Refusal = Callable[[IPv4Address | IPv6Address, bool], str | None]
"""Says in words why nothing is passed on to an address, given whether the asking peer is on this host."""


def why_refused(address: IPv4Address | IPv6Address, peer_is_local: bool) -> str | None:
    """Return why no tunnel may lead to an address, ``None`` if one may."""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    if address.is_loopback or address.is_unspecified or address.is_link_local or is_own(address):
        return "this proxy passes nothing on to its own host or its links"
    if address.is_multicast or (isinstance(address, IPv4Address) and address.is_reserved):
        return "nobody can connect to that address"
    if not peer_is_local and not address.is_global:
        return "this proxy passes agents elsewhere on to public addresses alone"
    return None


def is_own(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is one of this host's own: those are reached from themselves."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    # Connecting a datagram socket sends nothing; the kernel only chooses the way.
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((str(address), 9))
        return bool(probe.getsockname()[0] == str(address))
    return False


@frozen(kw_only=True)
class Tunnels:
    """Opens tunnels and carries them."""

    connect_seconds: float = 10.0
    idle_seconds: float = 600.0
    """After which a tunnel through which nothing has passed, in either direction, is cut."""
    why_refused: Refusal = why_refused

    async def open(self, host: str, port: int, *, peer_is_local: bool) -> trio.SocketStream:
        """Connect to a host.

        :raises PushRefused: 403 for where no tunnel may lead, 502 when it cannot be reached, 504 when that takes long.
        """
        refused: str | None = None
        with trio.move_on_after(self.connect_seconds):
            for address in await _addresses(host):
                reason = self.why_refused(address, peer_is_local)
                if reason is not None:
                    refused = reason
                    continue
                # The address that was judged is the one connected to: the name is not asked for again.
                with suppress(OSError):
                    return await trio.open_tcp_stream(str(address), port)
            if refused is not None:
                raise PushRefused(403, refused, hint="put the host into NO_PROXY to connect to it directly")
            raise PushRefused(502, "the host cannot be reached")
        raise PushRefused(504, "the host takes too long to answer")

    async def carry(self, near: trio.abc.HalfCloseableStream, far: trio.abc.HalfCloseableStream) -> None:
        """Pass bytes both ways, untouched, until both sides are done, one breaks, or nothing passes for long."""
        with trio.move_on_after(self.idle_seconds) as idle:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._copy, near, far, idle)
                nursery.start_soon(self._copy, far, near, idle)

    async def _copy(
        self, source: trio.abc.ReceiveStream, target: trio.abc.HalfCloseableStream, idle: trio.CancelScope
    ) -> None:
        try:
            while chunk := await source.receive_some(CHUNK_BYTES):
                await target.send_all(chunk)
                idle.deadline = trio.current_time() + self.idle_seconds
            await target.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            idle.cancel()


async def _addresses(host: str) -> list[IPv4Address | IPv6Address]:
    literal = read_address(host)
    if literal is not None:
        return [literal]
    try:
        found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise PushRefused(502, "the host's name is not known here") from error
    texts = dict.fromkeys(str(place[0]) for *_, place in found)
    return [address for address in map(read_address, texts) if address is not None][:TRIES_MAX]
