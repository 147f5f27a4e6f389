"""What can be asked of the swarm at once, from memory."""

from collections.abc import Collection

from attrs import define, field

from appliance.plugin import NotFound

from . import atoms
from .book import BLOCKED, DELEGATED, FAILED, NEEDED, RECEIVED
from .desk import Desk
from .handing import tree_wanted
from .rules import Moment, refusal, suits
from .states import (
    BuildStatistics,
    Drone,
    DroneKind,
    Figures,
    Package,
    PackageState,
    Progress,
    Session,
    Timing,
)

ETA_KEPT_US = 5_000_000
"""How old an answer may be that looks at every package of a session."""
_ORDER = (DELEGATED, NEEDED, BLOCKED, FAILED, RECEIVED)


def _by_id(package: Package) -> int:
    return package.package_id


@define(eq=False)
class Reading:
    """The reading half of `Swarm`."""

    desk: Desk = field(init=False)
    _eta: tuple[int, str, float | None] = field(default=(-ETA_KEPT_US, "", None), init=False)

    def moment(self) -> Moment:
        """Return now, by both clocks."""
        raise NotImplementedError

    @property
    def revision(self) -> int:
        """Rises with every visible change of anything."""
        desk = self.desk
        return desk.book.revision + desk.fleet.revision + desk.history.revision

    @property
    def is_paused(self) -> bool:
        """Whether nobody is given work."""
        return self.desk.book.paused

    @property
    def expected_timestamp(self) -> str:
        """The Portage tree that drones must have; empty: any."""
        return self.desk.book.expected_timestamp

    # ------------------------------------------------------------ drones

    def find_drone(self, name_or_id: str) -> Drone | None:
        """Return a drone, or ``None``."""
        return self.desk.fleet.find(name_or_id)

    def drone(self, name_or_id: str) -> Drone:
        """Return a drone. :raises NotFound: there is none."""
        found = self.find_drone(name_or_id)
        if found is None:
            raise NotFound("drone", name_or_id[:80], hint="GET /api/v1/nodes?all=true lists them")
        return found

    def drones(self, *, offline: bool = True) -> list[Drone]:
        """Return the drones by name, those that are offline only when asked for."""
        named = self.desk.fleet.by_name
        return [named[name] for name in sorted(named) if offline or named[name].is_online]

    # ------------------------------------------------------------ packages

    def package(self, package_id: int) -> Package | None:
        """Return a package of the queue."""
        return self.desk.book.packages.get(package_id)

    def packages(self, *, states: Collection[PackageState] | None = None, session: str | None = None) -> list[Package]:
        """Return packages: delegated, needed, blocked, failed, received, each in the order of queueing.

        In memory are all that are not final, and all of the active session, or of the last one when none is.

        :param session: an id; ``None``: of the active session when there is one, else all; ``*``: all.
        """
        active = self.desk.book.active
        if session is None and active is not None:
            session = active.session_id
        wanted = _ORDER if states is None else tuple(state for state in _ORDER if state in states)
        groups = self._grouped(wanted)
        found = [package for state in wanted for package in sorted(groups[state], key=_by_id)]
        return found if session in (None, "*") else [each for each in found if each.session_id == session]

    def _grouped(self, wanted: Collection[PackageState]) -> dict[PackageState, list[Package]]:
        if not set(wanted) - {DELEGATED, BLOCKED}:
            # Asked for often, and few: found without looking at all the others.
            held = [package for drone in self.desk.fleet.by_id.values() for package in drone.assigned]
            return {DELEGATED: held, BLOCKED: list(self.desk.book.blocked.values())}
        groups: dict[PackageState, list[Package]] = {state: [] for state in _ORDER}
        for package in self.desk.book.packages.values():
            groups[package.state].append(package)
        return groups

    def next_packages(self, limit: int) -> list[Package]:
        """Return the first needed packages in the order in which they are given out, without those that wait."""
        return self.desk.book.needed.first(limit)

    def progress(self, package: Package) -> Progress | None:
        """Return how far a package is; ``None`` when nobody holds it."""
        if package.state is not DELEGATED:
            return None
        return self.desk.history.progress(package, self.moment().us)

    def why(self, package: Package) -> str:
        """Return, in a sentence, why a package is not being built; empty when it is, or has ended well."""
        if package.state in (BLOCKED, FAILED):
            return package.error
        if package.state is not NEEDED:
            return ""
        if self.is_paused:
            return "The queue is paused."
        if package.waiting:
            open_names = [name for name in package.waits_for if self.desk.book.waiting.is_open(name)]
            return f"It waits for {', '.join(atoms.spoken(name) for name in open_names[:5])}."
        return self._why_nobody(package)

    def _why_nobody(self, package: Package) -> str:
        at = self.moment()
        builders = [each for each in self.drones(offline=False) if each.kind is DroneKind.DRONE]
        if not builders:
            return "No drone is online."
        suitable = [each for each in builders if suits(each, package.needs)]
        if not suitable:
            return "No drone that is online has what it needs."
        ready = [
            each
            for each in suitable
            if not refusal(each, at.us, self.desk.settings) and not tree_wanted(self.desk, each)
        ]
        if not ready:
            return "Every drone that could build it is paused, grounded, or has another Portage tree."
        if all(each.drone_id in package.avoided_drones for each in ready):
            return "Every drone that could build it has failed it; one of them tries it again."
        return "It waits for its turn."

    # ------------------------------------------------------------ sessions and figures

    def sessions(self, limit: int = 50) -> list[Session]:
        """Return the newest sessions, newest first."""
        newest = sorted(self.desk.book.sessions.values(), key=lambda each: (each.started_unix_us, each.session_id))
        return newest[::-1][: max(0, limit)]

    def session(self, session_id: str) -> Session:
        """Return a session. :raises NotFound: there is none."""
        found = self.desk.book.sessions.get(session_id)
        if found is None:
            raise NotFound("session", session_id[:80], hint="GET /api/v1/sessions lists them")
        return found

    def active_session(self) -> Session | None:
        """Return the one session that is being built."""
        return self.desk.book.active

    def status(self) -> Figures:
        """Return the swarm at a glance."""
        book, drones = self.desk.book, self.desk.fleet.by_id.values()
        active = book.active
        return Figures(
            drones=len(drones),
            drones_online=sum(drone.is_online for drone in drones),
            total_cores=sum(drone.cores for drone in drones),
            needed=book.counts[NEEDED],
            delegated=book.counts[DELEGATED],
            received=book.counts[RECEIVED] if active is None else active.completed,
            blocked=book.counts[BLOCKED],
            failed=book.counts[FAILED] if active is None else active.ended_failed,
            paused=book.paused,
            session=active,
            timing=self.timing(None if active is None else active.session_id),
            eta_s=None if active is None else self.eta_s(active),
        )

    def eta_s(self, session: Session) -> float | None:
        """Return after how many seconds a session is likely done; at most 5 s old.

        ``None``: nothing tells, or it needs what no drone has that builds now.
        """
        if not session.is_active:
            return None
        now_us = self.moment().us
        kept_us, kept_id, kept_s = self._eta
        if kept_id == session.session_id and now_us - kept_us < ETA_KEPT_US:
            return kept_s
        builders = [
            drone
            for drone in self.desk.fleet.by_id.values()
            if drone.is_online and drone.kind is DroneKind.DRONE and not refusal(drone, now_us, self.desk.settings)
        ]
        made = None
        if all(any(suits(drone, needs) for drone in builders) for needs in self.desk.book.needed.needs):
            made = self.desk.history.left_s(self.desk.book.packages.values(), len(builders), now_us)
        self._eta = (now_us, session.session_id, made)
        return made

    def timing(self, session_id: str | None = None) -> Timing:
        """Return the builds of a session, or of all history, in figures."""
        return self.desk.history.timing(session_id)

    def build_statistics(self) -> BuildStatistics:
        """Return all of history in figures."""
        return self.desk.history.statistics
