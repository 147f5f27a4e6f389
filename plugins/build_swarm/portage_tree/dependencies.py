"""Flattens dependencies (PMS 8.2): every package that may be asked for, whatever USE flags and choices come to say."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from . import atoms
from .atoms import Wanted

WORDS_MAX: Final = 20_000
_CHOICES: Final = frozenset({"||", "^^", "??"})
_CONDITION: Final = re.compile(r"!?[A-Za-z0-9][A-Za-z0-9+_@-]*\?")


@frozen
class Asked:
    """A package that a dependency asks for."""

    wanted: Wanted
    is_sure: bool
    """Whether it is asked for whatever flags and choices say."""


def flattened(text: str) -> Iterator[Asked]:
    """Yield each package that a dependency may ask for.

    All of a choice and what stands under any flag: to wait for one too many costs time, to build before what is needed
    is there costs a build. Blockers ask for nothing.
    """
    open_groups: list[bool] = []  # whether each is one that may not count
    is_doubtful = False
    for word in text.split(None, WORDS_MAX)[:WORDS_MAX]:
        if word == "(":
            open_groups.append(is_doubtful)
            is_doubtful = False
        elif word == ")":
            if open_groups:
                open_groups.pop()
        elif word in _CHOICES or _CONDITION.fullmatch(word):
            is_doubtful = True
        elif not word.startswith("!") and (wanted := atoms.read(word)) is not None:
            yield Asked(wanted, is_sure=not any(open_groups))


def without_circles(waits: Sequence[Mapping[str, set[str]]]) -> dict[str, set[str]]:
    """Return who waits for whom, where nobody waits for itself by way of others.

    :param waits: what each needs, from what matters most to what matters least: where packages wait for each other in a
        circle, the least of it gives way first.
    """
    names = dict.fromkeys(name for needs in waits for name in needs)
    merged = {name: set[str]().union(*(needs.get(name, set()) for needs in waits)) - {name} for name in names}
    for kept in range(len(waits) - 1, 0, -1):
        for circle in circles(merged):
            for name in circle:
                matters = set[str]().union(*(needs.get(name, set()) for needs in waits[:kept]))
                merged[name] -= (merged[name] & circle) - matters
    for circle in circles(merged):
        for name, target in _ways_back({one: merged[one] & circle for one in sorted(circle)}):
            merged[name].discard(target)
    return merged


def _ways_back(waits: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """Return what leads back on a walk, depth first, along what everybody waits for; without it there is no circle."""
    back: list[tuple[str, str]] = []
    entered: set[str] = set()
    left: set[str] = set()
    for first in waits:
        if first in entered:
            continue
        entered.add(first)
        path = [(first, iter(sorted(waits[first])))]
        while path:
            name, ways = path[-1]
            target = next(ways, None)
            if target is None:
                left.add(name)
                path.pop()
            elif target not in entered:
                entered.add(target)
                path.append((target, iter(sorted(waits[target]))))
            elif target not in left:
                back.append((name, target))
    return back


def circles(waits: dict[str, set[str]]) -> list[set[str]]:
    """Return the groups of those that wait for each other (strongly connected components; Tarjan, no recursion)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[set[str]] = []
    for first in waits:
        if first in index:
            continue
        path: list[tuple[str, Iterator[str]]] = []
        _enter(first, waits, index, lowest, stack, on_stack, path)
        while path:
            name, ways = path[-1]
            target = next((one for one in ways if one in waits), None)
            if target is None:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[name])
                if lowest[name] == index[name]:
                    group = set[str]()
                    while name not in group:
                        group.add(stack.pop())
                    on_stack -= group
                    if len(group) > 1:
                        found.append(group)
            elif target not in index:
                _enter(target, waits, index, lowest, stack, on_stack, path)
            elif target in on_stack:
                lowest[name] = min(lowest[name], index[target])
    return found


def _enter(
    name: str,
    waits: dict[str, set[str]],
    index: dict[str, int],
    lowest: dict[str, int],
    stack: list[str],
    on_stack: set[str],
    path: list[tuple[str, Iterator[str]]],
) -> None:
    index[name] = lowest[name] = len(index)
    stack.append(name)
    on_stack.add(name)
    path.append((name, iter(sorted(waits[name]))))  # the same answer whenever the same is asked
