"""Windows as they are read: what is asked for and no more, who was there, and the tier by what is really stored."""

from pathlib import Path

import pytest
from attrs import evolve

from appliance.devices import DiskSample, HostSample
from appliance.series.limits import Retention
from appliance.series.rates import Rates
from appliance.series.service import Series
from appliance.series.window import FIGURES, MAX_FIGURES, Wanted, Window
from tests.appliance.series.conftest import SECOND, START, Box, Hands, series_at

HOUR = 3600 * SECOND


async def fill(series: Series, box: Box, *, count: int, step: int = 2 * SECOND, start: int = START) -> list[HostSample]:
    samples = [box.sample(start + number * step) for number in range(count)]
    for at in range(0, count, 200):
        await series.append_all(samples[at : at + 200])
    return samples


async def read(series: Series, *metrics: str | Wanted, seconds: int = 3600, max_points: int = 1500) -> Window:
    to = START + seconds * SECOND
    return await series.window("box", metrics=metrics, from_unix_us=START, to_unix_us=to, max_points=max_points)


@pytest.mark.parametrize("max_points", [2500, 500, 100, 20, 3])
async def test_wanted_figures_are_those_of_the_whole_and_the_others_are_empty(
    series: Series, box: Box, max_points: int
) -> None:
    await fill(series, box, count=2000)
    whole = await read(series, seconds=4000, max_points=max_points)
    asked = (
        Wanted("gpu.utilization_percent", ["maximum", "mean"]),
        Wanted("network_rx_bytes_per_s", ["mean"]),
        Wanted("cpu_temperature_celsius", ["minimum"]),
        "disk.busy_percent",
    )
    some = await read(series, *asked, seconds=4000, max_points=max_points)
    assert (some.tier_seconds, some.times_unix_us) == (whole.tier_seconds, whole.times_unix_us)
    figures = {each.metric if isinstance(each, Wanted) else each: each for each in asked}
    assert {each.metric for each in some.columns} == set(figures)
    for column in some.columns:
        full = whole.column(column.metric, column.device)
        wanted = figures[column.metric]
        for name in FIGURES:
            is_wanted = not isinstance(wanted, Wanted) or name in wanted.figures
            assert list(getattr(column, name)) == (list(getattr(full, name)) if is_wanted else []), (column, name)


def rate(rates: Rates, kind: str, device: str | None, name: str) -> float | None:
    """Return one rate of a reading."""
    if not kind:
        return rates.host[name]
    of_kind = {"disk": rates.disks, "gpu": rates.gpus, "network": rates.networks}[kind]
    return of_kind.get(device or "", {}).get(name)


@pytest.mark.parametrize(
    "metrics",
    [
        ("disk.read_bytes_per_s",),
        ("gpu.nvlink_rx_bytes_per_s", "network.tx_bytes_per_s"),
        ("network.rx_bytes_per_s",),
        ("gpu.energy_watts",),
        ("network_tx_bytes_per_s",),
    ],
)
async def test_raw_rates_are_those_of_the_readings_whichever_are_asked_for(
    series: Series, box: Box, metrics: tuple[str, ...]
) -> None:
    box.gpus = 1
    await fill(series, box, count=20)
    box.gpus = 3
    await fill(series, box, count=20, start=START + 40 * SECOND)
    await series.append(box.sample(START + 1500 * SECOND))  # after a gap: no rate
    window = await read(series, *metrics)
    readings = await series.raw("box", START, START + HOUR)
    assert window.tier_seconds == 0
    assert len(readings) == 41
    for column in window.columns:
        kind, _, name = column.metric.rpartition(".")
        expected = [rate(each.rates, kind, column.device, name) for each in readings]
        assert list(column.mean) == expected
        assert list(column.minimum) == list(column.maximum) == expected
    assert {each.metric for each in window.columns} == set(metrics)
    assert all(any(value is not None for value in each.mean) for each in window.columns)


async def test_window_without_samples_has_neither_points_nor_devices(series: Series) -> None:
    window = await read(series)
    assert (window.times_unix_us, window.columns, window.devices, window.sample_count) == ([], [], [], 0)


@pytest.mark.parametrize("max_points", [5000, 800, 150, 30])
async def test_window_tells_how_many_samples_are_behind_its_points(series: Series, box: Box, max_points: int) -> None:
    await fill(series, box, count=2000)
    window = await read(series, "cpu_percent", seconds=4000, max_points=max_points)
    assert window.sample_count == 2000
    assert len(window.times_unix_us) <= max_points


@pytest.mark.parametrize("max_points", [5000, 400, 100, 6])
async def test_window_tells_which_devices_were_there_at_each_point_though_they_reported_nothing(
    series: Series, box: Box, max_points: int
) -> None:
    silent = DiskSample(device="sdb")
    for number in range(1000):
        sample = box.sample(START + number * 10 * SECOND)
        if number >= 720:  # from the second hour on
            sample = evolve(sample, disks=(*sample.disks, silent))
        await series.append(sample)
    window = await read(series, "disk.busy_percent", seconds=10_000, max_points=max_points)
    assert len(window.devices) == len(window.times_unix_us)
    for at, devices in zip(window.times_unix_us, window.devices, strict=True):
        assert devices.gpus == {"GPU-0": (0, "NVIDIA H200"), "GPU-1": (1, "NVIDIA H200")}
        has_second = at + max(window.step_seconds, 1) * SECOND > START + 7200 * SECOND
        assert devices.disks == (("nvme0n1", "sdb") if has_second else ("nvme0n1",)), at
        assert (devices.networks, devices.fans) == (("eth0",), ("fan1",))
    assert len({id(each) for each in window.devices}) == 2, "the same object where nothing changed"


async def test_few_samples_are_shown_as_they_are_however_long_the_window(series: Series, box: Box) -> None:
    samples = await fill(series, box, count=3)
    window = await read(series, "cpu_percent", seconds=86_400)
    assert window.tier_seconds == 0
    assert window.columns[0].maximum == [each.cpu_percent for each in samples]


async def test_exactly_as_many_samples_as_points_are_shown_as_they_are(series: Series, box: Box) -> None:
    await fill(series, box, count=60)
    assert (await read(series, "cpu_percent", max_points=60)).tier_seconds == 0
    assert (await read(series, "cpu_percent", max_points=59)).tier_seconds == 10


async def test_tier_is_chosen_by_what_is_stored_and_not_by_how_long_ago_the_window_begins(
    series: Series, box: Box
) -> None:
    await fill(series, box, count=1000)
    window = await series.window(
        "box", metrics=["cpu_percent"], from_unix_us=START - 29 * 24 * HOUR, to_unix_us=START + HOUR, max_points=900
    )
    assert window.tier_seconds == 10
    assert len(window.times_unix_us) == 200


async def test_raw_samples_do_not_answer_for_hours_of_which_only_buckets_are_left(
    tmp_path: Path, box: Box, clock: Hands
) -> None:
    async with series_at(tmp_path / "a.db", clock, Retention(raw_hours=2)) as series:
        await fill(series, box, count=240, step=60 * SECOND)
        clock.at_unix_us = START + 4 * HOUR
        for _ in range(5):
            await series.keep()
        assert await series.count("box", START, START + HOUR) == 0
        window = await read(series, "cpu_percent", seconds=4 * 3600)
        assert window.times_unix_us[0] == START
        assert window.sample_count == 240


async def test_window_of_more_figures_than_fit_in_memory_is_answered_from_a_coarser_tier(
    series: Series, box: Box
) -> None:
    disks = 40
    for number in range(0, 640, 2):
        made = tuple(DiskSample(device=f"d{number}-{each}", busy_time_ms_total=1) for each in range(disks))
        await series.append(box.sample(START + number * SECOND, disks=made, gpus=()))
    asked = Wanted("disk.busy_percent", ["maximum"])
    window = await read(series, asked, seconds=640)
    assert len(window.times_unix_us) * len(window.columns) <= MAX_FIGURES
    assert window.tier_seconds == 10, "the raw samples are few enough, their 4.1 million figures are not"
    assert window.sample_count == 320
