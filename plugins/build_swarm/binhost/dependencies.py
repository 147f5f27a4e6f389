"""Dependencies as an index has them: with the USE flags of the build put in, since a binary package has but one set.

The language is that of the Package Manager Specification, 8.2: atoms, groups, ``|| ( )``, ``^^ ( )``, ``?? ( )``,
``flag? ( )`` and ``!flag? ( )``, and in brackets behind an atom what it wants of the other package's flags (8.3.4).
"""

import re
from collections.abc import Collection, Iterator
from typing import Final

from attrs import define

WORDS_MAX: Final = 50_000
DEPTH_MAX: Final = 64
_CONDITION: Final = re.compile(r"(!?)([A-Za-z0-9][A-Za-z0-9+_@-]*)\?")
_CHOICES: Final = frozenset({"||", "^^", "??"})
_USE_WISH: Final = re.compile(
    r"(?P<no>[!-]?)(?P<flag>[A-Za-z0-9][A-Za-z0-9+_@-]*)(?P<default>(?:\([+-]\))?)(?P<end>[?=]?)"
)
_NEVER: Final = "__const__/empty-any-of"
"""What Portage writes for a choice of nothing, which can never be met."""

Node = str | list["Node"]


class BadDependency(ValueError):
    """It is not of the language; the text says where."""


def reduced(text: str, use: Collection[str]) -> str:
    """Return ``text`` without conditions: what they guard stays where ``use`` meets them, and goes where not.

    Groups that say nothing are left out.

    :raises BadDependency: the text is malformed, or absurdly large.
    """
    words = text.split()
    if not any(mark in text for mark in "()[|?^"):
        return " ".join(words)
    if len(words) > WORDS_MAX:
        raise BadDependency(f"it has more than {WORDS_MAX} words")
    return _written(_Reader(words, frozenset(use)).all_of(0))


@define
class _Reader:
    """Reads the words one after another."""

    words: list[str]
    use: frozenset[str]
    at: int = 0

    def all_of(self, depth: int) -> list[Node]:
        """Read a group whose members must all be met, to behind its bracket; the outermost has none."""
        nodes: list[Node] = []
        for kind, members in self._members(depth):
            if not kind:  # a group in a group is the same as its members
                nodes += members
            elif kind == "||":
                nodes += _any_of(members)
            else:
                nodes += [kind, members]
        return nodes

    def _alternatives(self, depth: int) -> list[Node]:
        """Read the members of a choice."""
        nodes: list[Node] = []
        for kind, members in self._members(depth):
            if kind == "||":
                nodes += members  # any of any of is any of
            elif kind:
                nodes.append([kind, members])
            elif len(members) == 2 and members[0] == "||":
                nodes += members[1]
            elif members:
                nodes.append(members[0] if len(members) == 1 else members)
        return nodes

    def _members(self, depth: int) -> Iterator[tuple[str, list[Node]]]:
        """Yield what a group holds: of each member its kind (empty: all of these) and what is in it."""
        if depth > DEPTH_MAX:
            raise BadDependency(f"it is nested deeper than {DEPTH_MAX} groups")
        start = self.at
        while self.at < len(self.words):
            word = self.words[self.at]
            self.at += 1
            if word == ")":
                if depth == 0:
                    raise BadDependency("it has a bracket that was not opened")
                if self.at == start + 1:
                    raise BadDependency("it has a group with nothing in it")
                return
            yield self._member(word, depth)
        if depth > 0:
            raise BadDependency("it has a bracket that is not closed")

    def _member(self, word: str, depth: int) -> tuple[str, list[Node]]:
        condition = _CONDITION.fullmatch(word)
        if word in _CHOICES or condition:
            if self.at >= len(self.words) or self.words[self.at] != "(":
                raise BadDependency(f"{word[:40]!r} is not followed by a group")
            self.at += 1
        elif word != "(":
            return "", [_atom(word, self.use)]
        if word in _CHOICES:
            return word, self._alternatives(depth + 1)
        members = self.all_of(depth + 1)
        is_met = condition is None or (condition[2] in self.use) != bool(condition[1])
        return "", members if is_met else []


def _any_of(alternatives: list[Node]) -> list[Node]:
    if not alternatives:
        return [_NEVER]
    if len(alternatives) == 1:
        only = alternatives[0]
        return only if isinstance(only, list) else [only]
    return ["||", alternatives]


def _atom(word: str, use: frozenset[str]) -> str:
    """Return an atom with what it wants of USE flags put in where that depends on ours."""
    if "(" in word.replace("(+)", "").replace("(-)", "") or word.endswith("?"):
        raise BadDependency(f"{word[:40]!r} is no dependency")
    head, bracket, wishes = word.partition("[")
    if not bracket or not wishes.endswith("]"):
        return word
    kept = [wish for one in wishes[:-1].split(",") if (wish := _wish(one, use)) is not None]
    return f"{head}[{','.join(kept)}]" if kept else head


def _wish(text: str, use: frozenset[str]) -> str | None:
    match = _USE_WISH.fullmatch(text)
    if match is None or (match["no"] == "-" and match["end"]) or (match["no"] == "!" and not match["end"]):
        raise BadDependency(f"{text[:40]!r} is no wish for a USE flag")
    if not match["end"]:
        return text
    is_on, negated = match["flag"] in use, match["no"] == "!"
    if match["end"] == "?":
        if is_on == negated:
            return None
        is_wanted = not negated
    else:
        is_wanted = is_on != negated
    return f"{'' if is_wanted else '-'}{match['flag']}{match['default']}"


def _written(nodes: list[Node]) -> str:
    return " ".join(node if isinstance(node, str) else f"( {_written(node)} )" for node in nodes)
