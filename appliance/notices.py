"""Notices: what people should know about, made of warnings and critical events, each once per cool-down.

An event says that something happened; a notice says that it still deserves a look. Further ones of the same kind and
subject within the cool-down only count up.
"""

import sqlite3
from typing import Any, Final

import structlog
import trio
from attrs import frozen

from appliance.clock import Now
from appliance.database import Database
from appliance.errors import ApplianceError, NotFound
from appliance.events import Event, Events, Lagged
from appliance.migrations import Migration

log = structlog.get_logger(__name__)

OWNER: Final = "notices"
COOL_DOWN_SECONDS: Final = 600.0
KEPT: Final = 1000
LEVELS: Final = ("warning", "critical")

MIGRATIONS: Final = (
    Migration(
        version=1,
        name="notices",
        sql="""
CREATE TABLE notices_notice (
    notice_id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    source TEXT NOT NULL,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    first_unix_us INTEGER NOT NULL,
    last_unix_us INTEGER NOT NULL,
    event_count INTEGER NOT NULL,
    is_read INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX notices_notice_subject ON notices_notice (kind, subject, first_unix_us);
""",
    ),
)

_COUNT_UP = """
UPDATE notices_notice SET event_count = event_count + 1, last_unix_us = :now, message = :message
 WHERE notice_id = (SELECT notice_id FROM notices_notice
                     WHERE kind = :kind AND subject = :subject AND first_unix_us > :since
                     ORDER BY first_unix_us DESC LIMIT 1)"""
_INSERT = """
INSERT INTO notices_notice (kind, subject, source, level, message, first_unix_us, last_unix_us, event_count)
VALUES (:kind, :subject, :source, :level, :message, :now, :now, 1)"""
_PRUNE = """
DELETE FROM notices_notice
 WHERE notice_id <= (SELECT notice_id FROM notices_notice ORDER BY notice_id DESC LIMIT 1 OFFSET :kept)"""
_COLUMNS = "notice_id, kind, subject, source, level, message, first_unix_us, last_unix_us, event_count, is_read"
_NEWEST = f"SELECT {_COLUMNS} FROM notices_notice ORDER BY notice_id DESC LIMIT :limit"  # noqa: S608  fixed columns
_READ = "UPDATE notices_notice SET is_read = 1 WHERE notice_id = :notice_id"


@frozen(kw_only=True)
class Notice:
    """One thing that people should know."""

    notice_id: int
    kind: str
    subject: str
    source: str
    level: str
    message: str
    first_unix_us: int
    last_unix_us: int
    event_count: int
    is_read: bool


class Notices:
    """Makes notices of events while `run` runs, and keeps the newest 1,000."""

    name = "notices"

    def __init__(
        self, database: Database, events: Events, now: Now, *, cool_down_seconds: float = COOL_DOWN_SECONDS
    ) -> None:
        self._database = database
        self._events = events
        self._now = now
        self._cool_down_us = int(cool_down_seconds * 1_000_000)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Turn events into notices until cancelled."""
        while True:
            with self._events.subscribe() as subscription:
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                try:
                    async for event in subscription:
                        if event.level in LEVELS:
                            await self._take(event)
                except Lagged:
                    log.warning("notices.lagged", effect="events came faster than they could be stored as notices")

    async def raise_one(
        self, kind: str, message: str, *, level: str = "warning", subject: str = "", source: str = "core"
    ) -> bool:
        """Raise a notice; ``False`` when one of its kind and subject is cooling down and was counted up instead."""
        now = self._now()
        values: dict[str, Any] = {"kind": kind, "subject": subject, "source": source, "level": level}
        values |= {"message": message, "now": now, "since": now - self._cool_down_us}

        def write(connection: sqlite3.Connection) -> bool:
            if connection.execute(_COUNT_UP, values).rowcount:
                return False
            connection.execute(_INSERT, values)
            connection.execute(_PRUNE, {"kept": KEPT})
            return True

        return await self._database.write(write)

    async def newest(self, limit: int = 100) -> list[Notice]:
        """Return the newest notices, newest first; ``limit`` is held to 1,000."""
        rows = await self._database.read(
            lambda connection: connection.execute(_NEWEST, {"limit": max(1, min(limit, KEPT))}).fetchall()
        )
        return [Notice(**dict(zip(_COLUMNS.split(", "), (*row[:-1], bool(row[-1])), strict=True))) for row in rows]

    async def mark_read(self, notice_id: int) -> None:
        """Note that somebody has seen it; raises `NotFound`."""

        def write(connection: sqlite3.Connection) -> int:
            return connection.execute(_READ, {"notice_id": notice_id}).rowcount

        if not await self._database.write(write):
            raise NotFound("notice", str(notice_id))

    async def _take(self, event: Event) -> None:
        try:
            await self.raise_one(
                event.kind, event.message, level=event.level, subject=event.subject, source=event.source
            )
        except ApplianceError as error:  # the disk is full: the event itself was told all the same
            log.warning("notice.not_stored", kind=event.kind, reason=error.message)
