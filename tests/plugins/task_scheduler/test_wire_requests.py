"""What clients send: numbers in text, defaults, bounds, and which field is at fault."""

import math
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from appliance.jobs import Job, JobState
from appliance.plugin import BadInput
from plugins.task_scheduler.wire.numbers import scaled
from plugins.task_scheduler.wire.requests import STATES, NewTask, NewWorker, job_of, states_of, status_of, worker_of

TASK = NewTask(docker_image="nginx:latest", cpu_required=1.0, memory_required=2.0)


def made(**changes: Any) -> Job:
    return job_of(evolve(TASK, **changes), job_id="task-1", owner="ana", network="none")


def field_refused(**changes: Any) -> str:
    with pytest.raises(BadInput) as refused:
        made(**changes)
    assert refused.value.field in refused.value.message
    return refused.value.field


def test_task_of_the_document_is_a_job_in_integers() -> None:
    job = made(storage_required=5.0, gpu_required=0.0, user_id="admin", tag="web-server", k_value=1.8, command="")
    assert (job.image, job.command, job.label, job.owner, job.tag) == ("nginx:latest", "", "admin", "ana", "web-server")
    assert (job.needs.millicores, job.needs.memory_mib, job.needs.storage_mib) == (1000, 2048, 5120)
    assert (job.needs.milli_gpu, job.k_milli) == (0, 1800)


def test_fields_that_are_left_out_have_the_documented_defaults() -> None:
    for job in (made(), made(storage_required=None, gpu_required="", user_id=None, k_value="", tag=None, command=None)):
        assert (job.needs.storage_mib, job.needs.milli_gpu, job.label, job.k_milli) == (1024, 0, "guest", 2000)
        assert (job.tag, job.command) == ("", "")


def test_numbers_may_be_sent_as_text() -> None:
    job = made(cpu_required="0.5", memory_required=" 4 ", storage_required="1e1", gpu_required="1.5", k_value="2.5")
    assert (job.needs.millicores, job.needs.memory_mib, job.needs.storage_mib) == (500, 4096, 10_240)
    assert (job.needs.milli_gpu, job.k_milli) == (1500, 2500)


@pytest.mark.parametrize("name", ["cpu_required", "memory_required"])
def test_required_number_that_is_missing_empty_or_nothing_is_named(name: str) -> None:
    for value in (None, "", " ", 0, "0", 0.0):
        assert field_refused(**{name: value}) == f"$.{name}"


@pytest.mark.parametrize("name", ["cpu_required", "memory_required", "storage_required", "gpu_required", "k_value"])
@pytest.mark.parametrize(
    "value", [-1, "-0.5", math.nan, math.inf, -math.inf, "nan", "inf", "1,5", "two", "0x10", "1" * 400, "\uff11", 1e300]
)
def test_number_that_is_none_or_out_of_bounds_is_named(name: str, value: Any) -> None:
    assert field_refused(**{name: value}) == f"$.{name}"


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("cpu_required", 100_000),
        ("memory_required", 1_000_000),
        ("storage_required", 1_000_000),
        ("gpu_required", 10_000),
    ],
)
def test_largest_amount_is_taken_and_more_is_absurd(name: str, most: int) -> None:
    made(**{name: most})
    assert field_refused(**{name: most + 0.001}) == f"$.{name}"


def test_k_lies_between_one_and_a_half_and_two_and_a_half() -> None:
    assert [made(k_value=value).k_milli for value in (1.5, "1.5", 2.5)] == [1500, 1500, 2500]
    for value in (1.499, 2.501, "0", 100):
        assert field_refused(k_value=value) == "$.k_value"


def test_least_amounts_are_never_nothing_at_all() -> None:
    job = made(cpu_required=1e-9, memory_required="0.00000001")
    assert (job.needs.millicores, job.needs.memory_mib) == (1, 1)


@given(st.integers(0, 10**8))
def test_thousandths_survive_their_way_through_a_float(milli: int) -> None:
    assert scaled(milli / 1000, 1000) == milli


@given(st.floats(0, 1e6), st.sampled_from([1000, 1024]))
def test_nothing_gets_less_than_it_asked_for(value: float, factor: int) -> None:
    assert scaled(value, factor) >= value * factor - 1e-6 * max(1.0, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("docker_image", ""),
        ("docker_image", "  "),
        ("docker_image", "two words"),
        ("docker_image", "--privileged"),
        ("docker_image", "naïve"),
        ("docker_image", "a\nb"),
        ("command", "echo \0"),
        ("command", "é" * 70_000),
        ("user_id", "a\nb"),
        ("tag", "\x1b[31m"),
    ],
)
def test_text_that_cannot_be_meant_is_named(name: str, value: str) -> None:
    assert field_refused(**{name: value}) == f"$.{name}"


def test_every_state_has_exactly_one_documented_status() -> None:
    assert [status_of(state) for state in JobState] == [
        "pending",
        "pending",
        "running",
        "running",
        "completed",
        "failed",
        "cancelled",
    ]
    assert states_of(None) is None
    assert states_of("") is None
    assert states_of("queued") == states_of("pending") == frozenset({JobState.PENDING, JobState.STARTING})
    assert [states_of(each) for each in STATES] == list(STATES.values())


@pytest.mark.parametrize("status", ["Pending", "done", "starting", "*", "pending,running"])
def test_unknown_status_is_named(status: str) -> None:
    with pytest.raises(BadInput, match=r"^\$\.status: expected one of pending, running"):
        states_of(status)


@pytest.mark.parametrize(
    ("sent", "address"),
    [
        (NewWorker(worker_id="w", worker_ip="192.168.1.100:50052"), "192.168.1.100:50052"),
        (NewWorker(worker_id="w", worker_ip="localhost"), "localhost"),
        (NewWorker(worker_id="w", worker_ip="box.example.net", worker_port=50052), "box.example.net:50052"),
        (NewWorker(worker_id="w", worker_ip="10.0.0.4", worker_port="50052"), "10.0.0.4:50052"),
        (NewWorker(worker_id="w", worker_ip="10.0.0.4:1", worker_port=2.0), "10.0.0.4:1"),
        (NewWorker(worker_id="w", worker_ip="[::1]:50052"), "[::1]:50052"),
        (NewWorker(worker_id="w", worker_ip="[::1]", worker_port=9.0), "[::1]:9"),
        (NewWorker(worker_id="w", worker_ip="10.0.0.4", worker_port=""), "10.0.0.4"),
    ],
)
def test_address_of_a_worker_is_host_and_port(sent: NewWorker, address: str) -> None:
    assert worker_of(sent) == ("w", address)


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        (NewWorker(worker_ip="10.0.0.4"), "worker_id"),
        (NewWorker(worker_id="a/b", worker_ip="10.0.0.4"), "worker_id"),
        (NewWorker(worker_id="..", worker_ip="10.0.0.4"), "worker_id"),
        (NewWorker(worker_id="a\n", worker_ip="10.0.0.4"), None),
        (NewWorker(worker_id="a\nb", worker_ip="10.0.0.4"), "worker_id"),
        (NewWorker(worker_id="x" * 201, worker_ip="10.0.0.4"), "worker_id"),
        (NewWorker(worker_id="w"), "worker_ip"),
        (NewWorker(worker_id="w", worker_ip="10.0.0.4:0"), "worker_ip"),
        (NewWorker(worker_id="w", worker_ip="10.0.0.4:65536"), "worker_ip"),
        (NewWorker(worker_id="w", worker_ip="10.0.0.4:port"), "worker_ip"),
        (NewWorker(worker_id="w", worker_ip="http://x:1"), "worker_ip"),
        (NewWorker(worker_id="w", worker_ip="a b"), "worker_ip"),
        (NewWorker(worker_id="w", worker_ip="10.0.0.4", worker_port=1.5), "worker_port"),
        (NewWorker(worker_id="w", worker_ip="10.0.0.4", worker_port="x"), "worker_port"),
        (NewWorker(worker_id="w", worker_ip="10.0.0.4", worker_port=math.inf), "worker_port"),
    ],
)
def test_worker_that_cannot_be_meant_is_refused_by_field(sent: NewWorker, field: str | None) -> None:
    if field is None:  # white space around an id is nobody's intention
        assert worker_of(sent)[0] == "a"
        return
    with pytest.raises(BadInput) as refused:
        worker_of(sent)
    assert refused.value.field == f"$.{field}"
