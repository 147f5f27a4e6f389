"""Whose request is this, as far as a browser tells: Host, Origin, Sec-Fetch-Site and forwarding headers. Pure.

These rules keep three strangers out: a page of another site in a person's browser (cross-site request forgery), a
page whose name was pointed at our address (DNS rebinding), and whoever comes through a proxy on this host.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from appliance import ids
from appliance.errors import Forbidden
from appliance.people.roles import SAFE_METHODS
from appliance.surface import Head

FORWARDING = (b"forwarded", b"x-real-ip", b"via")
FORWARDING_PREFIX = b"x-forwarded-"
_PLACE = re.compile(r"(?:\[[^\[\]@/\\?#\s]*\]|[^\[\]@/\\?#\s:]*)(?::[0-9]{0,5})?", re.ASCII)
"""A host, or an address in brackets with nothing around them (urlsplit reads ``evil.example[::1]`` as ``::1``)."""
CSRF_HEADERS = (b"x-csrftoken", b"x-csrf-token")


def host_of(head: Head) -> str | None:
    """Return the host a request names, lower case and without port; ``None`` when it names none, two or nonsense."""
    hosts = [value for name, value in head.headers if name == b"host"]
    if len(hosts) != 1:
        return None
    return _host(hosts[0].decode("latin-1"))


@lru_cache(maxsize=1024)
def _host(text: str) -> str | None:
    if not _PLACE.fullmatch(text):
        return None
    try:
        parts = urlsplit(f"//{text}")
        parts.port  # noqa: B018 - raises for a port that is none
        return parts.hostname.rstrip(".") if parts.hostname else None
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, ``None`` for what is none: clients that call often call by the same few."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def names_us(head: Head, hosts: Iterable[str] = ()) -> bool:
    """Whether Host is a loopback name, the address that the connection came to, or a configured name of ours.

    A page that had its own name pointed at our address sends that name here, and is refused.
    """
    host = host_of(head)
    if host is None:
        return False
    if host == "localhost" or host in {configured.lower().rstrip(".") for configured in hosts}:
        return True
    address = _address(host)
    if address is None or address.is_loopback:
        return address is not None
    return not isinstance(head.local, str) and address == _address(head.local[0].partition("%")[0])


def is_forwarded(head: Head) -> bool:
    """Whether some proxy says that it sends this on for somebody else."""
    return any(name in FORWARDING or name.startswith(FORWARDING_PREFIX) for name, _ in head.headers)


def is_own_origin(head: Head, origin: str) -> bool:
    """Whether an Origin is the very host and port that the request names."""
    scheme, separator, place = origin.partition("://")
    host = head.header(b"host")
    if not separator or not host or place.lower() != host.lower():
        return False
    # A page of the plain-text twin of a TLS site is somebody else's as long as anybody can stand in between.
    return scheme == "https" or (scheme == "http" and head.scheme not in {"https", "wss"})


def is_allowed_origin(origin: str, allowed: Iterable[str]) -> bool:
    """Whether an Origin is one of the configured ones; ``null`` never is."""
    return origin != "null" and origin.lower() in {one.lower().rstrip("/") for one in allowed}


def is_same_site_request(head: Head, allowed: Iterable[str] = ()) -> bool:
    """Whether Origin and Sec-Fetch-Site, where sent, say same-origin or an allowed origin: for trust, any method."""
    origins = _all(head, b"origin")
    sites = _all(head, b"sec-fetch-site")
    if len(origins) > 1 or len(sites) > 1:
        return False
    if origins and is_allowed_origin(origins[0], allowed):
        return True
    if origins and not is_own_origin(head, origins[0]):
        return False
    return not sites or sites[0] in {"same-origin", "none"}


def is_navigation(head: Head) -> bool:
    """Whether a browser is opening a page: people in browsers log in."""
    return (head.header(b"sec-fetch-mode") or "").lower() == "navigate"


def refuse_forgery(head: Head, *, websocket: bool, cookies: dict[str, str], allowed: Iterable[str] = ()) -> None:
    """Raise `Forbidden` for an unsafe request or a WebSocket with our cookie that another site's page has made.

    Refused: ``Sec-Fetch-Site: cross-site``; ``same-site`` with an Origin that is not allowed; an Origin that is
    neither ours nor allowed. With neither header it is no browser. A sent ``csrftoken`` must be the cookie's.
    """
    if head.method in SAFE_METHODS and not websocket:
        return
    allowed = tuple(allowed)
    sites, origins = _all(head, b"sec-fetch-site"), _all(head, b"origin")
    good_origin = len(origins) == 1 and is_allowed_origin(origins[0], allowed)
    own_origin = len(origins) == 1 and is_own_origin(head, origins[0])
    if (
        len(sites) > 1
        or "cross-site" in sites
        or ("same-site" in sites and not good_origin)
        or (origins and not (good_origin or own_origin))
    ):
        raise _forged()
    for name in CSRF_HEADERS:
        sent = head.header(name)
        if sent and not ids.same_secret(sent, cookies.get("csrftoken", "")):
            raise Forbidden("the csrftoken does not match", hint="reload the page")


def refuse_foreign_page(head: Head, *, allowed: Iterable[str] = ()) -> None:
    """Raise `Forbidden` for an unsafe request of another site's page to a public endpoint (logging somebody in)."""
    if head.method not in SAFE_METHODS and not is_same_site_request(head, allowed):
        raise _forged()


def _all(head: Head, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in head.headers if key == name]


def _forged() -> Forbidden:
    return Forbidden(
        "this request comes from a page of another site",
        hint="add its origin to [server] allowed_origins if it is yours",
    )
