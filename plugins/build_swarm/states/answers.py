"""What the swarm is asked, and what it answers."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from .things import NO_NEEDS, Drone, Package, PackageNeeds, Session
from .words import DroneKind


@frozen(kw_only=True)
class Heartbeat:
    """What a drone says of itself."""

    drone_id: str
    name: str
    address: str
    """The peer's, not what the drone claims."""
    claimed_ip: str = ""
    tailscale_ip: str = ""
    kind: DroneKind = DroneKind.DRONE
    capabilities: Mapping[str, Any] = field(factory=dict)
    metrics: Mapping[str, Any] = field(factory=dict)
    current_task: str = ""
    version: str = ""
    is_proven: bool = False
    """Whether it came with the drone's own credential, which is bound to its name."""


@frozen(kw_only=True)
class StopWork:
    """What a drone should stop building."""

    package: str
    """The atom, as it is queued."""
    reason: str
    reassigned_to: str | None
    """Name of the drone that has it now."""


@frozen(kw_only=True)
class Registered:
    """Answer to a heartbeat."""

    drone: Drone
    is_new: bool
    revoke: tuple[str, ...] = ()
    stop_work: StopWork | None = None


@frozen(kw_only=True)
class Work:
    """Answer to a request for work."""

    package: Package | None
    revoke: tuple[str, ...] = ()
    sync_timestamp: str | None = None
    """Set: the drone must first bring its Portage tree to this."""
    reason: str = ""
    """Why there is nothing, in plain words."""


@frozen(kw_only=True)
class Report:
    """What a drone says of a package."""

    drone: str
    """Id or name."""
    atom: str
    outcome: str
    """An `Outcome`, or any other word, which counts as failed."""
    duration_s: float = 0.0
    error: str = ""


@frozen(kw_only=True)
class Completed:
    """Answer to a report."""

    accepted: bool
    """Whether the report counted. (The wire's ``accepted`` is true for counted successes only: also ask `outcome`.)"""
    is_stale: bool = False
    """The package is not, or no longer, this drone's: nothing has changed."""
    reason: str = ""
    reassigned_to: str | None = None
    """Name of the drone that has the package now."""
    package: Package | None = None
    outcome: str = ""
    """As it counted: a success without its binary is ``missing_binary``."""


@frozen(kw_only=True)
class QueueRequest:
    """Packages to be built."""

    atoms: tuple[str, ...]
    session_name: str = ""
    session_id: str = ""
    priority: int = 0
    needs: PackageNeeds = NO_NEEDS
    waits_for: Mapping[str, tuple[str, ...]] = field(factory=dict)
    """By atom: what it waits for, besides what the Portage tree says."""
    portage_timestamp: str = ""
    """Set: drones must have this tree before they get work."""
    by: str = ""
    """Who asks, for the event."""


@frozen(kw_only=True)
class Queued:
    """Answer to a request to queue."""

    packages: tuple[Package, ...]
    skipped: tuple[str, ...]
    """Atoms that are waiting or being built already."""
    session: Session | None
    """``None`` only when nothing was queued and no session is active."""


@frozen(kw_only=True)
class Controlled:
    """Answer to a control action."""

    action: str
    """As asked, ``optimize`` included."""
    affected: int
    """How many packages or drones it changed."""
    message: str
    counters: Mapping[str, int] = field(factory=dict)
    """The older server's own counters by name: affected, unblocked, reclaimed, requeued ..."""


@frozen(kw_only=True)
class Progress:
    """How far a package is."""

    package: str
    building_since_unix_us: int | None
    elapsed_s: float
    estimated_s: float | None
    """``None``: nothing like it was ever built."""
    percent: int | None
    """At most 99; ``None`` before it has started, or without an estimate."""


@frozen(kw_only=True)
class Timing:
    """Builds in figures. Packages that were given back are in none of them but ``returned``."""

    total_builds: int = 0
    """Successes and failures."""
    successful: int = 0
    failed: int = 0
    returned: int = 0
    total_duration_s: float = 0.0
    """Of the successes."""

    @property
    def success_rate(self) -> float:
        """Percent of the builds that succeeded; 0 without any."""
        return 100.0 * self.successful / self.total_builds if self.total_builds else 0.0

    @property
    def avg_duration_s(self) -> float:
        """Seconds of a successful build; 0 without any."""
        return self.total_duration_s / self.successful if self.successful else 0.0


@frozen(kw_only=True)
class DroneTiming:
    """Builds of one drone in figures."""

    drone_id: str
    drone_name: str
    timing: Timing


@frozen(kw_only=True)
class BuildStatistics:
    """All of history in figures."""

    timing: Timing
    per_drone: tuple[DroneTiming, ...]
    """Drones that are deleted too, by name."""


@frozen(kw_only=True)
class Figures:
    """The swarm at a glance."""

    drones: int
    drones_online: int
    total_cores: int
    """Of all drones, offline ones too."""
    needed: int
    delegated: int
    received: int
    """Of the active session, else of the last."""
    blocked: int
    failed: int
    """For good; of the active session, else of the last."""
    paused: bool
    session: Session | None
    """The active one."""
    timing: Timing
    """Of the active session, else of all history."""
    eta_s: float | None
    """Seconds until the active session is done, as far as can be told."""

    @property
    def queue_depth(self) -> int:
        """Packages still to be built."""
        return self.needed + self.delegated
