"""What time alone makes due: silent drones, leases, idle drones, blocked packages."""

from typing import Final

from . import atoms
from .desk import Desk
from .handing import is_being_built, lose
from .rules import Moment, is_idle, is_lost, is_silent, is_unblocked
from .states import Drone, Package

RECEIVED_MAX: Final = 50_000
"""Received packages in memory, where listings find them; older ones are counted by their session, and in history."""


def pass_time(desk: Desk, at: Moment) -> None:
    """Do what is due."""
    for drone in list(desk.fleet.by_id.values()):
        desk.end_grounding(drone, at)
        if drone.is_online and is_silent(drone, at.us, desk.settings):
            lose(desk, drone)
        elif drone.assigned:
            _look_after(desk, drone, at)
    for package in list(desk.book.blocked.values()):
        if is_unblocked(package, at.us, desk.settings):
            _bring_back(desk, package)
    desk.close_session(at)
    desk.book.let_go(RECEIVED_MAX)


def _look_after(desk: Desk, drone: Drone, at: Moment) -> None:
    if is_idle(drone, at.us, desk.settings):
        minutes = desk.settings.queue_idle_minutes
        freed = desk.free_all(drone, reason=f"nothing of it was built for {minutes:g} minutes", avoid=True)
        for package in freed:
            package.lost_by = drone.drone_id  # perhaps it does not say what it builds
        _note_reclaimed(desk, drone, freed, f"{drone.name} has built nothing for {minutes:g} minutes")
        return
    lost = [package for package in drone.assigned if is_lost(package, drone, at.us, desk.settings)]
    for package in lost:
        desk.free(package, reason="its lease ran out")
        package.lost_by = drone.drone_id
    if lost:
        _note_reclaimed(desk, drone, lost, f"{drone.name} was not heard of in time")
    too_many = [each for each in drone.assigned[desk.slots(drone) :] if not is_being_built(each, drone)]
    for package in too_many:
        desk.free(package, reason="more than this drone may hold")
    if too_many:
        _note_reclaimed(desk, drone, too_many, f"{drone.name} holds more than it may")


def _note_reclaimed(desk: Desk, drone: Drone, packages: list[Package], why: str) -> None:
    names = ", ".join(atoms.spoken(package.atom) for package in packages)
    desk.note(
        "reclaim",
        f"{why}: {names} can be given to others",
        drone=drone.name,
        drone_id=drone.drone_id,
        packages=[package.atom for package in packages],
    )


def _bring_back(desk: Desk, package: Package) -> None:
    package.returns += 1
    desk.renew(package)
    message = f"{atoms.spoken(package.atom)} is tried again after {desk.settings.queue_blocked_minutes:g} minutes"
    desk.note("unblock", message, package=package.atom, returns=package.returns)
