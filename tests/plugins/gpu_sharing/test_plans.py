import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.plugin import Forbidden
from plugins.gpu_sharing.plans import SHIPPED, Limit, Plan, plan_of, plans_in_force, require_metrics, require_room
from plugins.gpu_sharing.settings import PlanSettings


def test_documented_plans_exist_each_with_no_less_than_the_one_before() -> None:
    assert list(SHIPPED) == ["free", "personal", "pro", "team"]
    endless = 10**9
    for limit in Limit:
        bounds = [endless if plan.bound(limit) is None else plan.bound(limit) for plan in SHIPPED.values()]
        assert bounds == sorted(bounds, key=lambda bound: bound or 0), limit
    assert [plan.metrics for plan in SHIPPED.values()] == [False, False, True, True]
    assert all(SHIPPED["team"].bound(limit) is None for limit in Limit)


def test_what_a_written_plan_leaves_out_is_as_in_the_shipped_one() -> None:
    plans = plans_in_force({"free": PlanSettings(workers=5)})
    assert plans["free"] == Plan(name="free", gpus_per_agent=1, agents=1, workers=5, shares=2, metrics=False)
    assert plans["team"] == SHIPPED["team"]


def test_written_plan_can_lift_a_limit_and_forbid_a_thing_altogether() -> None:
    free = plans_in_force({"free": PlanSettings(agents="unlimited", shares=0, metrics=True)})["free"]
    assert (free.agents, free.shares, free.metrics) == (None, 0, True)


def test_plan_of_another_name_has_the_limits_it_says_and_no_others() -> None:
    assert plans_in_force({"lab": PlanSettings(agents=3)})["lab"] == Plan(name="lab", agents=3)


def test_people_have_the_plan_written_beside_their_name_and_else_the_default() -> None:
    people = {"ann": "free"}
    assert plan_of("ann", plans=SHIPPED, people=people, default_plan="team").name == "free"
    assert plan_of("bob", plans=SHIPPED, people=people, default_plan="team").name == "team"


@pytest.mark.parametrize(
    ("limit", "used", "wanted", "message"),
    [
        (Limit.AGENTS, 1, 1, "the plan 'free' allows at most 1 agent (agents), and 1 of them is used"),
        (Limit.WORKERS, 2, 1, "the plan 'free' allows at most 2 workers (workers), and 2 of them are used"),
        (Limit.SHARES, 2, 1, "the plan 'free' allows at most 2 shares (shares), and 2 of them are used"),
        (
            Limit.GPUS_PER_AGENT,
            0,
            8,
            "the plan 'free' allows at most 1 GPU per agent (gpus_per_agent), and 8 are there",
        ),
    ],
)
def test_over_a_limit_the_answer_names_limit_and_plan(limit: Limit, used: int, wanted: int, message: str) -> None:
    with pytest.raises(Forbidden) as refused:
        require_room(SHIPPED["free"], limit, used=used, wanted=wanted)
    assert refused.value.message == message
    assert refused.value.status == 403
    assert "[plugins.gpu_sharing.plans.free]" in refused.value.hint
    assert limit.value in refused.value.hint


def test_limit_of_nothing_says_so() -> None:
    with pytest.raises(Forbidden, match=r"the plan 'lab' allows no shares \(shares\), and 0 of them are used"):
        require_room(Plan(name="lab", shares=0), Limit.SHARES, used=0)


@given(st.sampled_from(Limit), st.none() | st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_exactly_what_goes_beyond_the_bound_is_refused(limit: Limit, bound: int | None, used: int, wanted: int) -> None:
    plan = Plan(name="p", **{limit.value: bound})  # type: ignore[arg-type]
    fits = bound is None or used + wanted <= bound
    try:
        require_room(plan, limit, used=used, wanted=wanted)
    except Forbidden:
        assert not fits
    else:
        assert fits


def test_metrics_are_kept_for_pro_and_team_alone() -> None:
    for name in ("pro", "team"):
        require_metrics(SHIPPED[name])
    for name in ("free", "personal"):
        with pytest.raises(Forbidden, match=f"the plan '{name}' keeps no metrics"):
            require_metrics(SHIPPED[name])
