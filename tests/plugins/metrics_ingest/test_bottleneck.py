"""Every rule, its borders on both sides, and its words."""

from typing import Any

import pytest

from plugins.metrics_ingest.bottleneck import LABELS, title, verdict

MIB = 2**20
REST = {"cpu": 50.0, "iowait": 0.0, "memory": 50.0, "swap": 0.0, "disk": 30.0, "gpu": None, "disk_bytes_per_s": 0.0}


def judged(**readings: Any) -> tuple[str, float, str]:
    found = verdict(**(REST | readings))
    return found.label, found.confidence, found.reason


BRANCHES: list[tuple[dict[str, Any], tuple[str, float, str]]] = [
    # No GPU reading.
    ({"memory": 92.4}, ("memory-pressure", 0.82, "Memory 92% / swap 0%")),
    ({"disk": 81}, ("io-bound", 0.74, "Disk util 81% / iowait 0%")),
    ({"cpu": 85}, ("cpu-bound", 0.78, "CPU 85% with no GPU telemetry")),
    ({"cpu": 14.9}, ("idle", 0.9, "Low CPU and no GPU telemetry")),
    ({}, ("balanced", 0.45, "No GPU telemetry available")),
    # With one.
    ({"gpu": 50, "memory": 95}, ("memory-pressure", 0.9, "Memory 95% / swap 0%")),
    ({"gpu": 40, "disk": 70}, ("io-bound", 0.88, "GPU 40% low while disk 70% / iowait 0%")),
    ({"gpu": 40, "cpu": 86}, ("cpu-bound", 0.87, "GPU 40% low while CPU 86% is high")),
    ({"gpu": 40, "memory": 88}, ("memory-pressure", 0.75, "GPU 40% low while memory 88% is high")),
    ({"gpu": 5, "cpu": 5, "disk": 5}, ("idle", 0.85, "GPU, CPU, and disk activity are all low")),
    ({"gpu": 40}, ("underutilized", 0.55, "GPU 40% below target; check dataloader or batch size")),
    ({"gpu": 98, "cpu": 42, "disk": 64}, ("gpu-bound", 0.9, "GPU 98% saturated while CPU 42% and disk 64% are lower")),
    ({"gpu": 95, "cpu": 91}, ("mixed-cpu-gpu", 0.72, "CPU 91% and GPU 95% are both high")),
    ({"gpu": 95, "disk": 85}, ("mixed-io-gpu", 0.7, "Disk util 85% and GPU 95% are both high")),
    ({"gpu": 60}, ("balanced", 0.65, "GPU 60% with CPU 50% and disk util 30%")),
    ({"gpu": 60, "cpu": 85}, ("mixed", 0.5, "CPU 85%, GPU 60%, disk 30%")),
]


@pytest.mark.parametrize(("readings", "expected"), BRANCHES, ids=[f"{each[1][0]}-{each[1][1]}" for each in BRANCHES])
def test_each_rule_says_its_label_confidence_and_reason(
    readings: dict[str, Any], expected: tuple[str, float, str]
) -> None:
    assert judged(**readings) == expected


# (readings held, the reading that moves, just below the border, on it, label below, label on it)
BORDERS = [
    ({}, "memory", 91.999, 92, "balanced", "memory-pressure"),
    ({}, "swap", 19.999, 20, "balanced", "memory-pressure"),
    ({"memory": 80}, "swap", 4.999, 5, "balanced", "memory-pressure"),
    ({"swap": 5}, "memory", 79.999, 80, "balanced", "memory-pressure"),
    ({}, "disk", 79.999, 80, "balanced", "io-bound"),
    ({}, "iowait", 19.999, 20, "balanced", "io-bound"),
    ({}, "cpu", 84.999, 85, "balanced", "cpu-bound"),
    ({}, "cpu", 14.999, 15, "idle", "balanced"),
    ({"gpu": 60}, "memory", 94.999, 95, "balanced", "memory-pressure"),
    ({"gpu": 60}, "swap", 19.999, 20, "balanced", "memory-pressure"),
    ({"gpu": 60, "memory": 80}, "swap", 4.999, 5, "balanced", "memory-pressure"),
    ({"gpu": 60, "swap": 5}, "memory", 79.999, 80, "balanced", "memory-pressure"),
    ({}, "gpu", 54.999, 55, "underutilized", "balanced"),
    ({"gpu": 40}, "disk", 69.999, 70, "underutilized", "io-bound"),
    ({"gpu": 40}, "iowait", 14.999, 15, "underutilized", "io-bound"),
    ({"gpu": 40}, "cpu", 84.999, 85, "underutilized", "cpu-bound"),
    ({"gpu": 40}, "memory", 87.999, 88, "underutilized", "memory-pressure"),
    ({"gpu": 40, "memory": 75, "swap": 4}, "swap", 7.999, 8, "underutilized", "memory-pressure"),
    ({"gpu": 40, "swap": 8}, "memory", 74.999, 75, "underutilized", "memory-pressure"),
    ({"cpu": 5, "disk": 5}, "gpu", 19.999, 20, "idle", "underutilized"),
    ({"gpu": 5, "disk": 5}, "cpu", 29.999, 30, "idle", "underutilized"),
    ({"gpu": 5, "cpu": 5}, "disk", 24.999, 25, "idle", "underutilized"),
    ({}, "gpu", 89.999, 90, "balanced", "gpu-bound"),
    ({"gpu": 95}, "cpu", 79.999, 80, "gpu-bound", "mixed"),
    ({"gpu": 95}, "disk", 69.999, 70, "gpu-bound", "mixed"),
    ({"gpu": 95}, "iowait", 9.999, 10, "gpu-bound", "mixed"),
    ({"gpu": 95}, "cpu", 89.999, 90, "mixed", "mixed-cpu-gpu"),
    ({"cpu": 95}, "gpu", 69.999, 70, "mixed", "mixed-cpu-gpu"),
    ({"gpu": 95}, "disk", 84.999, 85, "mixed", "mixed-io-gpu"),
    ({"disk": 90}, "gpu", 59.999, 60, "mixed", "mixed-io-gpu"),
    ({"gpu": 60}, "cpu", 79.999, 80, "balanced", "mixed"),
    ({"gpu": 60}, "disk", 69.999, 70, "balanced", "mixed"),
    ({"gpu": 60}, "disk_bytes_per_s", 2048 * MIB - 1, 2048 * MIB, "balanced", "mixed"),
]


@pytest.mark.parametrize(("held", "moving", "below", "on", "label_below", "label_on"), BORDERS)
def test_a_border_belongs_to_the_higher_side(
    held: dict[str, Any], moving: str, below: float, on: float, label_below: str, label_on: str
) -> None:
    assert judged(**(held | {moving: below}))[0] == label_below
    assert judged(**(held | {moving: on}))[0] == label_on


def test_nothing_reported_at_all_is_an_idle_host() -> None:
    nothing = dict.fromkeys(REST)
    found = verdict(**nothing)
    assert (found.label, found.title, found.confidence) == ("idle", "Idle", 0.9)


def test_what_is_not_reported_counts_as_zero_beside_a_gpu() -> None:
    found = verdict(cpu=None, iowait=None, memory=None, swap=None, disk=None, gpu=70, disk_bytes_per_s=None)
    assert (found.label, found.reason) == ("balanced", "GPU 70% with CPU 0% and disk util 0%")


def test_percentages_are_held_to_a_hundred_but_a_gpu_is_taken_as_it_is() -> None:
    assert judged(gpu=140, cpu=950, disk=-3)[2] == "CPU 100% and GPU 140% are both high"
    assert judged(memory=400, swap=-1)[2] == "Memory 100% / swap 0%"


@pytest.mark.parametrize(
    ("percent", "shown"), [(92.5, "92"), (93.5, "94"), (94.5, "94"), (92.51, "93"), (99.5, "100"), (93.49, "93")]
)
def test_halves_are_rounded_to_even_in_reasons(percent: float, shown: str) -> None:
    assert judged(memory=percent)[2] == f"Memory {shown}% / swap 0%"


def test_labels_keep_their_codes_for_ever() -> None:
    assert LABELS == (
        "idle",
        "balanced",
        "underutilized",
        "cpu-bound",
        "gpu-bound",
        "io-bound",
        "memory-pressure",
        "mixed-cpu-gpu",
        "mixed-io-gpu",
        "mixed",
    )
    for readings, _ in BRANCHES:
        found = verdict(**(REST | readings))
        assert LABELS[found.code] == found.label
        assert found.title == title(found.label)
    assert {verdict(**(REST | readings)).code for readings, _ in BRANCHES} == set(range(len(LABELS)))


def test_titles_are_the_labels_in_title_case() -> None:
    assert [title(label) for label in ("gpu-bound", "mixed-io-gpu", "a_b")] == ["Gpu Bound", "Mixed Io Gpu", "A B"]
