"""Why a job waits, in words."""

from typing import Any

import pytest
from attrs import evolve

from appliance.jobs import Needs, Placement
from appliance.scheduler.capacity import EngineOffer, HostCapacity
from appliance.scheduler.explain import Explanation, explain
from appliance.scheduler.placement import Request
from appliance.scheduler.queue import Occupied, Queue, Waiting, decide
from appliance.scheduler.quotas import Quota, Quotas

SECOND = 1_000_000
NOW = 1_000_000 * SECOND
HOST = HostCapacity(
    host_id="a",
    hostname="a",
    engines=(EngineOffer(name="docker"),),
    millicores=4000,
    memory_mib=1000,
    storage_mib=1000,
)


def waits(job_id: str, cores: int, **more: Any) -> Waiting:
    fields = {"owner": "ann", "expected_seconds": 10.0, "deadline_unix_us": NOW + 100 * SECOND, **more}
    needs = Needs(millicores=cores * 1000)
    return Waiting(job_id=job_id, request=Request(needs=needs), submitted_at_unix_us=NOW, **fields)


def runs(cores: int, *, ends_in: int | None = 30) -> Occupied:
    return Occupied(
        attempt_id="x.1",
        job_id="x",
        owner="bob",
        needs=Needs(millicores=cores * 1000),
        placement=Placement(host_id="a", engine="docker"),
        priority=50,
        preemptible=False,
        assigned_at_unix_us=NOW,
        expected_end_unix_us=None if ends_in is None else NOW + ends_in * SECOND,
    )


def why(job_id: str, *jobs: Waiting, running: tuple[Occupied, ...] = (), quotas: Quotas | None = None) -> Explanation:
    """Decide, and ask why a job did not start."""
    queue = Queue()
    queue.extend(jobs)
    held = sum(one.needs.millicores for one in running)
    hosts = [evolve(HOST, allocated_millicores=held)]
    limits = quotas or Quotas()
    last = decide(queue, running, hosts, used={}, quotas=limits, now_unix_us=NOW)
    running = (*running, *(_started(queue, start.job_id) for start in last.starts))
    hosts = [evolve(HOST, allocated_millicores=sum(one.needs.millicores for one in running))]
    return explain(job_id, queue, running, hosts, used={}, quotas=limits, now_unix_us=NOW, last=last)


def _started(queue: Queue, job_id: str) -> Occupied:
    one = queue[job_id]
    queue.remove(job_id)
    return evolve(runs(0), attempt_id=f"{job_id}.1", job_id=job_id, owner=one.owner, needs=one.request.needs)


def test_job_that_does_not_wait_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        why("gone")


def test_job_for_later_says_when() -> None:
    answer = why("j", waits("j", 1, eligible_at_unix_us=NOW + 90 * SECOND))
    assert (answer.code, answer.sentence) == ("time", "It waits for its time, in 90 s.")
    assert answer.estimated_start_unix_us == NOW + 90 * SECOND
    assert answer.position is None


def test_first_that_does_not_fit_says_where_and_when_it_will() -> None:
    answer = why("big", waits("big", 4), waits("small", 1, expected_seconds=1e6), running=(runs(2),))
    assert answer.code == "resources"
    assert answer.sentence == (
        "It is the first that does not fit; a place on host a is kept for it, "
        "by the usual runtimes of what runs in 30 s."
    )
    assert (answer.position, answer.estimated_start_unix_us) == (1, NOW + 30 * SECOND)
    assert answer.reasons[0].message == "needs 4000 thousandths of a core; 2000 of 4000 are free"


def test_end_that_nobody_knows_is_not_promised() -> None:
    answer = why("big", waits("big", 4), running=(runs(2, ends_in=None),))
    assert answer.sentence.endswith("from when jobs have ended whose end nobody knows.")
    assert answer.estimated_start_unix_us is None


def test_job_that_would_delay_the_first_says_so() -> None:
    late = NOW + 900 * SECOND
    answer = why(
        "long", waits("big", 4), waits("long", 1, expected_seconds=1e6, deadline_unix_us=late), running=(runs(2),)
    )
    assert (answer.code, answer.position, answer.reasons) == ("reserved", 2, ())
    assert "would delay job big" in answer.sentence


def test_job_behind_others_says_how_many() -> None:
    jobs = [waits(f"j{number}", 3, deadline_unix_us=NOW + number * SECOND) for number in range(5)]
    answer = why("j3", *jobs, running=(runs(3),))
    assert (answer.code, answer.position) == ("resources", 4)
    assert answer.sentence == "Nothing that it fits in is free, and 3 jobs are before it."


def test_higher_priority_stands_before_it() -> None:
    jobs = [waits("low", 4, priority=1, deadline_unix_us=NOW), waits("high", 4, priority=2)]
    assert why("low", *jobs, running=(runs(1),)).position == 2


def test_job_that_will_never_fit_says_so_and_one_that_waits_for_a_mark_does_not() -> None:
    answer = why("huge", waits("huge", 5))
    assert (answer.code, answer.position) == ("impossible", None)
    assert answer.sentence == "No host has what it needs, not even when all that runs has ended."
    queue = Queue()
    queue.add(waits("j", 1))
    blocked = [evolve(HOST, blocked="draining: for repair")]
    decide(queue, [], blocked, used={}, quotas=Quotas(), now_unix_us=NOW)
    answer = explain("j", queue, [], blocked, used={}, quotas=Quotas(), now_unix_us=NOW)
    assert answer.sentence.startswith("No host can take it until something changes")
    assert [reason.message for reason in answer.reasons] == ["draining: for repair"]


def test_job_over_its_owners_quota_names_the_limit() -> None:
    quotas = Quotas(people={"ann": Quota(running_max=1)})
    answer = why("b", waits("a", 1, deadline_unix_us=NOW), waits("b", 1), quotas=quotas)
    assert (answer.code, answer.sentence) == ("quota", "Its owner's quota: 1 of at most 1 jobs of its owner run.")


def test_job_of_a_full_array_says_so() -> None:
    jobs = [waits(name, 1, array_id="arr", array_running_max=1) for name in ("a", "b")]
    answer = why("b", *jobs)
    assert answer.code == "array"
    assert answer.sentence == "Of its array 1 job may run at once, and others of it come first."


def test_job_that_nobody_looked_at_yet_starts_soon() -> None:
    queue = Queue()
    queue.add(waits("j", 1))
    answer = explain("j", queue, [], [HOST], used={}, quotas=Quotas(), now_unix_us=NOW)
    assert (answer.code, answer.position) == ("starting", 1)
