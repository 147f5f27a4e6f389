"""How a GPU is, in words."""

from typing import Any

import pytest

from appliance.devices import GpuSample
from appliance.inventory.health import HOUR_US, Fault, judge


def sample(**values: Any) -> GpuSample:
    """Return a reading."""
    return GpuSample(gpu_id="g", gpu_index=0, model="m", taken_at_unix_us=0, **values)


@pytest.mark.parametrize(
    ("values", "level", "text"),
    [
        ({}, "ok", "ok"),
        ({"asleep": True}, "ok", "asleep"),
        ({"ecc_uncorrected_total": 0, "remap_pending": False}, "ok", "ok"),
        ({"throttle_reasons": ("power cap", "application clocks")}, "ok", "ok"),
        ({"ecc_uncorrected_total": 1}, "critical", "1 uncorrectable ECC error since the driver was loaded"),
        ({"ecc_uncorrected_total": 3}, "critical", "3 uncorrectable ECC errors since the driver was loaded"),
        ({"remap_failed": True}, "critical", "remapping a faulty memory row failed: the GPU needs service"),
        ({"remap_pending": True}, "warning", "row remap pending: reset the GPU"),
        ({"throttle_reasons": ("thermal, hardware",)}, "warning", "thermal throttling (hardware)"),
        ({"throttle_reasons": ("power brake",)}, "warning", "slowed down by hardware (power brake)"),
    ],
)
def test_reading_decides_the_verdict(values: dict[str, Any], level: str, text: str) -> None:
    verdict = judge(sample(**values))
    assert (verdict.level, verdict.text) == (level, text)


def test_worst_is_said_first() -> None:
    verdict = judge(sample(throttle_reasons=("thermal, software",), remap_failed=True))
    assert verdict.level == "critical"
    assert verdict.text.index("remapping") < verdict.text.index("thermal")


@pytest.mark.parametrize(
    ("level", "age_us", "expected"),
    [
        ("critical", 23 * HOUR_US, "critical"),
        ("critical", 25 * HOUR_US, "ok"),
        ("warning", HOUR_US // 2, "warning"),
        ("warning", 2 * HOUR_US, "ok"),
        ("info", 0, "ok"),
    ],
)
def test_what_the_driver_reported_counts_for_a_while(level: str, age_us: int, expected: str) -> None:
    fault = Fault(message="XID 79", level=level, at_unix_us=0)
    assert judge(sample(), faults=[fault], now_unix_us=age_us).level == expected


def test_age_of_a_fault_is_told() -> None:
    fault = Fault(message="XID 79", level="critical", at_unix_us=0)
    assert judge(sample(), faults=[fault], now_unix_us=10 * 60_000_000).text == "XID 79 (10 min ago)"
    assert judge(sample(), faults=[fault], now_unix_us=5 * HOUR_US).text == "XID 79 (5 h ago)"


def test_lost_gpu_is_critical_with_its_last_fault() -> None:
    verdict = judge(None, is_lost=True, faults=[Fault(message="XID 79", level="critical", at_unix_us=0)])
    assert verdict.level == "critical"
    assert verdict.text == "gone: the driver does not see it any more; XID 79"


def test_gpu_that_cannot_be_read_is_a_warning() -> None:
    assert judge(None, unreadable="the driver hangs").text == "cannot be read: the driver hangs"
