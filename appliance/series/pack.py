"""One sample as a row: typed host values, and its devices as a packed blob whose slots a `Layout` names.

A blob is a version byte, a bitmap of what was reported, the reported counters as int64, the reported gauges as
float64. Which slot means what is not in the blob: the row names a layout, stored once per set of devices.
"""

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import compress, repeat
from operator import is_not, itemgetter
from typing import Any, Final

from attrs import field, frozen

from appliance.series.fields import HOST, KINDS, rate_name

VERSION: Final = 1

Gauges = Sequence[float | None]
Counters = Sequence[int | None]
Spread = Callable[[Sequence[Any]], tuple[Any, ...]]


class UnknownFormat(ValueError):
    """A blob or layout written by a newer appliance, or damaged."""


@frozen(kw_only=True, cache_hash=True)
class Layout:
    """The devices of a row, by kind in the order of `KINDS`; equal layouts are the same object where it matters."""

    keys: tuple[tuple[str, ...], ...]
    gpu_details: tuple[tuple[int, str], ...] = ()
    """Index and model of each GPU, so that a reading can be rebuilt."""
    shape: tuple[int, ...] = field(init=False, eq=False)
    """How many devices there are of each kind, which says what each slot is, but for the device: thousands of hosts
    have a layout each, and few shapes."""
    layout_id: int = field(init=False, eq=False)
    """Hash of the content, so the same devices have the same id whatever was stored first."""
    content: bytes = field(init=False, eq=False, repr=False)
    gauge_count: int = field(init=False, eq=False)
    counter_count: int = field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        document = {
            "version": VERSION,
            "gpu_details": self.gpu_details,
            "host": {"gauges": HOST.gauges, "counters": HOST.counters},
            "kinds": {
                kind.prefix: {"keys": keys, "gauges": kind.gauges, "counters": kind.counters}
                for kind, keys in zip(KINDS, self.keys, strict=True)
            },
        }
        text = json.dumps(document, separators=(",", ":")).encode()
        number = int.from_bytes(blake2b(text, digest_size=8).digest()) >> 1
        object.__setattr__(self, "shape", tuple(map(len, self.keys)))
        object.__setattr__(self, "layout_id", number)
        object.__setattr__(self, "content", zlib.compress(text))
        pairs = list(zip(KINDS, self.keys, strict=True))
        object.__setattr__(self, "gauge_count", sum(len(kind.gauges) * len(keys) for kind, keys in pairs))
        object.__setattr__(self, "counter_count", sum(len(kind.counters) * len(keys) for kind, keys in pairs))

    def slots(self, names: str) -> list[tuple[str, str, str]]:
        """Return (kind, key, field) of each device slot; ``names`` is ``gauges``, ``counters`` or ``rates``."""
        return [
            (kind.prefix, key, name)
            for kind, keys in zip(KINDS, self.keys, strict=True)
            for key in keys
            for name in getattr(kind, names)
        ]


@frozen(kw_only=True)
class Decoder:
    """A stored layout as read: its devices, and where this version's fields are among the stored ones."""

    layout: Layout
    stored_gauges: int
    stored_counters: int
    gauge_places: tuple[int | None, ...] | None
    """Place of each of our slots among the stored; ``None`` where the order is the same."""
    counter_places: tuple[int | None, ...] | None
    metric_slots: tuple[tuple[str, str, str], ...]
    """What each place of a stored bucket means, by the layout's own account."""


def decoder(content: bytes) -> Decoder:
    """Read a stored layout; fields that this version does not know are skipped, new ones are absent."""
    try:
        document = json.loads(zlib.decompress(content))
        if document["version"] != VERSION:
            raise UnknownFormat(f"series layout of version {document['version']}")
        stored, host = document["kinds"], document["host"]
        host_names = [*host["gauges"], *map(rate_name, host["counters"])]
        keys = tuple(tuple(stored.get(kind.prefix, {}).get("keys", ())) for kind in KINDS)
        details = tuple((int(index), str(model)) for index, model in document["gpu_details"])
    except (zlib.error, KeyError, TypeError, json.JSONDecodeError) as error:
        raise UnknownFormat(f"series layout cannot be read: {error}") from error
    layout = intern_layout(keys, details)
    gauges, counters = _stored_slots(stored, "gauges"), _stored_slots(stored, "counters")
    return Decoder(
        layout=layout,
        stored_gauges=len(gauges),
        stored_counters=len(counters),
        gauge_places=_places(gauges, layout.slots("gauges")),
        counter_places=_places(counters, layout.slots("counters")),
        metric_slots=(
            *(("", "", name) for name in host_names),
            *gauges,
            *((kind, key, rate_name(name)) for kind, key, name in counters),
        ),
    )


def _stored_slots(kinds: Mapping[str, Any], names: str) -> list[tuple[str, str, str]]:
    return [(kind, key, name) for kind, part in kinds.items() for key in part["keys"] for name in part[names]]


def _places(stored: list[tuple[str, str, str]], ours: list[tuple[str, str, str]]) -> tuple[int | None, ...] | None:
    if stored == ours:
        return None
    at = {slot: place for place, slot in enumerate(stored)}
    return tuple(at.get(slot) for slot in ours)


@lru_cache(maxsize=16_384)
def intern_layout(keys: tuple[tuple[str, ...], ...], gpu_details: tuple[tuple[int, str], ...]) -> Layout:
    """Return the layout of these devices, the same object each time."""
    return Layout(keys=keys, gpu_details=gpu_details)


@frozen(kw_only=True)
class Row:
    """One sample in the form it is stored and computed with."""

    at_unix_us: int
    layout: Layout
    host_gauges: tuple[float | None, ...]
    host_counters: tuple[int | None, ...]
    gauges: Gauges
    counters: Counters
    blob: bytes | None = field(default=None, eq=False, repr=False)
    """The device values as stored, where they have been packed already."""

    def gauge(self, name: str) -> float | None:
        """Return one gauge of the host itself (``cpu_percent``); quick."""
        return self.host_gauges[_HOST_GAUGES[name]]

    def column(self, metric: str) -> Sequence[float | None]:
        """Return one gauge of every device of a kind, in the sample's order (``gpu.utilization_percent``); quick."""
        return _column(self.layout.shape, metric)(self.gauges)

    def counter_column(self, metric: str) -> Sequence[int | None]:
        """Return one counter of every device of a kind, in the sample's order (``gpu.energy_millijoules_total``)."""
        return _counter_column(self.layout.shape, metric)(self.counters)

    def device_names(self, kind: str) -> tuple[str, ...]:
        """Return what the devices of a kind (``gpu``) are called, in the sample's order."""
        return self.layout.keys[_KIND_PLACES[kind]]

    def device_count(self, kind: str) -> int:
        """Return how many devices of a kind (``gpu``) the host has."""
        return len(self.layout.keys[_KIND_PLACES[kind]])


_HOST_GAUGES: Final = {name: place for place, name in enumerate(HOST.gauges)}
_KIND_PLACES: Final = {kind.prefix: place for place, kind in enumerate(KINDS)}


@lru_cache(maxsize=1024)
def _column(shape: tuple[int, ...], metric: str) -> Spread:
    return picker(shape, "gauges", metric)


@lru_cache(maxsize=1024)
def _counter_column(shape: tuple[int, ...], metric: str) -> Spread:
    return picker(shape, "counters", metric)


def names_of(shape: tuple[int, ...], names: str) -> list[tuple[str, str]]:
    """Return (kind, field) of each device slot of layouts of a shape; see `Layout.slots`."""
    return [
        (kind.prefix, name)
        for kind, count in zip(KINDS, shape, strict=True)
        for name in list(getattr(kind, names)) * count
    ]


def picker(shape: tuple[int, ...], names: str, metric: str) -> Spread:
    """Return what picks one field of every device of a kind from all device values; see `Layout.slots`."""
    kind, _, field_name = metric.partition(".")
    places = [place for place, each in enumerate(names_of(shape, names)) if each == (kind, field_name)]
    if not places:
        return lambda values: ()
    if len(places) == 1:
        return lambda values: (values[places[0]],)
    return itemgetter(*places)


def pack_devices(row: Row) -> bytes:
    """Return the blob of a row's device values."""
    values = [*row.counters, *row.gauges]
    present = bytes(map(is_not, values, repeat(None)))
    return pack_reported(present, len(row.counters), list(compress(values, present)))


def pack_reported(present: bytes, counter_count: int, reported: Sequence[Any]) -> bytes:
    """Return the blob of the values that were reported, counters first; ``present`` says which slots are theirs."""
    head, packer = _packer(present, counter_count)
    return head + packer.pack(*reported)


def unpack_devices(blob: bytes, stored: Decoder) -> tuple[Counters, Gauges]:
    """Return counters and gauges in this version's order; raises `UnknownFormat`."""
    count = stored.stored_counters + stored.stored_gauges
    size = 1 + (count + 7) // 8
    if len(blob) < size or blob[0] != VERSION:
        raise UnknownFormat(f"series blob of version {blob[:1].hex() or 'none'}")
    spread, packer = _unpacker(blob[:size], count, stored.stored_counters)
    if len(blob) != size + packer.size:
        raise UnknownFormat("series blob is cut short")
    found = packer.unpack_from(blob, size)
    values: Sequence[Any] = found if spread is None else spread((*found, None))
    counters, gauges = values[: stored.stored_counters], values[stored.stored_counters :]
    return _moved(counters, stored.counter_places), _moved(gauges, stored.gauge_places)


def _moved(values: Sequence[Any], places: Iterable[int | None] | None) -> Sequence[Any]:
    if places is None:
        return values
    return [None if place is None else values[place] for place in places]


@lru_cache(maxsize=1024)
def _packer(present: bytes, counter_count: int) -> tuple[bytes, struct.Struct]:
    """Return the blob's head and the struct behind it; hosts report the same fields each time, so this is cached."""
    bits = sum(there << place for place, there in enumerate(present))
    head = bytes([VERSION]) + bits.to_bytes((len(present) + 7) // 8, "little")
    return head, struct.Struct(f"<{sum(present[:counter_count])}q{sum(present[counter_count:])}d")


@lru_cache(maxsize=1024)
def _unpacker(head: bytes, count: int, counter_count: int) -> tuple[Spread | None, struct.Struct]:
    bits = int.from_bytes(head[1:], "little")
    present = bytes([bits >> place & 1 for place in range(count)])
    return spread_of(present), _packer(present, counter_count)[1]


@lru_cache(maxsize=1024)
def spread_of(present: bytes) -> Spread | None:
    """Return what puts reported values, followed by one for the absent, into their slots; ``None`` if all are there."""
    if 0 not in present:
        return None
    places, reported = [], 0
    for there in present:
        places.append(reported if there else -1)
        reported += there
    if len(places) == 1:
        return lambda values: (values[-1],)
    return itemgetter(*places)
