"""Tells of guests who were cut off: which share, why, how many of them, and how much had passed."""

from collections.abc import Mapping
from typing import Final

from attrs import asdict, define, field, frozen

from appliance.plugin import Core

from .models import SURFACE
from .relay import SessionReport
from .relay.session import ACCESS, EXPIRED, LIMIT, REVOKED

WHY: Final[Mapping[str, str]] = {
    EXPIRED: "it has expired",
    REVOKED: "it was deleted",
    ACCESS: "they may not connect any more",
    LIMIT: "fewer may be connected now",
}
"""Ends that are our doing, in words; all others are the guest's or the worker's own, or a shutdown's."""
ONE_BY_ONE: Final = 10
"""More than so many shares at once are told of in one sentence."""


@frozen(kw_only=True)
class Cut:
    """Guests of one share who were cut off for one reason."""

    connections: int = 0
    bytes_from_guests: int = 0
    bytes_to_guests: int = 0

    def plus(self, other: "Cut") -> "Cut":
        """Return both together."""
        return Cut(
            connections=self.connections + other.connections,
            bytes_from_guests=self.bytes_from_guests + other.bytes_from_guests,
            bytes_to_guests=self.bytes_to_guests + other.bytes_to_guests,
        )


@define(eq=False)
class Cuts:
    """Told of every session's end without waiting; tells the events when asked to."""

    core: Core
    _pending: dict[tuple[str, str], Cut] = field(factory=dict, init=False)

    def note(self, report: SessionReport) -> None:
        """Note the end of a session, if it was cut."""
        if report.reason in WHY:
            one = Cut(connections=1, bytes_from_guests=report.bytes_from_peer, bytes_to_guests=report.bytes_to_peer)
            self._add((report.share_id, report.reason), one)

    def _add(self, key: tuple[str, str], cut: Cut) -> None:
        before = self._pending.get(key)
        self._pending[key] = cut if before is None else before.plus(cut)

    async def tell(self) -> None:
        """Publish what was noted since the last time.

        :raises ApplianceError: an event cannot be stored; what was not told is told the next time.
        """
        pending, self._pending = self._pending, {}
        try:
            if len(pending) > ONE_BY_ONE:
                await self._tell_in_one(pending)
                return
            while pending:
                key = next(iter(pending))
                await self._tell(*key, pending[key])
                del pending[key]
        except BaseException:
            for key, cut in pending.items():
                self._add(key, cut)
            raise

    async def _tell(self, share_id: str, reason: str, cut: Cut) -> None:
        many = "1 connection was" if cut.connections == 1 else f"{cut.connections} connections were"
        size = cut.bytes_from_guests + cut.bytes_to_guests
        words = f"{many} cut from the share {share_id} after {size} bytes: {WHY[reason]}"
        await self._publish(words, {"share_id": share_id, "reason": reason} | asdict(cut))

    async def _tell_in_one(self, cuts: Mapping[tuple[str, str], Cut]) -> None:
        both = Cut()
        for cut in cuts.values():
            both = both.plus(cut)
        shares = len({share_id for share_id, _ in cuts})
        await self._publish(f"{both.connections} connections were cut from {shares} shares", asdict(both))

    async def _publish(self, words: str, facts: Mapping[str, object]) -> None:
        await self.core.events.publish(
            "sharing.share.cut", words, subject=self.core.host_id, source=SURFACE, data=facts
        )
