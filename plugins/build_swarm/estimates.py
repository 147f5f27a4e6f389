"""What history says of how long packages take, how builds went, and which drones failed what."""

from collections.abc import Iterable

from attrs import define, field

from . import atoms
from .states import OPEN, Build, BuildStatistics, DroneTiming, Outcome, Package, Progress, Timing

PERCENT_MAX = 99
"""What is still being built is never done."""


@define(eq=False)
class Mean:
    """A mean that grows."""

    count: int = 0
    total_s: float = 0.0

    def add(self, total_s: float, count: int = 1) -> None:
        """Add some values."""
        self.count += count
        self.total_s += total_s

    @property
    def value(self) -> float:
        """The mean."""
        return self.total_s / self.count


@define(eq=False)
class Tally:
    """Builds counted; see `Timing`."""

    successful: int = 0
    failed: int = 0
    returned: int = 0
    duration_s: float = 0.0

    def add(self, outcome: str, duration_s: float, count: int = 1) -> None:
        """Count some builds of the same outcome, by all their seconds."""
        if outcome == Outcome.SUCCESS:
            self.successful += count
            self.duration_s += duration_s
        elif outcome == Outcome.RETURNED:
            self.returned += count
        else:
            self.failed += count

    @property
    def timing(self) -> Timing:
        """As figures."""
        return Timing(
            total_builds=self.successful + self.failed,
            successful=self.successful,
            failed=self.failed,
            returned=self.returned,
            total_duration_s=self.duration_s,
        )


@define(eq=False)
class History:
    """Sums over all builds on disk, kept up with every further one."""

    all_builds: Tally = field(factory=Tally)
    of_session: dict[str, Tally] = field(factory=dict)
    """Of the active session, and those of this run."""
    of_drone: dict[str, tuple[str, Tally]] = field(factory=dict)
    """By id, with the name that the drone had last."""
    failed_on: dict[str, set[str]] = field(factory=dict)
    """By atom, the drones whose last word on it was a failure."""
    revision: int = 0
    _by_atom: dict[str, Mean] = field(factory=dict)
    _by_category: dict[str, Mean] = field(factory=dict)
    _of_all: Mean = field(factory=Mean)

    def add(self, build: Build) -> None:
        """Count one more build."""
        self.count(build.outcome, build.duration_s, 1, build.session_id, build.drone_id, build.drone_name)
        if build.is_success:
            self.took(build.atom, build.duration_s, 1)
            self.failed_on.get(build.atom, set()).discard(build.drone_id)
        elif build.is_failure:
            self.failed_on.setdefault(build.atom, set()).add(build.drone_id)

    def count(
        self, outcome: str, duration_s: float, count: int, session_id: str, drone_id: str, drone_name: str
    ) -> None:
        """Count some builds of the same outcome, session and drone, by all their seconds."""
        self.revision += 1
        self.all_builds.add(outcome, duration_s, count)
        self.of_session.setdefault(session_id, Tally()).add(outcome, duration_s, count)
        known = self.of_drone.get(drone_id)
        tally = Tally() if known is None else known[1]
        tally.add(outcome, duration_s, count)
        self.of_drone[drone_id] = (drone_name, tally)

    def took(self, atom: str, total_s: float, count: int) -> None:
        """Note how long successful builds of an atom took in all."""
        for means, name in ((self._by_atom, atom), (self._by_category, atoms.category(atom))):
            mean = means.get(name)
            if mean is None:
                mean = means[name] = Mean()
            mean.add(total_s, count)
        self._of_all.add(total_s, count)

    def clear(self) -> None:
        """Forget everything."""
        fresh = History(revision=self.revision + 1)
        self.all_builds, self.of_session, self.of_drone = fresh.all_builds, fresh.of_session, fresh.of_drone
        self.failed_on, self.revision = fresh.failed_on, fresh.revision
        self._by_atom, self._by_category, self._of_all = fresh._by_atom, fresh._by_category, fresh._of_all

    # ------------------------------------------------------------ asking

    def estimate_s(self, atom: str) -> float | None:
        """Return how long a build takes: the mean for the atom, else for its category, else for all, else ``None``."""
        mean = self._by_atom.get(atom)
        if mean is None:
            mean = self._by_category.get(atoms.category(atom))
        if mean is None and self._of_all.count:
            mean = self._of_all
        return None if mean is None else mean.value

    def _estimate_of(self, package: Package) -> float | None:
        """Return what `estimate_s` does, for one of thousands."""
        mean = self._by_atom.get(package.atom) or self._by_category.get(package.key.partition("/")[0])
        if mean is None:
            return self._of_all.value if self._of_all.count else None
        return mean.value

    def progress(self, package: Package, now_us: int) -> Progress:
        """Return how far a delegated package is."""
        estimated_s = self.estimate_s(package.atom)
        if package.building_since_us is None:
            return Progress(
                package=package.atom, building_since_unix_us=None, elapsed_s=0.0, estimated_s=estimated_s, percent=None
            )
        elapsed_s = max(0, now_us - package.building_since_us) / 1e6
        percent = None
        if estimated_s:
            percent = min(PERCENT_MAX, round(100 * elapsed_s / estimated_s))
        return Progress(
            package=package.atom,
            building_since_unix_us=package.building_since_unix_us,
            elapsed_s=elapsed_s,
            estimated_s=estimated_s,
            percent=percent,
        )

    def left_s(self, packages: Iterable[Package], builders: int, now_us: int) -> float | None:
        """Return how long some packages take so many drones that each build one at a time; ``None``: nothing tells.

        At least as long as the longest of them.
        """
        total_s = longest_s = 0.0
        for package in packages:
            if package.state not in OPEN:
                continue
            left_s = self._estimate_of(package)
            if left_s is None:
                return None
            if package.building_since_us is not None:
                left_s = max(0.0, left_s - (now_us - package.building_since_us) / 1e6)
            total_s += left_s
            longest_s = max(longest_s, left_s)
        return max(longest_s, total_s / builders) if builders else None

    def timing(self, session_id: str | None) -> Timing:
        """Return the builds of a session of this run, or all, in figures."""
        tally = self.all_builds if session_id is None else self.of_session.get(session_id)
        return Timing() if tally is None else tally.timing

    @property
    def statistics(self) -> BuildStatistics:
        """Everything, by drone too."""
        per_drone = [
            DroneTiming(drone_id=drone_id, drone_name=name, timing=tally.timing)
            for drone_id, (name, tally) in self.of_drone.items()
        ]
        per_drone.sort(key=lambda each: (each.drone_name, each.drone_id))
        return BuildStatistics(timing=self.all_builds.timing, per_drone=tuple(per_drone))
