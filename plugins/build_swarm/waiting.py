"""Which packages wait for which: an index by name, kept up with every package that is opened or closed."""

from collections.abc import Collection, Iterable, Iterator

from attrs import define, field

from .states import Package


@define(eq=False)
class Waiting:
    """Counts, by atom and by category/name, the packages that are still to be built, and knows who waits for them."""

    _open: dict[str, int] = field(factory=dict, init=False)
    _waiters: dict[str, dict[int, Package]] = field(factory=dict, init=False)

    def is_open(self, name: str) -> bool:
        """Whether something of that atom or name is still to be built."""
        return name in self._open

    def opened(self, package: Package) -> list[Package]:
        """Note that a package is to be built; return those that now wait and did not before."""
        stopped = []
        for name in _names(package):
            count = self._open.get(name, 0)
            self._open[name] = count + 1
            if not count and name in self._waiters:
                for waiter in self._waiters[name].values():
                    waiter.waiting += 1
                    if waiter.waiting == 1:
                        stopped.append(waiter)
        return stopped

    def closed(self, package: Package) -> list[Package]:
        """Note that a package is no longer to be built; return those that wait for nothing any more."""
        freed = []
        for name in _names(package):
            count = self._open[name] - 1
            if count:
                self._open[name] = count
                continue
            del self._open[name]
            for waiter in self._waiters.get(name, {}).values():
                waiter.waiting -= 1
                if not waiter.waiting:
                    freed.append(waiter)
        return freed

    def enter(self, package: Package) -> None:
        """Let a package wait for what it names, as long as any of that is to be built."""
        package.waiting = 0
        for name in package.waits_for:
            self._waiters.setdefault(name, {})[package.package_id] = package
            if name in self._open:
                package.waiting += 1

    def leave(self, package: Package) -> None:
        """Forget that a package waits."""
        package.waiting = 0
        for name in package.waits_for:
            waiters = self._waiters[name]
            del waiters[package.package_id]
            if not waiters:
                del self._waiters[name]


def _names(package: Package) -> tuple[str, ...]:
    return (package.atom,) if package.atom == package.key else (package.atom, package.key)


Cut = tuple[Package, str]
"""A package, and a name that it must not wait for."""


def circles(added: Collection[Package], others: Iterable[Package]) -> list[Cut]:
    """Return what must be cut so that no packages wait for each other in a circle.

    :param added: not yet in the queue.
    :param others: the packages that are not built yet, among which there is no circle.
    """
    if not any(package.waits_for for package in added):
        return []
    by_name: dict[str, list[Package]] = {}
    for package in (*others, *added):
        for name in _names(package):
            by_name.setdefault(name, []).append(package)
    walk = _Walk(by_name)
    for package in added:
        walk.start(package)
    return walk.cuts


@define(eq=False)
class _Walk:
    """A walk along what packages wait for, depth first and without recursion, cut where it comes back to itself."""

    by_name: dict[str, list[Package]]
    cuts: list[Cut] = field(factory=list, init=False)
    _are_cut: set[tuple[int, str]] = field(factory=set, init=False)
    _entered: set[int] = field(factory=set, init=False)
    _left: set[int] = field(factory=set, init=False)

    def start(self, first: Package) -> None:
        """Walk from a package, unless the walk was there."""
        if first.package_id in self._entered:
            return
        path = [self._enter(first)]
        while path:
            package, ways = path[-1]
            way = next(ways, None)
            if way is None:
                self._left.add(package.package_id)
                path.pop()
                continue
            name, target = way
            if (package.package_id, name) in self._are_cut or target.package_id in self._left:
                continue
            if target.package_id in self._entered:
                self._are_cut.add((package.package_id, name))
                self.cuts.append((package, name))
            else:
                path.append(self._enter(target))

    def _enter(self, package: Package) -> tuple[Package, Iterator[tuple[str, Package]]]:
        self._entered.add(package.package_id)
        return package, ((name, target) for name in package.waits_for for target in self.by_name.get(name, ()))
