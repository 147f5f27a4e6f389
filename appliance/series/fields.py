"""Which fields of a sample become time series, and what their metrics are called; read from devices.py's metadata."""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

from attrs import fields, frozen

from appliance.devices import SERIES, DiskSample, FanSample, GpuSample, HostSample, NetworkSample


def _named(cls: type[Any], kind: str) -> tuple[str, ...]:
    return tuple(each.name for each in fields(cls) if each.metadata.get(SERIES) == kind)


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that reads the attributes as a tuple, however few they are."""
    if not names:
        return lambda _: ()
    if len(names) == 1:
        only = attrgetter(names[0])
        return lambda item: (only(item),)
    return attrgetter(*names)


def rate_name(counter: str) -> str:
    """Return the metric that a counter's rate is called (``rx_bytes_total`` -> ``rx_bytes_per_s``)."""
    return _RATE_NAMES.get(counter) or counter.removesuffix("_total") + "_per_s"


_RATE_NAMES: Final = {
    "busy_time_ms_total": "busy_percent",
    "energy_millijoules_total": "energy_watts",
}

RATE_SCALES: Final = {"busy_percent": 0.1, "energy_watts": 0.001}
"""What a counter's change per second is multiplied by; 1 where nothing is said."""

RATE_LIMITS: Final = {"busy_percent": 100.0}
"""A driver's rounding may report a little more busy time than there was time."""


@frozen(kw_only=True)
class Fields:
    """The series of the host itself, or of one kind of device."""

    prefix: str
    """Such as ``gpu``; empty for the host."""
    attribute: str
    """Field of `HostSample` that holds the devices; empty for the host."""
    key: str
    """Field that names one device among its kind; empty for the host."""
    gauges: tuple[str, ...]
    counters: tuple[str, ...]
    read_gauges: Callable[[Any], tuple[Any, ...]]
    read_counters: Callable[[Any], tuple[Any, ...]]
    read_device: Callable[[Any], tuple[Any, ...]]
    """Reads a device's key, its gauges and its counters at once; nothing for the host."""

    @property
    def rates(self) -> tuple[str, ...]:
        """Names of the metrics derived from the counters, in the counters' order."""
        return tuple(rate_name(name) for name in self.counters)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every chartable name: gauges, then rates, with the prefix of the kind (``gpu.power_watts``)."""
        dot = f"{self.prefix}." if self.prefix else ""
        return tuple(dot + name for name in (*self.gauges, *self.rates))


def _fields(cls: type[Any], prefix: str = "", attribute: str = "", key: str = "") -> Fields:
    gauges, counters = _named(cls, "gauge"), _named(cls, "counter")
    return Fields(
        prefix=prefix,
        attribute=attribute,
        key=key,
        gauges=gauges,
        counters=counters,
        read_gauges=_getter(gauges),
        read_counters=_getter(counters),
        read_device=_getter((key, *gauges, *counters) if key else ()),
    )


HOST: Final = _fields(HostSample)
GPU: Final = _fields(GpuSample, "gpu", "gpus", "gpu_id")
DISK: Final = _fields(DiskSample, "disk", "disks", "device")
NETWORK: Final = _fields(NetworkSample, "network", "networks", "interface")
FAN: Final = _fields(FanSample, "fan", "fans", "label")

KINDS: Final = (GPU, DISK, NETWORK, FAN)
"""Device kinds in the order they are packed."""

METRICS: Final = tuple(metric for each in (HOST, *KINDS) for metric in each.metrics)
"""Every metric that a window can be asked for."""
