"""Where a caller has reached us: what drones are told to call, never a constant."""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec
from attrs import define

from appliance.plugin import Head

_PORTS = {"http": 80, "https": 443}


@define(eq=False)
class WayIn:
    """Names this server as a request has reached it."""

    public_url: Callable[[], str]
    """The base of absolute URLs, for requests that came in on a unix socket."""
    name: str
    """How the server calls itself."""

    def of(self, head: Head) -> tuple[str, int]:
        """Return address and port that a request came in on; an IPv6 address as it stands in a URL."""
        if isinstance(head.local, str):
            url = urlsplit(self.public_url())
            return url.hostname or "127.0.0.1", url.port or _PORTS.get(url.scheme, 80)
        return _bracketed(head.local[0]), head.local[1]

    def introduction(self, head: Head) -> bytes:
        """Return the start of the answer to a heartbeat, as JSON up to the value of ``paused``."""
        return _introduction(*self.of(head), self.name)

    def base_url(self, head: Head) -> str:
        """Return the base URL to give to another host: as this one was reached, unless that was from here."""
        host, port = self.of(head)
        if isinstance(head.local, str) or _is_local(host):
            return self.public_url().rstrip("/")
        return f"{head.scheme}://{host}" + ("" if port == _PORTS.get(head.scheme) else f":{port}")


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _is_local(host: str) -> bool:
    try:
        return ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=64)
def _introduction(host: str, port: int, name: str) -> bytes:
    model = {"status": "registered", "orchestrator": host, "orchestrator_port": port, "orchestrator_name": name}
    return msgspec.json.encode(model)[:-1] + b',"paused":'
