"""Buckets as they are stored.

A version byte, a flag byte, a bitmap of the metrics that were reported, and columns: counts (only where they differ
from the row's), minima, maxima, means. Bytes are int64, everything else int32 hundredths, or int64 when one does not
fit. Readers get short decimals.

The columns of the finest tier are compressed. The others are left as they are: together they are a sixth of it, and a
chart of a day or a month is read from them alone.
"""

import struct
import zlib
from collections.abc import Sequence, Set
from functools import lru_cache
from itertools import compress
from typing import Any, Final

from attrs import frozen

from appliance.series.pack import Decoder, Layout, UnknownFormat
from appliance.series.rollup import Bucket, Slot, is_wide, slots_of, wide_places

VERSION: Final = 1
HAS_COUNTS: Final = 1
IS_WIDE: Final = 2
IS_COMPRESSED: Final = 4


def pack_bucket(bucket: Bucket, *, is_compressed: bool = True) -> bytes:
    """Return the bucket as stored."""
    flags = IS_COMPRESSED if is_compressed else 0
    if bucket.counts is not None:
        flags |= HAS_COUNTS
    values = (*(bucket.counts or ()), *bucket.minima, *bucket.maxima, *bucket.means)
    try:
        head, packer = _packing(bucket.layout.shape, bucket.present, flags)
        data = packer.pack(*values)
    except struct.error:  # a figure beyond 32 bits
        head, packer = _packing(bucket.layout.shape, bucket.present, flags | IS_WIDE)
        data = packer.pack(*values)
    return head + (zlib.compress(data, 1) if is_compressed else data)


@lru_cache(maxsize=1024)
def _packing(shape: tuple[int, ...], present: bytes, flags: int) -> tuple[bytes, struct.Struct]:
    bits = sum(there << place for place, there in enumerate(present))
    head = bytes([VERSION, flags]) + bits.to_bytes((len(present) + 7) // 8, "little")
    return head, _packer(present, wide_places(shape), flags)


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
    is_ours: bool
    """Whether the slots are those of this version, in its order."""


def bucket_decoder(stored: Decoder) -> BucketDecoder:
    """Return how buckets of a stored layout are read."""
    slots = stored.metric_slots
    return BucketDecoder(
        layout=stored.layout,
        slots=slots,
        wide_places=tuple(is_wide(name) for _, _, name in slots),
        is_ours=slots == slots_of(stored.layout),
    )


def head_size(decoder: BucketDecoder) -> int:
    """Return how many bytes of a bucket precede the columns."""
    return 2 + (len(decoder.slots) + 7) // 8


def check_head(head: bytes, decoder: BucketDecoder) -> None:
    """Raise `UnknownFormat` unless a bucket begins like ours."""
    if len(head) < head_size(decoder) or head[0] != VERSION:
        raise UnknownFormat(f"series bucket of version {head[:1].hex() or 'none'}")


def unpack(blob: bytes, size: int, packer: struct.Struct) -> tuple[int, ...]:
    """Return the numbers behind a bucket's head of ``size`` bytes; raises `UnknownFormat`."""
    try:
        if blob[1] & IS_COMPRESSED:
            return packer.unpack(zlib.decompress(blob[size:], bufsize=packer.size + 1))
        if len(blob) - size == packer.size:
            return packer.unpack_from(blob, size)
    except (zlib.error, struct.error) as error:
        raise UnknownFormat(f"series bucket cannot be read: {error}") from error
    raise UnknownFormat("series bucket is cut short")


def picking_struct(
    head: bytes, decoder: BucketDecoder, wanted: Sequence[Set[Slot]]
) -> tuple[struct.Struct, list[tuple[int, Slot]]]:
    """Return what unpacks only the wanted figures of such buckets, and which of them are there, in order.

    A chart wants a tenth of a bucket; passing over the rest takes a third of the time. Raises `UnknownFormat`.

    :param wanted: slots of which minimum, maximum and mean are wanted; these places are those of what is returned.
    """
    check_head(head, decoder)
    present, _ = _unpacker(head, decoder.wide_places)
    flags, letters = head[1], f"{4 * sum(present)}x" if head[1] & HAS_COUNTS else ""
    there: list[tuple[int, Slot]] = []
    for column, slots in enumerate(wanted):
        for slot, is_wide_slot in compress(zip(decoder.slots, decoder.wide_places, strict=True), present):
            width = 8 if is_wide_slot or flags & IS_WIDE else 4
            if slot in slots:
                there.append((column, slot))
                letters += "q" if width == 8 else "i"
            else:
                letters += f"{width}x"
    return struct.Struct("<" + letters), there


@lru_cache(maxsize=1024)
def _unpacker(head: bytes, wide_places: tuple[bool, ...]) -> tuple[bytes, struct.Struct]:
    bits = int.from_bytes(head[2:], "little")
    present = bytes([bits >> place & 1 for place in range(len(wide_places))])
    return present, _packer(present, wide_places, head[1])


def unpack_bucket(blob: bytes, sample_count: int, decoder: BucketDecoder) -> Bucket:
    """Return a stored bucket in the order of this version's slots; raises `UnknownFormat`."""
    size = head_size(decoder)
    check_head(blob[:size], decoder)
    present, packer = _unpacker(blob[:size], decoder.wide_places)
    values = unpack(blob, size, packer)
    width = sum(present)
    counted = width if blob[1] & HAS_COUNTS else 0
    counts = values[:counted] if counted else None
    columns = [values[counted + place * width : counted + (place + 1) * width] for place in range(3)]
    if decoder.is_ours:
        return Bucket(decoder.layout, present, sample_count, counts, *columns)
    return _moved(present, sample_count, counts, columns, decoder)


def _moved(
    present: bytes,
    sample_count: int,
    counts: Sequence[int] | None,
    columns: Sequence[Sequence[int]],
    decoder: BucketDecoder,
) -> Bucket:
    """Put what another version stored into our order: what we do not know is left out."""
    at = {slot: place for place, slot in enumerate(compress(decoder.slots, present))}
    ours = slots_of(decoder.layout)
    places = [at[slot] for slot in ours if slot in at]

    def ordered(column: Sequence[int]) -> list[Any]:
        return [column[place] for place in places]

    return Bucket(
        decoder.layout,
        bytes([slot in at for slot in ours]),
        sample_count,
        None if counts is None else ordered(counts),
        *(ordered(each) for each in columns),
    )
