"""Samples as rows: nothing is lost, nothing impossible gets in, and foreign blobs are refused."""

import json
import zlib

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from appliance.devices import FanSample, GpuSample, HostSample, NetworkSample
from appliance.errors import BadInput, TooLarge
from appliance.series.fields import GPU, HOST
from appliance.series.flatten import clean, layout_of, row_of, sample_of
from appliance.series.pack import UnknownFormat, decoder, pack_devices, unpack_devices
from tests.appliance.series.conftest import START, Box

GAUGE = st.none() | st.floats(-(2**53), 2**53)
COUNTER = st.none() | st.integers(0, 2**63 - 1)


@st.composite
def samples(draw: st.DrawFn) -> HostSample:
    gpus = []
    for index in range(draw(st.integers(0, 3))):
        values = {name: draw(COUNTER) for name in GPU.counters}
        for name in GPU.gauges:
            is_whole = name.endswith("_bytes")
            values[name] = draw(st.none() | st.integers(0, 2**53) if is_whole else GAUGE)
        gpu_id = f"GPU-{index}"
        gpus.append(GpuSample(gpu_id=gpu_id, gpu_index=index, model="é", taken_at_unix_us=START, **values))  # type: ignore[arg-type]
    fans = tuple(FanSample(label=str(each), speed_rpm=draw(GAUGE)) for each in range(draw(st.integers(0, 9))))
    return HostSample(
        host_id="h",
        taken_at_unix_us=START,
        cpu_percent=draw(GAUGE),
        network_rx_bytes_total=draw(COUNTER),
        fans=fans,
        gpus=tuple(gpus),
    )


@given(samples())
def test_sample_comes_back_from_its_row_as_it_was(sample: HostSample) -> None:
    row = row_of(clean(sample))
    stored = decoder(row.layout.content)
    counters, gauges = unpack_devices(pack_devices(row), stored)
    assert stored.layout is row.layout
    assert sample_of("h", evolve(row, counters=counters, gauges=gauges)) == sample


@given(samples())
def test_row_gives_single_gauges_as_the_sample_has_them(sample: HostSample) -> None:
    row = row_of(clean(sample))
    assert row.gauge("cpu_percent") == sample.cpu_percent
    for metric, devices in (("gpu.power_watts", sample.gpus), ("fan.speed_rpm", sample.fans), ("disk.none", ())):
        assert list(row.column(metric)) == [getattr(each, metric.partition(".")[2]) for each in devices]
    counts = [row.device_count(kind) for kind in ("gpu", "disk", "network", "fan")]
    assert counts == [len(sample.gpus), 0, 0, len(sample.fans)]


@given(st.binary(max_size=80))
def test_foreign_blob_is_refused(blob: bytes) -> None:
    layout = layout_of(HostSample(host_id="h", taken_at_unix_us=START))
    if blob == b"\x01":  # the one blob that says "no devices"
        assert unpack_devices(blob, decoder(layout.content)) == ((), ())
        return
    with pytest.raises(UnknownFormat):
        unpack_devices(blob, decoder(layout.content))


@given(st.binary(max_size=80))
def test_foreign_layout_is_refused(content: bytes) -> None:
    with pytest.raises(UnknownFormat):
        decoder(content)


def test_layout_of_a_newer_version_is_refused() -> None:
    with pytest.raises(UnknownFormat, match="version 9"):
        decoder(zlib.compress(json.dumps({"version": 9}).encode()))


def test_fields_that_another_version_stored_are_skipped_and_new_ones_absent(box: Box) -> None:
    row = row_of(box.sample(START))
    document = json.loads(zlib.decompress(row.layout.content))
    # The other version knew one field more, and did not know the last of ours.
    document["kinds"]["fan"]["gauges"] = ["noise_db", "speed_rpm"]
    document["kinds"]["network"]["counters"].remove("tx_errors_total")
    other = decoder(zlib.compress(json.dumps(document).encode()))
    gauges = [*row.gauges[:-1], 33.0, row.gauges[-1]]
    counters = row.counters[:-1]
    blob = pack_devices(evolve(row, gauges=gauges, counters=counters))
    read_counters, read_gauges = unpack_devices(blob, other)
    assert list(read_gauges) == list(row.gauges)
    assert list(read_counters) == [*row.counters[:-1], None]


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 1e300, 10**400], ids=["nan", "inf", "-inf", "1e300", "10^400"]
)
def test_number_no_gauge_can_mean_counts_as_not_reported(value: float, box: Box) -> None:
    gpu = evolve(box.sample(START).gpus[0], power_watts=value)
    cleaned = clean(box.sample(START, cpu_percent=value, gpus=(gpu,)))
    assert cleaned.cpu_percent is None
    assert cleaned.gpus[0].power_watts is None
    assert cleaned.gpus[0].vram_total_bytes == gpu.vram_total_bytes


@pytest.mark.parametrize("value", [-1, 2**63, 10**5000], ids=["negative", "beyond int64", "5,000 digits"])
def test_number_no_counter_can_mean_counts_as_not_reported(value: int, box: Box) -> None:
    network = NetworkSample(interface="eth0", rx_bytes_total=value, tx_bytes_total=7)
    cleaned = clean(box.sample(START, network_rx_bytes_total=value, networks=(network,)))
    assert cleaned.network_rx_bytes_total is None
    assert cleaned.networks == (NetworkSample(interface="eth0", tx_bytes_total=7),)


def test_clean_sample_is_left_alone(box: Box) -> None:
    sample = box.sample(START)
    assert clean(sample) is sample


def test_two_fans_of_one_name_stay_two(box: Box) -> None:
    fans = (FanSample(label="fan1", speed_rpm=1.0), FanSample(label="fan1", speed_rpm=2.0))
    assert [fan.label for fan in clean(box.sample(START, fans=fans)).fans] == ["fan1", "fan1 #2"]


@pytest.mark.parametrize("label", ["", "x" * 201, "a\nb", "\ud800"])
def test_device_without_a_usable_name_is_refused_by_its_path(label: str, box: Box) -> None:
    with pytest.raises(BadInput) as caught:
        clean(box.sample(START, fans=(FanSample(label="ok"), FanSample(label=label))))
    assert caught.value.field == "$.fans[1].label"


def test_more_devices_than_a_host_has_are_refused(box: Box) -> None:
    with pytest.raises(TooLarge):
        clean(box.sample(START, fans=tuple(FanSample(label=str(number)) for number in range(257))))


def test_same_devices_have_the_same_layout_and_others_another(box: Box) -> None:
    one, two = layout_of(box.sample(START)), layout_of(box.sample(START + 1))
    assert one is two
    assert one.layout_id != layout_of(Box(gpus=3).sample(START)).layout_id


def test_every_series_field_of_the_host_is_read() -> None:
    assert "cpu_percent" in HOST.gauges
    assert HOST.counters == ("network_rx_bytes_total", "network_tx_bytes_total")
