"""Pages that our own listeners serve: the origins from which a surface's other port may be asked.

A system whose page comes from one port and calls another needs its own origin allowed there, whatever name or address
people reach the host by. An origin counts only where nobody else can have made its page: the request names the same
host, and one of our listeners has the origin's port on the address that the request came to.
"""

import ipaddress
from collections.abc import Collection, Sequence

from attrs import frozen

from appliance.http.origin import host_of
from appliance.surface import Head, Surface

ANY_SURFACE = "*"
"""In ``Surface.origins_of``: pages of every listener that serves a surface which some other lets in."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


@frozen(kw_only=True)
class OwnPage:
    """One socket of ours, as far as pages that come from it are concerned."""

    surfaces: frozenset[str]
    """Names of the surfaces that are served there."""
    scheme: str
    address: str
    """As the socket has it: a literal address, or the one that stands for all."""
    port: int


@frozen
class OwnPages:
    """Every socket that may have given out a page."""

    pages: Sequence[OwnPage] = ()

    def origins(self, head: Head, surface: Surface | None) -> tuple[str, ...]:
        """Return the origins of our own that ``surface`` lets in, as a browser would name them in this request."""
        if surface is None or not surface.origins_of or head.header(b"origin") is None or isinstance(head.local, str):
            return ()
        host = host_of(head)
        if host is None:
            return ()
        shown = f"[{host}]" if ":" in host else host
        return tuple(
            f"{page.scheme}://{shown}" + ("" if _DEFAULT_PORTS[page.scheme] == page.port else f":{page.port}")
            for page in self.pages
            if _lets_in(surface.origins_of, page.surfaces) and _is_at(page.address, head.local[0])
        )


def let_in(surfaces: Collection[Surface]) -> frozenset[str]:
    """Return the names of surfaces whose pages some surface lets in: only their sockets need to be known."""
    return frozenset(name for surface in surfaces for name in surface.origins_of if name != ANY_SURFACE)


def _lets_in(wanted: tuple[str, ...], served: frozenset[str]) -> bool:
    return bool(served) if ANY_SURFACE in wanted else not served.isdisjoint(wanted)


def _is_at(address: str, local: str) -> bool:
    """Whether a socket on ``address`` is the one that answers on ``local``, an address of ours."""
    try:
        own, reached = ipaddress.ip_address(address.partition("%")[0]), ipaddress.ip_address(local.partition("%")[0])
    except ValueError:
        return False
    return own == reached or (own.is_unspecified and own.version == reached.version)
