"""What may be a job, and what may not."""

import math
from typing import Any

import pytest

from appliance.jobs import (
    MIB_MAX,
    MILLI_GPU_MAX,
    MILLICORES_MAX,
    SECONDS_MAX,
    TEXT_MAX,
    Dependency,
    EndReason,
    Job,
    JobState,
    Needs,
    Placement,
    RetryRule,
)

REFUSED = (ValueError, TypeError)


def job(**fields: Any) -> Job:
    return Job(**{"job_id": "task-1", "owner": "ann", "image": "busybox", **fields})


def test_job_of_an_image_alone_runs_once_alone_and_without_network() -> None:
    plain = job()
    assert (plain.needs, plain.k_milli, plain.priority, plain.network) == (Needs(), 2000, 50, "none")
    assert (plain.retry.attempts_max, plain.preemptible, plain.array_index) == (1, False, None)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("millicores", MILLICORES_MAX),
        ("memory_mib", MIB_MAX),
        ("storage_mib", MIB_MAX),
        ("milli_gpu", MILLI_GPU_MAX),
        ("gpu_vram_mib", MIB_MAX),
    ],
)
def test_needs_are_whole_numbers_from_none_to_the_most_that_is_sane(name: str, most: int) -> None:
    for amount in (0, most):
        assert getattr(Needs(**{name: amount}), name) == amount
    for wrong in (-1, most + 1, 2**63, 1.0, math.nan, "1", None):
        with pytest.raises(REFUSED):
            Needs(**{name: wrong})


@pytest.mark.parametrize("name", ["gpu_models", "gpu_ids"])
def test_gpus_are_named_by_at_most_64_texts(name: str) -> None:
    Needs(**{name: ("x",) * 64})
    for wrong in (("x",) * 65, ("",), (1,)):
        with pytest.raises(REFUSED):
            Needs(**{name: wrong})


@pytest.mark.parametrize("name", ["timeout_seconds", "max_queue_seconds", "idle_gpu_seconds"])
def test_limits_of_time_are_positive_and_at_most_a_leap_year(name: str) -> None:
    for seconds in (None, 0.001, 1, SECONDS_MAX):
        assert getattr(job(**{name: seconds}), name) == seconds
    for wrong in (0, -1.0, SECONDS_MAX + 1, math.inf, math.nan, "5"):
        with pytest.raises(REFUSED):
            job(**{name: wrong})


@pytest.mark.parametrize(
    "fields",
    [
        {"job_id": ""},
        {"job_id": "x" * 201},
        {"job_id": 5},
        {"owner": None},
        {"owner": "x" * 201},
        {"image": ""},
        {"image": "x" * 1001},
        {"command": "x" * (TEXT_MAX + 1)},
        {"label": "x" * 201},
        {"name": b"x"},
        {"tag": "x" * 201},
        {"k_milli": 0},
        {"k_milli": 1_000_001},
        {"k_milli": 2.0},
        {"priority": -1},
        {"priority": 101},
        {"priority": "50"},
        {"dependencies": (Dependency(job_id="a"),) * 101},
        {"array_running_max": -1},
        {"engine": "x" * 65},
        {"network": "host"},
        {"network": ""},
        {"volumes": ("../etc",)},
        {"volumes": ("data:rw",)},
        {"volumes": ("",)},
        {"volumes": ("v",) * 17},
        {"stop_grace_seconds": -0.1},
        {"stop_grace_seconds": 601},
        {"stop_grace_seconds": math.nan},
    ],
    ids=str,
)
def test_job_with_a_field_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        job(**fields)


def test_volumes_are_plain_names_that_may_be_read_only() -> None:
    assert job(volumes=("data", "models-2.1:ro")).volumes == ("data", "models-2.1:ro")


@pytest.mark.parametrize(
    "fields",
    [
        {"attempts_max": 0},
        {"attempts_max": 101},
        {"lost_max": -1},
        {"lost_max": 101},
        {"backoff_seconds": -1},
        {"backoff_seconds": 86_401},
        {"backoff_seconds": math.inf},
        {"backoff_seconds": math.nan},
    ],
    ids=str,
)
def test_retry_rule_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        RetryRule(**fields)


def test_dependency_needs_a_name() -> None:
    with pytest.raises(REFUSED):
        Dependency(job_id="")


def test_state_is_final_or_holds_resources_or_waits() -> None:
    final = {state for state in JobState if state.is_final}
    holding = {state for state in JobState if state.holds_resources}
    assert final == {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}
    assert holding == {JobState.STARTING, JobState.RUNNING, JobState.STOPPING}
    assert set(JobState) - final - holding == {JobState.PENDING}


def test_words_that_are_stored_are_told_by_their_values() -> None:
    assert JobState("pending") is JobState.PENDING
    assert EndReason("engine_lost") is EndReason.ENGINE_LOST
    with pytest.raises(ValueError, match="queued"):
        JobState("queued")


def test_placement_names_its_gpus_in_the_order_of_its_parts() -> None:
    placement = Placement(host_id="a", engine="docker", parts=(("GPU-2", 1000, 48_000), ("GPU-1", 250, 0)))
    assert placement.gpu_ids == ("GPU-2", "GPU-1")
