"""The only reader of the wall clock, and the type by which everything else is given the time."""

import time
from collections.abc import Callable

Now = Callable[[], int]
"""Returns the time in integer microseconds since the Unix epoch."""


def unix_now_us() -> int:
    """Return the wall-clock time in microseconds since the Unix epoch."""
    return time.time_ns() // 1_000


def to_unix_s(unix_us: int) -> float:
    """Convert stored microseconds to the float seconds of our own API."""
    return unix_us / 1_000_000
