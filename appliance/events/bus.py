"""The bus itself: stores, fans out, and drops readers that fall behind."""

import sqlite3
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import trio
from attrs import evolve

from appliance.clock import Now
from appliance.database import Database
from appliance.errors import BadInput
from appliance.events import store
from appliance.events.model import LEVELS, Event, Lagged

MESSAGE_MAX_CHARS = 2_000
NAME_MAX_CHARS = 200
DATA_MAX_BYTES = 16_384
KINDS_MAX = 32


class _Reader:
    """One subscription: a bounded queue of events of ``levels`` whose kind starts with one of ``kinds``."""

    def __init__(self, kinds: tuple[str, ...], levels: Collection[str], backlog: int) -> None:
        self._kinds = kinds or ("",)
        self._levels = frozenset(levels)
        self._send, self._receive = trio.open_memory_channel[Event](backlog)
        self._lagged = False

    def tell(self, event: Event) -> bool:
        """Queue ``event`` if it is of interest; return ``False`` when the reader has fallen behind and is dropped."""
        if event.level not in self._levels or not event.kind.startswith(self._kinds):
            return True
        try:
            self._send.send_nowait(event)
        except trio.WouldBlock:
            self._lagged = True
            self.close()
            return False
        return True

    def close(self) -> None:
        """Let the reader come to the end of what is queued."""
        self._send.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        # No generator: one that is left by `break` would be closed late, by the garbage collector.
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._lagged:
                raise Lagged("the subscriber fell behind and was dropped") from None
            raise StopAsyncIteration from None


class EventBus:
    """What happens in the appliance, told to everyone who asks; see `Events` for what each method promises."""

    def __init__(
        self,
        database: Database,
        now: Now,
        *,
        kept_seconds: float = store.KEPT_SECONDS,
        kept_bytes: int = store.KEPT_BYTES,
    ) -> None:
        self._database = database
        self._now = now
        self._kept_seconds = kept_seconds
        self._kept_bytes = kept_bytes
        self._readers: set[_Reader] = set()

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
        """Store an event for 7 days (and at most 64 MiB of them), then tell every subscriber; durable when it returns.

        :raises BadInput: a name, the message (over 2,000 characters) or the data (over 16 kB of JSON) is too large.
        """
        event = Event(
            kind=kind,
            message=message,
            level=level,
            subject=subject,
            source=source,
            data=dict(data or {}),
            at_unix_us=self._now(),
        )
        _checked(event)  # here, where it costs the caller alone
        return await self._database.write(lambda connection: self.store(connection, event), on_commit=self.tell)

    def store(self, connection: sqlite3.Connection, event: Event) -> Event:
        """Store an event within the caller's own transaction, and return it; `tell` it once that is committed.

        So that what happened and that it is told are one. Errors as of `publish`.
        """
        event_id = store.insert(
            connection, event, _checked(event), kept_seconds=self._kept_seconds, kept_bytes=self._kept_bytes
        )
        return evolve(event, event_id=event_id)

    def tell(self, event: Event) -> None:
        """Tell every subscriber of an event that `store` has stored; never blocks."""
        self._tell_all(event)

    def announce(self, kind: str, data: Mapping[str, Any], *, subject: str = "", source: str = "core") -> None:
        """Tell subscribers now, without storing; never blocks."""
        if self._readers:
            self._tell_all(
                Event(kind=kind, message="", subject=subject, source=source, data=data, at_unix_us=self._now())
            )

    @contextmanager
    def subscribe(self, *kinds: str, levels: Collection[str] = LEVELS, backlog: int = 256) -> Iterator[_Reader]:
        """Open a bounded subscription to kinds by prefix; no kinds means all."""
        reader = _Reader(kinds, levels, backlog)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            reader.close()

    async def history(self, *, after_id: int = 0, limit: int = 100, kinds: tuple[str, ...] = ()) -> list[Event]:
        """Return stored events with a greater id, oldest first; ``limit`` is held to 1,000."""
        limit, after_id = _held(limit), max(0, min(after_id, 2**63 - 1))
        _check_kinds(kinds)
        return await self._database.read(lambda connection: store.after(connection, after_id, limit, kinds))

    async def newest(self, *, limit: int = 100, kinds: tuple[str, ...] = ()) -> list[Event]:
        """Return the newest stored events, oldest of them first; ``limit`` is held to 1,000."""
        _check_kinds(kinds)
        return await self._database.read(lambda connection: store.newest(connection, _held(limit), kinds))

    def _tell_all(self, event: Event) -> None:
        for reader in [reader for reader in self._readers if not reader.tell(event)]:
            self._readers.discard(reader)


def _held(limit: int) -> int:
    return max(1, min(limit, 1000))


def _check_kinds(kinds: tuple[str, ...]) -> None:
    if len(kinds) > KINDS_MAX:
        raise BadInput(f"at most {KINDS_MAX} kinds can be asked for at once", field="kinds")


def _checked(event: Event) -> str:
    """Return the event's data as JSON; raise `BadInput` where the event could not be stored and read back as it is."""
    for name in ("kind", "subject", "source"):
        if len(getattr(event, name)) > NAME_MAX_CHARS:
            raise BadInput(f"an event's {name} has at most {NAME_MAX_CHARS} characters", field=name)
    if event.level not in LEVELS:
        raise BadInput(f"an event's level is one of {', '.join(LEVELS)}", field="level")
    if len(event.message) > MESSAGE_MAX_CHARS:
        raise BadInput(f"an event's message has at most {MESSAGE_MAX_CHARS} characters", field="message")
    try:
        encoded = msgspec.json.encode(event.data)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadInput(f"an event's data must be plain JSON: {error}", field="data") from error
    if len(encoded) > DATA_MAX_BYTES:
        raise BadInput(f"an event's data has at most {DATA_MAX_BYTES} bytes as JSON", field="data")
    return encoded.decode()
