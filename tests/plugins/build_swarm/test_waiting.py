"""What packages wait for is counted right, and never goes round in a circle."""

from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.build_swarm.states import Package
from plugins.build_swarm.waiting import Waiting, circles


def package(number: int, *waits_for: str) -> Package:
    return Package(package_id=number, atom=f"=c/p{number}-1", key=f"c/p{number}", session_id="s", waits_for=waits_for)


def test_package_waits_until_all_of_that_name_are_built() -> None:
    waiting = Waiting()
    first, second, waiter = package(1), package(2), package(3, "c/p1", "=c/p2-1", "c/absent")
    waiting.opened(first)
    waiting.opened(second)
    waiting.enter(waiter)
    assert waiter.waiting == 2
    assert waiting.closed(second) == []
    assert waiting.closed(first) == [waiter]
    assert waiter.waiting == 0
    assert waiting.opened(first) == [waiter]  # it is to be built again


def test_package_that_left_is_not_let_on() -> None:
    waiting = Waiting()
    first, waiter = package(1), package(2, "c/p1")
    waiting.opened(first)
    waiting.enter(waiter)
    waiting.leave(waiter)
    assert waiting.closed(first) == []


def test_circle_is_cut_where_it_closes() -> None:
    packages = [package(1, "c/p2"), package(2, "c/p3"), package(3, "c/p1")]
    assert circles(packages, []) == [(packages[2], "c/p1")]


def test_circle_through_a_package_that_is_queued_already_is_cut() -> None:
    old, new = package(1, "c/p2"), package(2, "c/p1")
    assert circles([new], [old]) == [(old, "c/p2")]


def test_long_chain_is_no_circle_and_no_recursion() -> None:
    packages = [package(number, f"c/p{number + 1}") for number in range(5000)]
    assert circles(packages, []) == []


@settings(max_examples=200)
@given(st.lists(st.lists(st.integers(0, 7), max_size=3), max_size=8), st.integers(0, 8))
def test_after_the_cuts_every_package_can_be_built(waits: list[list[int]], old: int) -> None:
    packages = [
        package(number, *(f"c/p{other}" for other in others if other != number)) for number, others in enumerate(waits)
    ]
    resident, added = packages[:old], packages[old:]
    for together in (resident, added):
        cuts = circles(together, resident if together is added else [])
        for each, name in cuts:
            each.waits_for = tuple(kept for kept in each.waits_for if kept != name)
    left = {each.key: each for each in packages}
    while left:
        free = [key for key, each in left.items() if not left.keys() & set(each.waits_for)]
        assert free, "a circle is left"
        for key in free:
            del left[key]
