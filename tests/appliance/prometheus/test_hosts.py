"""Every field of a sample under its name, once, for any number of hosts; also by dcgm-exporter's names."""

from typing import Any

import attrs
import pytest
from attrs import evolve

from appliance.devices import FilesystemSample, Gpu, GpuSample, HostSample
from appliance.prometheus import ScrapedHost, hosts_text
from appliance.prometheus.families import COUNTERS, DCGM, GAUGES, WORDS
from appliance.series.fields import HOST, KINDS
from tests.appliance.prometheus.hosts_kit import everything, scraped, whole
from tests.appliance.prometheus.parsing import Sample, parse
from tests.appliance.series.conftest import START

MIB = 2**20


def values(samples: list[Sample], **labels: str) -> list[float]:
    return [each.value for each in samples if labels.items() <= each.labels.items()]


def test_every_figure_of_every_device_of_every_host_is_there_with_its_own_value() -> None:
    samples = [whole("box"), whole("crate"), whole("bin")]
    families = parse(hosts_text([scraped(each) for each in samples]))
    compared = 0
    for sample in samples:
        for kind in (HOST, *KINDS):
            for device in getattr(sample, kind.attribute) if kind.attribute else (sample,):
                names = zip((*kind.gauges, *kind.counters), (*GAUGES[kind.prefix], *COUNTERS[kind.prefix]), strict=True)
                for name, family in names:
                    label = {"gpu": "uuid", "disk": "device", "network": "interface", "fan": "fan"}.get(kind.prefix)
                    labels = {"server": sample.host_id}
                    if label is not None:
                        labels[label] = getattr(device, kind.key)
                    assert values(families[family.name].samples, **labels) == [getattr(device, name)]
                    compared += 1
    assert compared == 3 * len(HOST.gauges + HOST.counters) + sum(
        3 * len(getattr(samples[0], kind.attribute)) * len(kind.gauges + kind.counters) for kind in KINDS
    )


def test_labels_say_server_host_and_device() -> None:
    families = parse(hosts_text([scraped(whole(), server="rack-1", hostname='odd "name"\n')]))
    whose = {"server": "rack-1", "host": 'odd "name"\n'}
    assert families["appliance_host_cpu_percent"].samples[0].labels == whose
    assert families["appliance_gpu_power_watts"].samples[1].labels == whose | {
        "gpu": "1",
        "uuid": "GPU-1",
        "model": "NVIDIA H200",
    }
    assert families["appliance_disk_read_bytes_total"].samples[0].labels == whose | {"device": "nvme0n1"}
    assert families["appliance_network_rx_bytes_total"].samples[0].labels == whose | {"interface": "eth0"}
    assert families["appliance_fan_speed_rpm"].samples[0].labels == whose | {"fan": "fan1"}


def test_what_is_not_reported_has_no_line_and_no_family_when_nobody_reports_it() -> None:
    reporting = evolve(whole("box"), cpu_temperature_celsius=None)
    silent = HostSample(host_id="bare", taken_at_unix_us=START, cpu_percent=5.0)
    families = parse(hosts_text([scraped(reporting), scraped(silent)]))
    assert "appliance_host_cpu_temperature_celsius" not in families
    assert values(families["appliance_host_cpu_percent"].samples, server="bare") == [5.0]
    assert values(families["appliance_host_memory_used_bytes"].samples, server="bare") == []


def test_of_a_silent_host_only_that_and_its_last_moment_is_told() -> None:
    families = parse(hosts_text([scraped(whole(), is_up=False), scraped(whole("other"))]))
    assert values(families["appliance_server_up"].samples) == [0, 1]
    assert values(families["appliance_sample_timestamp_seconds"].samples, server="box") == [START / 1_000_000]
    told = {name for name, family in families.items() if values(family.samples, server="box")}
    assert told == {"appliance_server_up", "appliance_sample_timestamp_seconds"}
    assert hosts_text([scraped(whole(), is_up=False)], names="dcgm") == ""


def test_a_host_without_a_sample_is_down_and_no_host_is_no_text() -> None:
    families = parse(hosts_text([ScrapedHost(host_id="new", server="new", hostname="new")]))
    assert list(families) == ["appliance_server_up"]
    assert values(families["appliance_server_up"].samples) == [0]
    assert hosts_text([]) == ""


def test_what_is_known_of_our_own_host_alone_is_told_too() -> None:
    (first, *rest) = whole().gpus
    first = evolve(first, throttle_reasons=("power cap", "thermal, hardware"), remap_pending=True, pcie_link_width=16)
    sample = evolve(
        whole(),
        gpus=(first, *(evolve(each, throttle_reasons=()) for each in rest)),
        uptime_seconds=12.5,
        cpu_core_percents=(1.0, 99.0),
        filesystems=(FilesystemSample(mountpoint="/", device="/dev/sda1", fstype="ext4", total_bytes=7, free_bytes=3),),
    )
    known = Gpu(gpu_id="GPU-0", index=0, vendor="nvidia", model="NVIDIA H200", driver_version="580.1")
    families = parse(hosts_text([scraped(sample, live=sample, gpus={"GPU-0": known}, last_xids={"GPU-1": 79})]))
    assert values(families["appliance_host_uptime_seconds"].samples) == [12.5]
    assert values(families["appliance_host_cpu_core_percent"].samples, core="1") == [99.0]
    assert values(families["appliance_filesystem_free_bytes"].samples, mountpoint="/", fstype="ext4") == [3]
    assert "appliance_filesystem_used_bytes" not in families
    assert values(families["appliance_gpu_throttled"].samples) == [1, 0]
    reasons = [each.labels["reason"] for each in families["appliance_gpu_throttle_reason"].samples]
    assert reasons == ["power cap", "thermal, hardware"]
    assert values(families["appliance_gpu_remap_pending"].samples) == [1]
    assert values(families["appliance_gpu_last_xid"].samples, uuid="GPU-1") == [79]
    assert families["appliance_gpu_info"].samples[0].labels["driver_version"] == "580.1"


def test_dcgm_names_have_its_labels_and_units_and_tell_of_gpus_alone() -> None:
    sample = evolve(whole(), gpus=(gpu(vram_total_bytes=100 * MIB, vram_used_bytes=30 * MIB + 5, power_watts=71.25),))
    families = parse(hosts_text([scraped(sample)], names="dcgm"))
    assert all(name.startswith("DCGM_FI_DEV_") for name in families)
    assert families["DCGM_FI_DEV_POWER_USAGE"].samples == [
        Sample(
            "DCGM_FI_DEV_POWER_USAGE",
            {
                "gpu": "3",
                "UUID": "GPU-x",
                "device": "nvidia3",
                "modelName": "NVIDIA H200",
                "Hostname": "box.example",
                "server": "box",
            },
            71.25,
        )
    ]
    assert values(families["DCGM_FI_DEV_FB_TOTAL"].samples) == [100]
    assert values(families["DCGM_FI_DEV_FB_USED"].samples) == [30]
    assert values(families["DCGM_FI_DEV_FB_FREE"].samples) == [69]
    assert "DCGM_FI_DEV_XID_ERRORS" not in families  # of another host nobody here knows that
    assert "DCGM_FI_DEV_GPU_TEMP" not in families


def test_dcgm_names_of_our_own_gpus_have_what_is_known_of_them() -> None:
    sample = evolve(whole(), gpus=(gpu(remap_failed=False, ecc_uncorrected_lifetime=2),))
    known = Gpu(gpu_id="GPU-x", index=3, vendor="nvidia", model="NVIDIA H200", driver_version="580.1")
    known = evolve(known, pci_address="0000:1b:00.0", mig_profile="1g.10gb")
    host = scraped(sample, live=sample, gpus={"GPU-x": known}, last_xids={"GPU-x": 79})
    families = parse(hosts_text([host], names="dcgm"))
    assert values(families["DCGM_FI_DEV_XID_ERRORS"].samples) == [79]
    assert values(families["DCGM_FI_DEV_ROW_REMAP_FAILURE"].samples) == [0]
    assert values(families["DCGM_FI_DEV_ECC_DBE_AGG_TOTAL"].samples) == [2]
    labels = families["DCGM_FI_DEV_XID_ERRORS"].samples[0].labels
    assert labels["pci_bus_id"] == "00000000:1B:00.0"
    assert labels["GPU_I_PROFILE"] == "1g.10gb"
    assert labels["DCGM_FI_DRIVER_VERSION"] == "580.1"


def test_every_dcgm_figure_comes_from_the_field_it_names() -> None:
    sample = whole()
    families = parse(hosts_text([scraped(sample)], names="dcgm"))
    for each in DCGM:
        if each.make is None:
            expected = [getattr(gpu, each.fields[0]) for gpu in sample.gpus]
            assert values(families[each.name].samples) == expected
        assert families[each.name].kind == ("counter" if each.fields[0].endswith("_total") else "gauge")


def gpu(**values: Any) -> GpuSample:
    return GpuSample(gpu_id="GPU-x", gpu_index=3, model="NVIDIA H200", taken_at_unix_us=START, **values)


@pytest.mark.parametrize("names", ["appliance", "dcgm"])
def test_two_hosts_of_one_hostname_with_gpus_of_one_id_do_not_collide(names: str) -> None:
    hosts = [scraped(whole(), server=server, hostname="localhost") for server in ("one", "two")]
    assert parse(hosts_text(hosts, names=names))


def test_every_figure_is_described() -> None:
    for kind in (HOST, *KINDS):
        assert set(WORDS[kind.prefix]) == {*kind.gauges, *kind.counters}


def test_the_model_has_no_figure_that_is_neither_written_nor_left_out_on_purpose() -> None:
    # Names for people, and what would be one series for each process.
    left_out = {"gpu_id", "gpu_index", "model", "taken_at_unix_us", "performance_state", "processes", "missing"}
    sample = everything()
    names = {name.removeprefix("appliance_gpu_") for name in parse(hosts_text([scraped(sample, live=sample)]))}
    renamed = {
        "throttle_reasons": "throttled",
        "ecc_corrected_lifetime": "ecc_corrected_lifetime_total",
        "ecc_uncorrected_lifetime": "ecc_uncorrected_lifetime_total",
    }
    fields = {each.name for each in attrs.fields(GpuSample)} - left_out
    assert {renamed.get(name, name) for name in fields} <= names
