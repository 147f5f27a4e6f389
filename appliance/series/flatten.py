"""From a sample to the row that is stored, and back."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import compress, repeat
from operator import is_not
from typing import Any, Final, Protocol, TypeVar

from attrs import evolve

from appliance.devices import DiskSample, FanSample, GpuSample, HostSample, NetworkSample
from appliance.errors import BadInput, TooLarge
from appliance.series.fields import GPU, HOST, KINDS, Fields
from appliance.series.limits import MAX_COUNTER, MAX_DEVICES, MAX_KEY_CHARACTERS, MAX_MAGNITUDE
from appliance.series.pack import Layout, Row, intern_layout, pack_reported

Keys = tuple[tuple[str, ...], ...]


class SampleLike(Protocol):
    """What has the attributes of a `HostSample` that become series, and devices with those of theirs.

    A decoder that fills such objects of its own spares making the model's, which are made only when somebody looks.
    """

    @property
    def host_id(self) -> str:
        """The host."""
        ...

    @property
    def taken_at_unix_us(self) -> int:
        """When it was taken."""
        ...

    @property
    def gpus(self) -> Sequence[Any]:
        """GPUs, with what a `GpuSample` has."""
        ...


SampleT = TypeVar("SampleT", bound=SampleLike)


def read(sample: SampleT) -> tuple[SampleT | HostSample, Row]:
    """Return the sample as it can be stored, and its row, packed; see `clean` for what is changed and raised.

    Nearly every sample is clean: it is looked through once, all values of a kind of number together.
    """
    keys, gauges, counters = _device_values(sample)
    unique = _unique_keys(keys)
    host_gauges, host_counters = HOST.read_gauges(sample), HOST.read_counters(sample)
    values: list[Any] = [*counters, *gauges]
    present = bytes(map(is_not, values, repeat(None)))
    reported = list(compress(values, present))
    host = list(filter(None, host_gauges)), list(filter(None, host_counters))
    counted = sum(present[: len(counters)])
    if not (
        unique == keys and _are_gauges(host[0] + reported[counted:]) and _are_counters(host[1] + reported[:counted])
    ):
        return read(_cleaned(model_of(sample), unique))
    row = Row(
        at_unix_us=sample.taken_at_unix_us,
        layout=_layout(keys, sample),
        host_gauges=host_gauges,
        host_counters=host_counters,
        gauges=gauges,
        counters=counters,
        blob=pack_reported(present, len(counters), reported),
    )
    return sample, row


def row_of(sample: SampleLike) -> Row:
    """Flatten a clean sample."""
    return read(sample)[1]


def layout_of(sample: HostSample) -> Layout:
    """Return the layout of a clean sample."""
    return row_of(sample).layout


def _device_values(sample: SampleLike) -> tuple[Keys, list[float | None], list[int | None]]:
    gauges: list[float | None] = []
    counters: list[int | None] = []
    keys = []
    for kind in KINDS:
        names, split = [], 1 + len(kind.gauges)
        for device in getattr(sample, kind.attribute):
            values = kind.read_device(device)
            names.append(values[0])
            gauges += values[1:split]
            counters += values[split:]
        keys.append(tuple(names))
    return tuple(keys), gauges, counters


def _layout(keys: Keys, sample: SampleLike) -> Layout:
    return intern_layout(keys, tuple([(gpu.gpu_index, gpu.model) for gpu in sample.gpus]))


def _are_gauges(values: list[float]) -> bool:
    # Not-a-number spreads to the sum, and every comparison with it is false. Real totals lie far below the limit of
    # one value; only where they do not is each looked at.
    try:
        if sum(map(abs, values)) <= MAX_MAGNITUDE:
            return True
    except OverflowError:  # an integer beyond every float
        return False
    return all(-MAX_MAGNITUDE <= value <= MAX_MAGNITUDE for value in values)


def _are_counters(values: list[int]) -> bool:
    return not values or (min(values) >= 0 and max(values) <= MAX_COUNTER)


def clean(sample: HostSample) -> HostSample:
    """Return the sample as it can be stored: numbers no device can mean are not reported, device names are unique.

    Raises `TooLarge` for more devices than a host has, `BadInput` for a device without a usable name.
    """
    return model_of(read(sample)[0])


def model_of(sample: SampleLike) -> HostSample:
    """Return the model of what is like it."""
    if isinstance(sample, HostSample):
        return sample
    made: dict[str, Any] = {"host_id": sample.host_id, "taken_at_unix_us": sample.taken_at_unix_us}
    made |= {name: getattr(sample, name) for name in (*HOST.gauges, *HOST.counters)}
    for kind in KINDS:
        names = [kind.key, *kind.gauges, *kind.counters, *(("gpu_index", "model") if kind is GPU else ())]
        more = {"taken_at_unix_us": sample.taken_at_unix_us} if kind is GPU else {}
        made[kind.attribute] = tuple(
            _CLASSES[kind.attribute](**{name: getattr(device, name) for name in names}, **more)
            for device in getattr(sample, kind.attribute)
        )
    return HostSample(**made)


def _cleaned(sample: HostSample, unique: Keys) -> HostSample:
    changes: dict[str, Any] = _clean_fields(sample, HOST)
    for kind, names in zip(KINDS, unique, strict=True):
        devices = getattr(sample, kind.attribute)
        changes[kind.attribute] = tuple(
            evolve(device, **_clean_fields(device, kind), **{kind.key: name})
            for device, name in zip(devices, names, strict=True)
        )
    return evolve(sample, **changes)


@lru_cache(maxsize=16_384)
def _unique_keys(keys: Keys) -> Keys:
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
