"""Payloads as the swarm has them: versions kept here, what drones have of them, deploys and rolls."""

from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

from attrs import define, field, frozen

from appliance.plugin import ApplianceError, Conflict, Core, NotFound, new_id

from ..states import Drone, DroneKind
from . import store
from .catalogue import Catalogue
from .deploying import Deployer, Installed
from .health import HealthCheck
from .models import By, DronePayload, LogEntry, PayloadVersion, no_version
from .rolling import Roll, RollPlan, RollResult
from .work import Work

ROLLS_MAX: Final = 50
"""Kept in memory, the newest, so that who started one can ask how it went."""
DRONES_MAX: Final = 1000
"""Of one roll."""


class Fleet(Protocol):
    """The drones; `plugins.build_swarm.swarm.Swarm` is the real one."""

    def drone(self, name_or_id: str) -> Drone:
        """Return a drone; raises `NotFound`."""
        ...

    def find_drone(self, name_or_id: str) -> Drone | None:
        """Return a drone, or ``None``."""
        ...

    def drones(self, *, offline: bool = True) -> list[Drone]:
        """Return the drones by name."""
        ...


@frozen(kw_only=True)
class Verified:
    """Whether a drone has what it should have."""

    drone: str
    payload_type: str
    matches: bool
    sha256: str | None
    """Of what is there; ``None`` where nothing could be read."""
    expected: PayloadVersion | DronePayload
    message: str


@frozen(kw_only=True)
class Matrix:
    """What every drone has, beside what is newest."""

    newest: dict[str, PayloadVersion]
    """By type."""
    drones: list[tuple[Drone, list[DronePayload]]]

    def is_current(self, has: DronePayload) -> bool:
        """Whether a drone has the newest version of a type, as far as is known."""
        newest = self.newest.get(has.payload_type)
        return newest is not None and has.is_deployed and has.sha256 == newest.sha256 and has.version == newest.version

    @property
    def outdated_count(self) -> int:
        """Drones that have some payload which is not the newest of its type."""
        return sum(not all(map(self.is_current, rows)) for _, rows in self.drones)


@frozen(kw_only=True)
class RollRequest:
    """A roll to be."""

    payload_type: str
    version: str
    drones: Sequence[str] | None
    """Names or ids; ``None``: every approved drone that does not have the version."""
    health_check: bool = True
    rollback_on_fail: bool = True
    verify: bool = True
    by: By


@define(eq=False, kw_only=True)
class Payloads:
    """One for each running appliance; `work` is its service."""

    core: Core
    fleet: Fleet
    catalogue: Catalogue
    deployer: Deployer
    health: HealthCheck
    work: Work = field(init=False)
    _rolls: dict[str, Roll] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.work = Work(self._prepare)

    # ------------------------------------------------------------ drones

    async def deploy(self, drone_name: str, payload_type: str, version: str, *, verify: bool, by: By) -> Installed:
        """Put a version on one drone; goes on when the caller is cancelled.

        :raises NotFound: there is no such drone or version.
        :raises NotApproved: nobody has approved the drone.
        :raises Conflict: another deploy to it is under way.
        :raises DeployFailed: it is not there.
        """
        wanted = self.catalogue.get(payload_type, version)
        drone = self.fleet.drone(drone_name)
        self.deployer.approvals.of(drone)
        return await self.work.do(partial(self._deploy, drone, wanted, verify, by))

    async def _deploy(self, drone: Drone, wanted: PayloadVersion, verify: bool, by: By) -> Installed:
        with self.deployer.claimed(drone, f"a deploy of {wanted.label}"):
            made = await self.deployer.deploy(drone, wanted, verify=verify, by=by)
            await self.deployer.settle(made)
            return made

    async def roll(self, request: RollRequest) -> list[RollResult]:
        """Put a version on many drones, one after the other, and wait for the end; goes on when cancelled.

        Every drone that was named has a result, unknown ones too. Errors as of `deploy`, of the version alone.

        :raises NotApproved: a drone that was named is not approved; nothing was begun.
        """
        return await self.work.do((await self._planned(request)).run)

    async def start_roll(self, request: RollRequest) -> tuple[str, Roll]:
        """Begin a roll; return its id and itself. Errors as of `roll`."""
        roll = await self._planned(request)
        self.work.start(roll.run)
        roll_id = new_id("roll")
        self._rolls[roll_id] = roll
        over = [name for name, each in self._rolls.items() if each.is_over]
        for old in over[: max(0, len(self._rolls) - ROLLS_MAX)]:
            del self._rolls[old]
        return roll_id, roll

    def find_roll(self, roll_id: str) -> Roll:
        """Return a roll of this run of the appliance; raises `NotFound`."""
        found = self._rolls.get(roll_id)
        if found is None:
            raise NotFound("roll", roll_id[:64], hint="the deploy log has how each deploy went")
        return found

    async def verify(self, payload_type: str, drone_name: str) -> Verified:
        """Compare what a drone has of a type with what it should have: what was deployed last, else the newest.

        :raises NotFound: there is no such drone, or nothing to compare with.
        :raises NotApproved: nobody has approved the drone.
        """
        drone = self.fleet.drone(drone_name)
        hands = self.deployer.hands(drone, payload_type)
        versions = await self.catalogue.of_type(payload_type)
        expected: PayloadVersion | DronePayload | None = await self.deployer.journal.had(drone, payload_type)
        if expected is None:
            if not versions:
                raise no_version(payload_type, payload_type)
            expected = versions[0]
        try:
            found, why = await hands.sha256()
        except Conflict:
            raise
        except ApplianceError as error:
            found, why = None, error.message
        matches = found == expected.sha256
        return Verified(
            drone=drone.name,
            payload_type=payload_type,
            matches=matches,
            sha256=found,
            expected=expected,
            message="Hash matches" if matches else _differs(found, why, versions),
        )

    async def remove(self, payload_type: str, version: str) -> PayloadVersion:
        """Take away a version; raises `NotFound`, and `Conflict` where a drone has it."""
        wanted = self.catalogue.get(payload_type, version)
        await self.catalogue.remove(wanted, {drone.drone_id for drone in self.fleet.drones()})
        return wanted

    # ------------------------------------------------------------ reading

    async def matrix(self) -> Matrix:
        """Return what every drone of the swarm has."""
        newest: dict[str, PayloadVersion] = {}
        for version in await self.catalogue.all():
            newest.setdefault(version.payload_type, version)
        by_drone: dict[str, list[DronePayload]] = {}
        for row in await self.core.database.read(store.drone_payloads):
            by_drone.setdefault(row.drone_id, []).append(row)
        drones = [(drone, by_drone.get(drone.drone_id, [])) for drone in self.fleet.drones()]
        return Matrix(newest=newest, drones=drones)

    async def log(self, payload_type: str, *, drone: str, limit: int) -> list[LogEntry]:
        """Return the deploy log of a type, newest first; ``drone`` is a name or an id, or empty for all."""
        return await self.core.database.read(lambda read: store.log_page(read, payload_type, drone=drone, limit=limit))

    # ------------------------------------------------------------ inner

    async def _prepare(self) -> None:
        await self.deployer.journal.interrupted()
        await self.catalogue.clean()

    async def _planned(self, request: RollRequest) -> Roll:
        version = self.catalogue.get(request.payload_type, request.version)
        unknown: list[RollResult] = []
        if request.drones is None:
            drones = await self._outdated(version)
        else:
            drones, unknown = self._named(request.drones)
        plan = RollPlan(
            version=version,
            drones=tuple(drones),
            unknown=tuple(unknown),
            health_check=request.health_check,
            rollback_on_fail=request.rollback_on_fail,
            verify=request.verify,
            by=request.by,
        )
        return Roll(self.deployer, self.health, plan)

    def _named(self, names: Sequence[str]) -> tuple[list[Drone], list[RollResult]]:
        drones: dict[str, Drone] = {}
        unknown: dict[str, RollResult] = {}
        for name in names:
            found = self.fleet.find_drone(name)
            if found is None:
                unknown[name] = RollResult(
                    drone=name, success=False, message=f"no drone {name!r}", hint="appliance swarm nodes"
                )
            else:
                self.deployer.approvals.of(found)  # who names a drone that may not be entered is told so at once
                drones[found.drone_id] = found
        return list(drones.values()), list(unknown.values())

    async def _outdated(self, version: PayloadVersion) -> list[Drone]:
        """Return every approved drone that does not have a version, those that are online first."""
        matrix = await self.matrix()
        found = [drone for drone, rows in matrix.drones if self._lacks(drone, rows, version)]
        return sorted(found, key=lambda drone: (not drone.is_online, drone.name))

    def _lacks(self, drone: Drone, rows: Sequence[DronePayload], version: PayloadVersion) -> bool:
        if drone.kind is not DroneKind.DRONE:
            return False
        try:
            self.deployer.approvals.of(drone)
        except ApplianceError:
            return False
        return not any(
            row.is_deployed and (row.payload_type, row.sha256) == (version.payload_type, version.sha256)
            for row in rows
            if row.version == version.version
        )


def _differs(found: str | None, why: str, versions: Sequence[PayloadVersion]) -> str:
    if found is None:
        return f"Hash cannot be read: {why}"
    known = next((each for each in versions if each.sha256 == found), None)
    return f"Hash differs: {found}" + (f" is that of v{known.version}" if known else " is that of no version here")
