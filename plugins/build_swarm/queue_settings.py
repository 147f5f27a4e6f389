"""Settings of the queue: every number of its rules."""

from typing import Any, Final

from attrs import frozen
from attrs.validators import and_, ge, le

from appliance.plugin import setting

_SECONDS: Final[Any] = and_(ge(1.0), le(31_536_000.0))
_MINUTES: Final[Any] = and_(ge(0.01), le(1_000_000.0))
_DAYS: Final[Any] = and_(ge(0.01), le(3_650.0))
_COUNT: Final[Any] = and_(ge(1), le(1_000_000))


@frozen(kw_only=True, slots=False)
class QueueSettings:
    """Numbers of the queue. The defaults are those of the server that this replaces."""

    queue_offline_seconds: float = setting(
        60.0, help="A drone that is silent for so long is offline, and its work free.", validator=_SECONDS
    )
    queue_lease_seconds: float = setting(
        600.0,
        help="For how long a package stays with a drone that is not heard of; every heartbeat renews it.",
        validator=_SECONDS,
    )
    queue_idle_minutes: float = setting(
        15.0,
        help="A drone that is heard of but builds nothing for so long loses the work it holds.",
        validator=_MINUTES,
    )
    queue_prefetch: int = setting(2, help="How many packages a drone holds at most.", validator=and_(ge(1), le(64)))
    queue_cores_per_package: int = setting(
        4,
        help="A drone holds one package for so many of its cores, at least one and at most queue_prefetch.",
        validator=and_(ge(1), le(1024)),
    )
    queue_package_failures: int = setting(5, help="A package that failed so often is blocked.", validator=_COUNT)
    queue_package_drones: int = setting(2, help="A package that failed on so many drones is blocked.", validator=_COUNT)
    queue_drone_failures: int = setting(8, help="A drone with so many failures in a row is grounded.", validator=_COUNT)
    queue_grounded_minutes: float = setting(5.0, help="How long a grounded drone gets no work.", validator=_MINUTES)
    queue_upload_failures: int = setting(
        3, help="A drone whose uploads failed so often since its last success is given a pause.", validator=_COUNT
    )
    queue_upload_pause_minutes: float = setting(
        30.0, help="How long that pause is, from the last failed upload.", validator=_MINUTES
    )
    queue_blocked_minutes: float = setting(
        30.0,
        help="After so long a blocked package is needed again, with its failures forgotten.",
        validator=_MINUTES,
    )
    queue_blocked_returns: int = setting(
        3,
        help="A package that came back so often and is blocked once more has failed for good.",
        validator=and_(ge(0), le(1_000_000)),
    )
    queue_packages_max: int = setting(
        100_000, help="How many packages the queue holds at most.", validator=and_(ge(1), le(1_000_000))
    )
    queue_drones_max: int = setting(
        1_000, help="How many drones are known at most.", validator=and_(ge(1), le(100_000))
    )
    queue_events_days: float = setting(7.0, help="For how long events are kept.", validator=_DAYS)
    queue_events_max: int = setting(
        1_000_000, help="How many events are kept at most, however young.", validator=and_(ge(200), le(100_000_000))
    )
    queue_sessions_days: float = setting(
        90.0,
        help="For how long completed sessions and their packages are kept; the history of builds stays.",
        validator=_DAYS,
    )
