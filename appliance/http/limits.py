"""How much and how long a connection may take, and how many one peer may hold."""

import resource
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from attrs import define, field, frozen
from attrs.validators import ge, gt

LOOPBACK = ("127.0.0.0/8", "::1/128")


@frozen(kw_only=True)
class Limits:
    """The edge's limits; every ``*_seconds`` is a total, never re-armed by more bytes."""

    keep_alive_seconds: float = field(default=90.0, validator=gt(0))
    """How long a connection may rest between requests; agents that post every 75 s must find it open."""
    head_seconds: float = field(default=10.0, validator=gt(0))
    """From the first byte of a request line to the end of its headers; also for the TLS handshake."""
    body_seconds: float = field(default=20.0, validator=gt(0))
    """For a whole body, besides one second for each ``body_bytes_per_second`` of it that is allowed."""
    body_bytes_per_second: int = field(default=65_536, validator=gt(0))
    send_seconds: float = field(default=30.0, validator=gt(0))
    """For one write to be taken by the other side."""
    linger_seconds: float = field(default=2.0, validator=gt(0))
    """How long a closing connection still takes (and drops) what the other side had under way."""
    linger_bytes: int = field(default=262_144, validator=ge(0))
    """How much of a body that nobody wants is read, so that the connection stays usable after the answer."""
    head_bytes: int = field(default=16_384, validator=gt(0))
    requests_per_connection: int = field(default=100_000, validator=gt(0))
    connections_per_peer: int = field(default=256, validator=gt(0))
    exempt: tuple[str, ...] = LOOPBACK
    """Networks that ``connections_per_peer`` does not hold for: loopback and declared proxies."""
    drain_seconds: float = field(default=10.0, validator=ge(0))
    """How long requests in flight may go on once the server stops."""
    websocket_message_bytes: int = field(default=1_048_576, validator=gt(0))
    stream_heartbeat_seconds: float = field(default=15.0, validator=gt(0))
    stream_recheck_seconds: float = field(default=30.0, validator=gt(0))
    """How often a stream or WebSocket asks whether its credential still holds."""

    def body_budget_seconds(self, expected_bytes: int) -> float:
        """Return how long a body of up to ``expected_bytes`` may take."""
        return self.body_seconds + expected_bytes / self.body_bytes_per_second


@define
class PeerCount:
    """Counts the open connections of each address."""

    limit: int
    exempt: Iterable[str] = LOOPBACK
    _networks: list[IPv4Network | IPv6Network] = field(init=False)
    _open: Counter[str] = field(factory=Counter, init=False)

    def __attrs_post_init__(self) -> None:
        self._networks = [ip_network(text) for text in self.exempt]

    def enter(self, address: str) -> bool:
        """Count one more connection from ``address``; ``False`` (and not counted) over the limit."""
        if self._open[address] >= self.limit and not self._is_exempt(address):
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Forget one connection that `enter` let in."""
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]

    def _is_exempt(self, address: str) -> bool:
        try:
            ip = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(ip, "ipv4_mapped", None)
        if mapped is not None:
            ip = mapped
        return any(ip.version == network.version and ip in network for network in self._networks)


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; return what holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            return soft
        return hard
    return soft
