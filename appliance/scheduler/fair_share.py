"""Who has had how much: use of cores and GPUs per owner, forgotten by half every day."""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import define, field, frozen

from appliance.jobs import Needs

HALF_LIFE_SECONDS: Final = 86_400.0
GPU_IN_MILLICORES: Final = 16_000
"""A whole GPU weighs as much as so many thousandths of a core."""

LEAST_MILLICORES: Final = 100
"""What a job that asks for nothing is taken to use."""
TOLERATED_SHARES: Final = 1.5
FORGOTTEN_MILLICORE_SECONDS: Final = 1000.0


def weight(needs: Needs) -> int:
    """Return what a job uses in each second, in thousandths of a core."""
    return max(LEAST_MILLICORES, needs.millicores + needs.milli_gpu * GPU_IN_MILLICORES // 1000)


@frozen(kw_only=True)
class Used:
    """One owner's use, as it is stored and shown."""

    owner: str
    millicore_seconds: float
    at_unix_us: int
    """When it was that much."""


@define
class FairShare:
    """Decayed use per owner. What runs now is not in it: `decide` adds that."""

    _used: dict[str, tuple[float, int]] = field(factory=dict, init=False)

    def charge(self, owner: str, needs: Needs, seconds: float, *, now_unix_us: int) -> None:
        """Add what an ended attempt used."""
        before = _decayed(*self._used.get(owner, (0.0, now_unix_us)), now_unix_us)
        self._used[owner] = (before + weight(needs) * max(0.0, seconds), now_unix_us)

    def now(self, now_unix_us: int) -> Mapping[str, float]:
        """Return everybody's use in millicore-seconds, decayed until now; forgets what is next to nothing."""
        current = {owner: _decayed(used, at, now_unix_us) for owner, (used, at) in self._used.items()}
        for owner in [owner for owner, used in current.items() if used < FORGOTTEN_MILLICORE_SECONDS]:
            del self._used[owner]
        return current

    def rows(self) -> list[Used]:
        """Return what to store."""
        return [Used(owner=owner, millicore_seconds=used, at_unix_us=at) for owner, (used, at) in self._used.items()]

    @classmethod
    def restored(cls, rows: Iterable[Used]) -> "FairShare":
        """Return what was stored."""
        share = cls()
        share._used = {row.owner: (row.millicore_seconds, row.at_unix_us) for row in rows}
        return share


def _decayed(used: float, at_unix_us: int, now_unix_us: int) -> float:
    # A clock that was set back lets nothing grow.
    return used * math.exp2(-max(0, now_unix_us - at_unix_us) / 1e6 / HALF_LIFE_SECONDS)


def bands(used: Mapping[str, float], owners: Iterable[str]) -> dict[str, int]:
    """Return how far each of ``owners`` is over its equal share of what they used together.

    0: up to one and a half times the share; then one more for every doubling. Within a band deadlines decide.
    """
    amounts = {owner: used.get(owner, 0.0) for owner in owners}
    share = sum(amounts.values()) / max(1, len(amounts))
    if share <= 0.0:
        return dict.fromkeys(amounts, 0)
    return {owner: _band(amount / share) for owner, amount in amounts.items()}


def _band(shares: float) -> int:
    return 0 if shares <= TOLERATED_SHARES else 1 + int(math.log2(shares / TOLERATED_SHARES))
