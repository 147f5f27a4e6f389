"""History points: each figure is the peak or the mean that it says, for whatever devices were there."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import evolve

from appliance.database import Database
from appliance.devices import DiskSample, FanSample, GpuSample, HostSample
from appliance.plugin import Column, Devices, Window
from appliance.series.schema import MIGRATIONS, OWNER
from appliance.series.service import Series
from plugins.metrics_ingest.history import KEPT_TEXTS, METRICS, points_json

START = 1_795_219_200_000_000
SECOND = 1_000_000
END = START + 7200 * SECOND
LABELS = ("idle", "gpu-bound", "io-bound")
NOBODY = Devices(gpus={}, disks=(), networks=(), fans=())


@asynccontextmanager
async def series_at(path: Path) -> AsyncIterator[Series]:
    async with Database.open(path, inline=True, migrations={OWNER: MIGRATIONS}, now=lambda: END) as database:
        yield Series(database, lambda: END)


def host(at_unix_us: int, random: Random, *, gpus: int = 2, disks: Sequence[str] = ("sdb", "sda")) -> HostSample:
    """Return a host whose readings are noise with one decimal, and whose counters rise unevenly."""
    seconds = (at_unix_us - START) // SECOND

    def noise(top: float = 100) -> float:
        return round(random.random() * top, 1)

    def total(rate: int) -> int:
        return seconds * rate + random.randrange(rate)

    return HostSample(
        host_id="box",
        taken_at_unix_us=at_unix_us,
        cpu_percent=noise(),
        cpu_iowait_percent=noise(),
        memory_percent=noise(),
        swap_percent=noise(),
        network_rx_bytes_total=total(10**8),
        network_tx_bytes_total=total(10**7),
        disks=tuple(
            DiskSample(
                device=name,
                read_bytes_total=total(10**6),
                write_bytes_total=total(10**7),
                busy_time_ms_total=total(300),
            )
            for name in disks
        ),
        fans=tuple(FanSample(label=name, speed_rpm=noise(5000)) for name in ("rear", "front")),
        gpus=tuple(
            GpuSample(
                gpu_id=f"GPU-{9 - index}",  # their ids sort the other way round
                gpu_index=index,
                model="A100",
                taken_at_unix_us=at_unix_us,
                utilization_percent=noise(),
                vram_used_percent=noise(),
                temperature_celsius=noise(),
                fan_percent=None if index else noise(),
            )
            for index in range(gpus)
        ),
    )


async def points_of(series: Series, *, max_points: int, verdicts: Sequence[tuple[int, int]] = ()) -> tuple[Window, Any]:
    window = await series.window("box", metrics=METRICS, from_unix_us=START, to_unix_us=END, max_points=max_points)
    return window, json.loads(points_json(window, verdicts, LABELS))


def peak(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


@pytest.mark.parametrize("max_points", [1500, 500, 100, 9, 3])
async def test_peaks_are_those_of_the_samples_and_rates_their_means(tmp_path: Path, max_points: int) -> None:
    random = Random(5)
    samples = [host(START + number * 5 * SECOND, random) for number in range(1300)]
    async with series_at(tmp_path / "a.db") as series:
        await series.append_all(samples)
        window, points = await points_of(series, max_points=max_points)
        readings = await series.raw("box", START, END, 5000)
    assert len(points) == len(window.times_unix_us)
    assert (window.tier_seconds == 0) == (max_points == 1500)
    length = window.step_seconds * SECOND or 1
    seen = 0
    tenth = 0.0501 if window.tier_seconds else 0.0  # buckets are shown to a tenth

    def top(values: Sequence[float | None]) -> Any:
        found = peak(values)
        return None if found is None else pytest.approx(found, abs=tenth)

    for at, point in zip(window.times_unix_us, points, strict=True):
        stride = [each for each in readings if at <= each.sample.taken_at_unix_us < at + length]
        seen += len(stride)
        of = [each.sample for each in stride]
        assert point["cpu_usage_percent"] == top([each.cpu_percent for each in of])
        assert point["cpu_iowait_percent"] == top([each.cpu_iowait_percent for each in of])
        assert point["memory_percent"] == top([each.memory_percent for each in of])
        assert point["swap_percent"] == top([each.swap_percent for each in of])
        assert point["gpu_top_util_percent"] == top([gpu.utilization_percent for each in of for gpu in each.gpus])
        assert point["gpu_top_memory_percent"] == top([gpu.vram_used_percent for each in of for gpu in each.gpus])
        assert point["fan_max_rpm"] == top([fan.speed_rpm for each in of for fan in each.fans])
        for place, shown in enumerate(point["gpus"]):
            gpus = [each.gpus[place] for each in of]
            assert shown == {
                "gpu_index": place,
                "utilization_gpu_percent": top([gpu.utilization_percent for gpu in gpus]),
                "memory_percent": top([gpu.vram_used_percent for gpu in gpus]),
                "temperature_c": top([gpu.temperature_celsius for gpu in gpus]),
                "fan_speed_percent": top([gpu.fan_percent for gpu in gpus]),
            }
        for shown, place in zip(point["fans"], (1, 0), strict=True):
            assert shown["speed_rpm"] == top([each.fans[place].speed_rpm for each in of])
        near = 0.02 + tenth
        averages = {
            "gpu_avg_util_percent": [gpu.utilization_percent for each in of for gpu in each.gpus],
            "gpu_avg_memory_percent": [gpu.vram_used_percent for each in of for gpu in each.gpus],
            "fan_avg_rpm": [fan.speed_rpm for each in of for fan in each.fans],
        }
        for name, values in averages.items():
            assert point[name] == pytest.approx(mean(values), abs=near), name
        assert point["network_rx_bps"] == pytest.approx(
            mean([each.rates.host["network_rx_bytes_per_s"] for each in stride]) or 0.0, abs=1
        )
        read, write, busy = (
            [mean([each.rates.disks[disk][name] for each in stride]) or 0.0 for disk in ("sda", "sdb")]
            for name in ("read_bytes_per_s", "write_bytes_per_s", "busy_percent")
        )
        assert point["disk_read_bps"] == pytest.approx(sum(read), abs=4)
        assert point["disk_write_bps"] == pytest.approx(sum(write), abs=4)
        assert point["disk_avg_util_percent"] == pytest.approx(sum(busy) / 2, abs=near)
        most = [peak([each.rates.disks[disk]["busy_percent"] for each in stride]) or 0.0 for disk in ("sda", "sdb")]
        assert point["disk_util_percent"] == pytest.approx(max(most), abs=near)
        assert [each["read_bps"] for each in point["disks"]] == pytest.approx(read, abs=2)
        assert [each["write_bps"] for each in point["disks"]] == pytest.approx(write, abs=2)
        assert [each["util_percent"] for each in point["disks"]] == pytest.approx(most, abs=near)
    assert seen == 1300


async def test_points_have_every_field_in_its_type_with_devices_in_order(tmp_path: Path) -> None:
    random = Random(1)
    async with series_at(tmp_path / "a.db") as series:
        await series.append_all([host(START + each * 2 * SECOND, random) for each in range(2)])
        _, points = await points_of(series, max_points=1500, verdicts=[(START, 1)])
    point = points[-1]
    assert set(point) == {
        *("collected_at", "cpu_usage_percent", "cpu_iowait_percent", "memory_percent", "swap_percent"),
        *("disk_read_bps", "disk_write_bps", "disk_util_percent", "disk_avg_util_percent"),
        *("network_rx_bps", "network_tx_bps", "gpu_top_util_percent", "gpu_avg_util_percent"),
        *("gpu_top_memory_percent", "gpu_avg_memory_percent", "fan_count", "fan_max_rpm", "fan_avg_rpm"),
        *("bottleneck", "gpus", "disks", "fans"),
    }
    assert point["collected_at"] == "2026-11-21T00:00:02+00:00"
    assert point["bottleneck"] == "gpu-bound"
    assert type(point["fan_count"]) is int
    assert [each["gpu_index"] for each in point["gpus"]] == [0, 1]
    assert [each["device"] for each in point["disks"]] == ["sda", "sdb"]
    assert [each["label"] for each in point["fans"]] == ["front", "rear"]
    numbers = [value for name, value in point.items() if name.endswith(("_percent", "_bps", "_rpm"))]
    assert {type(value) for value in numbers} == {float}
    assert {type(value) for each in point["disks"] for name, value in each.items() if name != "device"} == {float}


async def test_nothing_reported_is_zero_where_the_document_says_so_and_null_elsewhere(tmp_path: Path) -> None:
    silent = HostSample(
        host_id="box",
        taken_at_unix_us=START + 1,
        disks=(DiskSample(device="sda"),),
        fans=(FanSample(label="fan"),),
        gpus=(GpuSample(gpu_id="GPU-1", gpu_index=3, model="x", taken_at_unix_us=START + 1),),
    )
    async with series_at(tmp_path / "a.db") as series:
        await series.append(silent)
        await series.append(HostSample(host_id="box", taken_at_unix_us=START + SECOND))
        _, (point, bare) = await points_of(series, max_points=1500)
    nothing = {
        "cpu_usage_percent": 0.0,
        "cpu_iowait_percent": None,
        "memory_percent": 0.0,
        "swap_percent": 0.0,
        "disk_read_bps": 0.0,
        "disk_write_bps": 0.0,
        "disk_util_percent": 0.0,
        "disk_avg_util_percent": 0.0,
        "network_rx_bps": 0.0,
        "network_tx_bps": 0.0,
        "gpu_top_util_percent": None,
        "gpu_avg_util_percent": None,
        "gpu_top_memory_percent": None,
        "gpu_avg_memory_percent": None,
        "fan_max_rpm": None,
        "fan_avg_rpm": None,
        "bottleneck": "unknown",
    }
    none = {"utilization_gpu_percent": None, "memory_percent": None, "temperature_c": None, "fan_speed_percent": None}
    assert point == nothing | {
        "collected_at": "2026-11-21T00:00:00.000001+00:00",
        "fan_count": 1,
        "gpus": [{"gpu_index": 3, **none}],
        "disks": [{"device": "sda", "read_bps": 0.0, "write_bps": 0.0, "util_percent": 0.0}],
        "fans": [{"label": "fan", "speed_rpm": None}],
    }
    at = {"collected_at": "2026-11-21T00:00:01+00:00"}
    assert bare == nothing | at | {"fan_count": 0, "gpus": [], "disks": [], "fans": []}


async def test_averages_and_tops_leave_out_devices_that_reported_nothing(tmp_path: Path) -> None:
    sample = host(START, Random(2), gpus=3)
    first, second, third = sample.gpus
    gpus = (evolve(first, utilization_percent=40.0), evolve(second, utilization_percent=None), third)
    sample = evolve(sample, gpus=(*gpus[:2], evolve(third, utilization_percent=20.0)))
    async with series_at(tmp_path / "a.db") as series:
        await series.append(sample)
        _, (point,) = await points_of(series, max_points=1500)
    assert (point["gpu_top_util_percent"], point["gpu_avg_util_percent"]) == (40.0, 30.0)
    assert [each["utilization_gpu_percent"] for each in point["gpus"]] == [40.0, None, 20.0]


@pytest.mark.parametrize("max_points", [1500, 100])
async def test_device_is_shown_only_in_the_strides_in_which_it_was_there(tmp_path: Path, max_points: int) -> None:
    random = Random(3)
    async with series_at(tmp_path / "a.db") as series:
        for number in range(600):
            is_middle = 200 <= number < 400
            disks = ("sda", "tape") if is_middle else ("sda",)
            await series.append(host(START + number * 6 * SECOND, random, gpus=1 + is_middle, disks=disks))
        _, points = await points_of(series, max_points=max_points)
    shown = [(len(each["gpus"]), [disk["device"] for disk in each["disks"]]) for each in points]
    third = len(points) // 3
    assert shown == [
        *[(1, ["sda"])] * third,
        *[(2, ["sda", "tape"])] * third,
        *[(1, ["sda"])] * third,
    ]


def window_of(times: Sequence[int], *, step_seconds: int = 60, **changes: Any) -> Window:
    values: dict[str, Any] = {
        "from_unix_us": START,
        "to_unix_us": END,
        "tier_seconds": step_seconds,
        "step_seconds": step_seconds,
        "times_unix_us": times,
        "columns": [],
        "devices": [NOBODY] * len(times),
    }
    return Window(**{**values, **changes})


def test_verdict_is_the_last_change_before_the_stride_ends() -> None:
    minute = 60 * SECOND
    window = window_of([START, START + minute, START + 2 * minute])
    verdicts = [(START + minute - 1, 0), (START + minute, 1), (START + 2 * minute - 1, 2), (START + 3 * minute, 1)]
    points = json.loads(points_json(window, verdicts, LABELS))
    assert [each["bottleneck"] for each in points] == ["idle", "io-bound", "io-bound"]


def test_verdict_of_a_sample_is_its_own() -> None:
    window = window_of([START, START + 1, START + 2], step_seconds=0)
    points = json.loads(points_json(window, [(START + 1, 1), (START + 2, 99)], LABELS))
    assert [each["bottleneck"] for each in points] == ["unknown", "gpu-bound", "unknown"], "99 is of a newer version"


def test_first_point_does_not_lie_before_the_window() -> None:
    window = window_of([START, START + 60 * SECOND], from_unix_us=START + 12_345_678)
    points = json.loads(points_json(window, [], LABELS))
    assert [each["collected_at"] for each in points] == [
        "2026-11-21T00:00:12.345678+00:00",
        "2026-11-21T00:01:00+00:00",
    ]


def test_window_without_points_is_an_empty_array() -> None:
    assert points_json(window_of([]), [(START, 1)], LABELS) == b"[]"


@pytest.mark.parametrize("name", ['"', "\\", "%s", "%(x)d", "100%", "NAME", "é", "\u2028"])
def test_device_names_cannot_break_the_json(name: str) -> None:
    devices = Devices(gpus={name: (0, name)}, disks=(name,), networks=(), fans=(name,))
    (point,) = json.loads(points_json(window_of([START], devices=[devices]), [], LABELS))
    assert (point["disks"][0]["device"], point["fans"][0]["label"]) == (name, name)


def test_figures_of_any_size_are_numbers_with_two_decimals_however_many_there_are() -> None:
    random = Random(4)
    values = [random.uniform(-1e6, 1e6) for _ in range(2 * KEPT_TEXTS)] + [0.0, 1e-9, -1e-9, 2.0**53, 5e15]
    column = Column(metric="cpu_percent", device=None, minimum=(), maximum=values, mean=())
    times = [START + each for each in range(len(values))]
    points = json.loads(points_json(window_of(times, step_seconds=0, columns=[column]), [], LABELS))
    assert [each["cpu_usage_percent"] for each in points] == [round(value, 2) for value in values]
