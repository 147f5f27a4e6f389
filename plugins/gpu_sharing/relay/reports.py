"""What has passed through the relay: counters that only its task writes, and the copies that anyone may read."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from attrs import define, field, frozen

PEERS_MAX: Final = 1024
"""Addresses remembered per share; one without a connection is forgotten for a new one, its bytes stay in the total."""


@frozen(kw_only=True)
class SessionReport:
    """One connection, live or just ended."""

    share_id: str
    address: str
    port: int
    opened_at_unix_us: int
    last_active_at_unix_us: int
    """When bytes passed last, either way; when it was opened while none has."""
    ended_at_unix_us: int | None
    reason: str
    """Why it ended, a word of `plugins.gpu_sharing.relay.session`; empty while it lives."""
    bytes_from_peer: int
    bytes_to_peer: int


@frozen(kw_only=True)
class PeerReport:
    """What one address has done at one share."""

    address: str
    first_seen_at_unix_us: int
    last_active_at_unix_us: int
    connections_live: int
    connections_total: int
    bytes_from_peer: int
    bytes_to_peer: int


@frozen(kw_only=True)
class ShareReport:
    """What has passed through one share since the relay was first told of it."""

    share_id: str
    port: int | None
    """Where it listens; ``None`` while it does not: over, or without a free port."""
    problem: str
    """Why it does not listen though it should, in plain words; empty while all is well."""
    connections_live: int
    connections_total: int
    bytes_from_peer: int
    bytes_to_peer: int
    last_active_at_unix_us: int | None
    refused: Mapping[str, int]
    """Connections that never reached the worker, by reason."""
    ended: Mapping[str, int]
    """Sessions that have ended, by reason."""
    peers: tuple[PeerReport, ...]
    """In the order of their newest connection, oldest first."""


@define(eq=False)
class PeerCounts:
    """The counters of one address."""

    address: str
    first_seen_at_unix_us: int
    last_active_at_unix_us: int
    connections_live: int = 0
    connections_total: int = 0
    bytes_from_peer: int = 0
    bytes_to_peer: int = 0

    def report(self) -> PeerReport:
        """Return a copy."""
        return PeerReport(
            address=self.address,
            first_seen_at_unix_us=self.first_seen_at_unix_us,
            last_active_at_unix_us=self.last_active_at_unix_us,
            connections_live=self.connections_live,
            connections_total=self.connections_total,
            bytes_from_peer=self.bytes_from_peer,
            bytes_to_peer=self.bytes_to_peer,
        )


@define(eq=False)
class ShareCounts:
    """The counters of one share."""

    connections_total: int = 0
    bytes_from_peer: int = 0
    bytes_to_peer: int = 0
    last_active_at_unix_us: int | None = None
    refused: Counter[str] = field(factory=Counter)
    ended: Counter[str] = field(factory=Counter)
    peers: dict[str, PeerCounts] = field(factory=dict)

    def admit(self, address: str, *, now_unix_us: int) -> PeerCounts:
        """Count a connection that has reached the worker; return its address's counters."""
        peer = self.peers.pop(address, None)
        if peer is None:
            self._make_room()
            peer = PeerCounts(address, now_unix_us, now_unix_us)
        self.peers[address] = peer  # at the end: what comes first is forgotten first
        peer.connections_live += 1
        peer.connections_total += 1
        peer.last_active_at_unix_us = now_unix_us
        self.connections_total += 1
        self.last_active_at_unix_us = now_unix_us
        return peer

    def carried(self, peer: PeerCounts, *, from_peer: int, to_peer: int, now_unix_us: int) -> None:
        """Count bytes that have been handed on."""
        peer.bytes_from_peer += from_peer
        peer.bytes_to_peer += to_peer
        peer.last_active_at_unix_us = now_unix_us
        self.bytes_from_peer += from_peer
        self.bytes_to_peer += to_peer
        self.last_active_at_unix_us = now_unix_us

    def _make_room(self) -> None:
        if len(self.peers) >= PEERS_MAX:
            idle = next((one.address for one in self.peers.values() if not one.connections_live), None)
            if idle is not None:
                del self.peers[idle]
