"""A plan is done once, by who was shown it, within five minutes."""

import pytest
import trio
from trio.testing import MockClock

from appliance.plugin import BadInput, Forbidden
from plugins.build_swarm.cleaning import PLANS_MAX, TOKEN_SECONDS, Plans
from plugins.build_swarm.drone_world import Difference

NOTHING = Difference(current=frozenset(), proposed=frozenset())


async def test_token_counts_once_and_for_its_drone() -> None:
    plans = Plans()
    token = plans.add("drone-01", NOTHING, is_immutable=True)
    with pytest.raises(Forbidden):
        plans.take(token, "drone-02", "drone-02")
    assert plans.take(token, "drone-01", "drone-01").is_immutable
    with pytest.raises(Forbidden):
        plans.take(token, "drone-01", "drone-01")


async def test_wrong_name_does_not_cost_the_token() -> None:
    plans = Plans()
    token = plans.add("drone-01", NOTHING, is_immutable=False)
    with pytest.raises(BadInput):
        plans.take(token, "drone-01", "drone-1")
    assert plans.take(token, "drone-01", "drone-01").difference == NOTHING


@pytest.mark.parametrize("token", ["", "0" * 48, "\ud800"])
async def test_token_that_was_never_given_is_none(token: str) -> None:
    plans = Plans()
    plans.add("drone-01", NOTHING, is_immutable=False)
    with pytest.raises(Forbidden):
        plans.take(token, "drone-01", "drone-01")


async def test_token_ends_after_five_minutes(autojump_clock: MockClock) -> None:
    plans = Plans()
    first = plans.add("drone-01", NOTHING, is_immutable=False)
    await trio.sleep(TOKEN_SECONDS - 1)
    second = plans.add("drone-01", NOTHING, is_immutable=False)
    await trio.sleep(1)
    with pytest.raises(Forbidden):
        plans.take(first, "drone-01", "drone-01")
    assert plans.take(second, "drone-01", "drone-01")


async def test_oldest_plan_makes_room_for_one_too_many() -> None:
    plans = Plans()
    tokens = [plans.add("drone-01", NOTHING, is_immutable=False) for _ in range(PLANS_MAX + 1)]
    with pytest.raises(Forbidden):
        plans.take(tokens[0], "drone-01", "drone-01")
    assert plans.take(tokens[1], "drone-01", "drone-01")
