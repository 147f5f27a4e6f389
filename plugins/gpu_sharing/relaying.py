"""The shares of this host's own workers at the relay: who may connect, where to, and until when."""

from collections.abc import Callable
from typing import Final

import structlog
from attrs import define, field

from appliance.plugin import Core

from . import store
from .addresses import own_addresses
from .book import Book
from .cuts import Cuts
from .models import Agent, Share, Worker
from .relay import Access, Anyone, Networks, Redeemed, Relay, ShareReport, Terms, address_of
from .settings import SharingSettings, read_ports
from .state import Passed

log = structlog.get_logger(__name__)

ENTRANCE_HOSTS: Final = ("127.0.0.1",)
"""A worker's own port is for its owner, on this host alone."""
HOUR_SECONDS: Final = 3600.0
US: Final = 1_000_000

Target = Callable[[str], tuple[str, int] | None]
"""Returns where a worker of this host answers now; ``None`` while it does not run."""


@define(eq=False)
class Relaying:
    """Tells the relay what to serve."""

    core: Core
    settings: SharingSettings
    book: Book
    target: Target
    relay: Relay = field(init=False)
    entrances: Relay = field(init=False)
    """Of the workers' own ports."""
    cuts: Cuts = field(init=False)
    _redeemed: dict[str, Redeemed] = field(factory=dict, init=False)
    _noted: dict[str, list[tuple[str, int]]] = field(factory=dict, init=False)
    _targets: dict[str, tuple[tuple[str, int] | None, int]] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        ports = read_ports(self.settings.relay_ports)
        self.cuts = Cuts(self.core)
        self.relay = Relay(ports=ports, now=self.core.now, on_ended=self.cuts.note)
        self.entrances = Relay(ports=ports, hosts=ENTRANCE_HOSTS, now=self.core.now, name="worker-entrances")
        since = self.core.now() - int(self.settings.redeemed_hours * HOUR_SECONDS * US)
        for share_id, address, at in self.core.database.read_now(lambda conn: store.redemptions(conn, since)):
            self._noted.setdefault(share_id, []).append((address, at))

    def serve(self, share: Share) -> int | None:
        """Serve a share of a worker of this host, or serve it on new terms; return its port, if it has one."""
        return self.relay.put(
            Terms(
                share_id=share.share_id,
                target=self.target(share.worker_id),
                access=self._access(share),
                expires_at_unix_us=share.expires_unix_us,
                connections_max=share.max_connections or self.settings.relay_connections,
                port=share.relay_port,
            )
        )

    def _access(self, share: Share) -> Access:
        match share.access or self.settings.relay_access:
            case "open":
                return Anyone()
            case "cidr":
                return Networks(share.networks or self.settings.relay_networks)
            case _:
                known = self._redeemed.get(share.share_id)
                if known is None:
                    known = Redeemed(hold_seconds=self.settings.redeemed_hours * HOUR_SECONDS)
                    for address, at in self._noted.pop(share.share_id, []):
                        known.note(address, at_unix_us=at)
                    self._redeemed[share.share_id] = known
                return known

    def redeemed(self, share: Share, address: str) -> None:
        """Let an address in that has followed a share's link; from this host it may be any of this host's."""
        known = self._redeemed.get(share.share_id)
        if known is None:
            return
        here = own_addresses() if address_of(address).is_loopback else ()
        for each in (address, *here):
            known.note(each, at_unix_us=self.core.now())

    def withdraw(self, share_id: str) -> ShareReport | None:
        """Serve a share no longer; its live sessions are cut. Return what had passed through it."""
        self._redeemed.pop(share_id, None)
        return self.relay.remove(share_id)

    def passed(self, share: Share) -> Passed:
        """Return what has passed through a share since the start."""
        report = self.relay.report(share.share_id)
        if report is None:
            return Passed()
        return Passed(
            connections_live=report.connections_live,
            bytes_total=report.bytes_from_peer + report.bytes_to_peer,
            problem=report.problem,
        )

    async def follow(self, agent: Agent) -> None:
        """Serve the local agent's workers where they answer now, and tell of who was cut off.

        Called again and again.
        """
        for worker in agent.workers.values():
            target = self.target(worker.worker_id)
            if self._targets.get(worker.worker_id) == (target, worker.listen_port):
                continue
            self._targets[worker.worker_id] = target, worker.listen_port
            self._enter(worker, target)
            for share in self.book.shares_of(worker.worker_id):
                await self.place(share)
        for worker_id in self._targets.keys() - agent.workers.keys():
            del self._targets[worker_id]
            self.entrances.remove(worker_id)
        await self.cuts.tell()

    async def place(self, share: Share) -> None:
        """Serve a share; note its port where that is another one than before."""
        if self.book.by_code(share.short_code) is not share:  # deleted while those before it were placed
            return
        port = self.serve(share)
        if port is not None and port != share.relay_port:
            log.info("share.port", share=share.share_id, port=port, before=share.relay_port)
            share.relay_port = port
            await self.book.store_share(share)

    def _enter(self, worker: Worker, target: tuple[str, int] | None) -> None:
        """Open a worker's own port to its owner on this host."""
        if target is None:
            self.entrances.remove(worker.worker_id)
            return
        self.entrances.remove(worker.worker_id)
        port = self.entrances.put(
            Terms(share_id=worker.worker_id, target=target, access=Anyone(), port=worker.listen_port)
        )
        if port != worker.listen_port:  # something else of this host listens there
            self.entrances.remove(worker.worker_id)
            log.warning("worker.port_is_taken", worker=worker.worker_id, port=worker.listen_port)
