"""Buckets: minimum, maximum and mean of every metric over a span of time, folded from what lies beneath.

A bucket is a pure function of the samples in its span, taken in order of time. Each tier is folded from the stored
buckets of the tier below, never from a running total, so late samples, restarts and crashes all end in equal bytes.

A stored bucket is a version byte, a flag byte, a bitmap of the metrics that were reported, and compressed columns:
counts (only where they differ from the row's), minima, maxima, means. Values are whole numbers of a quantum: one
for bytes (int64), a hundredth for everything else (int32, or int64 when one does not fit). Readers get short decimals.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence, Set
from functools import lru_cache
from itertools import compress, repeat
from operator import is_not, mul
from typing import Any, Final, cast

from attrs import define, field, frozen

from appliance.series.fields import HOST, KINDS
from appliance.series.pack import Decoder, Layout, Row, UnknownFormat, intern_layout, spread_of
from appliance.series.rates import device_rates, host_rates

TIER_SECONDS: Final = (10, 60, 600, 3600)
TIER_US: Final = tuple(seconds * 1_000_000 for seconds in TIER_SECONDS)

VERSION: Final = 1
HAS_COUNTS: Final = 1
IS_WIDE: Final = 2

INT32_MAX: Final = 2**31 - 1
HUNDREDTHS: Final = 100

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
    return [*row.host_gauges, *host_rates(before, row), *row.gauges, *device_rates(before, row)]


@define
class Bucket:
    """Quantised figures of one span; columns are in the order of `slots_of`, ``None`` where nothing was reported."""

    layout: Layout
    sample_count: int
    counts: Sequence[int]
    """Readings behind each metric; 0 where it is absent."""
    minima: Sequence[int | None] = field(repr=False)
    maxima: Sequence[int | None] = field(repr=False)
    means: Sequence[int | None] = field(repr=False)


def is_wide(metric: str) -> bool:
    """Say whether a metric counts bytes: whole numbers, beyond 32 bits."""
    return "bytes" in metric


@lru_cache(maxsize=1024)
def quanta(layout: Layout) -> tuple[int, ...]:
    """Return how many quanta make one, for each place of the vector."""
    return tuple(1 if is_wide(name) else HUNDREDTHS for _, _, name in slots_of(layout))


def union(layouts: Iterable[Layout]) -> Layout:
    """Return the layout that holds all devices of the given ones, in the order they are met."""
    met = list(layouts)
    first = met[0]
    if all(each is first or each == first for each in met):
        return first
    keys = tuple(tuple(dict.fromkeys(key for each in met for key in each.keys[place])) for place in range(len(KINDS)))
    details = {
        gpu: detail for each in reversed(met) for gpu, detail in zip(each.keys[0], each.gpu_details, strict=True)
    }
    return intern_layout(keys, tuple(details[gpu] for gpu in keys[0]))


@lru_cache(maxsize=1024)
def _places(stored: Layout, wanted: Layout) -> tuple[int | None, ...]:
    at = {slot: place for place, slot in enumerate(slots_of(stored))}
    return tuple(at.get(slot) for slot in slots_of(wanted))


def _moved(values: Sequence[Any], stored: Layout, wanted: Layout, absent: Any = None) -> Sequence[Any]:
    if stored is wanted or stored == wanted:
        return values
    return [absent if place is None else values[place] for place in _places(stored, wanted)]


def fold_samples(vectors: Sequence[tuple[Layout, Sequence[float | None]]]) -> Bucket:
    """Fold the metric vectors of a span, oldest first."""
    layout = union(each for each, _ in vectors)
    rows = [_moved(values, each, layout) for each, values in vectors]
    columns = list(zip(*rows, strict=True))
    present = bytes(map(is_not, rows[0], repeat(None)))
    if any(bytes(map(is_not, row, repeat(None))) != present for row in rows[1:]):
        return _fold_columns(layout, len(rows), columns)
    # What a host reports seldom changes within ten seconds: then only whole columns are absent.
    there: list[Any] = list(compress(columns, present))
    units = list(compress(quanta(layout), present))
    lows = list(map(round, map(mul, map(min, there), units)))
    highs = list(map(round, map(mul, map(max, there), units)))
    totals = map(mul, map(sum, there), units)
    # A sum of floats may be rounded past its greatest part.
    means = [
        low if low == high else min(max(round(total / len(rows)), low), high)
        for low, high, total in zip(lows, highs, totals, strict=True)
    ]
    counts = [len(rows) if each else 0 for each in present]
    spread = spread_of(present)
    if spread is None:
        return Bucket(layout, len(rows), counts, lows, highs, means)
    return Bucket(layout, len(rows), counts, *(spread((*each, None)) for each in (lows, highs, means)))


def _fold_columns(layout: Layout, sample_count: int, columns: Iterable[tuple[float | None, ...]]) -> Bucket:
    """Fold columns some of whose readings are absent."""
    counts: list[int] = []
    figures: list[tuple[int | None, int | None, int | None]] = []
    for unit, column in zip(quanta(layout), columns, strict=True):
        values = [value for value in column if value is not None]
        counts.append(len(values))
        if not values:
            figures.append((None, None, None))
            continue
        low, high = round(min(values) * unit), round(max(values) * unit)
        mean = low if low == high else min(max(round(sum(values) * unit / len(values)), low), high)
        figures.append((low, high, mean))
    lows, highs, means = zip(*figures, strict=True)
    return Bucket(layout, sample_count, counts, lows, highs, means)


def fold_buckets(buckets: Sequence[Bucket]) -> Bucket:
    """Fold the buckets of the tier below, oldest first; a bucket alone is its own fold."""
    if len(buckets) == 1:
        return buckets[0]
    layout = union(each.layout for each in buckets)
    counts = list(zip(*[_moved(each.counts, each.layout, layout, 0) for each in buckets], strict=True))
    lows = zip(*[_moved(each.minima, each.layout, layout) for each in buckets], strict=True)
    highs = zip(*[_moved(each.maxima, each.layout, layout) for each in buckets], strict=True)
    means = zip(*[_moved(each.means, each.layout, layout) for each in buckets], strict=True)
    return Bucket(
        layout,
        sum(each.sample_count for each in buckets),
        [sum(each) for each in counts],
        [min((value for value in column if value is not None), default=None) for column in lows],
        [max((value for value in column if value is not None), default=None) for column in highs],
        [_mean(weights, column) for weights, column in zip(counts, means, strict=True)],
    )


def _mean(weights: Sequence[int], means: Sequence[int | None]) -> int | None:
    total = sum(weights)
    if not total:
        return None
    # Whole numbers: no rounding depends on the order or the size of what is added.
    weighted = sum([weight * mean for weight, mean in zip(weights, means, strict=True) if mean is not None])
    return (2 * weighted + total) // (2 * total)


def pack_bucket(bucket: Bucket) -> bytes:
    """Return the bucket as stored."""
    present = bytes([count > 0 for count in bucket.counts])
    wide_places = _wide_places(bucket.layout)
    counts = list(compress(bucket.counts, present))
    has_counts = counts.count(bucket.sample_count) != len(counts)
    columns = [_reported(each, present) for each in (bucket.minima, bucket.maxima, bucket.means)]
    narrow = [not wide for wide in compress(wide_places, present)]
    is_all_wide = (
        min(compress(columns[0], narrow), default=0) < -INT32_MAX
        or max(compress(columns[1], narrow), default=0) > INT32_MAX
    )
    flags = HAS_COUNTS * has_counts | IS_WIDE * is_all_wide
    packer = _packer(present, wide_places, flags)
    values = [*(counts if has_counts else ()), *columns[0], *columns[1], *columns[2]]
    bits = sum(there << place for place, there in enumerate(present))
    head = bytes([VERSION, flags]) + bits.to_bytes((len(present) + 7) // 8, "little")
    return head + zlib.compress(packer.pack(*values), 1)


def _reported(column: Sequence[int | None], present: bytes) -> list[int]:
    return cast("list[int]", list(compress(column, present)))  # a slot with readings has figures


@lru_cache(maxsize=1024)
def _wide_places(layout: Layout) -> tuple[bool, ...]:
    return tuple(is_wide(name) for _, _, name in slots_of(layout))


@lru_cache(maxsize=1024)
def _packer(present: bytes, wide_places: tuple[bool, ...], flags: int) -> struct.Struct:
    letters = "".join("q" if wide or flags & IS_WIDE else "i" for wide in compress(wide_places, present))
    counts = f"{len(letters)}I" if flags & HAS_COUNTS else ""
    return struct.Struct("<" + counts + letters * 3)


@frozen(kw_only=True)
class BucketDecoder:
    """How the buckets of one stored layout are read."""

    layout: Layout
    slots: tuple[Slot, ...]
    """What is stored, by this layout's own account; other versions of the appliance know other fields."""
    wide_places: tuple[bool, ...]


def head_size(decoder: BucketDecoder) -> int:
    """Return how many bytes of a bucket precede the compressed columns."""
    return 2 + (len(decoder.slots) + 7) // 8


def decompress(blob: bytes, size: int) -> bytes:
    """Return the columns behind a bucket's head; raises `UnknownFormat`."""
    try:
        return zlib.decompress(blob[size:])
    except zlib.error as error:
        raise UnknownFormat(f"series bucket cannot be read: {error}") from error


def check_head(head: bytes, decoder: BucketDecoder) -> None:
    """Raise `UnknownFormat` unless a bucket begins like ours."""
    if len(head) < head_size(decoder) or head[0] != VERSION:
        raise UnknownFormat(f"series bucket of version {head[:1].hex() or 'none'}")


def picking_struct(head: bytes, decoder: BucketDecoder, wanted: Set[Slot]) -> tuple[struct.Struct, list[Slot]]:
    """Return what unpacks only the wanted slots of such buckets, and which of them are there, in order.

    A chart wants a tenth of a bucket; passing over the rest takes a third of the time. Raises `UnknownFormat`.
    """
    check_head(head, decoder)
    present, _ = _unpacker(head, decoder.wide_places)
    flags = head[1]
    letters, there = [], []
    for slot, is_wide_slot in compress(zip(decoder.slots, decoder.wide_places, strict=True), present):
        width = 8 if is_wide_slot or flags & IS_WIDE else 4
        if slot in wanted:
            there.append(slot)
            letters.append("q" if width == 8 else "i")
        else:
            letters.append(f"{width}x")
    counts = f"{4 * sum(present)}x" if flags & HAS_COUNTS else ""
    return struct.Struct("<" + counts + "".join(letters) * 3), there


def unpack_columns(blob: bytes, decoder: BucketDecoder) -> tuple[bytes, int, tuple[int, ...]]:
    """Return which slots are there, how many counts come first, and the numbers: counts, minima, maxima, means.

    Raises `UnknownFormat`.
    """
    size = head_size(decoder)
    check_head(blob[:size], decoder)
    present, packer = _unpacker(blob[:size], decoder.wide_places)
    try:
        values = packer.unpack(decompress(blob, size))
    except struct.error as error:
        raise UnknownFormat(f"series bucket cannot be read: {error}") from error
    return present, sum(present) if blob[1] & HAS_COUNTS else 0, values


@lru_cache(maxsize=1024)
def _unpacker(head: bytes, wide_places: tuple[bool, ...]) -> tuple[bytes, struct.Struct]:
    bits = int.from_bytes(head[2:], "little")
    present = bytes([bits >> place & 1 for place in range(len(wide_places))])
    return present, _packer(present, wide_places, head[1])


def unpack_bucket(blob: bytes, sample_count: int, decoder: BucketDecoder) -> Bucket:
    """Return a stored bucket in the order of this version's slots; raises `UnknownFormat`."""
    present, counted, values = unpack_columns(blob, decoder)
    width = sum(present)
    counts = _spread(values[:counted] if counted else [sample_count] * width, present, 0)
    columns = [values[counted + place * width : counted + (place + 1) * width] for place in range(3)]
    spread = [_spread(column, present, None) for column in columns]
    ours = slots_of(decoder.layout)
    if decoder.slots != ours:
        at = {slot: place for place, slot in enumerate(decoder.slots)}
        places = [at.get(slot) for slot in ours]
        counts = [0 if place is None else counts[place] for place in places]
        spread = [[None if place is None else column[place] for place in places] for column in spread]
    return Bucket(decoder.layout, sample_count, counts, *spread)


def _spread(values: Sequence[Any], present: bytes, absent: Any) -> Sequence[Any]:
    if len(values) == len(present):
        return values
    spread = spread_of(present)
    return values if spread is None else spread((*values, absent))


def bucket_decoder(stored: Decoder) -> BucketDecoder:
    """Return how buckets of a stored layout are read."""
    slots = stored.metric_slots
    return BucketDecoder(layout=stored.layout, slots=slots, wide_places=tuple(is_wide(name) for _, _, name in slots))
