"""What is decided becomes durable here, and is told afterwards; what cannot be stored has not happened."""

from collections.abc import Callable, Sequence
from typing import Any

import structlog
import trio
from attrs import define, field

from appliance.plugin import Busy, Core, SteadyClock, StorageFailed

from . import memory
from .chronicle import Chronicle
from .journal import Journal
from .queue_settings import QueueSettings
from .queue_store import Batch
from .reading import Reading
from .rules import Moment
from .saving import follow, is_saved, take
from .states import Drone, Session

log = structlog.get_logger(__name__)


def _no_limit(drone: Drone) -> int | None:
    return None


@define(eq=False)
class Durable(Reading):
    """The part of `Swarm` between memory and disk."""

    core: Core
    settings: QueueSettings = field(factory=QueueSettings)
    """The plugin's own settings; all of them have these."""
    clock: Callable[[], int] | None = None
    """Microseconds of a clock that never jumps; ``None``: trio's, with core's wall clock as it is now."""
    name: str = "swarm"
    chronicle: Chronicle = field(init=False)
    cores_limit: Callable[[Drone], int | None] = _no_limit
    """Asked for how many cores of a drone may be used; ``None``: all."""
    max_failures: Callable[[Drone], int | None] = _no_limit
    """Asked for after how many failures in a row a drone is grounded; ``None``: as for all."""
    on_session_completed: list[Callable[[Session], None]] = field(factory=list, init=False)
    """Called when a session is complete; must not block."""
    on_grounded: list[Callable[[Drone], None]] = field(factory=list, init=False)
    """Called when a drone has been grounded; must not block."""
    _clock: Callable[[], int] = field(init=False)
    _journal: Journal[Batch] = field(init=False)
    _unsettled: dict[str, object] = field(factory=dict, init=False)
    """By id, drones for which something was decided that may not be on disk yet."""

    def __attrs_post_init__(self) -> None:
        self._clock = self.clock or SteadyClock(self.core.now, trio.current_time)
        database = self.core.database
        self.chronicle = Chronicle(self.core)
        self.desk = database.read_now(lambda connection: memory.load(connection, self.settings, self.moment()))
        self.desk.cores_limit = self._cores_limit
        self.desk.max_failures = self._max_failures
        self._journal = Journal(
            database,
            take=lambda: take(self.desk),
            store=lambda batch: batch.write,
            follow=self._follow,
            restore=self._restore,
            restore_all=self._restore_all,
            is_clean=lambda: is_saved(self.desk),
        )

    def _cores_limit(self, drone: Drone) -> int | None:
        return self.cores_limit(drone)  # which may be set later

    def _max_failures(self, drone: Drone) -> int | None:
        return self.max_failures(drone)

    def moment(self) -> Moment:
        """Return now, by both clocks."""
        return Moment(self._clock(), self.core.now())

    def _follow(self, batch: Batch) -> None:
        told = follow(self.desk, batch)
        for type, message, drone, details in told.notes:
            self.chronicle.note(type, message, drone=drone, details=details)
        for tells, subjects in ((self.on_session_completed, told.completed), (self.on_grounded, told.grounded)):
            self._tell(tells, subjects)

    def _tell(self, tells: Sequence[Callable[[Any], None]], subjects: Sequence[Any]) -> None:
        for tell in tells:
            for subject in subjects:
                try:
                    tell(subject)
                except Exception:  # what is on disk has happened, whatever a listener makes of it
                    log.exception("build_swarm.listener_failed")

    def _restore(self, batch: Batch) -> None:
        at = self.moment()
        self.core.database.read_now(lambda connection: memory.restore(self.desk, connection, batch, at))

    def _restore_all(self) -> None:
        at = self.moment()
        self.core.database.read_now(lambda connection: memory.reload(self.desk, connection, at))

    async def settle(self) -> None:
        """Return when all that was decided until now is on disk. :raises StorageFailed: nothing of it has happened."""
        if not self._journal.is_settled:
            await self._journal.settle()

    async def _settle_of(self, drone: Drone) -> None:
        """Settle what was decided for a drone; until then, whoever asks for it waits as well."""
        mark = self._unsettled[drone.drone_id] = object()
        try:
            await self._journal.settle()
        except (StorageFailed, Busy):
            self._settled(drone, mark)
            raise
        self._settled(drone, mark)

    def _settled(self, drone: Drone, mark: object) -> None:
        # A caller that was cancelled leaves its mark: nobody knows yet whether what it decided is on disk.
        if self._unsettled.get(drone.drone_id) is mark:
            del self._unsettled[drone.drone_id]
