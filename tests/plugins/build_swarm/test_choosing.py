"""Shelves give what a look at every package gives, and stay small."""

from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.build_swarm.choosing import AGAIN, FRESH, Shelf, Shelves
from plugins.build_swarm.states import NO_NEEDS, Package, PackageNeeds

BIG = PackageNeeds(cores=8)


def package(number: int, priority: int = 0, needs: PackageNeeds = NO_NEEDS, avoided: str = "") -> Package:
    return Package(
        package_id=number,
        atom=f"=c/p-{number}",
        key="c/p",
        session_id="s",
        priority=priority,
        needs=needs,
        avoided_drones=frozenset(avoided),
    )


def test_first_is_the_highest_priority_and_then_the_oldest() -> None:
    shelves = Shelves()
    for each in (package(3), package(1), package(2, priority=5), package(4, priority=5)):
        shelves.put(each)
    taken = []
    while (found := shelves.best(lambda shelf: FRESH)) is not None:
        taken.append(found[0].package_id)
        shelves.remove(found[0])
    assert taken == [2, 4, 1, 3]


def test_what_a_drone_failed_comes_after_what_is_fresh_to_it_of_the_same_priority() -> None:
    shelves = Shelves()
    for each in (package(1, avoided="a"), package(2), package(3, priority=-1)):
        shelves.put(each)

    def grade(shelf: Shelf) -> int:
        return AGAIN if "a" in shelf.avoided else FRESH

    found = shelves.best(grade)
    assert found is not None
    assert (found[0].package_id, found[1]) == (2, FRESH)
    shelves.remove(found[0])
    found = shelves.best(grade)
    assert found is not None
    assert (found[0].package_id, found[1]) == (1, AGAIN)  # before the lower priority


def test_package_that_moves_to_and_fro_leaves_no_more_than_one_entry() -> None:
    shelves = Shelves()
    one, other = package(1), package(2)
    shelves.put(one)
    for _ in range(1000):
        shelves.put(other)
        shelves.remove(other)
    (shelf,) = shelves._shelves.values()
    assert len(shelf.heap) == 2


def test_package_that_is_put_back_with_a_higher_priority_comes_first() -> None:
    shelves = Shelves()
    one, other = package(1), package(2)
    shelves.put(one)
    shelves.put(other)
    shelves.remove(other)
    other.priority = 9
    shelves.put(other)
    assert [each.package_id for each in shelves.first(5)] == [2, 1]


SOME_NEEDS, SOME_DRONES = st.sampled_from((NO_NEEDS, BIG)), st.sampled_from(("", "a", "ab"))
STEPS = st.lists(st.tuples(st.integers(1, 8), st.sampled_from((-1, 0, 7)), SOME_NEEDS, SOME_DRONES))


@settings(max_examples=100)
@given(STEPS, st.sets(st.integers(1, 8)))
def test_shelves_give_what_a_look_at_every_package_gives(
    steps: list[tuple[int, int, PackageNeeds, str]], gone: set[int]
) -> None:
    shelves = Shelves()
    plain: dict[int, Package] = {}
    for number, priority, needs, avoided in steps:
        if number in plain:
            shelves.remove(plain.pop(number))
        else:
            plain[number] = package(number, priority, needs, avoided)
            shelves.put(plain[number])
    for number in gone & plain.keys():
        shelves.remove(plain.pop(number))
    first = sorted(plain.values(), key=lambda each: (-each.priority, each.package_id))
    assert shelves.first(3) == first[:3]
    assert len(shelves) == len(plain)
    for refused in ("", "a", "b"):
        fitting = [each for each in first if not each.needs.cores and refused not in each.avoided_drones]

        def grade(shelf: Shelf, refused: str = refused) -> int | None:
            return None if shelf.needs.cores or refused in shelf.avoided else FRESH

        assert shelves.best(grade) == ((fitting[0], FRESH) if fitting else None)
