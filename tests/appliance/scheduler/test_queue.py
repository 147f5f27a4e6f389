"""Which jobs start, in which order, and what passes whom."""

from collections.abc import Sequence
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.jobs import Job, Needs, Placement
from appliance.scheduler import queue as module
from appliance.scheduler.capacity import EngineOffer, GpuCapacity, HostCapacity, Room
from appliance.scheduler.placement import Request
from appliance.scheduler.queue import Decision, Occupied, Queue, Waiting, decide
from appliance.scheduler.quotas import Quota, Quotas

SECOND = 1_000_000
NOW = 1_000_000 * SECOND
DOCKER = EngineOffer(name="docker", features=frozenset({"gpu", "network"}))


def host(host_id: str = "a", cores: int = 4, gpus: int = 0) -> HostCapacity:
    return HostCapacity(
        host_id=host_id,
        hostname=host_id,
        engines=(DOCKER,),
        millicores=cores * 1000,
        memory_mib=64_000,
        storage_mib=64_000,
        gpus=tuple(
            GpuCapacity(gpu_id=f"{host_id}-{index}", model="L40S", vram_mib=48_000, free_vram_mib=48_000)
            for index in range(gpus)
        ),
    )


def waits(job_id: str, cores: float = 1, *, at: int = NOW, within: float = 100, **more: Any) -> Waiting:
    """A job that needs cores, submitted at a time, to end within some seconds of it."""
    gpus = more.pop("gpus", 0)
    fields = {"owner": "ann", "expected_seconds": 10.0, **more}
    return Waiting(
        job_id=job_id,
        request=Request(needs=Needs(millicores=int(cores * 1000), milli_gpu=gpus * 1000)),
        submitted_at_unix_us=at,
        deadline_unix_us=at + int(within * SECOND),
        **fields,
    )


def runs(job_id: str, cores: float, *, ends_in: float | None, host_id: str = "a", **more: Any) -> Occupied:
    fields = {"owner": "bob", "priority": 50, "preemptible": False, "assigned_at_unix_us": NOW - SECOND, **more}
    return Occupied(
        attempt_id=f"{job_id}.1",
        job_id=job_id,
        needs=Needs(millicores=int(cores * 1000)),
        placement=Placement(host_id=host_id, engine="docker"),
        expected_end_unix_us=None if ends_in is None else NOW + int(ends_in * SECOND),
        **fields,
    )


def queued(*jobs: Waiting) -> Queue:
    queue = Queue()
    for job in jobs:
        queue.add(job)
    return queue


def ask(
    queue: Queue,
    *hosts: HostCapacity,
    running: Sequence[Occupied] = (),
    used: dict[str, float] | None = None,
    quotas: Quotas | None = None,
    now: int = NOW,
) -> Decision:
    """Decide on hosts that hold what runs."""
    room = Room(hosts)
    for one in running:
        room.take(one.needs, one.placement)
    held = [evolve(one, allocated_millicores=one.millicores - room.hosts[one.host_id].millicores) for one in hosts]
    return decide(queue, running, held, used=used or {}, quotas=quotas or Quotas(), now_unix_us=now)


def started(decision: Decision) -> list[str]:
    return [start.job_id for start in decision.starts]


def test_empty_queue_decides_nothing() -> None:
    assert ask(Queue(), host()) == Decision()


def test_higher_priority_then_earlier_deadline_then_earlier_submission_goes_first() -> None:
    queue = queued(
        waits("later", within=50),
        waits("sooner", within=40),
        waits("old", at=NOW - SECOND, within=41),
        waits("urgent", within=900, priority=51),
    )
    assert started(ask(queue, host())) == ["urgent", "old", "sooner", "later"]


def test_smaller_k_goes_first() -> None:
    def job(job_id: str, k_milli: int) -> Waiting:
        deadline = NOW + k_milli * 10_000
        return Waiting.of(
            Job(job_id=job_id, owner="", image="i", k_milli=k_milli),
            submitted_at_unix_us=NOW,
            expected_seconds=10.0,
            deadline_unix_us=deadline,
        )

    assert started(ask(queued(job("a", 2500), job("b", 1500)), host())) == ["b", "a"]


def test_owner_who_had_much_goes_after_the_others_whatever_the_deadlines() -> None:
    queue = queued(waits("a", within=20, owner="ann"), waits("b", within=900, owner="bob"))
    assert started(ask(queue, host(), used={"ann": 1e9, "bob": 1.0})) == ["b", "a"]
    assert started(ask(queue, host(), used={"ann": 1e9, "bob": 0.9e9})) == ["a", "b"]


def test_what_an_owner_runs_now_counts_as_had() -> None:
    queue = queued(waits("a", within=20, owner="ann"), waits("b", within=900, owner="bob"))
    running = [runs("x", 1, ends_in=10, owner="ann", assigned_at_unix_us=NOW - 500 * SECOND)]
    assert started(ask(queue, host(), running=running)) == ["b", "a"]


def test_job_that_misses_its_deadline_makes_way_for_those_that_do_not_for_a_while() -> None:
    queue = queued(waits("late", at=NOW - 95 * SECOND), waits("fit", at=NOW - SECOND))
    assert started(ask(queue, host())) == ["fit", "late"]
    for number in range(4):
        queue.add(waits(f"new-{number}", at=NOW + 950 * SECOND))
    assert started(ask(queue, host(cores=3), now=NOW + 951 * SECOND))[0] == "late"


def test_small_job_passes_one_that_does_not_fit_when_it_ends_in_time() -> None:
    queue = queued(
        waits("big", 4, within=20), waits("short", 1, expected_seconds=20.0), waits("long", 1, expected_seconds=60.0)
    )
    decision = ask(queue, host(), running=[runs("x", 2, ends_in=30)])
    assert started(decision) == ["short"]
    assert decision.reservation is not None
    assert (decision.reservation.job_id, decision.reservation.starts_at_unix_us) == ("big", NOW + 30 * SECOND)
    assert decision.reservation.placement.host_id == "a"


def test_long_job_passes_when_it_leaves_room_or_goes_elsewhere() -> None:
    queue = queued(waits("big", 3, within=20), waits("beside", 1, expected_seconds=600.0))
    assert started(ask(queue, host(), running=[runs("x", 2, ends_in=30)])) == ["beside"]
    queue = queued(waits("big", 4, within=20), waits("long", 2, expected_seconds=600.0))
    other = runs("y", 1, ends_in=40, host_id="b")
    decision = ask(queue, host("a"), host("b"), running=[runs("x", 2, ends_in=30), other])
    assert [(one.job_id, one.placement.host_id) for one in decision.starts] == [("long", "b")]


def test_reservation_counts_on_no_end_that_nobody_knows() -> None:
    running = [runs("service", 1, ends_in=None), runs("x", 1, ends_in=30)]
    queue = queued(
        waits("big", 4, within=20), waits("ends", 1), waits("service-2", 1, expected_seconds=None, within=900)
    )
    decision = ask(queue, host(), running=running)
    assert decision.reservation is not None
    assert decision.reservation.starts_at_unix_us is None
    # What ends is no harm, for the wait is for the service; one more without an end would be.
    assert started(decision) == ["ends"]


def test_attempt_over_its_time_is_expected_to_take_as_long_again() -> None:
    queue = queued(waits("big", 4, within=20))
    decision = ask(queue, host(), running=[runs("x", 1, ends_in=-40)])
    assert decision.reservation is not None
    assert decision.reservation.starts_at_unix_us == NOW + 40 * SECOND


def test_job_that_waited_for_half_an_hour_is_passed_by_nothing_that_takes_its_place() -> None:
    queue = queued(waits("big", 4, at=NOW - 1801 * SECOND, within=20, expected_seconds=None), waits("short", 1))
    assert started(ask(queue, host(), running=[runs("x", 2, ends_in=3000)])) == []
    fresh = queued(waits("big", 4, at=NOW - 1799 * SECOND, within=20, expected_seconds=None), waits("short", 1))
    assert started(ask(fresh, host(), running=[runs("x", 2, ends_in=3000)])) == ["short"]


def test_job_that_waits_longest_has_a_place_kept_though_its_owner_had_too_much() -> None:
    def started_when_it_waited(seconds: int) -> list[str]:
        aged = waits("aged", 4, at=NOW - seconds * SECOND, within=50, owner="ann")
        queue = queued(
            waits("first", 4, owner="bob", within=30),
            evolve(aged, request=evolve(aged.request, host_id="a")),
            waits("filler", 1, owner="bob", expected_seconds=100.0, within=900),
        )
        running = [runs("x", 2, ends_in=20, owner="eve"), runs("y", 1, ends_in=10, host_id="b", owner="eve")]
        decision = ask(queue, host("a"), host("b"), running=running, used={"ann": 1e9})
        assert decision.reservation is not None
        assert (decision.reservation.job_id, decision.reservation.placement.host_id) == ("first", "b")
        return started(decision)

    assert started_when_it_waited(299) == ["filler"]
    assert started_when_it_waited(301) == []


def test_job_that_would_never_fit_keeps_no_place_and_starts_once_a_host_can() -> None:
    queue = queued(waits("huge", 64, within=20), waits("small", 1, expected_seconds=1e6))
    decision = ask(queue, host())
    assert started(decision) == ["small"]
    assert decision.reservation is None
    queue.remove("small")
    assert started(ask(queue, host("b", cores=64))) == ["huge"]
    assert started(ask(queue, host())) == []
    assert queue.wait_of(queue["huge"]) == "impossible"
    assert started(ask(queue, host("b", cores=64))) == ["huge"]


def test_gpus_are_bound_and_never_given_twice() -> None:
    decision = ask(queued(*(waits(f"j{number}", 1, gpus=1) for number in range(3))), host(gpus=2))
    assert sorted(start.placement.gpu_ids[0] for start in decision.starts) == ["a-0", "a-1"]


def test_job_waits_for_its_time_and_the_decision_says_when() -> None:
    queue = queued(waits("soon", eligible_at_unix_us=NOW + SECOND), waits("past", eligible_at_unix_us=NOW - SECOND))
    decision = ask(queue, host())
    assert started(decision) == ["past"]
    assert decision.wake_at_unix_us == NOW + SECOND
    assert started(ask(queue, host(), now=NOW + SECOND)) == ["past", "soon"]


def test_array_runs_no_more_jobs_at_once_than_it_may() -> None:
    def of_array(number: int) -> Waiting:
        return waits(f"a{number}", 0.1, at=NOW + number, array_id="arr", array_running_max=2)

    queue = queued(*(of_array(number) for number in range(4)))
    assert started(ask(queue, host())) == ["a0", "a1"]
    queue.remove("a0")
    queue.remove("a1")
    running = [runs(name, 0.1, ends_in=1, array_id="arr") for name in ("a0", "a1")]
    assert started(ask(queue, host(), running=running)) == []
    assert queue.wait_of(queue["a2"]) == "array"
    assert started(ask(queue, host(), running=running[1:])) == ["a2"]
    assert queue.remove("a2")
    assert queue.remove("a3")
    assert len(queue) == 0


def test_quota_stops_its_owner_and_nobody_else() -> None:
    queue = queued(*(waits(f"{owner}{number}", owner=owner) for owner in ("ann", "bob") for number in range(2)))
    quotas = Quotas(people={"ann": Quota(running_max=1)}, default=Quota(millicores_max=2000))
    running = [runs("x", 1, ends_in=5, owner="bob")]
    assert started(ask(queue, host(), running=running, quotas=quotas)) == ["ann0", "bob0"]
    gpu_quota = Quotas(default=Quota(milli_gpu_max=1000))
    gpus = queued(waits("g1", gpus=1), waits("g2", gpus=1), waits("g3", gpus=1, owner=""))
    assert started(ask(gpus, host(gpus=4), quotas=gpu_quota)) == ["g1", "g3"]


def test_job_stopped_by_its_owners_quota_keeps_no_place() -> None:
    queue = queued(waits("mine", 4, within=20, owner="ann"), waits("theirs", 1, expected_seconds=1e6, owner="bob"))
    quotas = Quotas(people={"ann": Quota(running_max=1)})
    running = [runs("x", 1, ends_in=5, owner="ann")]
    decision = ask(queue, host(), running=running, quotas=quotas)
    assert (started(decision), decision.reservation) == (["theirs"], None)


def test_fewest_and_lowest_preemptible_attempts_of_lower_priority_are_stopped() -> None:
    queue = queued(waits("vip", 3, priority=90))
    running = [
        runs("one", 1, ends_in=500, priority=10, preemptible=True),
        runs("two", 2, ends_in=500, priority=20, preemptible=True),
        runs("same", 1, ends_in=500, priority=5),
    ]
    assert ask(queue, host(), running=running).preempt == ("one.1", "two.1")
    large = [
        runs("small", 1, ends_in=500, priority=1, preemptible=True),
        runs("large", 3, ends_in=500, preemptible=True),
    ]
    assert ask(queue, host(), running=large).preempt == ("large.1",)
    assert ask(queue, host(), running=[runs("x", 4, ends_in=500)]).preempt == ()
    equal = [runs("x", 4, ends_in=500, priority=90, preemptible=True)]
    assert ask(queue, host(), running=equal).preempt == ()


def test_nothing_more_is_stopped_while_enough_is_stopping_already() -> None:
    queue = queued(waits("vip", 3, priority=90))
    running = [
        runs("going", 3, ends_in=500, priority=10, preemptible=True, is_stopping=True),
        runs("other", 1, ends_in=500, priority=10, preemptible=True),
    ]
    decision = ask(queue, host(), running=running)
    assert decision.preempt == ()
    assert decision.reservation is not None
    assert decision.reservation.starts_at_unix_us == NOW + 10 * SECOND


def test_decision_starts_a_bounded_number_and_says_that_there_are_more() -> None:
    many = module.STARTS_MAX + 5
    queue = queued(*(waits(f"j{number:04}", 0.001) for number in range(many)))
    decision = ask(queue, host())
    assert (len(decision.starts), decision.is_complete) == (module.STARTS_MAX, False)
    for start in decision.starts:
        queue.remove(start.job_id)
    rest = ask(queue, host())
    assert (len(rest.starts), rest.is_complete) == (5, True)


def test_first_of_a_line_is_tried_even_when_more_shapes_seem_to_fit_than_are_looked_at() -> None:
    small = [waits(f"s{number}", 0.001 * (number + 1), within=1000) for number in range(module.ROWS_MAX + 10)]
    queue = queued(*small, waits("large", 4, within=11))
    assert started(ask(queue, host())) == ["large"]


def test_added_again_waits_as_told_last_and_removed_twice_is_removed_once() -> None:
    queue = queued(waits("j", 4), waits("j", 1))
    assert (len(queue), queue.pending_of("ann"), "j" in queue) == (1, 1, True)
    assert queue["j"].request.needs.millicores == 1000
    assert queue.remove("j")
    assert not queue.remove("j")
    assert (len(queue), queue.pending_of("ann"), queue.lines) == (0, 0, {})


JOBS = st.lists(
    st.tuples(
        st.sampled_from([0.5, 1, 2, 4]),
        st.sampled_from([0, 0, 1, 2]),
        st.sampled_from(["ann", "bob", "eve"]),
        st.sampled_from([10, 50]),
        st.sampled_from([1.0, 20.0, 300.0, None]),
        st.integers(0, 400),
        st.booleans(),
        st.sampled_from(["", "", "arr"]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(JOBS, st.randoms(use_true_random=False))
def test_every_job_runs_once_in_the_end_and_nothing_is_ever_over_allocated(
    drawn: list[tuple[float, int, str, int, float | None, int, bool, str]], chance: Any
) -> None:
    """Jobs come over time, run as long as they like, and are preempted; the same state decides the same."""
    hosts = (host("a", 4, 2), host("b", 4, 0))
    room = Room(hosts)
    coming = sorted(
        (
            (
                waits(
                    f"j{number}",
                    cores,
                    gpus=gpus,
                    owner=owner,
                    priority=priority,
                    at=NOW + at * SECOND,
                    expected_seconds=expected,
                    array_id=array,
                    array_running_max=2 if array else 0,
                ),
                preemptible,
            )
            for number, (cores, gpus, owner, priority, expected, at, preemptible, array) in enumerate(drawn)
        ),
        key=lambda one: one[0].submitted_at_unix_us,
    )
    queue, jobs = Queue(), {}
    running: dict[str, Occupied] = {}
    ends: dict[str, int] = {}
    done: list[str] = []
    now = NOW
    for _ in range(2000):
        while coming and coming[0][0].submitted_at_unix_us <= now:
            job, preemptible = coming.pop(0)
            jobs[job.job_id] = (job, preemptible)
            queue.add(job)
        held = tuple(_held(one, room) for one in hosts)
        decision = decide(queue, list(running.values()), held, used={}, quotas=Quotas(), now_unix_us=now)
        fresh = queued(*(jobs[job_id][0] for job_id in sorted(jobs) if job_id in queue))
        # The other one moves those that are late as it first sees them.
        again = decide(fresh, list(running.values()), held, used={}, quotas=Quotas(), now_unix_us=now)
        assert decision == again
        for start in decision.starts:
            job, preemptible = jobs[start.job_id]
            assert start.job_id not in running
            assert start.job_id not in done
            queue.remove(start.job_id)
            room.take(job.request.needs, start.placement)
            expected = job.expected_seconds
            running[start.job_id] = Occupied(
                attempt_id=f"{start.job_id}.1",
                job_id=start.job_id,
                owner=job.owner,
                needs=job.request.needs,
                placement=start.placement,
                priority=job.priority,
                preemptible=preemptible,
                assigned_at_unix_us=now,
                expected_end_unix_us=None if expected is None else now + int(expected * SECOND),
                array_id=job.array_id,
            )
            ends[start.job_id] = now + int((expected or 50.0) * chance.uniform(0.2, 5) * SECOND)
        for one in room.hosts.values():
            assert min(one.millicores, one.memory_mib, one.storage_mib) >= 0
            assert all(part.milli_gpu >= 0 and part.vram_mib >= 0 for part in one.gpus.values())
        assert sum(one.array_id == "arr" for one in running.values()) <= 2
        for attempt_id in decision.preempt:
            job_id = attempt_id.removesuffix(".1")
            one = running.pop(job_id)
            assert one.preemptible
            room.give_back(one.needs, one.placement)
            queue.add(jobs[job_id][0])
        if decision.preempt:
            continue
        if not running and not coming:
            break
        now = min([ends[job_id] for job_id in running] + [job.submitted_at_unix_us for job, _ in coming[:1]])
        for job_id in [job_id for job_id in running if ends[job_id] <= now]:
            one = running.pop(job_id)
            room.give_back(one.needs, one.placement)
            done.append(job_id)
    assert sorted(done) == sorted(jobs)
    assert len(queue) == 0


def _held(one: HostCapacity, room: Room) -> HostCapacity:
    left = room.hosts[one.host_id]
    return evolve(
        one,
        allocated_millicores=one.millicores - left.millicores,
        gpus=tuple(
            evolve(gpu, free_milli_gpu=left.gpus[gpu.gpu_id].milli_gpu, free_vram_mib=left.gpus[gpu.gpu_id].vram_mib)
            for gpu in one.gpus
        ),
    )


def test_big_job_starts_though_small_ones_that_lie_about_their_time_never_stop_coming() -> None:
    """The stream would fill the host for ever; each says that it ends in time, and none does."""
    queue = queued(waits("big", 4, within=100))
    running: dict[str, tuple[Occupied, int]] = {}
    number = 0
    for step in range(4000):
        now = NOW + step * SECOND
        running = {name: one for name, one in running.items() if one[1] > now}
        for _ in range(2):
            number += 1
            queue.add(waits(f"s{number}", 1, at=now, expected_seconds=1.0, within=5))
        for name in started(ask(queue, host(), running=[one for one, _ in running.values()], now=now)):
            if name == "big":
                return
            queue.remove(name)
            running[name] = (runs(name, 1, ends_in=(now - NOW) / SECOND + 1, assigned_at_unix_us=now), now + 7 * SECOND)
    raise AssertionError("the big job starved")
