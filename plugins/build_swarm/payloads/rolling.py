"""A payload to many drones, one after the other.

- A drone that cannot be entered at all (no longer approved, taken by another deploy, not reachable) fails alone: that
  says nothing about the payload, and the roll goes on.
- A payload that fails on a drone, or after which the drone does not come back, is a failure of the roll. With
  ``rollback_on_fail`` the drone gets back what it had, so do all drones done before in this roll, and the rest is not
  touched. Without it, the roll goes on with the next drone, and what is there stays.
- Each named drone has a result in the end, those not reached too.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import trio
from attrs import define, field, frozen

from appliance.plugin import ApplianceError

from ..states import Drone
from .deploying import Deployer, DeployFailed, Installed
from .destinations import destination
from .health import HealthCheck
from .models import By, PayloadVersion

NOT_REACHED: Final = "not reached: the roll ended at {}"


@frozen(kw_only=True)
class RollResult:
    """How it went with one drone."""

    drone: str
    """Its name."""
    success: bool
    """Whether it has the version now, and works."""
    message: str
    hint: str = ""


@frozen(kw_only=True)
class RollPlan:
    """What a roll is to do."""

    version: PayloadVersion
    drones: tuple[Drone, ...]
    """In the order in which they are done."""
    unknown: tuple[RollResult, ...] = ()
    """Of drones that were named and are not there."""
    health_check: bool = True
    rollback_on_fail: bool = True
    verify: bool = True
    """Whether what is on the drone is compared with what was sent."""
    by: By


@define(eq=False)
class Roll:
    """One roll; made anew for each."""

    deployer: Deployer
    health: HealthCheck
    plan: RollPlan
    current: str = field(default="", init=False)
    """Name of the drone that is at work on; empty before the first and after the last."""
    is_over: bool = field(default=False, init=False)
    revision: int = field(default=0, init=False)
    """Rises with each change; `changed` tells when."""
    _done: list[Installed] = field(factory=list, init=False)
    _results: dict[str, RollResult] = field(factory=dict, init=False)
    _changed: trio.Event = field(factory=trio.Event, init=False)

    @property
    def results(self) -> list[RollResult]:
        """Of the drones that have one by now, in the order of the plan; all of them in the end."""
        known = [self._results[drone.drone_id] for drone in self.plan.drones if drone.drone_id in self._results]
        return [*known, *self.plan.unknown]

    async def changed(self, revision: int) -> None:
        """Return when the roll is beyond a revision, or over."""
        while self.revision <= revision and not self.is_over:
            await self._changed.wait()

    async def run(self) -> list[RollResult]:
        """Do all of it; no failure of ours leaves it, each is a result."""
        try:
            await self._run()
        finally:
            self.current, self.is_over = "", True
            self._tell()
        return self.results

    async def _run(self) -> None:
        with ExitStack() as claims:
            mine = self._claimed(claims)
            failed = await self._go(mine)
            if failed and self.plan.rollback_on_fail:
                await self._roll_back(failed)
            else:
                for installed in self._done:
                    await self.deployer.settle(installed)

    def _claimed(self, claims: ExitStack) -> Sequence[Drone]:
        """Take every drone until the roll is over: what was done first may have to be undone last."""
        mine = []
        for drone in self.plan.drones:
            try:
                self.deployer.approvals.of(drone)
                claims.enter_context(self.deployer.claimed(drone, f"a roll of {self.plan.version.label}"))
            except ApplianceError as error:
                self._result(drone, error.message, hint=error.hint)
            else:
                mine.append(drone)
        return mine

    async def _go(self, drones: Sequence[Drone]) -> str:
        """Deploy; return the name of the drone at which the roll has ended, empty where it has not."""
        ended = ""
        for drone in drones:
            if ended:
                self._result(drone, NOT_REACHED.format(ended))
            elif not await self._one(drone) and self.plan.rollback_on_fail:
                ended = drone.name
        return ended

    async def _one(self, drone: Drone) -> bool:
        """Return whether the roll may go on as far as this drone is concerned."""
        plan = self.plan
        self.current = drone.name
        self._tell()
        try:
            installed = await self.deployer.deploy(drone, plan.version, verify=plan.verify, by=plan.by)
        except ApplianceError as error:
            self._result(drone, error.message, hint=error.hint)
            return not isinstance(error, DeployFailed) or error.is_untouched
        self._done.append(installed)
        why = await self._unhealthy(installed)
        if not why:
            self._result(drone, installed.message, success=True)
            return True
        self._result(drone, why)
        if not plan.rollback_on_fail:
            await self.deployer.journal.unhealthy(drone, installed.row, why)
        return False

    async def _unhealthy(self, installed: Installed) -> str:
        if not self._restarts:
            return ""
        try:
            hands = self.deployer.hands(installed.drone, installed.version.payload_type)
        except ApplianceError as error:
            return error.message
        why = await self.health(hands, installed.drone)
        return f"{installed.message}, but it is not healthy: {why}" if why else ""

    @property
    def _restarts(self) -> bool:
        kind = destination(self.deployer.settings, self.plan.version.payload_type)
        return self.plan.health_check and kind.restart

    async def _roll_back(self, failed: str) -> None:
        for installed in reversed(self._done):
            before = self._results[installed.drone.drone_id]
            why = f"{failed} failed" if before.success else before.message
            words = await self.deployer.undo(installed, why, restart=self._restarts)
            self._result(installed.drone, words)

    def _result(self, drone: Drone, message: str, *, success: bool = False, hint: str = "") -> None:
        self._results[drone.drone_id] = RollResult(drone=drone.name, success=success, message=message, hint=hint)
        self._tell()

    def _tell(self) -> None:
        self.revision += 1
        changed, self._changed = self._changed, trio.Event()
        changed.set()
