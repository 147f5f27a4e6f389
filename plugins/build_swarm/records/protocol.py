"""The protocol log: who asked what of the public surface, and what the answer was. Written behind, kept for a day.

What is asked is answered first: noting it costs the answer one tuple in a list, and everything else is done half a
second later. Of a flood only so much is kept in each half second, the routine of drones and pages least.
"""

from typing import Any, Final, Protocol

import trio
from attrs import define, field

from appliance.plugin import Busy, Core, Head, StorageFailed

from ..states import Drone
from . import store
from .messages import API, Entry, Seen, entry_of, type_of
from .settings import RecordsSettings
from .store import Filter

WRITE_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 0.05
PENDING_MAX: Final = 300
ROUTINE_MAX: Final = 150
"""Of `PENDING_MAX`, how much the routine may take."""
KEPT_SECONDS: Final = 86_400
PRUNE_SECONDS: Final = 60.0
PRUNED_AT_ONCE: Final = 1000
BODY_BYTES: Final = 16_384
"""More than is kept, so that what a report says can be read although its error text is long."""
ANSWER_BYTES: Final = 16_384
ENTRIES_BETWEEN_TURNS: Final = 20
SECOND_US: Final = 1_000_000
MIB: Final = 2**20
_ROUTINE_PATHS: Final = frozenset(
    API + path for path in ("work", "poll", "register", "status", "nodes", "queue", "events", "sessions", "escalation")
)

Noted = tuple[int, str, str, bytes, Any, bytes, int, bytes, float, int]


class Drones(Protocol):
    """Knows drones; `Swarm` does."""

    def find_drone(self, name_or_id: str) -> Drone | None:
        """Return a drone, or ``None``."""
        ...


@define(eq=False)
class ProtocolLog:
    """The log; also the service that writes it."""

    core: Core
    settings: RecordsSettings
    drones: Drones
    name: str = "protocol log"
    dropped: int = 0
    """How many were not kept because there were too many at once, since the start."""
    _noted: list[Noted] = field(factory=list, init=False)
    _size_bytes: int = field(default=0, init=False)
    _needless: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    """Where the writer waits while nobody asks anything."""

    def saw(self, head: Head, body: bytes, status: int, answer: bytes, seconds: float) -> None:
        """Note a request and its answer. Called for each: it must cost next to nothing."""
        noted = self._noted
        count = len(noted)
        if count >= ROUTINE_MAX and (count >= PENDING_MAX or head.path in _ROUTINE_PATHS):
            self.dropped += 1
            return
        if not noted:
            self._needless.unpark_all()
        noted.append(
            (
                self.core.now(),
                head.method,
                head.path,
                head.raw_query,
                head.peer,
                body[:BODY_BYTES],
                status,
                answer[:ANSWER_BYTES],
                seconds,
                len(body),
            )
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what was noted and drop what is old, until cancelled; then write the rest."""
        task_status.started()
        self._size_bytes = await self.core.database.read(store.size_bytes)
        prune_at = trio.current_time()
        try:
            while True:
                if not self._noted:
                    with trio.move_on_at(prune_at):
                        await self._needless.park()
                await trio.sleep(WRITE_SECONDS)
                await self.flush()
                if trio.current_time() >= prune_at:
                    await self.prune()
                    prune_at = trio.current_time() + PRUNE_SECONDS
        finally:
            with trio.move_on_after(2, shield=True):
                await self.flush()

    async def flush(self) -> None:
        """Write what was noted; where the disk cannot take it now, it is lost, as a log may be."""
        noted, self._noted = self._noted, []
        found: list[Entry] = []
        for number, each in enumerate(noted):
            if (entry := self._entry(each)) is not None:
                found.append(entry)
            if number % ENTRIES_BETWEEN_TURNS == ENTRIES_BETWEEN_TURNS - 1:
                await trio.lowlevel.checkpoint()
        if not found:
            return
        try:
            await self.core.database.write(
                lambda connection: store.put(connection, found), patience_seconds=PATIENCE_SECONDS
            )
        except (Busy, StorageFailed):
            self.dropped += len(found)
        else:
            self._size_bytes += sum(each.size_bytes for each in found)

    def _entry(self, noted: Noted) -> Entry | None:
        unix_us, method, path, raw_query, peer, body, status, answer, seconds, body_bytes = noted
        msg_type = type_of(method, path)
        if msg_type is None:
            return None
        seen = Seen(
            unix_us=unix_us,
            method=method,
            path=path,
            raw_query=raw_query,
            source_ip=peer[0] if peer is not None else "",
            body=body,
            status=status,
            answer=answer,
            seconds=seconds,
            body_bytes=body_bytes,
        )
        return entry_of(seen, msg_type, name_of=self._name_of)

    def _name_of(self, drone: str) -> str:
        found = self.drones.find_drone(drone)
        return "" if found is None else found.name

    async def prune(self) -> None:
        """Drop what is older than a day, and the oldest of what takes too much."""
        database = self.core.database
        before = self.core.now() - KEPT_SECONDS * SECOND_US
        most = self.settings.records_protocol_mib * MIB
        # Looked for by a reader: the writer has others waiting.
        first_id = await database.read(lambda connection: store.first_since(connection, before))
        if self._size_bytes > most:
            kept = await database.read(lambda connection: store.first_to_keep(connection, most * 9 // 10))
            first_id = max(first_id, kept)
        while True:
            sizes = await database.write(lambda connection: store.drop(connection, first_id, PRUNED_AT_ONCE))
            self._size_bytes -= sum(sizes)
            if len(sizes) < PRUNED_AT_ONCE:
                return

    # ------------------------------------------------------------ reading

    async def entries(self, wanted: Filter) -> list[dict[str, Any]]:
        """Return entries without their bodies, oldest first."""
        return await self.core.database.read(lambda connection: store.entries(connection, wanted))

    async def entry(self, entry_id: int) -> dict[str, Any] | None:
        """Return one entry with its bodies; ``None`` where there is none (any more)."""
        return await self.core.database.read(lambda connection: store.entry(connection, entry_id))

    async def statistics(self, since_unix_us: int) -> list[dict[str, Any]]:
        """Return counts and latencies by kind of message, the most frequent first."""
        return await self.core.database.read(lambda connection: store.statistics(connection, since_unix_us))

    async def density(self, start_unix_us: int, end_unix_us: int, buckets: int) -> list[int]:
        """Return how many entries fall into each part of a time."""
        return await self.core.database.read(
            lambda connection: store.density(connection, start_unix_us, end_unix_us, buckets)
        )
