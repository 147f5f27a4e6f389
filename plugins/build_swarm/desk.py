"""Where everything is decided: memory, and what every decision does to it. No clock, no disk, no waiting."""

from collections.abc import Callable
from typing import Any, Final

from attrs import define, field

from . import atoms
from .book import BLOCKED, DELEGATED, FAILED, NEEDED, Book
from .estimates import History
from .fleet import Fleet, take_from
from .queue_settings import QueueSettings
from .rules import MINUTE_US, Moment, blocked_state, blocking, is_grounded, slots
from .states import Build, Drone, Package, Session, SessionStatus

SOME: Final = 20
"""How many atoms an event lists."""


@define(eq=False)
class Told:
    """What is to be told once a decision is on disk, and not at all when it cannot be stored."""

    builds: list[Build] = field(factory=list)
    clears_builds: bool = False
    notes: list[tuple[str, str, str, dict[str, Any]]] = field(factory=list)
    """Type, message, name of a drone and details of events."""
    completed: list[Session] = field(factory=list)
    grounded: list[Drone] = field(factory=list)


@define(eq=False)
class Desk:
    """Memory, with what moves packages between drones."""

    settings: QueueSettings
    book: Book
    fleet: Fleet
    history: History
    cores_limit: Callable[[Drone], int | None] = lambda drone: None
    max_failures: Callable[[Drone], int | None] = lambda drone: None
    told: Told = field(factory=Told)

    def note(self, type: str, message: str, *, drone: str = "", **details: Any) -> None:
        """Let an event follow when this is on disk."""
        self.told.notes.append((type, message, drone, details))

    def slots(self, drone: Drone) -> int:
        """Return how many packages a drone may hold."""
        return slots(drone, self.settings, self.cores_limit(drone))

    def failures_allowed(self, drone: Drone) -> int:
        """Return after how many failures in a row a drone is grounded."""
        return self.max_failures(drone) or self.settings.queue_drone_failures

    # ------------------------------------------------------------ packages and drones

    def give(self, drone: Drone, package: Package, at: Moment) -> None:
        """Delegate a package."""
        package.drone_id = drone.drone_id
        package.delegated_unix_us, package.delegated_us = at.unix_us, at.us
        package.building_since_unix_us = package.building_since_us = None
        package.lost_by = ""
        drone.assigned.append(package)
        drone.told_stale = ("", "")
        drone.taken.pop(package.atom, None)
        if package.atom in drone.revoke:
            drone.revoke.remove(package.atom)
        drone.busy_us = at.us
        self.book.move(package, DELEGATED)
        self.fleet.changed(drone)

    def take_off(self, package: Package) -> Drone | None:
        """End a delegation; the caller moves the package on. Return who held it."""
        drone = self.fleet.by_id.get(package.drone_id or "")
        if drone is not None and package in drone.assigned:
            drone.assigned.remove(package)
            self.fleet.changed(drone)
        package.drone_id = package.delegated_unix_us = None
        package.building_since_unix_us = package.building_since_us = None
        return drone

    def free(self, package: Package, *, reason: str = "", avoid: str = "") -> Drone | None:
        """Take a package from its drone, to be given out again; return who held it.

        :param reason: told to the drone, together with that it must stop; empty: nothing is told.
        """
        drone = self.take_off(package)
        if drone is not None and reason:
            take_from(drone, package.atom, reason)
        self.book.move(package, BLOCKED if package.is_swept else NEEDED, avoid=avoid)
        return drone

    def free_all(self, drone: Drone, *, reason: str, avoid: bool = False, is_lost: bool = False) -> list[Package]:
        """Take everything from a drone; return it.

        :param is_lost: nobody said so: should the drone still be building one of them, it gets it back.
        """
        freed = list(drone.assigned)
        for package in freed:
            self.free(package, reason="" if is_lost else reason, avoid=drone.drone_id if avoid else "")
            if is_lost:
                package.lost_by = drone.drone_id
        return freed

    def failed(self, package: Package, drone: Drone, outcome: str, at: Moment) -> None:
        """Move a package on that has just failed: to be tried again, blocked, or failed for good."""
        why = blocking(package, outcome, self.settings)
        if not why and package.is_swept:
            why = "Failed on a sweeper"
        if not why:
            self.book.move(package, NEEDED, avoid=drone.drone_id)
            return
        self.block(package, f"{why}: {package.error}" if package.error else why, at, avoid=drone.drone_id)
        if len(package.failed_drones) >= self.settings.queue_package_drones:
            self._absolve_drones(package)

    def block(self, package: Package, error: str, at: Moment, *, avoid: str = "") -> None:
        """Block a package, or let it fail for good; nobody waits for it any more."""
        state = blocked_state(package, self.settings)
        package.error = error
        package.blocked_unix_us, package.blocked_us = at.unix_us, at.us
        if state is FAILED:
            package.completed_unix_us = at.unix_us
        freed = self.book.move(package, state, avoid=avoid)
        name = atoms.spoken(package.atom)
        released = [each.atom for each in freed]
        waited = f"; {len(freed)} that waited for it are built without" if freed else ""
        said = "has failed for good" if state is FAILED else "is blocked"
        self.note(
            "blocked",
            f"{name} {said}: {error}{waited}",
            package=package.atom,
            reason=error,
            failures=package.failures,
            state=state.value,
            released=released[:SOME],
        )

    def renew(self, package: Package, *, forget_drones: bool = False) -> None:
        """Let a package be needed as if it had never failed.

        :param forget_drones: also which drones should rather not get it.
        """
        package.failures, package.failed_drones, package.error, package.is_absolved = 0, (), "", False
        package.blocked_unix_us = package.completed_unix_us = None
        if forget_drones:
            self.book.avoid_nobody(package)
        if package.state is not NEEDED:
            self.book.move(package, NEEDED)
        else:
            self.book.save(package)

    # ------------------------------------------------------------ who is to blame

    def _absolve_drones(self, package: Package) -> None:
        """A package that fails on several drones is to blame itself: its failures no longer count against them."""
        for drone_id in package.failed_drones:
            drone = self.fleet.by_id.get(drone_id)
            if drone is None or package.package_id not in drone.streak:
                continue
            others = [number for number in drone.streak if number != package.package_id]
            drone.failures_in_row = max(0, drone.failures_in_row - (len(drone.streak) - len(others)))
            drone.streak = others
            self.fleet.save_counters(drone)

    def ground(self, drone: Drone, at: Moment) -> None:
        """Give a drone no work for a while; what it holds is free.

        Where it failed one package after the other, it is to blame, and not the packages.
        """
        minutes = self.settings.queue_grounded_minutes
        failures = drone.failures_in_row
        drone.grounded_until_us = at.us + int(minutes * MINUTE_US)
        drone.grounded_until_unix_us = at.unix_us + int(minutes * MINUTE_US)
        drone.groundings += 1
        if len(set(drone.streak)) > 1:
            for number in set(drone.streak):
                self._absolve_package(number, drone)
        freed = self.free_all(drone, reason="this drone is grounded")
        self.fleet.save_counters(drone)
        self.note(
            "grounded",
            f"{drone.name} grounded for {minutes:g} minutes after {failures} failures in a row",
            drone=drone.name,
            drone_id=drone.drone_id,
            failures=failures,
            reclaimed=[package.atom for package in freed][:SOME],
        )
        self.told.grounded.append(drone)

    def _absolve_package(self, package_id: int, drone: Drone) -> None:
        package = self.book.packages.get(package_id)
        if package is None or drone.drone_id not in package.failed_drones or package.is_absolved:
            return
        package.is_absolved = True
        package.failures = max(0, package.failures - drone.streak.count(package_id))
        package.failed_drones = tuple(each for each in package.failed_drones if each != drone.drone_id)
        is_wronged = package.state is BLOCKED and not blocking(package, "", self.settings)
        if is_wronged:
            package.blocked_unix_us = None
            self.book.move(package, NEEDED)
        else:
            self.book.save(package)

    def end_grounding(self, drone: Drone, at: Moment) -> bool:
        """Let a grounded drone begin anew when its time is over; return whether it does."""
        if not drone.grounded_until_us or is_grounded(drone, at.us):
            return False
        self.unground(drone)
        return True

    def unground(self, drone: Drone) -> None:
        """Forget a drone's failures."""
        drone.grounded_until_us, drone.grounded_until_unix_us = 0, None
        drone.failures_in_row, drone.streak = 0, []
        self.fleet.save_counters(drone)

    # ------------------------------------------------------------ sessions

    def close_session(self, at: Moment) -> None:
        """Complete the active session when nothing of it is left to build."""
        session = self.book.active
        if session is None or session.needed or session.delegated:
            return
        session.status, session.completed_unix_us = SessionStatus.COMPLETED, at.unix_us
        self.book.active = None
        self.book.save_session(session)
        self.note(
            "session",
            f"{session.name} is complete: {session.completed} of {session.total} built, {session.failed} failed",
            session_id=session.session_id,
            total=session.total,
            completed=session.completed,
            failed=session.failed,
        )
        self.told.completed.append(session)
