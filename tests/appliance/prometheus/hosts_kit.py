"""Hosts that report all there is to report."""

from typing import Any

from attrs import evolve

from appliance.devices import FilesystemSample, HostSample
from appliance.prometheus import ScrapedHost
from appliance.series.fields import HOST, KINDS
from appliance.series.flatten import read
from tests.appliance.series.conftest import START, Box


def scraped(sample: HostSample, **more: Any) -> ScrapedHost:
    """Return a host as a plugin gives it."""
    names = {"host_id": sample.host_id, "server": sample.host_id, "hostname": f"{sample.host_id}.example"}
    return ScrapedHost(**(names | more), row=read(sample)[1])


def whole(host_id: str = "box") -> HostSample:
    """Return a sample that reports every field that becomes a series, each with a value of its own."""
    sample = Box(host_id=host_id).sample(START)
    value = 1000

    def filled(item: Any, kind: Any) -> Any:
        nonlocal value
        changes = {}
        for name in (*kind.gauges, *kind.counters):
            value += 1
            changes[name] = value
        return evolve(item, **changes)

    devices = {kind.attribute: tuple(filled(each, kind) for each in getattr(sample, kind.attribute)) for kind in KINDS}
    return evolve(filled(sample, HOST), **devices)


def everything(host_id: str = "box") -> HostSample:
    """Return a sample of our own host that has what is never stored, too."""
    sample = whole(host_id)
    counted: dict[str, Any] = {
        "pcie_link_generation": 5,
        "pcie_link_width": 16,
        "remapped_rows_corrected": 1,
        "remapped_rows_uncorrected": 2,
        "ecc_corrected_lifetime": 3,
        "ecc_uncorrected_lifetime": 4,
    }
    reasons = ("power cap",)
    gpus = [
        evolve(gpu, remap_pending=False, remap_failed=False, throttle_reasons=reasons, **counted) for gpu in sample.gpus
    ]
    system = FilesystemSample(
        mountpoint="/", device="/dev/sda1", fstype="ext4", total_bytes=10, used_bytes=6, free_bytes=4
    )
    return evolve(sample, gpus=tuple(gpus), filesystems=(system,), uptime_seconds=9.0, cpu_core_percents=(1.0, 2.0))
