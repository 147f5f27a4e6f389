"""A window of any length as columns: which tier answers it, and how its figures are laid out."""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import repeat
from operator import itemgetter, truediv
from typing import Any, Final

from attrs import define, field, frozen

from appliance.errors import BadInput
from appliance.series.fields import METRICS
from appliance.series.packed import BucketDecoder, head_size, picking_struct, unpack
from appliance.series.rollup import HUNDREDTHS, TIER_SECONDS, TIER_US, Bucket, Slot, full, is_wide, slots_of

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


Take = Callable[[Any], tuple[Any, ...]]
"""Takes the wanted figures out of a point or a stored bucket: all minima, then all maxima, then all means."""


@define
class Gatherer:
    """Collects points one by one and turns them into the columns that were asked for."""

    metrics: Collection[str]
    devices: Collection[str] | None
    _times: list[int] = field(factory=list, init=False)
    _points: list[tuple[tuple[Slot, ...], BucketDecoder | None, Any]] = field(factory=list, init=False)
    _layouts: dict[int, tuple[Slot, ...]] = field(factory=dict, init=False)
    """Slots by their id; they are kept alive here, so the id is theirs."""
    _is_raw: bool = field(default=False, init=False)

    def add_packed(self, at_unix_us: int, blob: bytes, decoder: BucketDecoder) -> None:
        """Add a stored bucket without taking it apart."""
        self._add(at_unix_us, decoder.slots, decoder, blob)

    def add_bucket(self, at_unix_us: int, bucket: Bucket) -> None:
        """Add a bucket folded just now."""
        columns = (bucket.minima, bucket.maxima, bucket.means)
        point = [figure for column in columns for figure in full(column, bucket.present)]
        self._add(at_unix_us, slots_of(bucket.layout), None, point)

    def add_raw(self, at_unix_us: int, slots: tuple[Slot, ...], vector: Sequence[float | None]) -> None:
        """Add a raw sample's vector."""
        self._is_raw = True
        self._add(at_unix_us, slots, None, (*vector, *vector, *vector))

    def _add(self, at_unix_us: int, slots: tuple[Slot, ...], decoder: BucketDecoder | None, point: Any) -> None:
        self._layouts[id(slots)] = slots
        self._times.append(at_unix_us)
        self._points.append((slots, decoder, point))

    def _is_wanted(self, slot: Slot) -> bool:
        kind, device, name = slot
        metric = f"{kind}.{name}" if kind else name
        return (not self.metrics or metric in self.metrics) and (
            not kind or self.devices is None or device in self.devices
        )

    def __len__(self) -> int:
        return len(self._times)

    def columns(self) -> tuple[list[int], list[Column]]:
        """Return the times and a column for each wanted slot that any point knows; raises `UnknownFormat`."""
        met = dict.fromkeys(slot for slots in self._layouts.values() for slot in slots)
        wanted = [slot for slot in met if self._is_wanted(slot)]
        if not wanted:
            return self._times, []
        figures = [list(column) for column in zip(*self._taken(wanted), strict=True)]
        width, columns = len(wanted), []
        for place, (kind, device, name) in enumerate(wanted):
            three = [figures[place], figures[place + width], figures[place + 2 * width]]
            if not (self._is_raw or is_wide(name)):
                three = [_decimals(column) for column in three]
            low, high, mean = three
            metric = f"{kind}.{name}" if kind else name
            columns.append(Column(metric=metric, device=device or None, minimum=low, maximum=high, mean=mean))
        return self._times, columns

    def _taken(self, wanted: Sequence[Slot]) -> Iterator[tuple[Any, ...]]:
        takes: dict[Any, Take] = {}
        for slots, decoder, point in self._points:
            if decoder is None:
                take = takes.get(id(slots))
                if take is None:
                    takes[id(slots)] = take = _take_places(slots, wanted)
                yield take((*point, None))
                continue
            size = head_size(decoder)
            key = id(slots), point[:size]
            take = takes.get(key)
            if take is None:
                takes[key] = take = _take_packed(point[:size], decoder, wanted)
            yield take(point)


def _take_places(slots: Sequence[Slot], wanted: Sequence[Slot]) -> Take:
    """Return what takes figures from a sequence of three times all slots, and ``None`` at its end."""
    at, width = {slot: place for place, slot in enumerate(slots)}, len(slots)
    places = [at.get(slot) for slot in wanted]
    return itemgetter(*[-1 if place is None else place + column * width for column in range(3) for place in places])


def _take_packed(head: bytes, decoder: BucketDecoder, wanted: Sequence[Slot]) -> Take:
    """Return what takes figures from packed columns, passing over those that nobody wants."""
    packer, there = picking_struct(head, decoder, frozenset(wanted))
    size = len(head)
    if not there:
        return lambda _: (None,) * (3 * len(wanted))
    if there == list(wanted):
        return lambda blob: unpack(blob, size, packer)
    order = _take_places(there, wanted)
    return lambda blob: order((*unpack(blob, size, packer), None))


def _decimals(column: list[Any]) -> list[float | None]:
    if None in column:
        return [None if value is None else value / HUNDREDTHS for value in column]
    return list(map(truediv, column, repeat(HUNDREDTHS)))


def tier_seconds(tier: int) -> int:
    """Return the length of a tier's buckets; 0 for raw samples."""
    return TIER_SECONDS[tier] if tier >= 0 else 0
