"""A window of any length as columns: which tier answers it, and how its figures are laid out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

from attrs import field, frozen

from appliance.errors import BadInput
from appliance.series.fields import METRICS
from appliance.series.pack import Layout
from appliance.series.rollup import TIER_SECONDS, TIER_US

MAX_POINTS: Final = 20_000
MAX_FIGURES: Final = 4_000_000
"""Points times columns of a window that is answered from the tier that fits best; a coarser one answers beyond it."""

Figure = Literal["minimum", "maximum", "mean"]
FIGURES: Final[tuple[Figure, ...]] = ("minimum", "maximum", "mean")


def _figures(given: Iterable[Figure]) -> frozenset[Figure]:
    return frozenset(given)


@frozen
class Wanted:
    """A metric of which not every figure is wanted: half of the figures take half of the time."""

    metric: str
    figures: frozenset[Figure] = field(converter=_figures)


@frozen(kw_only=True)
class Devices:
    """The devices that a host had at a point of a window, whether or not they reported anything, in its own order."""

    gpus: Mapping[str, tuple[int, str]]
    """Index and model by GPU id."""
    disks: Sequence[str]
    networks: Sequence[str]
    fans: Sequence[str]


@lru_cache(maxsize=1024)
def devices_of(layout: Layout) -> Devices:
    """Return a layout's devices."""
    gpus, disks, networks, fans = layout.keys
    details = dict(zip(gpus, layout.gpu_details, strict=True))
    return Devices(gpus=details, disks=disks, networks=networks, fans=fans)


@frozen(kw_only=True)
class Column:
    """One metric of the host or of one device, a figure for each of the window's times; ``None`` where not reported.

    Figures that were not asked for (see `Wanted`) are empty.
    """

    metric: str
    """As asked for: ``cpu_percent``, ``gpu.power_watts``."""
    device: str | None
    """GPU id, disk, interface or fan; ``None`` for the host's own."""
    minimum: Sequence[float | None]
    maximum: Sequence[float | None]
    mean: Sequence[float | None]


@frozen(kw_only=True)
class Window:
    """How metrics went over a span of time."""

    from_unix_us: int
    to_unix_us: int
    tier_seconds: int
    """Length of the stored buckets that answered; 0 for raw samples."""
    step_seconds: int
    """Length of each point: the tier's, or a multiple where stored buckets were merged; 0 for raw samples."""
    times_unix_us: Sequence[int]
    """Where each point starts (for raw samples: when it was taken), rising; spans without samples have no point."""
    columns: Sequence[Column]
    devices: Sequence[Devices] = ()
    """For each point what was there, asked for or not: the same object where nothing changed. Empty for values."""
    sample_count: int = 0
    """Samples (for values: values) behind all points together."""

    def column(self, metric: str, device: str | None = None) -> Column | None:
        """Return one column, or ``None`` when nothing of it is stored in this span."""
        return next((each for each in self.columns if each.metric == metric and each.device == device), None)


@frozen
class Choice:
    """A tier that can answer, and how many of its buckets make one point."""

    tier: int
    """-1 is raw."""
    merged: int = 1


def choices(
    from_unix_us: int, to_unix_us: int, *, max_points: int, is_raw_fit: bool, pruned: Sequence[int]
) -> list[Choice]:
    """Return the tiers that can answer within ``max_points``, the best first.

    The finest that still holds the start of the span; failing that, the one that reaches furthest back.

    :param is_raw_fit: whether the raw samples are few enough.
    :param pruned: until when each tier is pruned, raw first.
    """
    span = to_unix_us - from_unix_us
    fitting = [-1] if is_raw_fit else []
    # A span that begins and ends inside a bucket touches two more than it is long.
    fitting += [tier for tier, width in enumerate(TIER_US) if span // width + 2 <= max_points]
    covering = [tier for tier in fitting if pruned[tier + 1] <= from_unix_us]
    others = sorted((tier for tier in fitting if tier not in covering), key=lambda tier: (pruned[tier + 1], tier))
    width = TIER_US[-1]
    merged = 1
    while span // (width * merged) + 2 > max_points:
        merged += max(1, span // (width * max_points) - merged)
    return [*map(Choice, (*covering, *others)), Choice(len(TIER_US) - 1, merged)]


def check_window(metrics: Collection[str | Wanted], from_unix_us: int, to_unix_us: int, max_points: int) -> None:
    """Raise `BadInput` for a window that cannot be answered."""
    for each in metrics:
        metric = each.metric if isinstance(each, Wanted) else each
        if metric not in METRICS:
            raise BadInput(f"there is no metric {metric!r:.80}", hint="see the list of metrics", field="metrics")
    check_span(from_unix_us, to_unix_us, max_points)


def check_span(from_unix_us: int, to_unix_us: int, max_points: int) -> None:
    """Raise `BadInput` for an empty or impossible span."""
    if not 0 <= from_unix_us < to_unix_us < 2**62:
        raise BadInput("the span must begin before it ends, and not before 1970", field="from_unix_s")
    if not 3 <= max_points <= MAX_POINTS:
        raise BadInput(f"a window has 3 to {MAX_POINTS} points", field="max_points")


def tier_seconds(tier: int) -> int:
    """Return the length of a tier's buckets; 0 for raw samples."""
    return TIER_SECONDS[tier] if tier >= 0 else 0
