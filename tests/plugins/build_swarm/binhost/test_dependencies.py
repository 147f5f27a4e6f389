import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.build_swarm.binhost.dependencies import BadDependency, reduced
from tests.plugins.build_swarm.binhost.portage import Portage

ATOMS = ("a/b", "=a/b-1", ">=a/c-2:0=", "a/d[x?]", "a/d[x,-y]", "a/e:0[!x?,y=]", "a/f[!y=,x(+)?]", "!a/g", "!!<a/h-2")


@pytest.mark.parametrize(
    ("text", "use", "found"),
    [
        ("", "", ""),
        ("a/b  c/d", "", "a/b c/d"),
        ("x? ( a/b ) c/d", "x", "a/b c/d"),
        ("x? ( a/b ) c/d", "", "c/d"),
        ("!x? ( a/b ) c/d", "", "a/b c/d"),
        ("!x? ( a/b ) c/d", "x", "c/d"),
        ("x? ( y? ( a/b ) !y? ( c/d ) )", "x", "c/d"),
        ("|| ( a/b c/d )", "", "|| ( a/b c/d )"),
        ("|| ( a/b x? ( c/d ) )", "", "a/b"),
        ("|| ( ( a/b c/d ) e/f )", "", "|| ( ( a/b c/d ) e/f )"),
        ("|| ( x? ( a/b ) )", "", "__const__/empty-any-of"),
        ("a/b[x?,y=,!z=,-w]", "x", "a/b[x,-y,z,-w]"),
        ("a/b[x?]", "", "a/b"),
        ("a/b[!x(+)?]", "", "a/b[-x(+)]"),
        ("( ( a/b ) )", "", "a/b"),
        ("GPL-2 x? ( MIT )", "x", "GPL-2 MIT"),
    ],
)
def test_conditions_are_put_in(text: str, use: str, found: str) -> None:
    assert reduced(text, use.split()) == found


@pytest.mark.parametrize(
    "text",
    ["( a/b", "a/b )", "x? a/b", "|| a/b", "||", "x?", "( )", "x? ( )", "a/b[x!]", "a/b[-x?]", "a/b[!x]", "(a/b)"],
)
def test_malformed_dependency_is_refused(text: str) -> None:
    with pytest.raises(BadDependency):
        reduced(text, [])


def test_absurd_dependency_is_refused_without_recursion_to_the_end() -> None:
    with pytest.raises(BadDependency, match="nested deeper"):
        reduced("( " * 2000 + "a/b" + " )" * 2000, [])
    with pytest.raises(BadDependency, match="more than"):
        reduced("x? ( a/b ) " * 20_000, [])


@given(st.lists(st.sampled_from(["(", ")", "||", "x?", "!y?", "a/b", "a/c[x?]", "^^", "??", "[", "]"]), max_size=24))
def test_any_words_are_reduced_or_refused(words: list[str]) -> None:
    try:
        found = reduced(" ".join(words), ["x"])
    except BadDependency:
        return
    assert "?" not in found.replace("?? (", "").replace("??", "")
    assert reduced(found, []) == found


def some(chance: random.Random, depth: int = 0) -> str:
    if depth > 3 or chance.random() < 0.5:
        return chance.choice(ATOMS)
    inner = " ".join(some(chance, depth + 1) for _ in range(chance.randint(1, 3)))
    # A choice stands on the outside, and has an alternative of its own: Portage's way to write one of which USE flags
    # leave nothing depends on its place, and is never true anyway.
    kinds = ("( {} )", "x? ( {} )", "!x? ( {} )", "y? ( {} )", "|| ( {} c/z )")
    return chance.choice(kinds if depth == 0 else kinds[1:-1]).format(inner)


COMPARED = """
import json, sys
from portage.dep import Atom, paren_enclose, use_reduce
found = []
for text, use in json.load(sys.stdin):
    found.append(paren_enclose(use_reduce(text, uselist=frozenset(use), token_class=Atom)))
print(json.dumps(found))
"""


def test_dependencies_are_reduced_as_portage_reduces_them(built: Portage) -> None:
    chance = random.Random(20260212)  # the same cases each time
    uses: list[list[str]] = [[], ["x"], ["y"], ["x", "y"]]
    cases = [(" ".join(some(chance) for _ in range(chance.randint(1, 3))), chance.choice(uses)) for _ in range(400)]
    theirs = built.python(COMPARED, cases)
    assert [reduced(text, use) for text, use in cases] == theirs
