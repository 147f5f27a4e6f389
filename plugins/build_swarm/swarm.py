"""The swarm: drones, packages and sessions, decided in memory and durable before anything is acknowledged."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import trio
from attrs import define, field

from appliance.plugin import Core

from .chronicle import Chronicle
from .queue_settings import QueueSettings
from .states import (
    Build,
    BuildStatistics,
    Completed,
    Controlled,
    Drone,
    DroneType,
    Figures,
    Heartbeat,
    Package,
    PackageState,
    Progress,
    Queued,
    QueueRequest,
    Registered,
    Report,
    Session,
    Timing,
    Work,
)


class Tree(Protocol):
    """A Portage tree, as the queue uses it: `prepare` reads files in a thread, the others only what it found."""

    async def prepare(self, atoms: Sequence[str], queued: Collection[str]) -> None:
        """Look up what is to be queued, in bounded time; to be awaited before the other two are asked.

        :param queued: normalised atoms that are still to be built already: what ``atoms`` may wait for besides
            each other.
        """
        ...

    def expand(self, atom: str) -> str:
        """Return the atom with the version that would be built; as it is when it has one or nothing is known."""
        ...

    def needs(self, atom: str) -> Collection[str]:
        """Return the atoms that must be there before this one (expanded) is built.

        They are among those that `prepare` was told of, and never make a circle.
        """
        ...


@define(eq=False)
class Swarm:
    """One for each running appliance; also the service that watches leases, silence and sessions.

    Reads are immediate, from memory. Whatever changes the queue returns when it is on disk; when it cannot be stored
    it raises `StorageFailed`, and memory is again what the disk is.
    """

    core: Core
    settings: QueueSettings = field(factory=QueueSettings)
    """The plugin's own settings; all of them have these."""
    clock: Callable[[], int] | None = None
    """Microseconds of a clock that never jumps; ``None``: trio's, with core's wall clock as it is now."""
    name: str = "swarm"
    chronicle: Chronicle = field(init=False)
    tree: Tree | None = None
    """Set where a Portage tree is at hand: expands atoms without version, and tells what they wait for."""
    binary_check: Callable[[Package, Drone], str | None] | None = None
    """Asked for every success: why its binary is not there, ``None`` if all is well."""
    cores_limit: Callable[[Drone], int | None] | None = None
    """Asked for how many cores of a drone may be used; ``None``: all."""
    on_session_completed: list[Callable[[Session], None]] = field(factory=list, init=False)
    on_grounded: list[Callable[[Drone], None]] = field(factory=list, init=False)
    """Called when a drone has been grounded; must not block or raise."""

    # ------------------------------------------------------------ what drones say

    async def register(self, beat: Heartbeat) -> Registered:
        """Take a heartbeat, of a known drone or a new one.

        A known name with a new id is a machine that was installed again: it takes the name, and what was set for it,
        over; what the old one held is free.

        :raises TooLarge: no further drone can be known.
        """
        raise NotImplementedError

    async def work(self, drone: str) -> Work:
        """Give a drone (by id or name) something to build: what it holds already, else what it can build.

        A drone that is not known gets nothing, and leaves no trace.
        """
        raise NotImplementedError

    async def complete(self, report: Report) -> Completed:
        """Take a report: it counts when the package is delegated to exactly this drone, and then once."""
        raise NotImplementedError

    # ------------------------------------------------------------ what operators do

    async def queue(self, request: QueueRequest) -> Queued:
        """Queue packages, in the active session or a new one.

        :raises BadInput: an atom is none, or no atom is given.
        :raises Conflict: another session than the one that is named is active.
        :raises TooLarge: the queue is full; nothing of the request is queued.
        """
        raise NotImplementedError

    async def control(self, action: str, *, package: str = "", drone: str = "", by: str = "") -> Controlled:
        """Do one of `CONTROLS`.

        :raises BadInput: no such action, or it needs a package.
        :raises NotFound: there is no such package or drone.
        """
        raise NotImplementedError

    async def pause_drone(self, drone: str, paused: bool, *, by: str = "") -> Drone:
        """Give a drone (by id or name) no further work, or give it work again. :raises NotFound: no such drone."""
        raise NotImplementedError

    async def delete_drone(self, drone: str, *, by: str = "") -> Drone:
        """Forget a drone; what it holds is free, its history stays. :raises NotFound: no such drone."""
        raise NotImplementedError

    async def set_drone_type(self, drone: str, drone_type: DroneType, *, by: str = "") -> Drone:
        """Set what kind of machine a drone is. :raises NotFound: no such drone."""
        raise NotImplementedError

    # ------------------------------------------------------------ reading

    @property
    def revision(self) -> int:
        """Rises with every visible change of anything."""
        raise NotImplementedError

    @property
    def is_paused(self) -> bool:
        """Whether nobody is given work."""
        raise NotImplementedError

    @property
    def expected_timestamp(self) -> str:
        """The Portage tree that drones must have; empty: any."""
        raise NotImplementedError

    def drone(self, name_or_id: str) -> Drone:
        """Return a drone. :raises NotFound: there is none."""
        raise NotImplementedError

    def find_drone(self, name_or_id: str) -> Drone | None:
        """Return a drone, or ``None``."""
        raise NotImplementedError

    def drones(self, *, offline: bool = True) -> list[Drone]:
        """Return the drones by name, those that are offline only when asked for."""
        raise NotImplementedError

    def package(self, package_id: int) -> Package | None:
        """Return a package of the queue."""
        raise NotImplementedError

    def packages(self, *, states: Collection[PackageState] | None = None, session: str | None = None) -> list[Package]:
        """Return packages: delegated, needed, blocked, failed, received, each in the order of queueing.

        In memory are all that are not final, and all of the active session, or of the last one when none is.

        :param session: an id; ``None``: of the active session when there is one, else all.
        """
        raise NotImplementedError

    def sessions(self, limit: int = 50) -> list[Session]:
        """Return the newest sessions, newest first."""
        raise NotImplementedError

    def session(self, session_id: str) -> Session:
        """Return a session. :raises NotFound: there is none."""
        raise NotImplementedError

    def active_session(self) -> Session | None:
        """Return the one session that is being built."""
        raise NotImplementedError

    def status(self) -> Figures:
        """Return the swarm at a glance."""
        raise NotImplementedError

    def progress(self, package: Package) -> Progress | None:
        """Return how far a package is; ``None`` when nobody holds it."""
        raise NotImplementedError

    def eta_s(self, session: Session) -> float | None:
        """Return after how many seconds a session is likely done; ``None``: nothing tells."""
        raise NotImplementedError

    def timing(self, session_id: str | None = None) -> Timing:
        """Return the builds of the active session (by its id), or of all history, in figures."""
        raise NotImplementedError

    def build_statistics(self) -> BuildStatistics:
        """Return all of history in figures."""
        raise NotImplementedError

    def why(self, package: Package) -> str:
        """Return, in a sentence, why a package is not being built; empty when it is, or has ended well."""
        raise NotImplementedError

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
        raise NotImplementedError

    # ------------------------------------------------------------ the service

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch leases, silence, sessions and blocked packages; write behind what drones say of themselves."""
        raise NotImplementedError

    async def tick(self) -> None:
        """Do what time has made due: offline drones, lost work, blocked packages, sessions, old events."""
        raise NotImplementedError
