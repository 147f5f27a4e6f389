"""Rates from counters: the one place where two readings become a figure per second.

A rate belongs to the later of two neighbouring samples. There is none for the first sample, after a gap, after a
counter went down (a reboot, a driver reload, a replaced device), and where either reading is absent.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from attrs import field, frozen

from appliance.series.fields import HOST, KINDS, RATE_LIMITS, RATE_SCALES
from appliance.series.limits import MAX_MAGNITUDE, RATE_GAP_SECONDS
from appliance.series.pack import Counters, Layout, Row

GAP_US: Final = RATE_GAP_SECONDS * 1_000_000


@frozen
class _Scales:
    """How the changes of some counters become rates."""

    divisors: tuple[float, ...]
    """What each change per second is divided by."""
    limited: tuple[tuple[int, float], ...]
    """Place and limit of the rates that have one."""


def _scales(names: Sequence[str]) -> _Scales:
    return _Scales(
        tuple(1 / RATE_SCALES.get(name, 1.0) for name in names),
        tuple((place, RATE_LIMITS[name]) for place, name in enumerate(names) if name in RATE_LIMITS),
    )


_HOST_SCALES: Final = _scales(HOST.rates)


@lru_cache(maxsize=1024)
def _device_scales(layout: Layout) -> _Scales:
    return _scales([name for _, _, name in layout.slots("rates")])


@lru_cache(maxsize=1024)
def _places(before: Layout, after: Layout) -> tuple[int | None, ...]:
    """Return where each counter of ``after`` was in ``before``: devices come and go between two samples."""
    at = {slot: place for place, slot in enumerate(before.slots("counters"))}
    return tuple(at.get(slot) for slot in after.slots("counters"))


def host_rates(before: Row | None, row: Row) -> list[float | None]:
    """Return the host's rates in the order of its counters."""
    seconds = _seconds(before, row)
    if before is None or seconds is None:
        return [None] * len(row.host_counters)
    return _derive(before.host_counters, row.host_counters, _HOST_SCALES, seconds)


def device_rates(before: Row | None, row: Row) -> list[float | None]:
    """Return the devices' rates in the order of the row's counters."""
    seconds = _seconds(before, row)
    if before is None or seconds is None:
        return [None] * len(row.counters)
    counters = before.counters
    if before.layout is not row.layout and before.layout != row.layout:
        counters = [None if place is None else counters[place] for place in _places(before.layout, row.layout)]
    return _derive(counters, row.counters, _device_scales(row.layout), seconds)


def _seconds(before: Row | None, row: Row) -> float | None:
    if before is None:
        return None
    elapsed = row.at_unix_us - before.at_unix_us
    return elapsed / 1_000_000 if 0 < elapsed <= GAP_US else None


def _derive(before: Counters, after: Counters, scales: _Scales, seconds: float) -> list[float | None]:
    rates = [
        None if old is None or new is None or new < old else (new - old) / (seconds * divisor)
        for old, new, divisor in zip(before, after, scales.divisors, strict=True)
    ]
    for place, limit in scales.limited:  # a share may be rounded above its whole
        rate = rates[place]
        if rate is not None and rate > limit:
            rates[place] = limit
    if max(filter(None, rates), default=0) > MAX_MAGNITUDE:  # no device is that fast: a reading was wrong
        return [None if rate is None or rate > MAX_MAGNITUDE else rate for rate in rates]
    return rates


@frozen
class Rates:
    """The rates of one reading, by name; all ``None`` on a host's first."""

    layout: Layout = field(repr=False)
    host_values: Sequence[float | None]
    device_values: Sequence[float | None]

    @property
    def host(self) -> Mapping[str, float | None]:
        """Rates of the host itself, such as ``network_rx_bytes_per_s``."""
        return dict(zip(HOST.rates, self.host_values, strict=True))

    def _of(self, prefix: str) -> Mapping[str, Mapping[str, float | None]]:
        values = iter(self.device_values)
        found: dict[str, dict[str, float | None]] = {}
        for kind, keys in zip(KINDS, self.layout.keys, strict=True):
            for key in keys:
                rates = {name: next(values) for name in kind.rates}
                if kind.prefix == prefix:
                    found[key] = rates
        return found

    @property
    def gpus(self) -> Mapping[str, Mapping[str, float | None]]:
        """By GPU id: ``nvlink_rx_bytes_per_s``, ``energy_watts`` (mean power by the energy counter) and so on."""
        return self._of("gpu")

    @property
    def disks(self) -> Mapping[str, Mapping[str, float | None]]:
        """By device: ``read_bytes_per_s``, ``read_count_per_s``, ``busy_percent`` and so on."""
        return self._of("disk")

    @property
    def networks(self) -> Mapping[str, Mapping[str, float | None]]:
        """By interface: ``rx_bytes_per_s``, ``rx_errors_per_s`` and so on."""
        return self._of("network")


def rates_of(before: Row | None, row: Row) -> Rates:
    """Derive every rate of ``row`` from the sample before it."""
    return Rates(row.layout, host_rates(before, row), device_rates(before, row))
