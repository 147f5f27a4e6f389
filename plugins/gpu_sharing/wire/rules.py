"""What many of the documented fields have in common."""

from typing import Any, Final

from attrs.validators import and_, deep_iterable, ge, in_, le, matches_re, max_len, min_len, optional

ID_CHARACTERS_MAX: Final = 128
GPUS_MAX: Final = 256
"""Of one agent."""
WORKERS_MAX: Final = 1024
"""In one report."""
CONNECTIONS_MAX: Final = 16_384
"""Of one worker in one report."""
ADDRESSES_MAX: Final = 64
MEMORY_MB_MAX: Final = 2**40
COUNT_MAX: Final = 2**31 - 1
WORKER_STATUSES: Final = ("pending", "running", "stopping", "stopped")


def printable(instance: Any, attribute: Any, value: str) -> None:
    """Refuse characters that nobody sees: these texts stand on pages, in logs and in licences."""
    if not value.isprintable():
        raise ValueError(f"'{attribute.name}' must have printable characters only")


def some_text(longest: int) -> Any:
    """A text of 1 to so many printable characters."""
    return and_(min_len(1), max_len(longest), printable)


def any_text(longest: int) -> Any:
    """A text of at most so many printable characters."""
    return and_(max_len(longest), printable)


def list_of(rule: Any, *, longest: int, shortest: int = 0) -> Any:
    """A list of so many, each by a rule; or null."""
    bounds: tuple[Any, ...] = (min_len(shortest), max_len(longest)) if shortest else (max_len(longest),)
    every: Any = deep_iterable(rule)
    return optional(and_(*bounds, every))


GPU_ID: Final[Any] = matches_re(r"[!-~]{1,128}")
"""``GPU-0``, a driver's UUID or a PCI address: whatever has no space."""
IDENTITY: Final[Any] = any_text(ID_CHARACTERS_MAX)
PORT: Final[Any] = and_(ge(1024), le(65_535))
PERCENT: Final[Any] = and_(ge(1), le(100))
MEMORY_MB: Final[Any] = and_(ge(1), le(MEMORY_MB_MAX))
MEMORY_MB_OR_0: Final[Any] = and_(ge(0), le(MEMORY_MB_MAX))
COUNT: Final[Any] = and_(ge(0), le(COUNT_MAX))
POSITIVE: Final[Any] = and_(ge(1), le(COUNT_MAX))
WORKER_STATUS: Final[Any] = in_(WORKER_STATUSES)
