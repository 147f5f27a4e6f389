"""What a sample gives reason to tell: the documented rules at their borders, with their exact words."""

from typing import Any

import pytest
from attrs import evolve

from plugins.metrics_ingest.findings import Facts, Finding, back, due, silent

CALM = Facts("Box", 10.0, 20.0, 30.0, 40.0, 2, 3)


def codes(before: Facts | None, now: Facts) -> list[str]:
    return [finding.code for finding in due(before, now)]


def test_a_calm_sample_gives_no_reason_to_tell_anything() -> None:
    assert due(CALM, CALM) == []
    assert due(CALM, evolve(CALM, cpu_percent=89.99, memory_percent=89.99, disk_util_percent=89.99)) == []
    assert due(CALM, evolve(CALM, gpu_top_util_percent=94.99)) == []


def test_what_is_not_reported_is_not_high() -> None:
    assert due(CALM, evolve(CALM, cpu_percent=None, memory_percent=None, gpu_top_util_percent=None)) == []


@pytest.mark.parametrize(
    ("changes", "code", "title", "message"),
    [
        ({"cpu_percent": 90.0}, "high_cpu", "High CPU usage", "CPU at 90% on Box"),
        ({"memory_percent": 90.0}, "high_mem", "High memory usage", "Memory at 90% on Box"),
        ({"disk_util_percent": 90.0}, "high_disk", "High disk utilization", "Disk util at 90% on Box"),
        ({"gpu_top_util_percent": 95.0}, "high_gpu", "High GPU utilization", "GPU util at 95% on Box"),
        ({"cpu_percent": 97.5}, "high_cpu", "High CPU usage", "CPU at 98% on Box"),
        ({"cpu_percent": 96.5}, "high_cpu", "High CPU usage", "CPU at 96% on Box"),  # half to even, as Python rounds
        ({"cpu_percent": 250.0}, "high_cpu", "High CPU usage", "CPU at 250% on Box"),
    ],
)
def test_high_load_is_a_warning_with_the_documented_words_every_ten_minutes(
    changes: dict[str, Any], code: str, title: str, message: str
) -> None:
    expected = Finding(code=code, title=title, message=message, level="warning", cool_down_seconds=600.0)
    assert due(CALM, evolve(CALM, **changes)) == [expected]


def test_everything_that_is_due_is_told_at_once_in_the_documented_order() -> None:
    now = Facts("Box", 99.0, 99.0, 99.0, 99.0, 3, 4)
    assert codes(CALM, now) == ["high_cpu", "high_mem", "high_disk", "high_gpu", "gpu_added", "disk_added"]


def test_more_devices_than_before_are_told_with_both_numbers_once_an_hour() -> None:
    gpu, disk = due(evolve(CALM, gpu_count=1), evolve(CALM, disk_count=5))
    assert (gpu.title, gpu.message) == ("New GPU detected", "2 GPU(s) present (was 1) on Box")
    assert (disk.title, disk.message) == ("New disk detected", "5 disk(s) present (was 3) on Box")
    assert (gpu.level, gpu.cool_down_seconds) == (disk.level, disk.cool_down_seconds) == ("info", 3600.0)


def test_devices_of_a_first_sample_are_new() -> None:
    assert [finding.message for finding in due(None, CALM)] == [
        "2 GPU(s) present (was 0) on Box",
        "3 disk(s) present (was 0) on Box",
    ]
    assert due(None, evolve(CALM, gpu_count=0, disk_count=0)) == []


def test_a_lost_gpu_is_critical_and_a_lost_disk_is_told_of_by_nobody() -> None:
    (lost,) = due(CALM, evolve(CALM, gpu_count=0, disk_count=0))
    assert (lost.code, lost.level, lost.title) == ("gpu_lost", "critical", "GPU lost")
    assert lost.message == "0 GPU(s) present (was 2) on Box"


def test_silence_is_a_warning_its_end_is_not_and_each_is_told() -> None:
    gone, here = silent("Box", "2026-11-21 08:00:00 UTC"), back("Box")
    assert (gone.code, gone.level, gone.cool_down_seconds) == ("host_silent", "warning", 5.0)
    assert gone.message == "No sample from Box since 2026-11-21 08:00:00 UTC"
    assert (here.code, here.level, here.cool_down_seconds) == ("host_back", "info", 5.0)
    assert here.message == "Box sends samples again"
