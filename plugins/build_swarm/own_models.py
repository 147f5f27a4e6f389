"""What our own API says about the swarm, and takes: times as ``*_unix_s``, ``null`` for what is not known."""

from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, in_, le, max_len, min_len
from msgspec import Struct

from .states import PackageState
from .wire.requests import ATOM_CHARACTERS, PACKAGES_MAX, PRIORITY_MAX

PAGE_MAX: Final = 1000
OFFSET_MAX: Final = 10_000_000
TEXT_CHARACTERS: Final = 255
STATES: Final = tuple(each.value for each in PackageState)
_COUNT: Final = and_(ge(1), le(PAGE_MAX))
_TEXT: Final[Any] = max_len(TEXT_CHARACTERS)


class SessionItem(Struct, frozen=True, kw_only=True):
    """Packages that were queued together."""

    session_id: str
    name: str
    status: str
    total: int
    completed: int
    failed: int
    """Blocked, or failed for good."""
    started_unix_s: float
    completed_unix_s: float | None
    eta_unix_s: float | None
    """When it is likely done; ``null`` when it is, or nothing tells."""


class SessionPage(Struct, frozen=True, kw_only=True):
    """Sessions, newest first."""

    items: tuple[SessionItem, ...]


class Counts(Struct, frozen=True, kw_only=True):
    """Packages by state; ``received`` and ``failed`` of the active session, else of the last."""

    needed: int
    delegated: int
    received: int
    blocked: int
    failed: int


class DroneCounts(Struct, frozen=True, kw_only=True):
    """Drones at a glance."""

    total: int
    online: int
    paused: int
    grounded: int
    cores_online: int


class BuildCounts(Struct, frozen=True, kw_only=True):
    """All of history in figures."""

    total: int
    successful: int
    failed: int
    success_rate: float
    """Percent."""
    avg_duration_s: float


class Overview(Struct, frozen=True, kw_only=True):
    """The swarm at a glance."""

    is_paused: bool
    revision: int
    """Rises with every visible change."""
    session: SessionItem | None
    """The active one."""
    counts: Counts
    drones: DroneCounts
    builds: BuildCounts
    eta_unix_s: float | None
    has_tree: bool
    """Whether a Portage tree is at hand, which gives atoms their versions and says what they wait for."""
    require_binary: bool
    """Whether a success counts only with its uploaded binary."""
    expected_timestamp: str
    """Of the Portage tree that drones must have; empty: any."""


class NeedsItem(Struct, frozen=True, kw_only=True):
    """What a drone must have to build a package."""

    cores: int
    memory_mib: int
    capabilities: tuple[str, ...]


class PackageItem(Struct, frozen=True, kw_only=True):
    """One package of the queue."""

    package_id: int
    atom: str
    session_id: str
    state: str
    priority: int
    needs: NeedsItem
    waits_for: tuple[str, ...]
    drone: str | None
    """Name of who holds it, or has built it."""
    delegated_unix_s: float | None
    building_since_unix_s: float | None
    failures: int
    failed_drones: tuple[str, ...]
    """Names."""
    error: str
    queued_unix_s: float
    completed_unix_s: float | None
    elapsed_seconds: float | None
    estimated_seconds: float | None
    progress_percent: int | None
    why: str | None
    """Why it is not being built, in a sentence."""


class PackagePage(Struct, frozen=True, kw_only=True):
    """Packages in the order of the queue; ``next`` is the ``offset`` of the page that follows."""

    items: tuple[PackageItem, ...]
    total: int
    """Of all that fit."""
    next: int | None


@frozen(kw_only=True)
class PackageQuery:
    """Which packages."""

    state: tuple[str, ...] = field(default=(), validator=deep_iterable(in_(STATES)))
    session: str = field(default="", validator=_TEXT)
    """Id; empty: of the active session when there is one, else all."""
    search: str = field(default="", validator=_TEXT)
    """A part of the atom, in any case."""
    drone: str = field(default="", validator=_TEXT)
    """Id or name of who holds it."""
    limit: int = field(default=100, validator=_COUNT)
    offset: int = field(default=0, validator=and_(ge(0), le(OFFSET_MAX)))


@frozen(kw_only=True)
class NewPackages:
    """Packages to be built, in an open session or one of their own."""

    packages: tuple[str, ...] = field(
        validator=and_(min_len(1), max_len(PACKAGES_MAX), deep_iterable(and_(min_len(1), max_len(ATOM_CHARACTERS))))
    )
    session_name: str = field(default="", validator=_TEXT)
    session_id: str = field(default="", validator=_TEXT)
    priority: int = field(default=0, validator=and_(ge(-PRIORITY_MAX), le(PRIORITY_MAX)))
    """Larger first."""
    cores: int = field(default=0, validator=and_(ge(0), le(4096)))
    memory_mib: int = field(default=0, validator=and_(ge(0), le(2**30)))
    capabilities: tuple[str, ...] = field(default=(), validator=and_(max_len(32), deep_iterable(_TEXT)))
    waits_for: tuple[str, ...] = field(
        default=(), validator=and_(max_len(1000), deep_iterable(max_len(ATOM_CHARACTERS)))
    )
    """What all of them wait for."""


class Skipped(Struct, frozen=True, kw_only=True):
    """What was not queued."""

    atom: str
    reason: str


class MadePackages(Struct, frozen=True, kw_only=True):
    """What was queued, as atoms, and what was not."""

    queued: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    session: SessionItem | None


@frozen(kw_only=True)
class Action:
    """A control action."""

    action: str = field(validator=and_(min_len(1), max_len(64)))
    package: str = field(default="", validator=max_len(ATOM_CHARACTERS))
    drone: str = field(default="", validator=_TEXT)


class Done(Struct, frozen=True, kw_only=True):
    """What a control action did."""

    action: str
    affected: int
    message: str


class ProgressItem(Struct, frozen=True, kw_only=True):
    """How far a drone is with a package."""

    package: str
    elapsed_seconds: float | None
    """``null``: it is given out, and not begun."""
    estimated_seconds: float | None
    progress_percent: int | None


class ApprovalItem(Struct, frozen=True, kw_only=True):
    """What an operator has approved a drone for."""

    address: str
    port: int
    user: str
    drone_type: str
    host_key_fingerprint: str
    approved_by: str
    approved_unix_s: float


class EscalationItem(Struct, frozen=True, kw_only=True):
    """Where self-healing stands with a drone."""

    level: int
    attempts: int
    last_action: str
    last_unix_s: float | None


class PingItem(Struct, frozen=True, kw_only=True):
    """What the last probe over ssh said."""

    status: str
    latency_ms: float | None
    load: float | None
    disk_percent: float | None
    mem_percent: float | None
    at_unix_s: float | None


class DroneItem(Struct, frozen=True, kw_only=True):
    """One drone."""

    drone_id: str
    name: str
    address: str
    """Where its requests come from."""
    claimed_ip: str
    """What it says; only shown."""
    tailscale_ip: str
    kind: str
    drone_type: str
    cores: int
    ram_gb: float
    cpu_percent: float | None
    ram_percent: float | None
    load_1m: float | None
    current_task: str
    version: str
    status: str
    is_paused: bool
    grounded_until_unix_s: float | None
    failures_in_row: int
    last_seen_unix_s: float
    created_unix_s: float
    builds_completed: int
    builds_failed: int
    assigned: tuple[str, ...]
    progress: tuple[ProgressItem, ...]
    capabilities: Mapping[str, Any]
    approval: ApprovalItem | None
    approve_command: str
    escalation: EscalationItem | None
    last_ping: PingItem | None


class DronePage(Struct, frozen=True, kw_only=True):
    """Drones by name."""

    items: tuple[DroneItem, ...]


@frozen(kw_only=True)
class DroneQuery:
    """Which drones."""

    offline: bool = True


@frozen(kw_only=True)
class NewType:
    """What kind of machine a drone is."""

    drone_type: str = field(validator=in_(("lxc", "qemu", "bare-metal", "unknown")))


@frozen(kw_only=True)
class LimitQuery:
    """How many, the newest."""

    limit: int = field(default=50, validator=_COUNT)


class BuildItem(Struct, frozen=True, kw_only=True):
    """One report that counted."""

    build_id: int
    atom: str
    drone_id: str
    drone: str
    status: str
    duration_s: float
    error: str
    session_id: str
    built_unix_s: float
    log_id: str | None
    """Of its build log, where one was streamed."""


class BuildPage(Struct, frozen=True, kw_only=True):
    """History, newest first; ``next`` is the ``before`` of the page that follows."""

    items: tuple[BuildItem, ...]
    next: int | None


@frozen(kw_only=True)
class BuildQuery:
    """Which builds."""

    status: str = field(default="", validator=_TEXT)
    drone: str = field(default="", validator=_TEXT)
    session: str = field(default="", validator=_TEXT)
    package: str = field(default="", validator=_TEXT)
    before: int = field(default=0, validator=and_(ge(0), le(2**53)))
    limit: int = field(default=100, validator=_COUNT)


class EventItem(Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    event_id: int
    at_unix_s: float
    type: str
    message: str
    details: Mapping[str, Any]
    drone: str


class EventPage(Struct, frozen=True, kw_only=True):
    """Events, newest first; ``next`` is the ``before`` of the page that follows."""

    items: tuple[EventItem, ...]
    next: int | None


@frozen(kw_only=True)
class EventQuery:
    """Which events."""

    type: str = field(default="", validator=_TEXT)
    drone: str = field(default="", validator=_TEXT)
    before: int = field(default=0, validator=and_(ge(0), le(2**53)))
    limit: int = field(default=100, validator=_COUNT)
