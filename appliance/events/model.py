"""The words of the bus: what an event is, and what publishing and subscribing promise."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from attrs import field, frozen

LEVELS: Final = ("info", "warning", "critical")


@frozen(kw_only=True)
class Event:
    """One thing that happened."""

    kind: str
    """Dotted and stable, area first: ``gpu.lost``, ``plugin.failed``, ``person.login``."""
    message: str
    """One sentence for people; empty for live announcements."""
    at_unix_us: int
    level: str = "info"
    """``info``, ``warning`` or ``critical``."""
    subject: str = ""
    """Id of what it is about: a GPU, a plugin, a person."""
    source: str = "core"
    """``core`` or the plugin's name."""
    data: Mapping[str, Any] = field(factory=dict)
    event_id: int | None = None
    """Row number, rising; ``None`` for live announcements, which are not stored."""


class Subscription(Protocol):
    """A reader of the bus; ends with `Lagged` when it fell behind its bounded queue."""

    def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events as they happen."""
        ...


class Events(Protocol):
    """The bus as everybody but its owner sees it."""

    async def publish(
        self,
        kind: str,
        message: str,
        *,
        level: str = "info",
        subject: str = "",
        source: str = "core",
        data: Mapping[str, Any] | None = None,
    ) -> Event:
        """Store an event for 7 days, then tell every subscriber; durable when it returns."""
        ...

    def announce(self, kind: str, data: Mapping[str, Any], *, subject: str = "", source: str = "core") -> None:
        """Tell subscribers now, without storing; never blocks (samples use this)."""
        ...

    def subscribe(
        self, *kinds: str, levels: Collection[str] = LEVELS, backlog: int = 256
    ) -> AbstractContextManager[Subscription]:
        """Open a bounded subscription to kinds by prefix (``"gpu."``) and to ``levels``; no kinds means all.

        Nothing is missed between entering the context and leaving it. A subscriber that falls ``backlog`` events
        behind is dropped: its iteration raises `Lagged`.
        """
        ...

    async def history(self, *, after_id: int = 0, limit: int = 100, kinds: tuple[str, ...] = ()) -> list[Event]:
        """Return stored events with a greater id, oldest first."""
        ...


class Lagged(Exception):
    """A subscriber was too slow and has been dropped; subscribe again and catch up from `Events.history`."""
