"""What is expected of jobs, and what is learned."""

from typing import Any

import pytest

from appliance.jobs import SECONDS_MAX, Job, Needs
from appliance.scheduler import runtimes as module
from appliance.scheduler.runtimes import Expected, Runtimes, job_class


def job(tag: str = "", image: str = "i", **more: Any) -> Job:
    return Job(job_id="j", owner="ann", image=image, tag=tag, **more)


@pytest.mark.parametrize(
    ("tag", "milli_gpu", "name"),
    [
        ("web-server", 0, "cpu-light"),
        ("api-service", 0, "cpu-light"),
        ("background-task", 0, "cpu-light"),
        ("memory-light", 0, "cpu-light"),
        ("data-processing", 0, "memory-heavy"),
        ("batch-job", 0, "mixed"),
        ("gpu-heavy", 1000, "gpu-inference"),
        ("ml-training", 1, "gpu-training"),
        ("ml-training", 0, "cpu-heavy"),
        ("gpu-training", 0, "gpu-training"),
        ("mixed", 0, "mixed"),
    ],
)
def test_tag_decides_the_class(tag: str, milli_gpu: int, name: str) -> None:
    assert job_class(tag, Needs(milli_gpu=milli_gpu)) == name


@pytest.mark.parametrize(
    ("needs", "name"),
    [
        (Needs(milli_gpu=2001, millicores=4001), "gpu-training"),
        (Needs(milli_gpu=2000, millicores=4001), "gpu-inference"),
        (Needs(milli_gpu=2001, millicores=4000), "gpu-inference"),
        (Needs(memory_mib=8193, millicores=4001), "memory-heavy"),
        (Needs(memory_mib=8192, millicores=4001), "cpu-heavy"),
        (Needs(millicores=4000), "cpu-light"),
        (Needs(), "mixed"),
    ],
)
def test_needs_decide_the_class_when_the_tag_says_nothing(needs: Needs, name: str) -> None:
    assert job_class("whatever", needs) == name


def test_nothing_learned_is_the_default_of_the_class() -> None:
    expected = Runtimes().expected(job("cpu-heavy"))
    assert expected == Expected(job_class="cpu-heavy", is_service=False, tau_seconds=15.0, observations=0)


def test_deadline_is_k_times_the_expected_runtime_after_the_submission() -> None:
    expected = Runtimes().expected(job("cpu-heavy"))
    assert expected.deadline_unix_us(job(k_milli=1500), submitted_at_unix_us=7) == 7 + 22_500_000


def test_service_has_no_known_end_but_its_time_limit() -> None:
    service = Runtimes().expected(job("web-server"))
    assert service.is_service
    assert service.end_after_seconds(job("web-server")) is None
    assert service.end_after_seconds(job("web-server", timeout_seconds=60.0)) == 60.0


def test_job_is_expected_to_run_no_longer_than_its_time_limit() -> None:
    expected = Runtimes().expected(job("cpu-heavy"))
    assert expected.end_after_seconds(job("cpu-heavy", timeout_seconds=3.0)) == 3.0
    assert expected.end_after_seconds(job("cpu-heavy", timeout_seconds=99.0)) == 15.0
    assert expected.end_after_seconds(job("cpu-heavy")) == 15.0


def test_fifth_of_every_runtime_is_learned_per_tag_and_image() -> None:
    table = Runtimes()
    table.learn(job("cpu-heavy"), 115.0, now_unix_us=1)
    row = table.learn(job("cpu-heavy"), 35.0, now_unix_us=2)
    assert (row.tau_seconds, row.observations, row.learned_at_unix_us) == (35.0, 2, 2)
    assert table.expected(job("cpu-heavy")).tau_seconds == 35.0
    assert table.expected(job("cpu-heavy", image="other")).tau_seconds == 15.0
    assert table.expected(job("cpu-light")).tau_seconds == 5.0


def test_host_on_which_it_runs_in_half_the_time_has_affinity_two() -> None:
    table = Runtimes()
    for now in range(200):
        table.learn(job(), 10.0, now_unix_us=now, host_id="fast")
        row = table.learn(job(), 30.0, now_unix_us=now, host_id="slow")
    assert row.affinity("fast") > 1.9
    assert row.affinity("slow") < 1.0
    assert row.affinity("unknown") == 1.0


def test_absurd_runtimes_are_taken_for_the_shortest_and_the_longest_there_are() -> None:
    table = Runtimes()
    assert table.learn(job("mixed"), -1e300, now_unix_us=1).tau_seconds == pytest.approx(8.0, abs=0.01)
    assert table.learn(job("mixed"), 1e300, now_unix_us=1).tau_seconds < SECONDS_MAX


def test_table_is_bounded_and_forgets_what_was_learned_longest_ago() -> None:
    table = Runtimes()
    for number in range(module.ROWS_MAX):
        table.learn(job(image=str(number)), 1.0, now_unix_us=number)
    table.learn(job(image="0"), 1.0, now_unix_us=module.ROWS_MAX)
    table.learn(job(image="new"), 1.0, now_unix_us=module.ROWS_MAX + 1)
    images = [row.image for row in table.rows()]
    assert len(images) == module.ROWS_MAX
    assert images[:2] == ["new", "0"]
    assert "1" not in images


def test_restored_table_is_the_stored_one() -> None:
    table = Runtimes()
    table.learn(job(image="a"), 1.0, now_unix_us=1)
    table.learn(job(image="b"), 2.0, now_unix_us=2, host_id="h")
    assert Runtimes.restored(reversed(table.rows())).rows() == table.rows()
