"""A window of any length as columns: which tier answers it, and how its figures are laid out."""

from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

from attrs import define, field, frozen

from appliance.errors import BadInput
from appliance.series.fields import METRICS
from appliance.series.rollup import (
    HUNDREDTHS,
    TIER_SECONDS,
    TIER_US,
    Bucket,
    BucketDecoder,
    Slot,
    is_wide,
    slots_of,
    unpack_columns,
)

MAX_POINTS: Final = 20_000


@frozen(kw_only=True)
class Column:
    """One metric of the host or of one device, a figure for each of the window's times; ``None`` where not reported."""

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
    from_unix_us: int, to_unix_us: int, *, max_points: int, interval_us: int, pruned: Sequence[int]
) -> list[Choice]:
    """Return the tiers that can answer within ``max_points``, the best first.

    The finest that still holds the start of the span; failing that, the one that reaches furthest back.

    :param interval_us: what usually lies between two raw samples.
    :param pruned: until when each tier is pruned, raw first.
    """
    span = to_unix_us - from_unix_us
    fitting = [-1] if span // interval_us < max_points else []
    # A span that begins and ends inside a bucket touches two more than it is long.
    fitting += [tier for tier, width in enumerate(TIER_US) if span // width + 2 <= max_points]
    covering = [tier for tier in fitting if pruned[tier + 1] <= from_unix_us]
    others = sorted((tier for tier in fitting if tier not in covering), key=lambda tier: (pruned[tier + 1], tier))
    width = TIER_US[-1]
    merged = 1
    while span // (width * merged) + 2 > max_points:
        merged += max(1, span // (width * max_points) - merged)
    return [*map(Choice, (*covering, *others)), Choice(len(TIER_US) - 1, merged)]


def check_window(metrics: Collection[str], from_unix_us: int, to_unix_us: int, max_points: int) -> None:
    """Raise `BadInput` for a window that cannot be answered."""
    for metric in metrics:
        if metric not in METRICS:
            raise BadInput(f"there is no metric {metric!r:.80}", hint="see the list of metrics", field="metrics")
    check_span(from_unix_us, to_unix_us, max_points)


def check_span(from_unix_us: int, to_unix_us: int, max_points: int) -> None:
    """Raise `BadInput` for an empty or impossible span."""
    if not 0 <= from_unix_us < to_unix_us < 2**62:
        raise BadInput("the span must begin before it ends, and not before 1970", field="from_unix_s")
    if not 3 <= max_points <= MAX_POINTS:
        raise BadInput(f"a window has 3 to {MAX_POINTS} points", field="max_points")


_ABSENT: Final = -1
"""Place of what is not there: the last of each point's figures, which is ``None``."""


@define
class Gatherer:
    """Collects points one by one and turns them into the columns that were asked for."""

    metrics: Collection[str]
    devices: Collection[str] | None
    _times: list[int] = field(factory=list, init=False)
    _points: list[tuple[Any, tuple[Slot, ...], bytes | None, int, Sequence[float | None]]] = field(
        factory=list, init=False
    )
    _slots: dict[Slot, None] = field(factory=dict, init=False)
    _seen: set[int] = field(factory=set, init=False)
    _layouts: list[tuple[Slot, ...]] = field(factory=list, init=False)

    def add_packed(self, at_unix_us: int, blob: bytes, decoder: BucketDecoder) -> None:
        """Add a stored bucket without taking it apart."""
        present, counted, values = unpack_columns(blob, decoder)
        key = (id(decoder.slots), present, counted)
        self._add(at_unix_us, key, decoder.slots, present, counted, values)

    def add_bucket(self, at_unix_us: int, bucket: Bucket) -> None:
        """Add a bucket folded just now."""
        slots = slots_of(bucket.layout)
        values = [*bucket.minima, *bucket.maxima, *bucket.means]
        self._add(at_unix_us, (id(slots), None, 0), slots, None, 0, values)

    def add_raw(self, at_unix_us: int, slots: tuple[Slot, ...], vector: Sequence[float | None]) -> None:
        """Add a raw sample's vector."""
        self._add(at_unix_us, (id(slots), None, -1), slots, None, -1, vector)

    def _add(
        self,
        at_unix_us: int,
        key: Any,
        slots: tuple[Slot, ...],
        present: bytes | None,
        counted: int,
        values: Sequence[float | None],
    ) -> None:
        if id(slots) not in self._seen:
            self._seen.add(id(slots))
            self._layouts.append(slots)  # kept alive, for its id is its name here
            self._slots.update(dict.fromkeys(slot for slot in slots if self._is_wanted(slot)))
        self._times.append(at_unix_us)
        self._points.append((key, slots, present, counted, values))

    def _is_wanted(self, slot: Slot) -> bool:
        kind, device, name = slot
        metric = f"{kind}.{name}" if kind else name
        return (not self.metrics or metric in self.metrics) and (
            not kind or self.devices is None or device in self.devices
        )

    def __len__(self) -> int:
        return len(self._times)

    def columns(self) -> tuple[list[int], list[Column]]:
        """Return the times and a column for each wanted slot that any point knows."""
        wanted = list(self._slots)
        if not wanted:
            return self._times, []
        pickers: dict[Any, Callable[[Any], tuple[Any, ...]]] = {}
        picked = []
        is_raw = False
        for key, slots, present, counted, values in self._points:
            picker = pickers.get(key)
            if picker is None:
                pickers[key] = picker = _picker(wanted, slots, present, counted)
            is_raw = counted < 0
            picked.append(picker((*values, None)))
        figures: Iterable[tuple[Any, ...]] = zip(*picked, strict=True)
        each = iter([list(column) for column in figures])
        columns = []
        for kind, device, name in wanted:
            low, high, mean = next(each), next(each), next(each)
            if not (is_raw or is_wide(name)):
                low, high, mean = _decimals(low), _decimals(high), _decimals(mean)
            metric = f"{kind}.{name}" if kind else name
            columns.append(Column(metric=metric, device=device or None, minimum=low, maximum=high, mean=mean))
        return self._times, columns


def _decimals(column: list[Any]) -> list[float | None]:
    if None in column:
        return [None if value is None else value / HUNDREDTHS for value in column]
    return [value / HUNDREDTHS for value in column]


def _picker(
    wanted: Sequence[Slot], slots: tuple[Slot, ...], present: bytes | None, counted: int
) -> Callable[[Any], tuple[Any, ...]]:
    """Return what takes the wanted figures out of a point: minimum, maximum, mean of each slot in turn."""
    there = [slot for place, slot in enumerate(slots) if present is None or present[place]]
    at = {slot: place for place, slot in enumerate(there)}
    width = 0 if counted < 0 else len(there)
    places = []
    for slot in wanted:
        place = at.get(slot)
        places += [_ABSENT] * 3 if place is None else [max(counted, 0) + place + column * width for column in range(3)]
    return itemgetter(*places)


def tier_seconds(tier: int) -> int:
    """Return the length of a tier's buckets; 0 for raw samples."""
    return TIER_SECONDS[tier] if tier >= 0 else 0
