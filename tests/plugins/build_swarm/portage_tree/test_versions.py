"""Versions are ordered as PMS says, and as Portage itself orders them."""

import json
import subprocess
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.build_swarm.portage_tree import versions
from plugins.build_swarm.portage_tree.versions import compare
from tests.plugins.build_swarm.gentoo import portage

RISING = [
    "0", "0.0", "0.01", "0.1_alpha", "0.1", "0.1.0", "0.1.1", "0.2", "0.10", "1_alpha", "1_alpha1", "1_alpha1_p1",
    "1_alpha2", "1_beta", "1_pre", "1_rc", "1", "1-r1", "1-r2", "1-r10", "1_p", "1_p1", "1_p10", "1a", "1b_pre", "1b",
    "1.0", "1.0.2", "1.0.2-r1", "1.01", "1.02", "1.1", "1.2.03", "1.2.1", "1.10", "2", "10", "20260212", "9" * 100,
]  # fmt: skip
EQUAL = [("1", "1-r0"), ("1-r1", "1-r01"), ("1_p", "1_p0"), ("01", "1"), ("1.10", "1.10"), ("1_alpha", "1_alpha00")]
COMPARE = """
import json, sys
from portage.versions import vercmp
print(json.dumps([vercmp(a, b) for a, b in json.load(sys.stdin)]))
"""

WORDS = ["alpha", "beta", "pre", "rc", "p"]
NUMBER = st.from_regex(r"[0-9]{1,3}", fullmatch=True)
VERSION = st.builds(
    lambda numbers, letter, suffixes, revision: (
        ".".join(numbers) + letter + "".join(f"_{word}{number}" for word, number in suffixes) + revision
    ),
    st.lists(NUMBER, min_size=1, max_size=4),
    st.sampled_from(["", "", "a", "z"]),
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(["", "0", "1", "02", "10"])), max_size=3),
    st.sampled_from(["", "", "-r0", "-r1", "-r01", "-r10"]),
)  # fmt: skip


def test_versions_rise_in_the_order_of_the_specification() -> None:
    for low, high in pairwise(RISING):
        assert compare(low, high) < 0, (low, high)
        assert compare(high, low) > 0, (low, high)
    falling = tuple(reversed(RISING))
    assert sorted(falling, key=versions.order) == RISING


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_same_versions_are_equal_however_they_are_written(one: str, other: str) -> None:
    assert compare(one, other) == compare(other, one) == 0


@pytest.mark.parametrize(
    "text", ["", "a", "1.", ".1", "1_gamma", "1-r", "1 ", "1-1", "1_alpha-r1x", "1" * 201, "\u0661"]
)
def test_what_is_no_version_is_not_compared(text: str) -> None:
    assert versions.read(text) is None
    with pytest.raises(ValueError, match="is no version"):
        compare(text, "1")


@given(VERSION, VERSION, VERSION)
def test_order_is_total(one: str, two: str, three: str) -> None:
    assert compare(one, one) == 0
    assert (compare(one, two) > 0) == (compare(two, one) < 0)
    if compare(one, two) <= 0 and compare(two, three) <= 0:
        assert compare(one, three) <= 0


@given(st.lists(VERSION, min_size=40, max_size=60))
def collected(found: list[str]) -> None:
    """Gather what Hypothesis makes: one Portage is asked once about all of it."""
    _made.extend(found)


_made: list[str] = []


def test_every_pair_is_ordered_as_portage_orders_it() -> None:
    python = portage() / "bin" / "python"
    _made.clear()
    collected()
    made = list(dict.fromkeys(_made))
    pairs = [*product(RISING, RISING), *EQUAL, *pairwise(made), *zip(made, made[7:], strict=False)]
    done = subprocess.run(
        [python, "-I", "-c", COMPARE], input=json.dumps(pairs), capture_output=True, text=True, check=True, timeout=120
    )
    answers = json.loads(done.stdout)
    assert len(answers) == len(pairs) > 1_000

    def sign(number: int) -> int:
        return (number > 0) - (number < 0)

    wrong = [
        (pair, answer) for pair, answer in zip(pairs, answers, strict=True) if sign(compare(*pair)) != sign(answer)
    ]
    assert wrong == []
