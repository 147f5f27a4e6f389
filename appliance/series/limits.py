"""What series accept and for how long they keep it."""

from typing import Final

from attrs import field, frozen
from attrs.validators import ge

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US

FUTURE_SECONDS: Final = 60
"""A sample stamped further ahead of our clock than this is refused."""

RATE_GAP_SECONDS: Final = 300
"""The longest gap that yields a rate while a host's usual interval is not known yet."""

MAX_MAGNITUDE: Final = 2**53
"""No real gauge is beyond this (8 PiB of memory); a number beyond it counts as not reported."""

MAX_COUNTER: Final = 2**63 - 1

MAX_DEVICES: Final = 256
"""Devices of one kind in one sample."""

MAX_KEY_CHARACTERS: Final = 200
"""Length of a device's or a value's name."""


@frozen(kw_only=True)
class Retention:
    """How long each tier is kept, and how large the database may grow.

    Raw samples are kept at least two hours whatever the budget says, since open buckets are built from them.
    """

    raw_hours: float = field(default=48.0, validator=ge(2))
    ten_seconds_days: float = field(default=7.0, validator=ge(1))
    one_minute_days: float = field(default=31.0, validator=ge(1))
    ten_minutes_days: float = field(default=366.0, validator=ge(1))
    one_hour_days: float = field(default=1830.0, validator=ge(1))
    disk_budget_bytes: int = field(default=20 * 2**30, validator=ge(64 * 2**20))
    """Used pages of the database; above it the oldest raw samples go first, then the finest tiers."""

    def kept_us(self, tier: int) -> int:
        """Return the age in microseconds up to which a tier is kept; -1 is raw, 0 the finest rollup.

        Never less than the tiers below it, of which its open and late buckets are built.
        """
        days = (
            self.raw_hours / 24,
            self.ten_seconds_days,
            self.one_minute_days,
            self.ten_minutes_days,
            self.one_hour_days,
        )
        return int(max(days[: tier + 2]) * DAY_US)
