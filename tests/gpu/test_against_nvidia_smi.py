"""The same device, read by us and by ``nvidia-smi -q -x``."""

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

pytestmark = pytest.mark.gpu

MIB = 1024 * 1024
Pairs = list[tuple[ElementTree.Element, dict[str, Any]]]
NEVER_THERE = (("fan_percent", "fan_speed"), ("ecc_corrected_lifetime", "ecc_errors/aggregate/dram_correctable"))


def text(gpu: ElementTree.Element, *paths: str) -> str | None:
    """Return the first of the paths that holds a value; element names changed over the years."""
    for path in paths:
        found = gpu.findtext(path)
        if found is not None and not found.strip().startswith(("N/A", "[", "Requested")):
            return found.strip()
    return None


def number(gpu: ElementTree.Element, *paths: str) -> float | None:
    """Return a figure without its unit."""
    found = text(gpu, *paths)
    return None if found is None else float(found.split()[0])


@pytest.fixture
def pairs(smi: ElementTree.Element, seen: Any) -> Pairs:
    """Give each physical GPU as both see it, by uuid."""
    ours = {item["gpu_id"]: item for item in seen["devices"] if item["parent_gpu_id"] is None}
    theirs = {text(gpu, "uuid"): gpu for gpu in smi.iter("gpu")}
    assert theirs
    assert set(ours) == set(theirs)
    return [(theirs[gpu_id], item) for gpu_id, item in ours.items()]


def test_identity_is_the_same(pairs: Pairs, smi: ElementTree.Element) -> None:
    for gpu, item in pairs:
        assert item["model"] == text(gpu, "product_name")
        assert item["driver_version"] == smi.findtext("driver_version")
        assert item["vbios_version"] == text(gpu, "vbios_version")
        assert item["serial"] == text(gpu, "serial")
        assert item["pci_address"].lower() == (gpu.get("id") or "").lower()
        width = text(gpu, "pci/pci_gpu_link_info/link_widths/max_link_width")
        assert item["pcie_link_width_max"] == (int(width.rstrip("x")) if width else None)


def test_figures_are_the_same_within_what_moves(pairs: Pairs) -> None:
    for gpu, item in pairs:
        now = item["latest"]
        assert now["vram_total_bytes"] == pytest.approx((number(gpu, "fb_memory_usage/total") or 0) * MIB, abs=MIB)
        assert now["vram_used_bytes"] == pytest.approx((number(gpu, "fb_memory_usage/used") or 0) * MIB, abs=600 * MIB)
        assert now["power_limit_watts"] == pytest.approx(
            number(gpu, "gpu_power_readings/current_power_limit", "power_readings/enforced_power_limit"), abs=1
        )
        assert now["temperature_celsius"] == pytest.approx(number(gpu, "temperature/gpu_temp"), abs=6)
        assert now["clock_memory_mhz"] == pytest.approx(number(gpu, "clocks/mem_clock"), rel=0.5)


def test_what_smi_calls_not_available_is_none_with_a_reason(
    pairs: Pairs,
) -> None:
    for gpu, item in pairs:
        now = item["latest"]
        for name, path in NEVER_THERE:
            if gpu.find(path) is not None and text(gpu, path) is None:
                assert now[name] is None
                assert now["missing"][name]


def test_processes_are_the_same(pairs: Pairs, seen: Any) -> None:
    for gpu, item in pairs:
        theirs = {int(process.findtext("pid") or 0) for process in gpu.iter("process_info")}
        ours = {process["pid"] for process in seen["processes"] if process["gpu_id"] == item["gpu_id"]}
        assert ours == theirs


def test_backend_is_well(seen: Any) -> None:
    assert [(backend["name"], backend["ok"]) for backend in seen["backends"]] == [("nvidia", True)]
