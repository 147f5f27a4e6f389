"""Which package next: heaps of packages that the same drones can build, so that no request looks at every package.

Packages lie on a shelf with all others of the same needs that the same drones should not get. There are as many
shelves as such combinations (one, mostly), and a request looks at the top of each.
"""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Final

from attrs import define, field

from .states import Package, PackageNeeds

FRESH: Final = 0
"""The drone has not failed what lies on the shelf."""
AGAIN: Final = 1
"""It has, and no other drone can build it: only after all that is fresh to it, of the same priority."""

Grade = Callable[["Shelf"], int | None]
"""Returns `FRESH` or `AGAIN`, or ``None`` when nothing of a shelf may be given."""


@define(eq=False)
class Shelf:
    """Packages of the same needs, avoiding the same drones; those that were taken leave their entry behind."""

    needs: PackageNeeds
    avoided: frozenset[str]
    heap: list[tuple[int, int]] = field(factory=list, init=False)
    """Of negative priority and package id."""
    entries: set[tuple[int, int]] = field(factory=set, init=False)
    """What the heap has: never the same twice."""


@define(eq=False)
class Shelves:
    """Every package that can be given out, first by priority, then by age."""

    _shelves: dict[tuple[PackageNeeds, frozenset[str]], Shelf] = field(factory=dict, init=False)
    _lies_on: dict[int, Shelf] = field(factory=dict, init=False)
    _by_id: dict[int, Package] = field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, package: Package) -> bool:
        return package.package_id in self._by_id

    def __iter__(self) -> Iterator[Package]:
        return iter(self._by_id.values())

    @property
    def needs(self) -> set[PackageNeeds]:
        """What drones must have to build what lies here, each once."""
        return {shelf.needs for shelf in set(self._lies_on.values())}

    def put(self, package: Package) -> None:
        """Lay a package where its needs and the drones that it avoids now belong."""
        number, place = package.package_id, (package.needs, package.avoided_drones)
        shelf = self._shelves.get(place)
        if shelf is None:
            shelf = self._shelves[place] = Shelf(*place)
        self._lies_on[number] = shelf
        self._by_id[number] = package
        entry = (-package.priority, number)
        if entry not in shelf.entries:
            shelf.entries.add(entry)
            heappush(shelf.heap, entry)

    def remove(self, package: Package) -> None:
        """Take a package away, if it is there."""
        self._lies_on.pop(package.package_id, None)
        self._by_id.pop(package.package_id, None)

    def best(self, grade: Grade) -> tuple[Package, int] | None:
        """Return the first package that may be given, and its grade; it stays where it is."""
        found: tuple[int, int, int] | None = None
        for place, shelf in list(self._shelves.items()):
            top = self._top(shelf)
            if top is None:
                del self._shelves[place]
                continue
            graded = grade(shelf)
            if graded is not None:
                candidate = (top[0], graded, top[1])
                if found is None or candidate < found:
                    found = candidate
        return None if found is None else (self._by_id[found[2]], found[1])

    def first(self, count: int) -> list[Package]:
        """Return the packages that come next when every drone can build everything."""
        tops: list[tuple[int, int]] = []
        for shelf in self._shelves.values():
            tops += self._first_of(shelf, count)
        return [self._by_id[number] for _, number in sorted(tops)[:count]]

    def _first_of(self, shelf: Shelf, count: int) -> list[tuple[int, int]]:
        """Walk down a heap from its top, without changing it."""
        heap = shelf.heap
        found: list[tuple[int, int]] = []
        frontier = [(heap[0], 0)] if heap else []
        while frontier and len(found) < count:
            entry, place = heappop(frontier)
            if self._is_valid(entry, shelf):
                found.append(entry)
            for child in (2 * place + 1, 2 * place + 2):
                if child < len(heap):
                    heappush(frontier, (heap[child], child))
        return found

    def _top(self, shelf: Shelf) -> tuple[int, int] | None:
        """Drop entries of packages that are no longer here; return the first of the others."""
        while shelf.heap:
            top = shelf.heap[0]
            if self._is_valid(top, shelf):
                return top
            shelf.entries.discard(heappop(shelf.heap))
        return None

    def _is_valid(self, entry: tuple[int, int], shelf: Shelf) -> bool:
        """Whether the package of an entry still lies there, with that priority."""
        return self._lies_on.get(entry[1]) is shelf and self._by_id[entry[1]].priority == -entry[0]
