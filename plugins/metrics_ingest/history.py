"""Points of a history: what they show of each stride, and their JSON.

Up to 1,500 samples are shown as they are. Beyond that a point is a bucket of core's tiers and keeps the peaks of its
stride: utilisation, temperature, memory and fan speeds are the maximum, rates and averages over devices the mean, and
the verdict is that of the stride's newest sample. Devices are those that were there at any time of the stride.

A day is 1,440 points of some eighty figures: they are formatted column by column and put into one template, and in
pieces, so that other threads get their turn.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final

import msgspec

from appliance.plugin import Column, Devices, Wanted, Window

from .models import is_whole
from .wire import iso

METRICS: Final = (
    Wanted("cpu_percent", ["maximum"]),
    Wanted("cpu_iowait_percent", ["maximum"]),
    Wanted("memory_percent", ["maximum"]),
    Wanted("swap_percent", ["maximum"]),
    Wanted("network_rx_bytes_per_s", ["mean"]),
    Wanted("network_tx_bytes_per_s", ["mean"]),
    Wanted("disk.read_bytes_per_s", ["mean"]),
    Wanted("disk.write_bytes_per_s", ["mean"]),
    Wanted("disk.busy_percent", ["maximum", "mean"]),
    Wanted("gpu.utilization_percent", ["maximum", "mean"]),
    Wanted("gpu.vram_used_percent", ["maximum", "mean"]),
    Wanted("gpu.temperature_celsius", ["maximum"]),
    Wanted("gpu.fan_percent", ["maximum"]),
    Wanted("fan.speed_rpm", ["maximum", "mean"]),
)
"""What `points_json` needs of a window."""

UNKNOWN: Final = "unknown"
"""The verdict where none is stored."""
PIECE_POINTS: Final = 64
"""Points formatted without letting other threads in: a quarter of a millisecond."""

KEPT_TEXTS: Final = 16_384
"""Figures whose JSON is kept between requests, some 2 MB."""

_POINT: Final = (
    '{"collected_at":"%s","cpu_usage_percent":%s,"cpu_iowait_percent":%s,"memory_percent":%s,"swap_percent":%s,'
    '"network_rx_bps":%d.0,"network_tx_bps":%d.0,"disk_read_bps":%d.0,"disk_write_bps":%d.0,'
    '"disk_util_percent":%s,"disk_avg_util_percent":%s,"gpu_top_util_percent":%s,"gpu_avg_util_percent":%s,'
    '"gpu_top_memory_percent":%s,"gpu_avg_memory_percent":%s,"fan_max_rpm":%s,"fan_avg_rpm":%s,"bottleneck":%s'
)
_DISK: Final = '{"device":NAME,"read_bps":%d.0,"write_bps":%d.0,"util_percent":%s}'
_GPU: Final = (
    '{"gpu_index":NAME,"utilization_gpu_percent":%s,"memory_percent":%s,"temperature_c":%s,"fan_speed_percent":%s}'
)
_FAN: Final = '{"label":NAME,"speed_rpm":%s}'

Verdicts = Sequence[tuple[int, int]]
"""(time in microseconds, code) of each change, oldest first, beginning with the one in effect at the start."""
Figures = Sequence[float | None]


def points_json(window: Window, verdicts: Verdicts, labels: Sequence[str]) -> bytes:
    """Return a window as the JSON array of its points, oldest first.

    A point's ``collected_at`` is the sample's own time, or where its bucket begins, the first one's not before the
    window does. Figures of samples have at most two decimals, those of buckets one, bytes per second none.

    :param window: of the metrics in `METRICS`.
    :param labels: what the codes of ``verdicts`` are called.
    """
    charts = _Charts(window, verdicts, labels)
    pieces = []
    for devices, start, end in _runs(window.devices):
        template, columns = _template(devices), charts.columns(devices, start, end)
        for at in range(0, end - start, PIECE_POINTS):
            rows = zip(*[column[at : at + PIECE_POINTS] for column in columns], strict=True)
            pieces.append(",".join(map(template.__mod__, rows)))
    return f"[{','.join(pieces)}]".encode()


def _runs(devices: Sequence[Devices]) -> Iterator[tuple[Devices, int, int]]:
    """Yield (devices, start, end) of the points at which the same devices were there."""
    start = 0
    for end in range(1, len(devices) + 1):
        if end == len(devices) or devices[end] is not devices[start]:
            yield devices[start], start, end
            start = end


def _gpus(devices: Devices) -> list[tuple[int, str]]:
    return sorted((index, gpu_id) for gpu_id, (index, _) in devices.gpus.items() if is_whole(gpu_id))


def _template(devices: Devices) -> str:
    """Return the JSON of a point with places for its figures, in the order of `_Charts.columns`."""
    gpus = [_GPU.replace("NAME", str(index)) for index, _ in _gpus(devices)]
    disks = [_DISK.replace("NAME", _name(each)) for each in sorted(devices.disks)]
    fans = [_FAN.replace("NAME", _name(each)) for each in sorted(devices.fans)]
    lists = f'"gpus":[{",".join(gpus)}],"disks":[{",".join(disks)}],"fans":[{",".join(fans)}]'
    return f'{_POINT},"fan_count":{len(fans)},{lists}}}'


def _name(text: str) -> str:
    return msgspec.json.encode(text).decode().replace("%", "%%")


class _Texts(dict[float | None, str]):
    """JSON of figures, each made once: the percentages of a day, and of the next request, are few different ones."""

    def __init__(self, absent: str, digits: int) -> None:
        super().__init__()
        self.absent = absent
        self.digits = digits

    def __missing__(self, value: float | None) -> str:
        if len(self) >= KEPT_TEXTS:
            self.clear()
        self[value] = text = self.absent if value is None else repr(round(float(value), self.digits))
        return text

    def of(self, column: Iterable[float | None]) -> list[str]:
        return list(map(self.__getitem__, column))


OF_SAMPLES: Final = 2
OF_BUCKETS: Final = 1
"""Digits behind the point: a pixel of a chart is more, and each costs a tenth of the answer."""
_OR_NULL: Final = {digits: _Texts("null", digits) for digits in (OF_SAMPLES, OF_BUCKETS)}
_OR_ZERO: Final = {digits: _Texts("0.0", digits) for digits in (OF_SAMPLES, OF_BUCKETS)}


class _Charts:
    """The figures of a window, by column, ready for the template."""

    def __init__(self, window: Window, verdicts: Verdicts, labels: Sequence[str]) -> None:
        self._columns = {(each.metric, each.device): each for each in window.columns}
        none = [None] * len(window.times_unix_us)
        self._absent = Column(metric="", device=None, minimum=none, maximum=none, mean=none)
        self._times = [iso(max(at, window.from_unix_us)) for at in window.times_unix_us]
        self._verdicts = _verdict_texts(window, verdicts, labels)
        self._is_raw = window.tier_seconds == 0

    def columns(self, devices: Devices, start: int, end: int) -> list[Sequence[Any]]:
        """Return the columns of some points at which these devices were there."""

        def all_of(figure: str, metric: str, names: Iterable[str | None]) -> list[Figures]:
            columns = (self._columns.get((metric, name), self._absent) for name in names)
            return [getattr(column, figure)[start:end] for column in columns]

        def peaks(metric: str, names: Iterable[str | None] = (None,)) -> list[Figures]:
            return all_of("maximum", metric, names)

        def means(metric: str, names: Iterable[str | None] = (None,)) -> list[Figures]:
            return all_of("mean", metric, names)

        def rates(metric: str, names: Iterable[str | None] = (None,)) -> list[list[float]]:
            columns = [_known(column) for column in means(metric, names)]
            # Stored means are whole bytes already.
            return [list(map(round, column)) for column in columns] if self._is_raw else columns

        digits = OF_SAMPLES if self._is_raw else OF_BUCKETS
        null, zero = _OR_NULL[digits].of, _OR_ZERO[digits].of
        disks, fans, gpus = sorted(devices.disks), sorted(devices.fans), [each for _, each in _gpus(devices)]
        count = end - start
        read, write = rates("disk.read_bytes_per_s", disks), rates("disk.write_bytes_per_s", disks)
        busy, load = peaks("disk.busy_percent", disks), peaks("gpu.utilization_percent", gpus)
        memory, speed = peaks("gpu.vram_used_percent", gpus), peaks("fan.speed_rpm", fans)
        columns: list[Sequence[Any]] = [
            self._times[start:end],
            *map(zero, peaks("cpu_percent")),
            *map(null, peaks("cpu_iowait_percent")),
            *map(zero, peaks("memory_percent")),
            *map(zero, peaks("swap_percent")),
            *rates("network_rx_bytes_per_s"),
            *rates("network_tx_bytes_per_s"),
            _sums(read, count),
            _sums(write, count),
            zero(_tops(busy, count)),
            _averages([_known(column) for column in means("disk.busy_percent", disks)], count, "0.0", digits),
            null(_tops(load, count)),
            _averages(means("gpu.utilization_percent", gpus), count, "null", digits),
            null(_tops(memory, count)),
            _averages(means("gpu.vram_used_percent", gpus), count, "null", digits),
            null(_tops(speed, count)),
            _averages(means("fan.speed_rpm", fans), count, "null", digits),
            self._verdicts[start:end],
        ]
        heat, fan = peaks("gpu.temperature_celsius", gpus), peaks("gpu.fan_percent", gpus)
        for four in zip(load, memory, heat, fan, strict=True):
            columns += map(null, four)
        for one, two, three in zip(read, write, busy, strict=True):
            columns += (one, two, zero(three))
        columns += map(null, speed)
        return columns


def _verdict_texts(window: Window, verdicts: Verdicts, labels: Sequence[str]) -> list[str]:
    """Return the label of each point as JSON: that of the last change within its stride or before it."""
    names = [msgspec.json.encode(label).decode() for label in (*labels, UNKNOWN)]
    codes = [code if 0 <= code < len(labels) else -1 for _, code in verdicts]
    at = list(map(itemgetter(0), verdicts))
    length = window.step_seconds * 1_000_000 or 1
    places = [bisect_left(at, start + length) - 1 for start in window.times_unix_us]
    return [names[codes[place] if place >= 0 else -1] for place in places]


def _known(column: Figures) -> list[float]:
    """Return a column with 0 where nobody knows: what the document says of the rates of disks and networks."""
    return [value or 0.0 for value in column]


def _sums(columns: Sequence[Sequence[float]], count: int) -> list[float]:
    return list(map(sum, zip(*columns, strict=True))) if columns else [0.0] * count


def _tops(columns: Sequence[Figures], count: int) -> Figures:
    """Return the greatest over devices at each point, of those that reported."""
    if not columns:
        return [None] * count
    if any(None in column for column in columns):
        rows = zip(*columns, strict=True)
        return [max((value for value in row if value is not None), default=None) for row in rows]
    return list(map(max, zip(*columns, strict=True)))


def _averages(columns: Sequence[Figures], count: int, absent: str, digits: int) -> list[str]:
    """Return the JSON of the mean over devices at each point, of those that reported."""
    if not columns:
        return [absent] * count
    rows: Iterable[Sequence[Any]] = zip(*columns, strict=True)
    text = f"%.{digits}f"
    if any(None in column for column in columns):
        known = ([value for value in row if value is not None] for row in rows)
        return [text % (sum(row) / len(row)) if row else absent for row in known]
    width = len(columns)
    return [text % (total / width) for total in map(sum, rows)]
