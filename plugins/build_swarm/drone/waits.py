"""How long to wait before the next try: longer each time, and never all drones at the same moment."""

from collections.abc import Callable
from random import SystemRandom

from attrs import define, field

JITTER = 0.2
"""Waits are shorter by up to this share of them."""
_random = SystemRandom().random


@define
class Waits:
    """Doubles from ``least`` to ``most`` seconds until told that all is well."""

    least: float
    most: float
    random: Callable[[], float] = _random
    """Returns a number from 0 up to 1."""
    _next: float = field(default=0.0, init=False)

    def next(self) -> float:
        """Return how long to wait now, in seconds."""
        wait = min(max(self._next, self.least), self.most)
        self._next = wait * 2
        return jittered(wait, self.random)

    def reset(self) -> None:
        """Begin again with the shortest wait."""
        self._next = 0.0


def jittered(seconds: float, random: Callable[[], float] = _random) -> float:
    """Return a little less than ``seconds``, by chance."""
    return seconds * (1.0 - JITTER * random())
