"""Flattens dependencies (PMS 8.2): every package that may be asked for, whatever USE flags and choices come to say."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from . import atoms
from .atoms import Wanted

WORDS_MAX: Final = 20_000
_NO_PACKAGES: Final = frozenset({"(", ")", "||", "^^", "??"})
_CONDITION: Final = re.compile(r"!?[A-Za-z0-9][A-Za-z0-9+_@-]*\?")


def flattened(text: str) -> Iterator[Wanted]:
    """Yield each package that a dependency may ask for.

    All of a choice and what stands under any flag: to wait for one too many costs time, to build before what is needed
    is there costs a build. Blockers ask for nothing.
    """
    for word in text.split(None, WORDS_MAX)[:WORDS_MAX]:
        if word not in _NO_PACKAGES and not word.startswith("!") and not _CONDITION.fullmatch(word):
            wanted = atoms.read(word)
            if wanted is not None:
                yield wanted


def without_circles(build: dict[str, set[str]], run: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return who waits for whom, where nobody waits for itself by way of others.

    Where packages wait for each other, what is only needed to run goes first, then what is needed to build them.

    :param build: for each, what must be there to build it.
    :param run: for each, what must be there for it to be of use.
    """
    everything = {name: (build.get(name, set()) | run.get(name, set())) - {name} for name in {*build, *run}}
    for kept in ({name: build.get(name, set()) for name in everything}, dict[str, set[str]]()):
        for circle in circles(everything):
            for name in circle:
                within = everything[name] & circle
                everything[name] -= within - kept.get(name, set())
    return everything


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
    path.append((name, iter(_sorted(waits[name]))))


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names)  # the same answer whenever the same is asked
