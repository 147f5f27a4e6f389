"""Probes that clients ask for: of one drone, or of all that are online, at most once in ten seconds.

Anybody may ask for a round, so a round is run by the service, not by the request: however many ask, there is one.
"""

from collections.abc import Sequence
from typing import Final

import structlog
import trio
from attrs import define, field, frozen

from appliance.plugin import ApplianceError, Busy

from .approval import Approvals, NotApproved
from .probing import Probe, Prober
from .states import Drone
from .swarm import Swarm

log = structlog.get_logger(__name__)

ROUND_SECONDS: Final = 10.0
"""From the start of one round to that of the next, at least."""
WAIT_SECONDS: Final = 60.0


@frozen(kw_only=True)
class Round:
    """What a round has found; what is not approved is not probed."""

    probes: Sequence[Probe]
    not_approved: Sequence[str]


@define(eq=False)
class PingRounds:
    """The service. Who asks while a round runs, or shortly after, is given that round."""

    swarm: Swarm
    approvals: Approvals
    prober: Prober
    name: str = "pings"
    rounds: int = field(default=0, init=False)
    """How many were begun."""
    _newest: Round | ApplianceError | None = field(default=None, init=False)
    _begun_at: float = field(default=0.0, init=False)
    _asked: trio.Event = field(factory=trio.Event, init=False)
    _done: trio.Event | None = field(default=None, init=False)
    """Set when the round ends that runs or is asked for; ``None`` when none is."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the rounds that are asked for, until cancelled."""
        task_status.started()
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            self._begun_at = trio.current_time()
            self.rounds += 1
            try:
                self._newest = await self._round()
            except ApplianceError as error:
                self._newest = error
            done, self._done = self._done, None
            if done is not None:
                done.set()

    async def all(self) -> Round:
        """Return a round over all drones that are online: a new one, or that of the last ten seconds.

        :raises NotAvailable: there is no ssh here.
        :raises Busy: the round takes too long.
        """
        if self._newest is None or trio.current_time() - self._begun_at >= ROUND_SECONDS or self._done is not None:
            if self._done is None:
                self._done = trio.Event()
                self._asked.set()
            with trio.move_on_after(WAIT_SECONDS):
                await self._done.wait()
        if isinstance(self._newest, ApplianceError):
            raise self._newest
        if self._newest is None:
            raise Busy("the drones are still being probed", hint="ask again in a moment")
        return self._newest

    async def one(self, drone: Drone) -> Probe:
        """Probe one drone now.

        :raises NotApproved: nobody has approved it; nothing is connected to.
        :raises NotAvailable: there is no ssh here.
        """
        probe = await self.prober.probe(self.approvals.of(drone), cores=drone.cores)
        await self._written()
        return probe

    async def _round(self) -> Round:
        found: dict[str, Probe] = {}
        problems: list[ApplianceError] = []
        not_approved: list[str] = []

        async def probe(drone: Drone) -> None:
            try:
                found[drone.name] = await self.prober.probe(self.approvals.of(drone), cores=drone.cores)
            except NotApproved:
                not_approved.append(drone.name)
            except ApplianceError as error:
                problems.append(error)

        async with trio.open_nursery() as nursery:
            for drone in self.swarm.drones(offline=False):
                nursery.start_soon(probe, drone)
        if problems:
            raise problems[0]
        await self._written()
        return Round(probes=tuple(found[name] for name in sorted(found)), not_approved=tuple(sorted(not_approved)))

    async def _written(self) -> None:
        try:
            await self.prober.write()
        except ApplianceError as error:  # a full disk: what was found is as true, and is written with the next
            log.warning("swarm.probes_not_stored", reason=error.message)
