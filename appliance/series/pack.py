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
from operator import itemgetter
from typing import Any, Final

from attrs import evolve, field, frozen

from appliance.devices import DiskSample, FanSample, GpuSample, HostSample, NetworkSample
from appliance.errors import BadInput, TooLarge
from appliance.series.fields import GPU, HOST, KINDS, Fields, rate_name
from appliance.series.limits import MAX_COUNTER, MAX_DEVICES, MAX_KEY_CHARACTERS, MAX_MAGNITUDE

VERSION: Final = 1

Gauges = Sequence[float | None]
Counters = Sequence[int | None]
Spread = Callable[[tuple[Any, ...]], tuple[Any, ...]]


class UnknownFormat(ValueError):
    """A blob or layout written by a newer appliance, or damaged."""


@frozen(kw_only=True)
class Layout:
    """The devices of a row, by kind in the order of `KINDS`; equal layouts are the same object where it matters."""

    keys: tuple[tuple[str, ...], ...]
    gpu_details: tuple[tuple[int, str], ...] = ()
    """Index and model of each GPU, so that a reading can be rebuilt."""
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


@lru_cache(maxsize=4096)
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


def clean(sample: HostSample) -> HostSample:
    """Return the sample as it can be stored: numbers no device can mean are not reported, device names are unique.

    Raises `TooLarge` for more devices than a host has, `BadInput` for a device without a usable name.
    """
    keys = _keys(sample)
    unique = _unique_keys(keys)
    if unique == keys and _is_clean(sample):
        return sample
    changes: dict[str, Any] = _clean_fields(sample, HOST)
    for kind, names in zip(KINDS, unique, strict=True):
        devices = getattr(sample, kind.attribute)
        changes[kind.attribute] = tuple(
            evolve(device, **_clean_fields(device, kind), **{kind.key: name})
            for device, name in zip(devices, names, strict=True)
        )
    return evolve(sample, **changes)


def _keys(sample: HostSample) -> tuple[tuple[str, ...], ...]:
    return tuple([tuple([getattr(each, kind.key) for each in getattr(sample, kind.attribute)]) for kind in KINDS])


@lru_cache(maxsize=1024)
def _unique_keys(keys: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """Check the devices' names and make them unique; cached, since a host's devices seldom change."""
    found = []
    for kind, names in zip(KINDS, keys, strict=True):
        if len(names) > MAX_DEVICES:
            raise TooLarge(f"more than {MAX_DEVICES} {kind.attribute} in one sample")
        seen: set[str] = set()
        path = f"$.{kind.attribute}"
        found.append(tuple(_unique(name, seen, f"{path}[{place}].{kind.key}") for place, name in enumerate(names)))
    return tuple(found)


def _unique(key: str, seen: set[str], path: str) -> str:
    if not key or len(key) > MAX_KEY_CHARACTERS or not key.isprintable():
        raise BadInput(f"a device's name is 1 to {MAX_KEY_CHARACTERS} printable characters", field=path)
    unique, number = key, 1
    while unique in seen:  # two fans called "fan1" are two fans
        number += 1
        unique = f"{key} #{number}"
    seen.add(unique)
    return unique


def _is_clean(sample: HostSample) -> bool:
    gauges, counters = list(HOST.read_gauges(sample)), list(HOST.read_counters(sample))
    for kind in KINDS:
        for device in getattr(sample, kind.attribute):
            gauges += kind.read_gauges(device)
            counters += kind.read_counters(device)
    # Comparisons with not-a-number are false.
    return not [value for value in gauges if value is not None and not -MAX_MAGNITUDE <= value <= MAX_MAGNITUDE] and (
        not [value for value in counters if value is not None and not 0 <= value <= MAX_COUNTER]
    )


def _clean_fields(item: Any, kind: Fields) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name, value in zip(kind.gauges, kind.read_gauges(item), strict=True):
        # The comparison is false for not-a-number too.
        if value is not None and not -MAX_MAGNITUDE <= value <= MAX_MAGNITUDE:
            changes[name] = None
    for name, value in zip(kind.counters, kind.read_counters(item), strict=True):
        if value is not None and not 0 <= value <= MAX_COUNTER:
            changes[name] = None
    return changes


def layout_of(sample: HostSample) -> Layout:
    """Return the layout of a clean sample."""
    return intern_layout(_keys(sample), tuple([(gpu.gpu_index, gpu.model) for gpu in sample.gpus]))


def row_of(sample: HostSample) -> Row:
    """Flatten a clean sample."""
    gauges: list[float | None] = []
    counters: list[int | None] = []
    for kind in KINDS:
        for device in getattr(sample, kind.attribute):
            gauges += kind.read_gauges(device)
            counters += kind.read_counters(device)
    return Row(
        at_unix_us=sample.taken_at_unix_us,
        layout=layout_of(sample),
        host_gauges=HOST.read_gauges(sample),
        host_counters=HOST.read_counters(sample),
        gauges=gauges,
        counters=counters,
    )


def pack_devices(row: Row) -> bytes:
    """Return the blob of a row's device values."""
    values = [*row.counters, *row.gauges]
    present = bytes([value is not None for value in values])
    bitmap, packer = _packer(present, len(row.counters))
    return bitmap + packer.pack(*[value for value in values if value is not None])


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


_CLASSES: Final = {"gpus": GpuSample, "disks": DiskSample, "networks": NetworkSample, "fans": FanSample}


def sample_of(host_id: str, row: Row) -> HostSample:
    """Rebuild a sample from its row; what is never stored (processes, cores, file systems) is absent."""
    gauges, counters = iter(row.gauges), iter(row.counters)
    devices: dict[str, tuple[Any, ...]] = {}
    for kind, keys in zip(KINDS, row.layout.keys, strict=True):
        made = []
        for place, key in enumerate(keys):
            values: dict[str, Any] = {kind.key: key}
            if kind is GPU:
                index, model = row.layout.gpu_details[place]
                values |= {"gpu_index": index, "model": model, "taken_at_unix_us": row.at_unix_us}
            values |= {name: next(gauges) for name in kind.gauges}
            values |= {name: next(counters) for name in kind.counters}
            made.append(_CLASSES[kind.attribute](**_whole(values)))
        devices[kind.attribute] = tuple(made)
    host = dict(zip(HOST.gauges, row.host_gauges, strict=True))
    totals = dict(zip(HOST.counters, row.host_counters, strict=True))
    known = _whole(host) | totals | devices
    return HostSample(host_id=host_id, taken_at_unix_us=row.at_unix_us, **known)


def _whole(values: dict[str, Any]) -> dict[str, Any]:
    """Gauges are stored as floats; byte and piece counts are whole numbers in the model."""
    return {
        name: int(value)
        if isinstance(value, float) and ("_bytes" in name or "_count" in name) and "_per_s" not in name
        else value
        for name, value in values.items()
    }
