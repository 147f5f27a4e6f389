"""Rates from counters: the one place where two readings become a figure per second.

A rate belongs to the later of two neighbouring samples. There is none for the first sample, after a gap, after a
counter went down (a reboot, a driver reload, a replaced device), and where either reading is absent. A gap is what is
longer than ten of the host's usual intervals: an average over it would hide that nobody knows what happened meanwhile.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import sub
from typing import Final

from attrs import field, frozen

from appliance.series.fields import HOST, KINDS, RATE_LIMITS, RATE_SCALES
from appliance.series.limits import MAX_MAGNITUDE, RATE_GAP_SECONDS
from appliance.series.pack import Counters, Layout, Row, Spread, names_of, picker

GAP_US: Final = RATE_GAP_SECONDS * 1_000_000
PACE_GAPS: Final = 10
"""Gaps between samples of which the usual interval is the median."""
PACE_TIMES: Final = PACE_GAPS + 1
LEAST_INTERVAL_US: Final = 1_000_000


class Pace:
    """How often a host reports, by its last samples: whether the one before is near enough for a rate."""

    __slots__ = ("_limit_us", "_times")

    def __init__(self, times_unix_us: Iterable[int] = ()) -> None:
        """Begin with the moments of the latest samples, oldest first; only the last eleven count."""
        self._times: deque[int] = deque(times_unix_us, maxlen=PACE_TIMES)
        self._limit_us = self._limit()

    @property
    def limit_us(self) -> int:
        """The longest gap over which rates are derived: ten medians of the last ten gaps."""
        return self._limit_us

    def near(self, before: Row | None, row: Row) -> Row | None:
        """Return the sample before, unless it lies too far behind."""
        return before if before is not None and row.at_unix_us - before.at_unix_us <= self._limit_us else None

    def add(self, at_unix_us: int) -> None:
        """Go on by a sample, later than all others."""
        self._times.append(at_unix_us)
        self._limit_us = self._limit()

    def _limit(self) -> int:
        times = list(self._times)
        if len(times) < 2:  # nothing is known of its pace yet
            return GAP_US
        gaps: list[int] = sorted(map(sub, times[1:], times))
        return 10 * max(gaps[len(gaps) // 2], LEAST_INTERVAL_US)


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
def _device_scales(shape: tuple[int, ...]) -> _Scales:
    return _scales([name for _, name in names_of(shape, "rates")])


@lru_cache(maxsize=1024)
def _places(before: Layout, after: Layout) -> tuple[int | None, ...]:
    """Return where each counter of ``after`` was in ``before``: devices come and go between two samples."""
    at = {slot: place for place, slot in enumerate(before.slots("counters"))}
    return tuple(at.get(slot) for slot in after.slots("counters"))


@lru_cache(maxsize=1024)
def _column(shape: tuple[int, ...], metric: str) -> Spread:
    return picker(shape, "rates", metric)


def host_rates(before: Row | None, row: Row) -> list[float | None]:
    """Return the host's rates in the order of its counters; ``before`` is near enough, see `Pace`."""
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
    return _derive(counters, row.counters, _device_scales(row.layout.shape), seconds)


def _seconds(before: Row | None, row: Row) -> float | None:
    if before is None:
        return None
    elapsed = row.at_unix_us - before.at_unix_us
    return elapsed / 1_000_000 if elapsed > 0 else None


def _derive(before: Counters, after: Counters, scales: _Scales, seconds: float) -> list[float | None]:
    if after.count(None) == len(after):  # thousands of hosts report no counter at all
        return [None] * len(after)
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

    def column(self, metric: str) -> Sequence[float | None]:
        """Return one rate of every device of a kind, in the sample's order (``disk.busy_percent``); quick."""
        return _column(self.layout.shape, metric)(self.device_values)

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
