"""Buckets: minimum, maximum and mean of every metric over a span of time, folded from what lies beneath.

A bucket is a pure function of the samples in its span. Readings become whole numbers of a quantum first (one for
bytes, a hundredth for everything else), so totals are exact whatever is added first, and each tier is folded from the
closed buckets of the tier below: late samples, restarts and crashes all end in equal bytes.

Columns hold the reported metrics only; `Bucket.present` says which of the layout's slots they are. Hosts report the
same fields each time, so nearly all folding is whole columns at once.
"""

import math
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import compress, islice, repeat
from operator import is_not, mul
from typing import Any, Final

from attrs import define, field, frozen

from appliance.series.fields import HOST, KINDS
from appliance.series.limits import MAX_DEVICES
from appliance.series.pack import Layout, Row, intern_layout, names_of, spread_of
from appliance.series.rates import Rates, rates_of

TIER_SECONDS: Final = (10, 60, 600, 3600)
TIER_US: Final = tuple(seconds * 1_000_000 for seconds in TIER_SECONDS)

HUNDREDTHS: Final = 100
MAX_BUCKET_DEVICES: Final = 4 * MAX_DEVICES
"""Devices of one kind in one bucket: all of a sample, and room for those that come and go."""

Slot = tuple[str, str, str]
"""Kind (empty for the host), key of the device, metric."""

HOST_SLOTS: Final[tuple[Slot, ...]] = tuple(("", "", name) for name in (*HOST.gauges, *HOST.rates))


def floor(at_unix_us: int, tier: int) -> int:
    """Return the start of the bucket that holds a moment."""
    return at_unix_us - at_unix_us % TIER_US[tier]


@lru_cache(maxsize=1024)
def slots_of(layout: Layout) -> tuple[Slot, ...]:
    """Return what each place of a metric vector means: host gauges, host rates, device gauges, device rates."""
    return (*HOST_SLOTS, *layout.slots("gauges"), *layout.slots("rates"))


def vector(before: Row | None, row: Row) -> list[float | None]:
    """Return every metric of one sample, in the order of `slots_of`."""
    return values_of(row, rates_of(before, row))


def values_of(row: Row, rates: Rates) -> list[float | None]:
    """Return every metric of one sample whose rates are known, in the order of `slots_of`."""
    return [*row.host_gauges, *rates.host_values, *row.gauges, *rates.device_values]


@frozen
class Part:
    """Figures that can still be added to: those of one sample, of a bucket, or of several."""

    layout: Layout
    present: bytes
    """One byte for each slot of the layout: 1 where something was reported."""
    sample_count: int
    counts: Sequence[int] | None
    """Readings behind each metric; ``None`` where that is the count of samples for all."""
    minima: Sequence[int] = field(repr=False)
    maxima: Sequence[int] = field(repr=False)
    totals: Sequence[int] = field(repr=False)


@define
class Bucket:
    """Quantised figures of one span; columns hold the reported metrics in the order of `slots_of`."""

    layout: Layout
    present: bytes
    """One byte for each slot of the layout: 1 where something was reported."""
    sample_count: int
    counts: Sequence[int] | None
    """Readings behind each metric; ``None`` where that is the count of samples for all."""
    minima: Sequence[int] = field(repr=False)
    maxima: Sequence[int] = field(repr=False)
    means: Sequence[int] = field(repr=False)

    def part(self) -> Part:
        """Return what a coarser bucket is folded from."""
        weights = repeat(self.sample_count) if self.counts is None else self.counts
        totals = list(map(mul, self.means, weights))
        return Part(self.layout, self.present, self.sample_count, self.counts, self.minima, self.maxima, totals)


def is_wide(metric: str) -> bool:
    """Say whether a metric counts bytes: whole numbers, beyond 32 bits."""
    return "bytes" in metric


@lru_cache(maxsize=1024)
def wide_places(shape: tuple[int, ...]) -> tuple[bool, ...]:
    """Return whether each place of the vector counts bytes, for layouts of a shape."""
    names = [name for _, _, name in HOST_SLOTS]
    names += [name for kind in ("gauges", "rates") for _, name in names_of(shape, kind)]
    return tuple(map(is_wide, names))


@lru_cache(maxsize=1024)
def _units(shape: tuple[int, ...]) -> tuple[float, ...]:
    # Floats, so that a whole number gives what it gives once it has been stored as a float.
    return tuple(1.0 if wide else float(HUNDREDTHS) for wide in wide_places(shape))


def part_of_vector(layout: Layout, values: Sequence[float | None]) -> Part:
    """Return the figures of one sample."""
    present = bytes(map(is_not, values, repeat(None)))
    # Half of what `round` costs. It rises with the value, which is all that folding asks of it.
    units = _units(layout.shape)
    scaled = [value * unit + 0.5 for value, unit in zip(values, units, strict=True) if value is not None]
    figures = list(map(math.floor, scaled))
    return Part(layout, present, 1, None, figures, figures, figures)


def union(layouts: Iterable[Layout]) -> Layout:
    """Return the layout that holds the devices of the given ones, in the order they are met; so many and no more.

    A host that names its devices anew with every sample would make hours of any width else. Cutting off the end of what
    has been cut before comes to the same, so it does not matter in which groups layouts are joined.
    """
    met = list(layouts)
    first = met[0]
    if all(each is first or each == first for each in met):
        return first
    every = (dict.fromkeys(key for each in met for key in each.keys[place]) for place in range(len(KINDS)))
    keys = tuple(tuple(islice(names, MAX_BUCKET_DEVICES)) for names in every)
    details = {
        gpu: detail for each in reversed(met) for gpu, detail in zip(each.keys[0], each.gpu_details, strict=True)
    }
    return intern_layout(keys, tuple(details[gpu] for gpu in keys[0]))


@lru_cache(maxsize=1024)
def _places(stored: Layout, wanted: Layout) -> tuple[int | None, ...]:
    at = {slot: place for place, slot in enumerate(slots_of(stored))}
    return tuple(at.get(slot) for slot in slots_of(wanted))


def full(values: Sequence[Any], present: bytes, absent: Any = None) -> Sequence[Any]:
    """Return a column with a place for every slot."""
    spread = spread_of(present)
    return values if spread is None else spread((*values, absent))


def _spread(values: Sequence[Any], part: Part, wanted: Layout, absent: Any = None) -> Sequence[Any]:
    column = full(values, part.present, absent)
    if part.layout is wanted or part.layout == wanted:
        return column
    return [absent if place is None else column[place] for place in _places(part.layout, wanted)]


def combine(parts: Sequence[Part]) -> Part:
    """Add parts together; exact, so it does not matter in which groups. A layout's devices keep the parts' order."""
    first = parts[0]
    if len(parts) == 1:
        return first
    layout, present = first.layout, first.present
    if any(
        each.counts is not None or each.present != present or not (each.layout is layout or each.layout == layout)
        for each in parts
    ):
        return _combine_unlike(parts)
    lows, highs = first.minima, first.maxima
    for each in parts[1:]:  # comparing in a comprehension takes a quarter of calling `min`
        lows = [one if one < two else two for one, two in zip(lows, each.minima, strict=True)]
        highs = [one if one > two else two for one, two in zip(highs, each.maxima, strict=True)]
    totals = list(map(sum, zip(*[each.totals for each in parts], strict=True)))
    return Part(layout, present, sum([each.sample_count for each in parts]), None, lows, highs, totals)


def _combine_unlike(parts: Sequence[Part]) -> Part:
    """Add parts that do not report the same metrics of the same devices."""
    layout = union(each.layout for each in parts)
    counts, lows, highs, totals = [], [], [], []
    for each in parts:
        weights = [each.sample_count] * len(each.minima) if each.counts is None else each.counts
        counts.append(_spread(weights, each, layout, 0))
        lows.append(_spread(each.minima, each, layout))
        highs.append(_spread(each.maxima, each, layout))
        totals.append(_spread(each.totals, each, layout, 0))
    count = sum(each.sample_count for each in parts)
    summed = list(map(sum, zip(*counts, strict=True)))
    present = bytes([weight > 0 for weight in summed])
    weights = [weight for weight in summed if weight]
    return Part(
        layout,
        present,
        count,
        None if weights.count(count) == len(weights) else weights,
        [min([value for value in each if value is not None]) for each in compress(zip(*lows, strict=True), present)],
        [max([value for value in each if value is not None]) for each in compress(zip(*highs, strict=True), present)],
        list(map(sum, compress(zip(*totals, strict=True), present))),
    )


def compact(part: Part) -> Part:
    """Return the same part in a fifth of the memory, where its figures fit 64 bits."""
    try:
        columns = [array("q", each) for each in (part.minima, part.maxima, part.totals)]
    except OverflowError:  # totals of readings beyond everything real
        return part
    return Part(part.layout, part.present, part.sample_count, part.counts, *columns)


def close(part: Part) -> Bucket:
    """Return the bucket of everything that was added; arrays, since open series keep them for an hour."""
    if part.counts is None:
        count = part.sample_count
        # Whole numbers: no rounding depends on the order or the size of what is added.
        means = [(2 * total + count) // (2 * count) for total in part.totals] if count > 1 else part.totals
    else:
        means = [(2 * total + n) // (2 * n) for total, n in zip(part.totals, part.counts, strict=True)]
    counts = None if part.counts is None else array("q", part.counts)
    columns = (array("q", each) for each in (part.minima, part.maxima, means))
    return Bucket(part.layout, part.present, part.sample_count, counts, *columns)


def fold_samples(vectors: Sequence[tuple[Layout, Sequence[float | None]]]) -> Bucket:
    """Fold the metric vectors of a span, oldest first."""
    return close(combine([part_of_vector(layout, values) for layout, values in vectors]))


def fold_buckets(buckets: Sequence[Bucket]) -> Bucket:
    """Fold the buckets of the tier below, oldest first; a bucket alone is its own fold."""
    if len(buckets) == 1:
        return buckets[0]
    return close(combine([each.part() for each in buckets]))
