"""The buckets that are still open, kept in memory by whoever writes.

An open bucket is a function of the rows in its span, so memory is only a shorter way to it: a level that is not known
(after a start, after a rollback, after a late sample) is read from the rows once it closes. Nothing here is ever
needed again after a crash.
"""

from collections.abc import Callable, Iterator
from typing import Final

from attrs import define, field

from appliance.series.pack import Row
from appliance.series.rates import Pace, Rates
from appliance.series.rollup import TIER_US, Bucket, Part, close, combine, compact, floor, part_of_vector, values_of

PARTS_MAX: Final = 4
"""Samples kept apart in the finest level until they are added together."""

Reload = Callable[[int, int], Bucket | None]
"""Folds the bucket of a tier at a start from what is stored."""


@define
class OpenBuckets:
    """What one series needs to close its buckets: its newest sample, and the parts of each open bucket.

    Adding is exact in whatever groups it is done, so a level is one part, and small: there are thousands of series.
    """

    series_id: int
    newest: Row | None
    """``None`` when nothing is stored yet."""
    pace: Pace | None = None
    """``None`` when it has to be read from the rows first."""
    _levels: list[list[Part] | None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        # Of a series without samples everything is known: nothing.
        self._levels = [[] if self.newest is None else None for _ in TIER_US]

    def add(self, row: Row, rates: Rates, reload: Reload) -> Iterator[tuple[int, int, Bucket]]:
        """Add a sample later than all others; yield (tier, start, bucket) of each bucket that it closes.

        Take all that it yields, in order: each must be stored before the next is asked for, since one of the next
        tier may be folded from it.
        """
        before = self.newest
        if before is not None:
            yield from self._close(before.at_unix_us, row.at_unix_us, reload)
        finest = self._levels[0]
        if finest is not None:
            finest.append(part_of_vector(row.layout, values_of(row, rates)))
            if len(finest) >= PARTS_MAX:
                finest[:] = [compact(combine(finest))]
        self.newest = row
        if self.pace is not None:
            self.pace.add(row.at_unix_us)

    def _close(self, newest_unix_us: int, at_unix_us: int, reload: Reload) -> Iterator[tuple[int, int, Bucket]]:
        for tier in range(len(TIER_US)):
            start = floor(newest_unix_us, tier)
            if start == floor(at_unix_us, tier):
                return
            parts = self._levels[tier]
            bucket = close(combine(parts)) if parts else reload(tier, start)
            self._levels[tier] = []
            if bucket is None:
                continue
            yield tier, start, bucket
            above = self._levels[tier + 1] if tier + 1 < len(TIER_US) else None
            if above is not None:
                above[:] = [compact(combine([*above, bucket.part()]))]

    def doubt(self) -> None:
        """Take no level from memory that something else has changed: read each anew when it closes."""
        self._levels = [None for _ in TIER_US]
        self.pace = None
