"""The swarm: drones, packages and sessions, decided in memory and durable before anything is acknowledged."""

from collections.abc import Callable, Sequence
from typing import Final

from attrs import define

from appliance.plugin import BadInput, Busy

from . import atoms, queue_store, reporting
from .controls import CONTROLS, Order, control
from .fleet import describe
from .handing import hand_out, standstill, tree_wanted
from .queueing import Tree, enqueue, read_request
from .states import (
    OPEN,
    Build,
    Completed,
    Controlled,
    Drone,
    DroneType,
    Heartbeat,
    Outcome,
    Package,
    PackageState,
    Queued,
    QueueRequest,
    Registered,
    Report,
    Work,
)
from .tending import Tending

TRIES: Final = 8
"""How often a drone is given something else when what it was given was taken away before it was on disk."""
NAME_MAX_CHARS: Final = 128

__all__ = ["CONTROLS", "Swarm", "Tree"]


@define(eq=False)
class Swarm(Tending):
    """One for each running appliance; also the service that watches leases, silence and sessions.

    Reads are immediate, from memory. Whatever changes the queue returns when it is on disk; when it cannot be stored
    it raises `StorageFailed`, and memory is again what the disk is.
    """

    tree: Tree | None = None
    """Set where a Portage tree is at hand: expands atoms without version, and tells what they wait for."""
    binary_check: Callable[[Package, Drone], str | None] | None = None
    """Asked for every success: why its binary is not there, ``None`` if all is well."""

    # ------------------------------------------------------------ what drones say

    async def register(self, beat: Heartbeat) -> Registered:
        """Take a heartbeat, of a known drone or a new one.

        A known name with a new id is a machine that was installed again: it takes the name, and what was set for it,
        over; what the old one held is free. From a drone that has shown its credential only that credential takes it.

        :raises BadInput: it has no id or name, or one that is too long.
        :raises Conflict: its id is the name of another drone.
        :raises TooLarge: no further drone can be known.
        """
        if not (0 < len(beat.drone_id) <= NAME_MAX_CHARS and 0 < len(beat.name) <= NAME_MAX_CHARS):
            raise BadInput(f"a drone has an id and a name of 1 to {NAME_MAX_CHARS} characters")
        at, desk = self.moment(), self.desk
        known = desk.fleet.by_id.get(beat.drone_id)
        if known is None:
            drone, is_changed = reporting.introduce(desk, beat, at), True
        else:
            drone = known
            is_changed = reporting.hear(desk, drone, at)
            if drone.name != beat.name and desk.fleet.is_free(beat.name, drone.drone_id):
                desk.fleet.rename(drone, beat.name)
                is_changed = True
            describe(drone, beat)
        stop, is_given = reporting.follow_task(desk, drone, at)
        if is_changed or is_given:
            await self._settle_of(drone)
        if stop is not None:
            self._note_stale(drone, stop.package, stop.reason, stop.reassigned_to)
        return Registered(drone=drone, is_new=known is None, revoke=_told_once(drone), stop_work=stop)

    async def work(self, drone: str) -> Work:
        """Give a drone (by id or name) something to build: what it holds already, else what it can build.

        A drone that is not known gets nothing, and leaves no trace.
        """
        for _ in range(TRIES):
            desk, at = self.desk, self.moment()
            found = desk.fleet.find(drone)
            if found is None:
                return Work(package=None, reason="unknown drone: it has to register first")
            is_changed = reporting.hear(desk, found, at)
            found.asked_us = at.us
            reason, tree = standstill(desk, found, at), tree_wanted(desk, found)
            if not reason and not tree and not found.assigned:
                hand_out(desk, found, at)
                is_changed = is_changed or bool(found.assigned)
            package = None if reason or tree or not found.assigned else found.assigned[0]
            if is_changed or found.drone_id in self._unsettled:
                await self._settle_of(found)
            if package is None or (package in found.assigned and package.state is PackageState.DELEGATED):
                sync = tree if tree and not reason else None
                nothing = "nothing waits that this drone can build" if package is None else ""
                return Work(package=package, revoke=_told_once(found), sync_timestamp=sync, reason=reason or nothing)
        raise Busy("what was given out was taken away again, several times")

    async def complete(self, report: Report) -> Completed:
        """Take a report: it counts when the package is delegated to exactly this drone, and then once.

        What was taken from it only because nothing was heard, and nobody else has, is delegated to it still.
        """
        desk, at = self.desk, self.moment()
        drone = desk.fleet.find(report.drone)
        package = None if drone is None else reporting.held(drone, report.atom)
        if drone is not None and package is None:
            package = reporting.finished_late(desk, drone, report.atom, at)
        if drone is None or package is None:
            return await self._stale(drone, report)
        reporting.hear(desk, drone, at)
        report = self._checked(report, package, drone)
        reporting.take_report(desk, drone, package, report, at)
        await self._settle_of(drone)
        return Completed(accepted=True, package=package, outcome=report.outcome)

    def _checked(self, report: Report, package: Package, drone: Drone) -> Report:
        """A success without its binary is none."""
        if report.outcome != Outcome.SUCCESS or self.binary_check is None:
            return report
        problem = self.binary_check(package, drone)
        if problem is None:
            return report
        return Report(
            drone=report.drone,
            atom=report.atom,
            outcome=Outcome.MISSING_BINARY,
            duration_s=report.duration_s,
            error=problem,
        )

    async def _stale(self, drone: Drone | None, report: Report) -> Completed:
        await self.settle()  # what makes it stale must not be undone afterwards
        reason, holder = reporting.why_stale(self.desk, drone, report.atom)
        if drone is not None:
            reporting.hear(self.desk, drone, self.moment())
            self._note_stale(drone, report.atom, reason, holder)
        return Completed(accepted=False, is_stale=True, reason=reason, reassigned_to=holder)

    def _note_stale(self, drone: Drone, package: str, reason: str, reassigned_to: str | None) -> None:
        # Said with every answer to the drone, and once to people.
        if drone.told_stale == (package, reason):
            return
        drone.told_stale = (package, reason)
        details = {"drone_id": drone.drone_id, "package": package, "reason": reason, "reassigned_to": reassigned_to}
        self.chronicle.note(
            "stale",
            f"{drone.name} works on {atoms.spoken(package[:255])} for nothing: {reason}",
            drone=drone.name,
            details=details,
        )

    # ------------------------------------------------------------ what operators do

    async def queue(self, request: QueueRequest) -> Queued:
        """Queue packages, in the active session or a new one.

        A package that is blocked is needed again; one that waits or is being built is skipped.

        :raises BadInput: an atom is none, or no atom is given.
        :raises Conflict: another session than the one that is named is active.
        :raises TooLarge: the queue is full; nothing of the request is queued.
        """
        wanted = await read_request(
            request, self.tree, queued=lambda: [package.atom for package in self.packages(states=OPEN)]
        )
        queued = enqueue(self.desk, request, wanted, self.moment())
        await self.settle()
        return queued

    async def control(self, action: str, *, package: str = "", drone: str = "", by: str = "") -> Controlled:
        """Do one of `CONTROLS`.

        :raises BadInput: no such action, or it needs a package.
        :raises NotFound: there is no such package or drone.
        """
        done = control(self.desk, Order(action=action, package=package, drone=drone, at=self.moment()))
        details = {"action": action, "affected": done.affected, "package": package or None, "by": by or None}
        self.desk.told.notes.append(("control", done.message, "", details))
        await self.settle()
        return done

    async def pause_drone(self, drone: str, paused: bool, *, by: str = "") -> Drone:
        """Give a drone (by id or name) no further work, or give it work again. :raises NotFound: no such drone."""
        found = self.drone(drone)
        found.paused = paused
        self.desk.fleet.save(found)
        said = f"{found.name} {'paused' if paused else 'resumed'}"
        self.desk.note("control", said, drone=found.name, drone_id=found.drone_id, paused=paused, by=by)
        await self.settle()
        return found

    async def reset_uploads(self, drone: str, *, by: str = "") -> Drone:
        """Forget a drone's failed uploads, so that it is given work again. :raises NotFound: no such drone."""
        found = self.drone(drone)
        found.upload_failures = 0
        found.upload_failed_us = 0
        self.desk.fleet.save_counters(found)
        said = f"{found.name}: failed uploads forgotten"
        self.desk.note("control", said, drone=found.name, drone_id=found.drone_id, by=by)
        await self.settle()
        return found

    async def delete_drone(self, drone: str, *, by: str = "") -> Drone:
        """Forget a drone; what it holds is free, its history stays. :raises NotFound: no such drone."""
        found = self.drone(drone)
        freed = self.desk.free_all(found, reason="the drone was deleted")
        self.desk.fleet.delete(found)
        told = [package.atom for package in freed]
        said = f"{found.name} deleted"
        self.desk.note("control", said, drone=found.name, drone_id=found.drone_id, reclaimed=told, by=by)
        await self.settle()
        return found

    async def set_drone_type(self, drone: str, drone_type: DroneType, *, by: str = "") -> Drone:
        """Set what kind of machine a drone is. :raises NotFound: no such drone."""
        found = self.drone(drone)
        found.drone_type = drone_type
        self.desk.fleet.save(found)
        said = f"{found.name} is {drone_type.value}"
        self.desk.note("control", said, drone=found.name, drone_id=found.drone_id, drone_type=drone_type.value, by=by)
        await self.settle()
        return found

    async def builds(
        self,
        *,
        limit: int = 100,
        status: str = "",
        drone: str = "",
        session: str = "",
        package: str = "",
        before: int = 0,
    ) -> Sequence[Build]:
        """Return history, newest first.

        :param status: an outcome.
        :param drone: id or name.
        :param before: only builds with a smaller id; 0: all.
        """
        known = self.find_drone(drone) if drone else None
        return await self.core.database.read(
            lambda connection: queue_store.builds(
                connection,
                limit=max(0, min(limit, 2**31)),
                status=status,
                drone_ids={drone} if known is None else {drone, known.drone_id},
                drone_name=drone,
                session_id=session,
                atom=package and atoms.recognised(package),
                before=max(0, min(before, 2**63 - 1)),
            )
        )


def _told_once(drone: Drone) -> tuple[str, ...]:
    """Return what was taken from a drone since its last answer, and forget that it is to be told."""
    if not drone.revoke:
        return ()
    told, drone.revoke = tuple(drone.revoke), []
    return told
