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
        ^^ ( app/one app/two ) ~sys-libs/zlib-1.3 not-a-package
    """
    found = [(one.key, one.operator, one.version, one.is_glob, one.slot) for one in flattened(text)]
    assert found == [
        ("dev-libs/openssl", ">=", "3.0", False, "0"),
        ("dev-lang/perl", "", "", False, ""),
        ("dev-lang/ruby", "=", "3", True, ""),
        ("net-misc/curl", "", "", False, "4"),
        ("x11-libs/gtk+", "", "", False, "3"),
        ("app/one", "", "", False, ""),
        ("app/two", "", "", False, ""),
        ("sys-libs/zlib", "~", "1.3", False, ""),
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


@given(GRAPH, GRAPH)
def test_nobody_waits_in_a_circle_and_only_circles_are_cut(
    build: dict[str, set[str]], run: dict[str, set[str]]
) -> None:
    kept = without_circles(build, run)
    assert circles(kept) == []
    assert all(name not in waits for name, waits in kept.items())
    whole = {name: (build.get(name, set()) | run.get(name, set())) - {name} for name in {*build, *run}}
    in_circles = list(circles(whole))
    for name, waits in whole.items():
        for target in waits - kept[name]:
            assert any({name, target} <= group for group in in_circles)


def test_what_is_needed_to_run_gives_way_to_what_is_needed_to_build() -> None:
    build = {"a/one": {"a/two"}, "a/two": set[str]()}
    run = {"a/one": set[str](), "a/two": {"a/one"}}
    assert without_circles(build, run) == {"a/one": {"a/two"}, "a/two": set()}


def test_long_chain_is_no_recursion() -> None:
    names = [f"a/p{number}" for number in range(20_000)]
    chain = {name: {after} for name, after in pairwise(names)}
    assert circles(chain) == []
    assert len(circles(chain | {names[-1]: {names[0]}})) == 1
