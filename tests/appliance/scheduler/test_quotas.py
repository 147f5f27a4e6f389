"""How much one person may have."""

from appliance.jobs import Needs
from appliance.scheduler.quotas import InUse, Quota, Quotas, refuse_submission, stops


def test_person_without_a_quota_has_the_default_and_the_appliance_none() -> None:
    quotas = Quotas(default=Quota(running_max=1), people={"ann": Quota(running_max=2)})
    assert quotas.of("ann").running_max == 2
    assert quotas.of("bob").running_max == 1
    assert quotas.of("") == Quota()


def test_submission_over_the_pending_limit_is_refused_with_figures() -> None:
    quota = Quota(pending_max=5)
    assert refuse_submission(quota, pending=3, added=[Needs()] * 2) is None
    assert refuse_submission(quota, pending=3, added=[Needs()] * 3) == (
        "3 of your jobs are waiting and 3 more would be over your limit of 5"
    )
    assert refuse_submission(Quota(), pending=10**9, added=[Needs()]) is None


def test_job_that_alone_is_over_the_limit_is_refused_when_it_is_submitted() -> None:
    quota = Quota(millicores_max=4000, milli_gpu_max=1000, running_max=1)
    assert refuse_submission(quota, pending=0, added=[Needs(millicores=4000, milli_gpu=1000)]) is None
    assert refuse_submission(quota, pending=0, added=[Needs(), Needs(milli_gpu=1001)]) == (
        "its owner uses 0 thousandths of a GPU and the job needs 1001 more, the limit is 1000"
    )


def test_job_is_stopped_by_what_its_owner_holds_only_if_it_needs_of_that() -> None:
    in_use = InUse()
    in_use.add(Needs(millicores=3000, milli_gpu=1000))
    quota = Quota(millicores_max=4000, milli_gpu_max=1000)
    assert stops(quota, in_use, Needs(millicores=1000)) == ""
    assert "the limit is 4000" in stops(quota, in_use, Needs(millicores=1001))
    assert "the limit is 1000" in stops(quota, in_use, Needs(milli_gpu=1))
    assert stops(Quota(running_max=1), in_use, Needs()) == "1 of at most 1 jobs of its owner run"
