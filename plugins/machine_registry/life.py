"""The life of a machine: pure rules over a clock that never jumps.

pending (made, one hour) -> registered (five minutes) -> ready (five minutes, refreshed by every beat) -> late (two
beats missed, still listed) -> expired (unlisted) -> forgotten. Deadlines are moments of a steady clock, which starts
with the process; what is on disk is moved to it at the start.
"""

from enum import StrEnum
from typing import Final

US: Final = 1_000_000
PENDING_SECONDS: Final = 3600
KEEPALIVE_SECONDS: Final = 300
BEAT_SECONDS: Final = 60
LATE_SECONDS: Final = 2 * BEAT_SECONDS + 5
"""Two missed beats, and what a beat may be late itself."""
GRACE_SECONDS: Final = 180
"""What a machine that was alive when we went down has at least after our start: agents retry for about 120 s."""


class Status(StrEnum):
    """What a machine has done last: made, registered, or beaten."""

    PENDING = "pending"
    REGISTERED = "registered"
    READY = "ready"


class State(StrEnum):
    """What a machine is now."""

    PENDING = "pending"
    REGISTERED = "registered"
    READY = "ready"
    LATE = "late"
    EXPIRED = "expired"


SECONDS: Final = {
    Status.PENDING: PENDING_SECONDS,
    Status.REGISTERED: KEEPALIVE_SECONDS,
    Status.READY: KEEPALIVE_SECONDS,
}
"""How long each lasts."""


def deadline(status: Status, now_us: int) -> int:
    """Return until when a machine lives that has come to ``status`` now."""
    return now_us + SECONDS[status] * US


def state(status: Status, deadline_us: int, heard_us: int, now_us: int) -> State:
    """Return what a machine is.

    :param heard_us: when it was heard of last, or when we started, if that is later: nobody could be heard before.
    """
    if now_us >= deadline_us:
        return State.EXPIRED
    if status is Status.READY:
        return State.LATE if now_us - heard_us > LATE_SECONDS * US else State.READY
    return State.PENDING if status is Status.PENDING else State.REGISTERED


def is_listed(state: State) -> bool:
    """Whether work may be given to such a machine, and lists of ready machines have it."""
    return state is State.READY or state is State.LATE


def moved(deadline_us: int, down_from_us: int, now_us: int) -> int | None:
    """Return the deadline of a machine after we were down; ``None`` when it had expired before.

    :param deadline_us: as written by the run that ended.
    :param down_from_us: the last moment of that run, by the same clock.
    """
    left_us = deadline_us - down_from_us
    return None if left_us <= 0 else now_us + max(left_us, GRACE_SECONDS * US)


def is_forgotten(deadline_us: int, now_us: int, forget_seconds: float) -> bool:
    """Whether an expired machine has been so for long enough."""
    return now_us - deadline_us > forget_seconds * US
