"""Jobs that wait for jobs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.jobs import Dependency, DependencyKind, Job, JobState
from appliance.scheduler.dependencies import Dependencies, Released, refuse

ANY = DependencyKind.AFTER_ANY
OK = DependencyKind.AFTER_OK


def job(job_id: str, *others: str, kind: DependencyKind = OK) -> Job:
    named = tuple(Dependency(job_id=other, kind=kind) for other in others)
    return Job(job_id=job_id, owner="ann", image="i", dependencies=named)


def none_ended(job_id: str) -> JobState | None:
    return JobState.PENDING


def test_job_may_depend_only_on_what_is_there_before_it() -> None:
    assert refuse([job("a"), job("b", "a", "old")], {"old"}.__contains__) is None
    assert refuse([job("b", "a"), job("a")], {"old"}.__contains__) == "job 'b' depends on 'a', and there is no such job"
    assert refuse([job("a", "a")], {"a"}.__contains__) == "job 'a' depends on itself"
    assert refuse([job("a", "old", "old")], {"old"}.__contains__) == "job 'a' depends on 'old' twice"


def test_job_is_ready_when_the_last_that_it_waits_for_has_completed() -> None:
    waits = Dependencies()
    assert waits.add(job("c", "a", "b"), none_ended) == Released()
    assert waits.ended("a", JobState.COMPLETED) == Released()
    assert [one.job_id for one in waits.missing("c")] == ["b"]
    assert waits.ended("b", JobState.COMPLETED) == Released(ready=("c",))
    assert waits.ended("b", JobState.COMPLETED) == Released()
    assert waits.missing("c") == ()


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_afterok_is_doomed_and_afterany_ready_when_the_other_did_not_complete(state: JobState) -> None:
    waits = Dependencies()
    waits.add(job("ok", "a", "other"), none_ended)
    waits.add(job("any", "a", kind=ANY), none_ended)
    released = waits.ended("a", state)
    assert released == Released(ready=("any",), doomed=(("ok", Dependency(job_id="a", kind=OK), state),))
    assert waits.ended("other", JobState.COMPLETED) == Released()


def test_failure_cascades_when_each_doomed_job_is_told() -> None:
    waits = Dependencies()
    waits.add(job("b", "a"), none_ended)
    waits.add(job("c", "b"), none_ended)
    waits.add(job("d", "c", kind=ANY), none_ended)
    (doomed, _, _) = waits.ended("a", JobState.FAILED).doomed[0]
    assert doomed == "b"
    assert waits.ended("b", JobState.FAILED).doomed[0][0] == "c"
    assert waits.ended("c", JobState.FAILED) == Released(ready=("d",))


def test_what_is_decided_already_is_decided_at_once_and_the_forgotten_has_failed() -> None:
    states = {"good": JobState.COMPLETED, "bad": JobState.FAILED}
    waits = Dependencies()
    assert waits.add(job("none"), states.get) == Released(ready=("none",))
    assert waits.add(job("x", "good"), states.get) == Released(ready=("x",))
    assert waits.add(job("y", "gone", kind=ANY), states.get) == Released(ready=("y",))
    gone = waits.add(job("z", "good", "gone"), states.get)
    assert gone.doomed == (("z", Dependency(job_id="gone", kind=OK), JobState.FAILED),)
    assert waits.missing("z") == ()


def test_forgotten_job_waits_for_nothing_and_leaves_the_others_waiting() -> None:
    waits = Dependencies()
    waits.add(job("b", "a"), none_ended)
    waits.add(job("c", "a"), none_ended)
    waits.forget("b")
    waits.forget("b")
    assert waits.ended("a", JobState.COMPLETED) == Released(ready=("c",))


@given(st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=20), st.data())
def test_every_job_ends_whatever_others_do(drawn: list[list[int]], data: st.DataObject) -> None:
    waits = Dependencies()
    states: dict[str, JobState] = {}
    ready: list[str] = []
    doomed: list[str] = []
    for number, numbers in enumerate(drawn):
        others = sorted({str(other) for other in numbers if other < number})
        kind = data.draw(st.sampled_from([OK, ANY]))
        states[str(number)] = JobState.PENDING
        released = waits.add(job(str(number), *others, kind=kind), states.get)
        ready += released.ready
        doomed += [one for one, _, _ in released.doomed]
    while ready or doomed:
        is_doomed = bool(doomed)
        job_id = (doomed or ready).pop()
        assert states[job_id] is JobState.PENDING
        states[job_id] = (
            JobState.FAILED
            if is_doomed
            else data.draw(st.sampled_from([JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED]))
        )
        released = waits.ended(job_id, states[job_id])
        ready += released.ready
        doomed += [one for one, _, _ in released.doomed]
    assert all(state.is_final for state in states.values())
