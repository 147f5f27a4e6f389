"""Gathers the points of a window and takes out of each only the figures that are wanted.

A chart wants a tenth of what a bucket holds, and half of its minima, maxima and means: stored buckets are unpacked at
those places alone, and the rates of raw samples are derived only for the kinds of devices whose rates are wanted.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from itertools import repeat
from operator import itemgetter, truediv
from typing import Any, Final

from attrs import define, field

from appliance.series.fields import KINDS
from appliance.series.pack import Layout, Row, intern_layout
from appliance.series.packed import BucketDecoder, head_size, picking_struct, unpack
from appliance.series.rates import rates_of
from appliance.series.rollup import HOST_SLOTS, HUNDREDTHS, Bucket, Slot, full, is_wide, slots_of
from appliance.series.window import FIGURES, Column, Devices, Figure, Wanted, devices_of

Pick = tuple[int, Slot]
"""One figure of one slot: its place in `FIGURES`, and the slot."""
Take = Callable[[Any], tuple[Any, ...]]
"""Takes the picked figures out of a point or a stored bucket."""

_ALL: Final = frozenset(FIGURES)
_NONE: Final[Set[Figure]] = frozenset()


_Point = tuple[tuple[Slot, ...], BucketDecoder | None, Any]
"""Slots, and a decoder with a stored bucket; without one the figures: three times the slots, a raw sample's once."""


@define
class Gatherer:
    """Collects points one by one and turns them into the columns that were asked for."""

    metrics: Collection[str | Wanted]
    """All of them when empty."""
    devices: Collection[str] | None
    """Restricts device metrics to these."""
    times: list[int] = field(factory=list, init=False)
    devices_met: list[Devices] = field(factory=list, init=False)
    sample_count: int = field(default=0, init=False)
    _points: list[_Point] = field(factory=list, init=False)
    _layouts: dict[int, tuple[Slot, ...]] = field(factory=dict, init=False)
    """Slots by their id; they are kept alive here, so the id is theirs."""
    _is_raw: bool = field(default=False, init=False)
    _wanted: Mapping[str, Set[Figure]] = field(init=False)
    _rated: tuple[int, int] = field(init=False)
    """From and before which of `KINDS` rates are wanted."""
    _before: tuple[Row, Row] | None = field(default=None, init=False)
    """The last raw sample, whole and with the counters that are needed."""

    def __attrs_post_init__(self) -> None:
        self._wanted = dict(
            (each.metric, each.figures) if isinstance(each, Wanted) else (each, _ALL) for each in self.metrics
        )
        rated = [
            place for place, kind in enumerate(KINDS) if not self._wanted or self._wanted.keys() & _rates_of(place)
        ]
        self._rated = (rated[0], rated[-1] + 1) if rated else (0, 0)

    def __len__(self) -> int:
        return len(self.times)

    # -- points

    def add_packed(self, at_unix_us: int, sample_count: int, blob: bytes, decoder: BucketDecoder) -> None:
        """Add a stored bucket without taking it apart."""
        self._add(at_unix_us, sample_count, decoder.layout, (decoder.slots, decoder, blob))

    def add_bucket(self, at_unix_us: int, bucket: Bucket) -> None:
        """Add a bucket folded just now."""
        columns = (bucket.minima, bucket.maxima, bucket.means)
        point = [figure for column in columns for figure in full(column, bucket.present)]
        self._add(at_unix_us, bucket.sample_count, bucket.layout, (slots_of(bucket.layout), None, point))

    def add_raw(self, near: Row | None, row: Row) -> None:
        """Add a raw sample; ``near`` is the one before it if it is near enough for rates."""
        self._is_raw = True
        slots, counters, layout = _needed(row.layout, self._rated)
        known = self._before
        before = known[1] if known is not None and known[0] is near else _trimmed(near, self._rated)
        trimmed = _counters_of(row, counters, layout)
        self._before = row, trimmed
        rates = rates_of(before, trimmed)
        values = (*row.host_gauges, *rates.host_values, *row.gauges, *rates.device_values)
        self._add(row.at_unix_us, 1, row.layout, (slots, None, values))

    def _add(self, at_unix_us: int, sample_count: int, layout: Layout, point: _Point) -> None:
        self._layouts[id(point[0])] = point[0]
        self.times.append(at_unix_us)
        self.devices_met.append(devices_of(layout))
        self.sample_count += sample_count
        self._points.append(point)

    # -- columns

    @property
    def figure_count(self) -> int:
        """How many figures `columns` would return."""
        return len(self.times) * sum(len(self._figures(slot)) for slot in self._met())

    def _met(self) -> list[Slot]:
        met = dict.fromkeys(slot for slots in self._layouts.values() for slot in slots)
        return [slot for slot in met if self._figures(slot)]

    def _figures(self, slot: Slot) -> Set[Figure]:
        kind, device, _ = slot
        if kind and self.devices is not None and device not in self.devices:
            return _NONE
        return self._wanted.get(_metric(slot), _NONE) if self._wanted else _ALL

    def columns(self) -> list[Column]:
        """Return a column for each wanted slot that any point knows; raises `UnknownFormat`."""
        slots = self._met()
        figures: dict[Pick, Sequence[float | None]] = {}
        if self._is_raw:  # one reading is its own minimum, maximum and mean
            taken = self._taken([(0, slot) for slot in slots])
            figures = {(place, slot): column for slot, column in zip(slots, taken, strict=True) for place in range(3)}
        else:
            picks = [
                (place, slot) for place, name in enumerate(FIGURES) for slot in slots if name in self._figures(slot)
            ]
            for pick, column in zip(picks, self._taken(picks), strict=True):
                figures[pick] = column if is_wide(pick[1][2]) else _decimals(column)
        return [self._column(slot, figures) for slot in slots]

    def _column(self, slot: Slot, figures: Mapping[Pick, Sequence[float | None]]) -> Column:
        wanted = self._figures(slot)
        low, high, mean = (figures[place, slot] if name in wanted else () for place, name in enumerate(FIGURES))
        return Column(metric=_metric(slot), device=slot[1] or None, minimum=low, maximum=high, mean=mean)

    def _taken(self, picks: Sequence[Pick]) -> Iterable[list[Any]]:
        return [list(column) for column in zip(*self._each_taken(picks), strict=True)] if picks else []

    def _each_taken(self, picks: Sequence[Pick]) -> Iterator[tuple[Any, ...]]:
        takes: dict[Any, Take] = {}
        for slots, decoder, data in self._points:
            if decoder is None:
                take = takes.get(id(slots))
                if take is None:
                    takes[id(slots)] = take = _take_places(slots, picks)
                yield take((*data, None))
                continue
            head = data[: head_size(decoder)]
            key = id(slots), head
            take = takes.get(key)
            if take is None:
                takes[key] = take = _take_packed(head, decoder, picks)
            yield take(data)


def _metric(slot: Slot) -> str:
    kind, _, name = slot
    return f"{kind}.{name}" if kind else name


def _take_places(slots: Sequence[Slot], picks: Sequence[Pick]) -> Take:
    """Return what takes figures from a sequence of all slots, once or three times, and ``None`` at its end."""
    at, width = {slot: place for place, slot in enumerate(slots)}, len(slots)
    return _getter([-1 if slot not in at else at[slot] + column * width for column, slot in picks])


def _getter(places: Sequence[int]) -> Take:
    if len(places) == 1:
        only = places[0]
        return lambda values: (values[only],)
    return itemgetter(*places)


def _take_packed(head: bytes, decoder: BucketDecoder, picks: Sequence[Pick]) -> Take:
    """Return what takes figures from packed columns, passing over those that nobody wants."""
    wanted = [frozenset(slot for place, slot in picks if place == column) for column in range(len(FIGURES))]
    packer, there = picking_struct(head, decoder, wanted)
    size = len(head)
    if not there:
        return lambda _: (None,) * len(picks)
    if there == list(picks):
        return lambda blob: unpack(blob, size, packer)
    at = {pick: place for place, pick in enumerate(there)}
    order = _getter([at.get(pick, -1) for pick in picks])
    return lambda blob: order((*unpack(blob, size, packer), None))


def _decimals(column: list[Any]) -> list[float | None]:
    if None in column:
        return [None if value is None else value / HUNDREDTHS for value in column]
    return list(map(truediv, column, repeat(HUNDREDTHS)))


# -- the counters of raw samples: deriving rates that nobody wants takes most of the time of a short window


def _rates_of(place: int) -> Set[str]:
    kind = KINDS[place]
    return frozenset(f"{kind.prefix}.{name}" for name in kind.rates)


@lru_cache(maxsize=1024)
def _needed(layout: Layout, rated: tuple[int, int]) -> tuple[tuple[Slot, ...], slice, Layout]:
    """Return a raw point's slots, where its needed counters are, and the layout of those alone."""
    sizes = [len(kind.counters) * len(keys) for kind, keys in zip(KINDS, layout.keys, strict=True)]
    start, end = sum(sizes[: rated[0]]), sum(sizes[: rated[1]])
    keys = tuple(each if rated[0] <= place < rated[1] else () for place, each in enumerate(layout.keys))
    trimmed = intern_layout(keys, layout.gpu_details if keys[0] else ())
    return (*HOST_SLOTS, *layout.slots("gauges"), *trimmed.slots("rates")), slice(start, end), trimmed


def _trimmed(row: Row | None, rated: tuple[int, int]) -> Row | None:
    if row is None:
        return None
    _, counters, layout = _needed(row.layout, rated)
    return _counters_of(row, counters, layout)


def _counters_of(row: Row, counters: slice, layout: Layout) -> Row:
    return Row(
        at_unix_us=row.at_unix_us,
        layout=layout,
        host_gauges=(),
        host_counters=row.host_counters,
        gauges=(),
        counters=row.counters[counters],
    )
