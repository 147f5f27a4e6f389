"""One share at the relay: its terms, its port, its live sessions and its counters."""

from attrs import define, field

from .access import address_of
from .ports import Listening
from .reports import ShareCounts, ShareReport
from .session import ACCESS, EXPIRED, LIMIT, NO_TARGET, Session
from .terms import Terms


@define(eq=False)
class LiveShare:
    """What the relay knows of a share. Decisions only: it opens and closes nothing."""

    terms: Terms
    listening: Listening | None = None
    problem: str = ""
    port: int | None = None
    """Where it listens, or listened last: taken again if it is free."""
    tried_ports: int = 0
    """Of the range, without success, since it last listened."""
    counts: ShareCounts = field(factory=ShareCounts)
    sessions: dict[Session, None] = field(factory=dict)
    """In the order they were opened."""

    def refuse(self, address: str, *, now_unix_us: int) -> str:
        """Return why an address may not connect now; empty when it may."""
        if self.terms.is_over(now_unix_us):
            return EXPIRED
        if not self.terms.access.admits(address_of(address), now_unix_us=now_unix_us):
            return ACCESS
        if self.terms.connections_max is not None and len(self.sessions) >= self.terms.connections_max:
            return LIMIT
        return "" if self.terms.target is not None else NO_TARGET

    def supersede(self, terms: Terms, *, now_unix_us: int) -> dict[Session, str]:
        """Take new terms; return the live sessions that they end, each with the reason.

        Of too many the newest go. Sessions are asked again who they are only if the rule itself has changed.
        """
        before, self.terms = self.terms, terms
        if terms.is_over(now_unix_us):
            return dict.fromkeys(self.sessions, EXPIRED)
        cut: dict[Session, str] = {}
        if terms.access != before.access:
            for one in self.sessions:
                if not terms.access.admits(address_of(one.address), now_unix_us=now_unix_us):
                    cut[one] = ACCESS
        left = [one for one in self.sessions if one not in cut]
        if terms.connections_max is not None:
            cut |= dict.fromkeys(left[terms.connections_max :], LIMIT)
        return cut

    def report(self) -> ShareReport:
        """Return a copy of its counters, at any time and from any thread."""
        counts = self.counts
        return ShareReport(
            share_id=self.terms.share_id,
            port=self.listening.port if self.listening else None,
            problem=self.problem,
            connections_live=len(self.sessions),
            connections_total=counts.connections_total,
            bytes_from_peer=counts.bytes_from_peer,
            bytes_to_peer=counts.bytes_to_peer,
            last_active_at_unix_us=counts.last_active_at_unix_us,
            refused=dict(counts.refused),
            ended=dict(counts.ended),
            peers=tuple(one.report() for one in list(counts.peers.values())),
        )
