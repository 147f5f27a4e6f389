"""Who has had how much: use of cores and GPUs per owner, forgotten by half every day."""

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import define, frozen

from appliance.jobs import Needs

HALF_LIFE_SECONDS: Final = 86_400.0
GPU_IN_MILLICORES: Final = 16_000
"""A whole GPU weighs as much as so many thousandths of a core."""


def weight(needs: Needs) -> int:
    """Return what a job uses in each second, in thousandths of a core."""
    return needs.millicores + needs.milli_gpu * GPU_IN_MILLICORES // 1000


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

    def charge(self, owner: str, needs: Needs, seconds: float, *, now_unix_us: int) -> None:
        """Add what an ended attempt used."""
        raise NotImplementedError

    def now(self, now_unix_us: int) -> Mapping[str, float]:
        """Return everybody's use in millicore-seconds, decayed until now."""
        raise NotImplementedError

    def rows(self) -> list[Used]:
        """Return what to store."""
        raise NotImplementedError

    @classmethod
    def restored(cls, rows: Iterable[Used]) -> "FairShare":
        """Return what was stored."""
        raise NotImplementedError


def bands(used: Mapping[str, float], owners: Iterable[str]) -> dict[str, int]:
    """Return how far each of ``owners`` is over its equal share of what they used together.

    0: up to one and a half times the share; then one more for every doubling. Within a band deadlines decide.
    """
    raise NotImplementedError
