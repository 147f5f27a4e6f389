"""The only reader of the wall clock, and the type by which everything else is given the time."""

import time
from collections.abc import Callable

from attrs import define, field

Now = Callable[[], int]
"""Returns the time in integer microseconds since the Unix epoch."""


def unix_now_us() -> int:
    """Return the wall-clock time in microseconds since the Unix epoch."""
    return time.time_ns() // 1_000


def to_unix_s(unix_us: int) -> float:
    """Convert stored microseconds to the float seconds of our own API."""
    return unix_us / 1_000_000


@define
class SteadyClock:
    """The wall clock as it was when this was made, moved on by a monotonic one: it never jumps.

    What must last so many seconds is timed with this, whatever somebody or NTP does to the wall clock meanwhile.
    """

    now: Now
    monotonic: Callable[[], float]
    """Seconds since whenever, never back."""
    _ahead_us: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ahead_us = self.now() - int(self.monotonic() * 1_000_000)

    def __call__(self) -> int:
        """Return microseconds since the epoch, as the wall clock would say had nobody set it."""
        return int(self.monotonic() * 1_000_000) + self._ahead_us

    def step_us(self) -> int:
        """Return by how much the wall clock has been set since this was made: more than 0, forward."""
        return self.now() - self()
