"""The rules of the queue: pure, over numbers and times that are given.

needed -> delegated (given to one drone) -> received (built), or back to needed (given back, taken away, failed), or
blocked (failed too often), which comes back by itself a few times and has then failed for good.
"""

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from .queue_settings import QueueSettings
from .states import Drone, DroneKind, Outcome, Package, PackageNeeds, PackageState

US: Final = 1_000_000
MINUTE_US: Final = 60 * US
DAY_US: Final = 86_400 * US
UNKNOWN_CORES_SLOTS: Final = 5
"""What a drone that does not tell its cores may hold, before ``queue_prefetch`` bounds it."""
ASKING_SECONDS: Final = 600
"""A drone that has not asked for work for so long is not one that others wait for."""
SWEEPER_PREFIX: Final = "sweeper-"
CORES_MAX: Final = 1_000_000


@frozen
class Moment:
    """One point in time, by the clock that decides and the one that is shown."""

    us: int
    """Of a clock that never jumps."""
    unix_us: int


# ------------------------------------------------------------------ drones


def cores_of(capabilities: Mapping[str, Any]) -> int:
    """Return the cores that a drone claims; 0 when it does not, or nonsense."""
    value = capabilities.get("cores")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= CORES_MAX:
        return 0
    return int(value)


def ram_gb_of(capabilities: Mapping[str, Any]) -> float:
    """Return the memory that a drone claims, in GiB; 0 when it does not, or nonsense."""
    value = capabilities.get("ram_gb")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= CORES_MAX:
        return 0.0
    return float(value)


def kind_of(name: str, kind: DroneKind) -> DroneKind:
    """Return what a drone works on: one that is called a sweeper is one, whatever it says."""
    return DroneKind.SWEEPER if name.lower().startswith(SWEEPER_PREFIX) else kind


def slots(drone: Drone, settings: QueueSettings, cores_limit: int | None) -> int:
    """Return how many packages a drone may hold."""
    cores = drone.cores if cores_limit is None else min(drone.cores or cores_limit, cores_limit)
    by_cores = max(1, cores // settings.queue_cores_per_package) if cores else UNKNOWN_CORES_SLOTS
    return min(by_cores, settings.queue_prefetch)


def is_silent(drone: Drone, now_us: int, settings: QueueSettings) -> bool:
    """Whether a drone was not heard of for too long."""
    return now_us - drone.heard_us >= settings.queue_offline_seconds * US


def is_grounded(drone: Drone, now_us: int) -> bool:
    """Whether a drone gets no work because it failed too often."""
    return now_us < drone.grounded_until_us


def is_upload_paused(drone: Drone, now_us: int, settings: QueueSettings) -> bool:
    """Whether a drone gets no work because its uploads fail."""
    return (
        drone.upload_failures >= settings.queue_upload_failures
        and now_us - drone.upload_failed_us < settings.queue_upload_pause_minutes * MINUTE_US
    )


def timestamp_of(drone: Drone) -> str:
    """Return which Portage tree a drone has; empty when it does not say."""
    value = drone.capabilities.get("portage_timestamp")
    return "" if value is None else str(value)


def refusal(drone: Drone, now_us: int, settings: QueueSettings) -> str:
    """Return why a drone gets no work at all, or nothing."""
    if drone.paused:
        return "this drone is paused"
    if is_grounded(drone, now_us):
        return "this drone is grounded: too many failures in a row"
    if is_upload_paused(drone, now_us, settings):
        return "the uploads of this drone fail"
    return ""


def suits(drone: Drone, needs: PackageNeeds) -> bool:
    """Whether a drone has what a package needs; what it does not tell it has not."""
    return (
        drone.cores >= needs.cores
        and drone.ram_gb * 1024 >= needs.memory_mib
        and all(_has(drone.capabilities, wanted) for wanted in needs.capabilities)
    )


def _has(capabilities: Mapping[str, Any], wanted: str) -> bool:
    name, is_valued, value = wanted.partition("=")
    found = capabilities.get(name)
    return str(found) == value if is_valued else bool(found)


def takes_part(drone: Drone, now_us: int, settings: QueueSettings, expected_timestamp: str) -> bool:
    """Whether a drone is one that packages may wait for: it lives, may work, and asks for work."""
    return (
        drone.is_online
        and drone.kind is DroneKind.DRONE
        and not refusal(drone, now_us, settings)
        and now_us - drone.asked_us < ASKING_SECONDS * US
        and (not expected_timestamp or timestamp_of(drone) == expected_timestamp)
    )


# ------------------------------------------------------------------ packages


def is_lost(package: Package, drone: Drone, now_us: int, settings: QueueSettings) -> bool:
    """Whether the lease of a delegated package has run out; every word of its drone renews it."""
    return now_us - max(package.delegated_us, drone.heard_us) >= settings.queue_lease_seconds * US


def is_idle(drone: Drone, now_us: int, settings: QueueSettings) -> bool:
    """Whether a drone holds work and has built nothing for too long, though it is heard of."""
    return bool(drone.assigned) and now_us - drone.busy_us >= settings.queue_idle_minutes * MINUTE_US


def is_unblocked(package: Package, now_us: int, settings: QueueSettings) -> bool:
    """Whether a blocked package has waited long enough to be tried again."""
    return now_us - package.blocked_us >= settings.queue_blocked_minutes * MINUTE_US


def blames_drone(outcome: str) -> bool:
    """Whether a report counts towards grounding its drone."""
    return outcome not in (Outcome.SUCCESS, Outcome.RETURNED, Outcome.UPLOAD_FAILED)


def blocking(package: Package, outcome: str, settings: QueueSettings) -> str:
    """Return why a package that has just failed is blocked, or nothing when it is to be tried again."""
    if outcome == Outcome.MASKED:
        return "masked"
    if len(package.failed_drones) >= settings.queue_package_drones:
        return f"Failed on {len(package.failed_drones)} different drones"
    if package.failures >= settings.queue_package_failures:
        return f"Failed {package.failures} times"
    return ""


def blocked_state(package: Package, settings: QueueSettings) -> PackageState:
    """Return what becomes of a package that is to be blocked: it has failed for good once it came back often enough."""
    is_final = package.returns >= settings.queue_blocked_returns
    return PackageState.FAILED if is_final else PackageState.BLOCKED
