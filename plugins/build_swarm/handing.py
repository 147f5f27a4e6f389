"""Giving out work: what a drone gets that asks for it."""

from collections.abc import Iterator

from . import atoms
from .choosing import AGAIN, FRESH, Grade, Shelf
from .desk import Desk
from .rules import Moment, is_silent, refusal, suits, takes_part, timestamp_of
from .states import NO_NEEDS, Drone, DroneKind, DroneStatus, Package


def tree_wanted(desk: Desk, drone: Drone) -> str:
    """Return the Portage tree that a drone must get first, or nothing."""
    expected = desk.book.expected_timestamp
    return expected if expected and timestamp_of(drone) != expected else ""


def standstill(desk: Desk, drone: Drone, at: Moment) -> str:
    """Return why a drone gets nothing, whatever waits; a grounding that is over ends here."""
    if desk.book.paused:
        return "the queue is paused"
    desk.end_grounding(drone, at)
    return refusal(drone, at.us, desk.settings)


def hand_out(desk: Desk, drone: Drone, at: Moment) -> None:
    """Give a drone that holds nothing as much as it may hold; take from others when nothing else waits."""
    if drone.kind is DroneKind.SWEEPER:
        found = desk.book.swept.best(_sweeping(drone))
        if found is not None:
            _give(desk, drone, found[0], at)
        return
    if not _take_waiting(desk, drone, at):
        for other in [each for each in desk.fleet.by_id.values() if each.is_online and each is not drone]:
            if is_silent(other, at.us, desk.settings):
                lose(desk, other)
        if not _take_waiting(desk, drone, at):
            _steal(desk, drone, at)


def _take_waiting(desk: Desk, drone: Drone, at: Moment) -> bool:
    grade = _grading(desk, drone, at)
    for _ in range(desk.slots(drone)):
        found = desk.book.needed.best(grade)
        if found is None or (found[1] == AGAIN and drone.assigned):
            break
        _give(desk, drone, found[0], at)
        if found[1] == AGAIN:
            break  # what it failed before it gets one at a time
    return bool(drone.assigned)


def _give(desk: Desk, drone: Drone, package: Package, at: Moment) -> None:
    desk.give(drone, package, at)
    desk.note(
        "assign",
        f"{atoms.spoken(package.atom)} given to {drone.name}",
        drone=drone.name,
        drone_id=drone.drone_id,
        package=package.atom,
    )


def _sweeping(drone: Drone) -> Grade:
    def grade(shelf: Shelf) -> int | None:
        return FRESH if drone.drone_id not in shelf.avoided and suits(drone, shelf.needs) else None

    return grade


def _grading(desk: Desk, drone: Drone, at: Moment) -> Grade:
    others: list[Drone] | None = None

    def grade(shelf: Shelf) -> int | None:
        nonlocal others
        if shelf.needs is not NO_NEEDS and not suits(drone, shelf.needs):
            return None
        if drone.drone_id not in shelf.avoided:
            return FRESH
        if others is None:
            others = list(_others(desk, drone, at))
        can = any(other.drone_id not in shelf.avoided and suits(other, shelf.needs) for other in others)
        return None if can else AGAIN

    return grade


def _others(desk: Desk, drone: Drone, at: Moment) -> Iterator[Drone]:
    for other in desk.fleet.by_id.values():
        if other is not drone and takes_part(other, at.us, desk.settings, desk.book.expected_timestamp):
            yield other


def _steal(desk: Desk, drone: Drone, at: Moment) -> None:
    """Take one package from the drone that holds most: the newest that it does not build."""
    donors = [
        donor
        for donor in desk.fleet.by_id.values()
        if donor is not drone and donor.is_online and donor.kind is DroneKind.DRONE and len(donor.assigned) > 1
    ]
    donors.sort(key=lambda donor: len(donor.assigned), reverse=True)
    grade = _grading(desk, drone, at)
    for donor in donors:
        for package in reversed(donor.assigned[(len(donor.assigned) + 1) // 2 :]):
            if is_being_built(package, donor) or grade(Shelf(package.needs, package.avoided_drones)) is None:
                continue
            desk.free(package, reason=f"given to {drone.name}")
            desk.give(drone, package, at)
            desk.note(
                "rebalance",
                f"{atoms.spoken(package.atom)} moved from {donor.name} to {drone.name}, which has nothing to do",
                drone=drone.name,
                drone_id=drone.drone_id,
                package=package.atom,
                taken_from=donor.name,
            )
            return


def is_being_built(package: Package, drone: Drone) -> bool:
    """Whether a drone has said that it compiles a package that it holds."""
    return package.is_building or (bool(drone.current_task) and atoms.recognised(drone.current_task) == package.atom)


def lose(desk: Desk, drone: Drone) -> None:
    """Note that a drone is silent: it is offline, and its work free."""
    drone.status = DroneStatus.OFFLINE
    freed = desk.free_all(drone, reason="", is_lost=True)
    desk.fleet.save(drone)
    free = f"; {len(freed)} of its packages are free" if freed else ""
    desk.note(
        "stale",
        f"{drone.name} went offline{free}",
        drone=drone.name,
        drone_id=drone.drone_id,
        reclaimed=[package.atom for package in freed],
    )
