"""Gathers the points of a window and takes out of each only the figures that are wanted.

A chart wants a tenth of what a bucket holds, and half of its minima, maxima and means: stored buckets are unpacked at
those places alone, and the rates of raw samples are derived only for the kinds of devices whose rates are wanted.
"""

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from functools import lru_cache
from itertools import groupby, repeat
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

    def _taken(self, picks: Sequence[Pick]) -> list[list[Any]]:
        """Return a column for each pick: neighbours of one form are taken apart and turned round together."""
        columns: list[list[Any]] = [[] for _ in picks]
        takes: dict[Any, tuple[Take, Sequence[int]]] = {}
        for key, group in groupby(self._points, _form):
            points = list(group)
            slots, decoder, first = points[0]
            if key not in takes:
                takes[key] = _take_places(slots, picks) if decoder is None else _take_packed(first, decoder, picks)
            take, places = takes[key]
            found = list(zip(*[take(data) for _, _, data in points], strict=True))
            for column, place in zip(columns, places, strict=True):
                column.extend(found[place] if place >= 0 else repeat(None, len(points)))
        return columns


def _form(point: _Point) -> tuple[int, bytes]:
    """Return what is the same where figures lie at the same places."""
    slots, decoder, data = point
    return id(slots), b"" if decoder is None else data[: head_size(decoder)]


def _metric(slot: Slot) -> str:
    kind, _, name = slot
    return f"{kind}.{name}" if kind else name


def _take_places(slots: Sequence[Slot], picks: Sequence[Pick]) -> tuple[Take, Sequence[int]]:
    """Return what takes figures from those of all slots, once or three times, and where each pick is among them."""
    at, width = {slot: place for place, slot in enumerate(slots)}, len(slots)
    there = [(column, slot) for column, slot in picks if slot in at]
    return _getter([at[slot] + column * width for column, slot in there]), _places(there, picks)


def _getter(places: Sequence[int]) -> Take:
    if len(places) < 2:
        return lambda values: tuple([values[place] for place in places])
    return itemgetter(*places)


def _places(there: Sequence[Pick], picks: Sequence[Pick]) -> Sequence[int]:
    at = {pick: place for place, pick in enumerate(there)}
    return [at.get(pick, -1) for pick in picks]


def _take_packed(blob: bytes, decoder: BucketDecoder, picks: Sequence[Pick]) -> tuple[Take, Sequence[int]]:
    """Return what takes figures from buckets like this one, passing over others, and where each pick is among them."""
    size = head_size(decoder)
    wanted = [frozenset(slot for place, slot in picks if place == column) for column in range(len(FIGURES))]
    packer, there = picking_struct(blob[:size], decoder, wanted)
    return lambda each: unpack(each, size, packer), _places(there, picks)


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
