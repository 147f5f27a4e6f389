"""The packages and sessions in memory, with every index over them, and which of them are not on disk yet."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from attrs import define, field

from .choosing import Shelves
from .states import OPEN, Package, PackageState, Session, SessionStatus
from .waiting import Waiting, circles

NEEDED: Final = PackageState.NEEDED
DELEGATED: Final = PackageState.DELEGATED
RECEIVED: Final = PackageState.RECEIVED
BLOCKED: Final = PackageState.BLOCKED
FAILED: Final = PackageState.FAILED
FINAL: Final = frozenset({RECEIVED, FAILED})
_COUNTERS: Final = {
    NEEDED: "needed",
    DELEGATED: "delegated",
    RECEIVED: "completed",
    BLOCKED: "blocked",
    FAILED: "ended_failed",
}
"""The field of a session that counts its packages of a state."""


@define(eq=False)
class Unsaved:
    """What the disk does not have yet, or is not known to have."""

    new_packages: dict[int, Package] = field(factory=dict)
    packages: dict[int, Package] = field(factory=dict)
    sessions: dict[str, Session] = field(factory=dict)
    is_state: bool = False

    def __bool__(self) -> bool:
        return bool(self.new_packages or self.packages or self.sessions or self.is_state)


@define(eq=False)
class Book:
    """Every package that is not final, and all of the active session, or of the last one."""

    packages: dict[int, Package] = field(factory=dict)
    sessions: dict[str, Session] = field(factory=dict)
    """Oldest first."""
    active: Session | None = None
    needed: Shelves = field(factory=Shelves)
    """What can be given to drones."""
    swept: Shelves = field(factory=Shelves)
    """What can be given to sweepers: the blocked packages."""
    blocked: dict[int, Package] = field(factory=dict)
    """In the order in which they were blocked."""
    waiting: Waiting = field(factory=Waiting)
    counts: dict[PackageState, int] = field(factory=lambda: dict.fromkeys(PackageState, 0))
    newest: dict[str, Package] = field(factory=dict)
    """By atom, the package that was queued last."""
    next_package_id: int = 1
    paused: bool = False
    expected_timestamp: str = ""
    unsaved: Unsaved = field(factory=Unsaved)
    revision: int = 0

    # ------------------------------------------------------------ taking in, letting go

    def adopt(self, package: Package) -> None:
        """Take a package into every index, as it is; it is on disk, or `add` says that it is not."""
        self.packages[package.package_id] = package
        self.counts[package.state] += 1
        newest = self.newest.get(package.atom)
        if newest is None or newest.package_id <= package.package_id:
            self.newest[package.atom] = package
        if package.state in OPEN:
            self._open(package)
        self._shelve(package)

    def forget(self, package: Package) -> None:
        """Let a package go from every index; sessions keep their counts."""
        self._unshelve(package)
        if package.state in OPEN:
            self._close(package)
        del self.packages[package.package_id]
        self.counts[package.state] -= 1
        if self.newest.get(package.atom) is package:
            del self.newest[package.atom]

    def add(self, packages: Iterable[Package], session: Session) -> None:
        """Queue new packages in a session."""
        for package in packages:
            self.adopt(package)
            self.unsaved.new_packages[package.package_id] = package
            session.total += 1
            session.needed += 1
        self.next_package_id = max(self.next_package_id, 1 + max(self.packages, default=0))
        self.save_session(session)

    def open_session(self, session: Session) -> None:
        """Make a session the active one; what is final of others is let go."""
        self.sessions[session.session_id] = session
        self.active = session
        self.save_session(session)
        for package in [each for each in self.packages.values() if each.state in FINAL]:
            if package.session_id != session.session_id:
                self.forget(package)

    def let_go(self, most: int) -> None:
        """Forget the oldest received packages beyond so many; a session that never ends does not fill memory."""
        beyond = self.counts[RECEIVED] - most
        if beyond > 0:
            received = (each for each in self.packages.values() if each.state is RECEIVED)
            for package in list(islice(received, beyond)):
                self.forget(package)
            self.revision += 1

    # ------------------------------------------------------------ changing

    def save(self, package: Package) -> None:
        """Note that a package has changed."""
        self.revision += 1
        if package.package_id not in self.unsaved.new_packages:
            self.unsaved.packages[package.package_id] = package

    def save_session(self, session: Session) -> None:
        """Note that a session has changed."""
        self.revision += 1
        self.unsaved.sessions[session.session_id] = session

    def save_state(self) -> None:
        """Note that the queue was paused, or another tree is expected."""
        self.revision += 1
        self.unsaved.is_state = True

    def move(self, package: Package, state: PackageState, *, avoid: str = "") -> list[Package]:
        """Bring a package to a state, and into the session that is active where it is to be built again.

        :param avoid: a drone that is to get it only when no other can.
        :return: packages that waited for it and need not any more, because it ended without being built.
        """
        if avoid and avoid not in package.avoided_drones:
            package.avoided_drones |= {avoid}
        was_open, is_open = package.state in OPEN, state in OPEN
        if is_open and not was_open:
            self._join_active(package)
        self._unshelve(package)
        session = self.sessions[package.session_id]
        counter, other = _COUNTERS[package.state], _COUNTERS[state]
        setattr(session, counter, getattr(session, counter) - 1)
        setattr(session, other, getattr(session, other) + 1)
        self.counts[package.state] -= 1
        self.counts[state] += 1
        package.state = state
        freed = self._close(package) if was_open and not is_open else []
        if is_open and not was_open:
            self._open(package)
        self._shelve(package)
        self.save(package)
        self.save_session(session)
        return freed if state is not RECEIVED else []

    def avoid_nobody(self, package: Package) -> None:
        """Forget which drones should rather not get a package."""
        if package.avoided_drones:
            self._unshelve(package)
            package.avoided_drones = frozenset()
            self._shelve(package)
            self.save(package)

    def reopen(self, session: Session) -> None:
        """Make a completed session the active one again."""
        session.status, session.completed_unix_us = SessionStatus.ACTIVE, None
        self.active = session
        self.save_session(session)

    def _join_active(self, package: Package) -> None:
        session = self.sessions[package.session_id]
        if self.active is None:
            self.reopen(session)
        elif session is not self.active:
            counter = _COUNTERS[package.state]
            for each, change in ((session, -1), (self.active, 1)):
                each.total += change
                setattr(each, counter, getattr(each, counter) + change)
                self.save_session(each)
            package.session_id = self.active.session_id

    def cut_circles(self, added: list[Package]) -> list[tuple[Package, str]]:
        """Take from new packages, and those that are here, what would let them wait for each other in a circle."""
        resident = [each for each in self.packages.values() if each.state is not RECEIVED]
        cuts = circles(added, resident)
        for package, name in cuts:
            is_here = package.state is NEEDED and package.package_id in self.packages
            if is_here:
                self._unshelve(package)
            package.waits_for = tuple(each for each in package.waits_for if each != name)
            if is_here:
                self._shelve(package)
            if package.package_id in self.packages:
                self.save(package)
        return cuts

    # ------------------------------------------------------------ indexes

    def _open(self, package: Package) -> None:
        for waiter in self.waiting.opened(package):
            self.needed.remove(waiter)

    def _close(self, package: Package) -> list[Package]:
        freed = self.waiting.closed(package)
        for waiter in freed:
            self.needed.put(waiter)
        return freed

    def _shelve(self, package: Package) -> None:
        if package.state is NEEDED:
            if package.waits_for:
                self.waiting.enter(package)
            if not package.waiting:
                self.needed.put(package)
        elif package.state is BLOCKED:
            self.swept.put(package)
            self.blocked[package.package_id] = package

    def _unshelve(self, package: Package) -> None:
        if package.state is NEEDED:
            self.needed.remove(package)
            if package.waits_for:
                self.waiting.leave(package)
        elif package.state is BLOCKED:
            self.swept.remove(package)
            self.blocked.pop(package.package_id, None)
