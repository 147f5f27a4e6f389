"""Which port a share listens on, and the sockets that listen there."""

import errno
import hashlib
import socket
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from .access import address_of

BACKLOG: Final = 1024
TRIES_MAX: Final = 256
"""Ports tried at once: to find all ten thousand taken would keep everybody else waiting."""


@frozen
class Listening:
    """A port and the sockets bound to it, one per address."""

    port: int
    sockets: tuple[socket.socket, ...]

    def close(self) -> None:
        """Stop listening; connections that nobody has accepted are reset."""
        for one in self.sockets:
            one.close()


def first_choice(share_id: str, ports: Sequence[int]) -> int:
    """Return the index of the port that a share gets if it is free: always the same for the same id."""
    digest = hashlib.blake2b(share_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % len(ports)


def choices(share_id: str, ports: Sequence[int], *, before: int | None, skip: int = 0) -> Iterator[int]:
    """Yield ports in the order to try them: the one it had, its own, then the next ones, round the range.

    :param skip: how many of the range have been tried already.
    """
    if before is not None:
        yield before
    first = first_choice(share_id, ports)
    for step in range(skip, min(skip + TRIES_MAX, len(ports))):
        yield ports[(first + step) % len(ports)]


def listen(hosts: Sequence[str], port: int) -> Listening | None:
    """Listen on one port of some addresses of this host; return ``None`` when it is taken on one of them.

    :param hosts: IP addresses; none means every address, IPv6 and IPv4.
    :raises OSError: any other reason, such as an address that is not this host's.
    """
    bound: list[socket.socket] = []
    try:
        for host in hosts or _everywhere():
            bound.append(_bind(host, bound[0].getsockname()[1] if bound else port))
    except OSError as error:
        for one in bound:
            one.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return Listening(bound[0].getsockname()[1], tuple(bound))


def _everywhere() -> tuple[str, ...]:
    # Where IPv6 is switched off in the kernel the wildcard of IPv4 is all there is.
    return ("::",) if socket.has_dualstack_ipv6() else ("0.0.0.0",)  # noqa: S104 - a share is there to be reached


def _bind(host: str, port: int) -> socket.socket:
    is_ipv6 = address_of(host).version == 6
    one = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
        one.bind((host, port))
        one.listen(BACKLOG)
    except BaseException:
        one.close()
        raise
    return one
