"""What a package may need, and that nobody waits in a circle."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.build_swarm.portage_tree import atoms
from plugins.build_swarm.portage_tree.dependencies import circles, flattened, without_circles


def test_every_package_that_may_be_asked_for_is_found() -> None:
    text = """
        >=dev-libs/openssl-3.0:0=[static-libs(+)?] !dev-libs/old !!<dev-libs/older-2
        || ( dev-lang/perl =dev-lang/ruby-3* ) ssl? ( net-misc/curl:4/5= ) !gui? ( ( x11-libs/gtk+:3 ) )
        ^^ ( app/one app/two ) ( app/grouped ) ) ~sys-libs/zlib-1.3 not-a-package
    """
    found = [
        (asked.is_sure, one.key, one.operator, one.version, one.is_glob, one.slot)
        for asked in flattened(text)
        for one in [asked.wanted]
    ]
    assert found == [
        (True, "dev-libs/openssl", ">=", "3.0", False, "0"),
        (False, "dev-lang/perl", "", "", False, ""),
        (False, "dev-lang/ruby", "=", "3", True, ""),
        (False, "net-misc/curl", "", "", False, "4"),
        (False, "x11-libs/gtk+", "", "", False, "3"),
        (False, "app/one", "", "", False, ""),
        (False, "app/two", "", "", False, ""),
        (True, "app/grouped", "", "", False, ""),
        (True, "sys-libs/zlib", "~", "1.3", False, ""),
    ]


@pytest.mark.parametrize(
    ("atom", "taken", "left"),
    [
        ("=a/b-1.0", ["1.0", "1.0-r0"], ["1.0-r1", "1.0.0", "1"]),
        ("~a/b-1.0", ["1.0", "1.0-r7"], ["1.0.1", "1.0_p1"]),
        (">=a/b-1.2", ["1.2", "1.10", "2"], ["1.2_rc1", "1.1"]),
        ("<=a/b-1.2", ["1.2", "1.1"], ["1.2-r1"]),
        (">a/b-1.2", ["1.2-r1", "1.3"], ["1.2"]),
        ("<a/b-1.2", ["1.2_rc1"], ["1.2"]),
        ("=a/b-1.2*", ["1.2", "1.2.3", "1.2-r1", "1.2_p1", "1.2a"], ["1.20", "1.3", "11.2"]),
        ("a/b", ["1", "9999"], []),
    ],
)
def test_operator_takes_the_versions_that_it_means(atom: str, taken: list[str], left: list[str]) -> None:
    wanted = atoms.read(atom)
    assert wanted is not None
    assert [one for one in taken + left if wanted.takes(one, "0")] == taken


def test_slot_counts_where_it_is_known() -> None:
    wanted = atoms.read("a/b:2")
    assert wanted is not None
    assert wanted.takes("1", "2/2.1")
    assert not wanted.takes("1", "3")
    assert wanted.takes("1", None)


@pytest.mark.parametrize("text", ["", "a", "a/", "a/b c/d", ">=a/b", "a/b-1", "=a/b", ">a/b-1*", "a/b" * 500, "-a/b"])
def test_what_is_no_atom_asks_for_nothing(text: str) -> None:
    assert atoms.read(text) is None


@given(st.text(max_size=200))
def test_any_text_is_read_without_a_failure(text: str) -> None:
    list(flattened(text))


NAMES = st.sampled_from([f"a/p{number}" for number in range(7)])
GRAPH = st.dictionaries(NAMES, st.frozensets(NAMES, max_size=4).map(set), max_size=7)


@given(GRAPH, GRAPH, GRAPH)
def test_nobody_waits_in_a_circle_and_only_circles_are_cut(
    surely: dict[str, set[str]], perhaps: dict[str, set[str]], run: dict[str, set[str]]
) -> None:
    kept = without_circles((surely, perhaps, run))
    assert circles(kept) == []
    assert all(name not in waits for name, waits in kept.items())
    every = {*surely, *perhaps, *run}
    whole = {name: set().union(*(one.get(name, set()) for one in (surely, perhaps, run))) - {name} for name in every}
    assert set(kept) == every
    in_circles = circles(whole)
    for name, waits in whole.items():
        assert kept[name] <= waits
        for target in waits - kept[name]:
            assert any({name, target} <= group for group in in_circles)
    # What matters most is cut only where it is a circle by itself.
    first = {name: surely.get(name, set()) - {name} for name in every}
    if not circles(first):
        assert all(first[name] <= kept[name] for name in every)


def test_the_least_of_a_circle_gives_way() -> None:
    nothing: dict[str, set[str]] = {"a/one": set(), "a/two": set()}
    one, two = {"a/one": {"a/two"}}, {"a/two": {"a/one"}}
    expected = {"a/one": {"a/two"}, "a/two": set()}
    assert without_circles((one, nothing, two)) == expected
    assert without_circles((one, two, nothing)) == expected
    assert without_circles((nothing, one, two)) == expected


def test_circle_of_many_is_cut_once() -> None:
    ring = {f"a/p{number}": {f"a/p{(number + 1) % 9}"} for number in range(9)}
    assert sum(map(len, without_circles((ring, {}, {})).values())) == 8


def test_long_chain_is_no_recursion() -> None:
    names = [f"a/p{number}" for number in range(20_000)]
    chain = {name: {after} for name, after in pairwise(names)}
    assert circles(chain) == []
    assert len(circles(chain | {names[-1]: {names[0]}})) == 1
