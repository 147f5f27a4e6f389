"""Drones, packages, sessions, builds and events, as memory keeps them."""

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field, frozen

from .words import DroneKind, DroneStatus, DroneType, Outcome, PackageState, SessionStatus


@frozen(kw_only=True)
class PackageNeeds:
    """What a drone must have to build a package."""

    cores: int = 0
    memory_mib: int = 0
    capabilities: frozenset[str] = frozenset()
    """Names of capabilities that must be there and true, or ``name=value`` where the value must be equal as text."""


NO_NEEDS: Final = PackageNeeds()


@define(eq=False, kw_only=True)
class Package:
    """One atom to be built once. Changed by `Swarm` alone."""

    package_id: int
    """Rises in the order of queueing."""
    atom: str
    """Normalised, see `atoms.normalised`."""
    key: str
    """Category and name alone, see `atoms.key`."""
    session_id: str
    state: PackageState = PackageState.NEEDED
    priority: int = 0
    """Higher first."""
    needs: PackageNeeds = NO_NEEDS
    waits_for: tuple[str, ...] = ()
    """Atoms (or names without version) that it waits for as long as one of them is still to be built."""
    drone_id: str | None = None
    """Who holds it, while delegated; who built it, once received."""
    delegated_unix_us: int | None = None
    building_since_unix_us: int | None = None
    failures: int = 0
    failed_drones: tuple[str, ...] = ()
    """Ids of the drones whose failures count against it."""
    avoided_drones: frozenset[str] = frozenset()
    """Ids of the drones that failed or returned it: they get it only when no other can."""
    returns: int = 0
    """How often it came back by itself after it had been blocked."""
    is_absolved: bool = False
    """Failures were taken back because a drone was to blame; that happens once."""
    error: str = ""
    queued_unix_us: int = 0
    blocked_unix_us: int | None = None
    completed_unix_us: int | None = None
    delegated_us: int = 0
    building_since_us: int | None = None
    blocked_us: int = 0
    lost_by: str = ""
    """From whom it was taken because nothing was heard of it: who still builds it, or has built it, gets it back while
    nobody else has it. Forgotten by a restart."""
    waiting: int = 0
    """How many of ``waits_for`` are still to be built."""

    @property
    def is_swept(self) -> bool:
        """Whether it was blocked when it was given to its drone, a sweeper, and is again when that gives it back."""
        return self.state is PackageState.DELEGATED and self.blocked_unix_us is not None

    @property
    def is_building(self) -> bool:
        """Whether its drone has said that it is compiling it."""
        return self.state is PackageState.DELEGATED and self.building_since_us is not None


@define(eq=False, kw_only=True)
class Drone:
    """One building machine. Changed by `Swarm` alone."""

    drone_id: str
    name: str
    address: str = ""
    """Where its requests come from."""
    claimed_ip: str = ""
    """What it says its address is; shown, never used."""
    tailscale_ip: str = ""
    kind: DroneKind = DroneKind.DRONE
    drone_type: DroneType = DroneType.UNKNOWN
    capabilities: Mapping[str, Any] = field(factory=dict)
    """As sent."""
    metrics: Mapping[str, Any] = field(factory=dict)
    """As sent last."""
    current_task: str = ""
    """What it says it is building; an atom as sent, or empty."""
    version: str = ""
    status: DroneStatus = DroneStatus.ONLINE
    paused: bool = False
    last_seen_unix_us: int = 0
    created_unix_us: int = 0
    cores: int = 0
    """Of its capabilities; 0: not said."""
    ram_gb: float = 0.0
    """Of its capabilities; 0: not said."""
    failures_in_row: int = 0
    grounded_until_us: int = 0
    """No work until then."""
    grounded_until_unix_us: int | None = None
    groundings: int = 0
    """How often in a row it was grounded; a success ends the row."""
    upload_failures: int = 0
    """Since its last success."""
    upload_failed_us: int = 0
    builds_completed: int = 0
    builds_failed: int = 0
    assigned: list[Package] = field(factory=list)
    """What is delegated to it, oldest first."""
    revoke: list[str] = field(factory=list)
    """Atoms that were taken from it, told with the next answer."""
    taken: dict[str, str] = field(factory=dict)
    """Atoms that were taken from it in this run, and why: it is told to stop while it builds one of them."""
    told_stale: tuple[str, str] = ("", "")
    """Atom and reason of the last event that told that it works for nothing."""
    streak: list[int] = field(factory=list)
    """Ids of the packages of its failures in a row."""
    heard_us: int = 0
    asked_us: int = 0
    """When it last asked for work, or was first heard of."""
    busy_us: int = 0
    """When it last built something, or was given something."""
    is_proven: bool = False
    """It has shown its own credential in this run: nobody else can be it, or have its name."""
    revision: int = 0
    """Rises with every visible change."""

    @property
    def is_online(self) -> bool:
        """Whether it was heard of lately."""
        return self.status is DroneStatus.ONLINE

    @property
    def assigned_atoms(self) -> list[str]:
        """Atoms of what is delegated to it, oldest first."""
        return [package.atom for package in self.assigned]


@define(eq=False, kw_only=True)
class Session:
    """Packages that were queued together, or while the first of them were being built. Changed by `Swarm` alone."""

    session_id: str
    name: str
    status: SessionStatus = SessionStatus.ACTIVE
    started_unix_us: int = 0
    completed_unix_us: int | None = None
    total: int = 0
    needed: int = 0
    delegated: int = 0
    completed: int = 0
    """Received packages."""
    blocked: int = 0
    ended_failed: int = 0
    """Packages that failed for good."""

    @property
    def failed(self) -> int:
        """Packages that are blocked or failed for good."""
        return self.blocked + self.ended_failed

    @property
    def is_active(self) -> bool:
        """Whether it is the session that packages are queued into."""
        return self.status is SessionStatus.ACTIVE


@frozen(kw_only=True)
class Build:
    """One accepted report, as history keeps it."""

    build_id: int
    """0 until it is stored."""
    atom: str
    package_id: int
    session_id: str
    drone_id: str
    drone_name: str
    outcome: str
    """An `Outcome`, or the word that was said."""
    duration_s: float
    error: str
    built_unix_us: int

    @property
    def is_success(self) -> bool:
        """Whether the package was received with it."""
        return self.outcome == Outcome.SUCCESS

    @property
    def is_failure(self) -> bool:
        """Whether it counts as failed: a package that was given back is neither a success nor a failure."""
        return self.outcome not in (Outcome.SUCCESS, Outcome.RETURNED)


@frozen(kw_only=True)
class SwarmEvent:
    """One thing that happened in the swarm."""

    event_id: int
    """Rises, also over restarts."""
    unix_us: int
    type: str
    """register complete fail grounded stale control escalation assign reclaim rebalance return queue unblock blocked
    session release and what other parts add."""
    message: str
    details: Mapping[str, Any]
    drone: str
    """Name of the drone, or empty."""
