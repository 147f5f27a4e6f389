"""What drones say: heartbeats and reports, and what follows from them."""

import math
from typing import Any

from appliance.plugin import Conflict

from . import atoms
from .book import DELEGATED, NEEDED, RECEIVED
from .desk import Desk
from .fleet import describe
from .handing import standstill, tree_wanted
from .rules import Moment, blames_drone
from .states import Build, Drone, Heartbeat, Outcome, Package, Report, StopWork

ERROR_MAX_CHARS = 4_000
DURATION_MAX_S = 1e9


# ------------------------------------------------------------------ heartbeats


def introduce(desk: Desk, beat: Heartbeat, at: Moment) -> Drone:
    """Take a new drone in; with a name that is known it is a machine that was installed again."""
    before = desk.fleet.by_name.get(beat.name)
    if before is not None and not _takes_over(desk, beat, before):
        before = None
    namesake = desk.fleet.by_name.get(beat.drone_id)
    if namesake is not None and namesake is not before:
        raise Conflict("id: another drone has it as its name", hint="give each drone an id of its own")
    if before is not None:
        desk.free_all(before, reason="the drone was installed again")
        desk.fleet.delete(before)
        desk.fleet.replaced[before.drone_id] = before.name
        while len(desk.fleet.replaced) > desk.fleet.most:
            del desk.fleet.replaced[next(iter(desk.fleet.replaced))]
    drone = desk.fleet.add(beat, at, before)
    describe(drone, beat)
    drone.last_seen_unix_us = at.unix_us
    again = " with a new id" if before is not None else ""
    desk.note("register", f"{drone.name} came online{again}", drone=drone.name, drone_id=drone.drone_id)
    return drone


def _takes_over(desk: Desk, beat: Heartbeat, before: Drone) -> bool:
    """Whether a drone with a new id gets the name that another has."""
    if beat.is_proven or before.is_proven:
        return beat.is_proven
    # Two machines that have the same name must not take it from each other for ever.
    return desk.fleet.replaced.get(beat.drone_id) != beat.name


def hear(desk: Desk, drone: Drone, at: Moment) -> bool:
    """Note that a known drone is alive; return whether that changed more than when it was heard of."""
    if not desk.fleet.hear(drone, at):
        return False
    desk.fleet.save(drone)
    desk.note("register", f"{drone.name} came back online", drone=drone.name, drone_id=drone.drone_id)
    return True


def held(drone: Drone, text: str) -> Package | None:
    """Return the package that a drone holds and means; both forms of an atom are good."""
    for package in drone.assigned:
        if package.atom == text:
            return package
    if drone.assigned:
        atom = atoms.recognised(text)
        for package in drone.assigned:
            if package.atom == atom:
                return package
    return None


def follow_task(desk: Desk, drone: Drone, at: Moment) -> tuple[StopWork | None, bool]:
    """Take note of what a drone builds; return what it should stop, and whether the queue has changed."""
    if not drone.current_task:
        return None, False
    package = held(drone, drone.current_task)
    if package is not None:
        drone.busy_us = at.us
        if package.building_since_us is None:
            package.building_since_us, package.building_since_unix_us = at.us, at.unix_us
            desk.book.save(package)
        return None, False
    atom = atoms.recognised(drone.current_task)
    newest = desk.book.newest.get(atom)
    if newest is not None and _gets_back(desk, drone, newest, at):
        desk.give(drone, newest, at)
        newest.building_since_us, newest.building_since_unix_us = at.us, at.unix_us
        message = f"{atoms.spoken(atom)} stays with {drone.name}, which is building it still"
        desk.note("assign", message, drone=drone.name, drone_id=drone.drone_id, package=atom)
        return None, True
    stop = _stop(desk, drone, atom, newest)
    if stop is None:
        drone.busy_us = at.us  # something that its package needs
    return stop, False


def _gets_back(desk: Desk, drone: Drone, package: Package, at: Moment) -> bool:
    """Whether a drone builds what was taken from it only because it was silent, and nobody else has it yet."""
    return (
        package.state is NEEDED
        and package.lost_by == drone.drone_id
        and not standstill(desk, drone, at)
        and not tree_wanted(desk, drone)
    )


def _stop(desk: Desk, drone: Drone, atom: str, newest: Package | None) -> StopWork | None:
    """Return what a drone builds for nothing.

    What another drone holds can also be something that its own package needs: then it goes on.
    """
    reason = drone.taken.get(atom)
    if reason is None and (newest is None or drone.assigned):
        return None
    if reason is None and newest is not None and newest.state is RECEIVED and newest.drone_id == drone.drone_id:
        return None  # built and reported by this drone, while its heartbeat was on the way
    holder = None
    if newest is not None and newest.state is DELEGATED:
        holder = desk.fleet.name_of(newest.drone_id)
    return StopWork(package=atom, reason=reason or _why_not_yours(desk, newest), reassigned_to=holder)


def _why_not_yours(desk: Desk, package: Package | None) -> str:
    if package is None:
        return "not in the queue"
    if package.state is DELEGATED:
        return f"reassigned to {desk.fleet.name_of(package.drone_id)}"
    if package.state is RECEIVED:
        return "already received"
    return "work was reclaimed" if package.state is NEEDED else f"the package is {package.state.value}"


# ------------------------------------------------------------------ reports


def why_stale(desk: Desk, drone: Drone | None, text: str) -> tuple[str, str | None]:
    """Return why a report does not count, and who has the package now."""
    atom = atoms.recognised(text)
    newest = desk.book.newest.get(atom)
    holder = None
    if newest is not None and newest.state is DELEGATED:
        holder = desk.fleet.name_of(newest.drone_id)
    if drone is None:
        return "unknown drone", holder
    return (drone.taken.get(atom, "") if holder is None else "") or _why_not_yours(desk, newest), holder


def finished_late(desk: Desk, drone: Drone, text: str, at: Moment) -> Package | None:
    """Give back what a drone has built while it was taken for lost, where nobody else has it: it is not built twice."""
    newest = desk.book.newest.get(atoms.recognised(text))
    if newest is None or newest.state is not NEEDED or newest.lost_by != drone.drone_id:
        return None
    desk.give(drone, newest, at)
    return newest


def take_report(desk: Desk, drone: Drone, package: Package, report: Report, at: Moment) -> None:
    """Let a report count: the package is this drone's."""
    duration_s = float(report.duration_s) if math.isfinite(report.duration_s) else 0.0
    duration_s = min(max(0.0, duration_s), DURATION_MAX_S)
    error = report.error[:ERROR_MAX_CHARS]
    build = Build(
        build_id=0,
        atom=package.atom,
        package_id=package.package_id,
        session_id=package.session_id,
        drone_id=drone.drone_id,
        drone_name=drone.name,
        outcome=report.outcome,
        duration_s=duration_s,
        error=error,
        built_unix_us=at.unix_us,
    )
    desk.told.builds.append(build)
    drone.taken.pop(package.atom, None)
    drone.busy_us = at.us
    if build.is_success:
        _succeed(desk, drone, package, build, at)
    elif report.outcome == Outcome.RETURNED:
        desk.free(package, avoid=drone.drone_id)
        message = f"{drone.name} gave {atoms.spoken(package.atom)} back"
        desk.note(
            "return", message, drone=drone.name, drone_id=drone.drone_id, package=package.atom, error=error or None
        )
    else:
        _fail(desk, drone, package, build, at)
    desk.close_session(at)


def _succeed(desk: Desk, drone: Drone, package: Package, build: Build, at: Moment) -> None:
    drone.assigned.remove(package)
    package.completed_unix_us = at.unix_us
    package.error = ""
    desk.book.move(package, RECEIVED)
    drone.builds_completed += 1
    drone.failures_in_row = drone.groundings = drone.upload_failures = 0
    drone.streak = []
    desk.fleet.save_counters(drone)
    message = f"{drone.name} completed {atoms.spoken(package.atom)} in {spoken_duration(build.duration_s)}"
    desk.told.notes.append(("complete", message, drone.name, _details(drone, build)))


def _fail(desk: Desk, drone: Drone, package: Package, build: Build, at: Moment) -> None:
    desk.take_off(package)
    drone.builds_failed += 1
    package.failures += 1
    package.error = build.error or build.outcome
    if blames_drone(build.outcome):
        if drone.drone_id not in package.failed_drones:
            package.failed_drones += (drone.drone_id,)
        drone.failures_in_row += 1
        drone.streak.append(package.package_id)
        del drone.streak[: -desk.failures_allowed(drone)]
    elif build.outcome == Outcome.UPLOAD_FAILED:
        drone.upload_failures += 1
        drone.upload_failed_us = at.us
    desk.fleet.save_counters(drone)
    message = f"{drone.name} failed {atoms.spoken(package.atom)} ({build.outcome})"
    details = {"status": build.outcome, "error": build.error, "failures": package.failures}
    desk.told.notes.append(("fail", message, drone.name, _details(drone, build) | details))
    desk.failed(package, drone, build.outcome, at)
    if drone.failures_in_row >= desk.failures_allowed(drone):
        desk.ground(drone, at)


def _details(drone: Drone, build: Build) -> dict[str, Any]:
    """Both what the document lists and what the older server sends."""
    duration_s = int(build.duration_s) if build.duration_s.is_integer() else round(build.duration_s, 3)
    return {
        "drone_id": drone.drone_id,
        "package": build.atom,
        "duration_s": duration_s,
        "drone": drone.name,
        "duration": duration_s,
    }


def spoken_duration(seconds: float) -> str:
    """Return a duration as people read it: ``5m 23s``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    return f"{whole // 3600}h {whole % 3600 // 60}m"
