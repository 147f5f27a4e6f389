"""Notices: what people should know about, made of warnings and critical events, each once per cool-down.

An event says that something happened; a notice says that it still deserves a look. Further ones of the same source,
kind and subject within the cool-down only count up. Plugins raise their own, of any level.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any, Final

import structlog
import trio
from attrs import frozen

from appliance.clock import Now
from appliance.database import Database
from appliance.errors import ApplianceError, BadInput, NotFound
from appliance.events import Event, Events, Lagged
from appliance.migrations import Migration

log = structlog.get_logger(__name__)

OWNER: Final = "notices"
COOL_DOWN_SECONDS: Final = 600.0
KEPT: Final = 1000
LEVELS: Final = ("info", "warning", "critical")
TAKEN_LEVELS: Final = ("warning", "critical")
"""Levels of the events that become notices by themselves."""
NAME_MAX_CHARS: Final = 200
MESSAGE_MAX_CHARS: Final = 2000

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
    Migration(version=2, name="titles", sql="ALTER TABLE notices_notice ADD COLUMN title TEXT NOT NULL DEFAULT '';"),
)

_COUNT_UP = """
UPDATE notices_notice SET event_count = event_count + 1, last_unix_us = :now, message = :message
 WHERE notice_id = (SELECT notice_id FROM notices_notice
                     WHERE kind = :kind AND subject = :subject AND source = :source
                       AND first_unix_us > :since AND first_unix_us <= :now  -- not one of a clock that was set back
                     ORDER BY first_unix_us DESC LIMIT 1)"""
_INSERT = """
INSERT INTO notices_notice (kind, subject, source, level, title, message, first_unix_us, last_unix_us, event_count)
VALUES (:kind, :subject, :source, :level, :title, :message, :now, :now, 1)
RETURNING notice_id"""
_PRUNE = """
DELETE FROM notices_notice
 WHERE notice_id <= (SELECT notice_id FROM notices_notice ORDER BY notice_id DESC LIMIT 1 OFFSET :kept)"""
_COLUMNS = "notice_id, kind, subject, source, level, title, message, first_unix_us, last_unix_us, event_count, is_read"
_NEWEST = f"""
SELECT {_COLUMNS} FROM notices_notice WHERE :source IS NULL OR source = :source
 ORDER BY notice_id DESC LIMIT :limit"""  # noqa: S608  fixed columns
_IDS = "SELECT notice_id FROM notices_notice"
_READ = "UPDATE notices_notice SET is_read = 1 WHERE notice_id = :notice_id"


@frozen(kw_only=True)
class Notice:
    """One thing that people should know."""

    notice_id: int
    kind: str
    """Dotted or underscored and stable: ``gpu.lost``, ``high_cpu``."""
    subject: str
    """Id of what it is about; empty when it is about the whole appliance."""
    source: str
    """``core`` or the plugin's name."""
    level: str
    """``info``, ``warning`` or ``critical``."""
    title: str
    """A few words; empty for those that were made of events."""
    message: str
    """One sentence for people, the newest of those that were counted up."""
    first_unix_us: int
    last_unix_us: int
    event_count: int
    """How often it was raised; those within the cool-down are counted here."""
    is_read: bool
    """Whether anybody has marked it as read."""


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
            # By level: thousands of changes that are no notices may come at once.
            with self._events.subscribe(levels=TAKEN_LEVELS) as subscription:
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                try:
                    async for event in subscription:
                        await self._take(event)
                except Lagged:
                    log.warning("notices.lagged", effect="events came faster than they could be stored as notices")

    async def raise_one(
        self,
        kind: str,
        message: str,
        *,
        title: str = "",
        level: str = "warning",
        subject: str = "",
        source: str = "core",
        cool_down_seconds: float | None = None,
    ) -> bool:
        """Raise a notice, durable when this returns.

        A new one is announced on the bus as ``notice`` with its ``notice_id``, ``level``, ``title`` and ``message``.

        :param source: the plugin's name.
        :param cool_down_seconds: for how long further ones of this source, kind and subject are counted up; the
            usual 10 minutes when ``None``, never when 0.
        :return: ``False`` when one of its source, kind and subject is cooling down and was counted up instead.
        :raises BadInput: an unknown level, a kind, subject, source or title of more than 200 characters, or a message
            of more than 2,000.
        """
        _check(level, message, kind=kind, subject=subject, source=source, title=title)
        now = self._now()
        cool_down_us = self._cool_down_us if cool_down_seconds is None else int(cool_down_seconds * 1_000_000)
        values: dict[str, Any] = {"kind": kind, "subject": subject, "source": source, "level": level, "title": title}
        values |= {"message": message, "now": now, "since": now - cool_down_us}

        def write(connection: sqlite3.Connection) -> int | None:
            if cool_down_us > 0 and connection.execute(_COUNT_UP, values).rowcount:
                return None
            (notice_id,) = connection.execute(_INSERT, values).fetchone()
            connection.execute(_PRUNE, {"kept": KEPT})
            return int(notice_id)

        def tell(notice_id: int | None) -> None:
            if notice_id is not None:
                shown = {"notice_id": notice_id, "level": level, "title": title, "message": message}
                self._events.announce("notice", shown, subject=subject, source=source)

        return await self._database.write(write, on_commit=tell) is not None

    async def newest(self, limit: int = 100, source: str | None = None) -> list[Notice]:
        """Return the newest notices, newest first; ``limit`` is held to 1,000, ``source`` to one plugin's or core's."""
        wanted = {"limit": max(1, min(limit, KEPT)), "source": source}
        rows = await self._database.read(lambda connection: connection.execute(_NEWEST, wanted).fetchall())
        return [Notice(**dict(zip(_COLUMNS.split(", "), (*row[:-1], bool(row[-1])), strict=True))) for row in rows]

    async def mark_read(self, notice_id: int) -> None:
        """Note that somebody has seen it; raises `NotFound`."""

        def write(connection: sqlite3.Connection) -> int:
            return connection.execute(_READ, {"notice_id": notice_id}).rowcount

        if not await self._database.write(write):
            raise NotFound("notice", str(notice_id))

    async def mark_many_read(self, notice_ids: Iterable[int]) -> int:
        """Note that somebody has seen these; return how many of them exist, read before or not.

        Ids that no notice has, of whatever size, are passed over.
        """
        wanted = frozenset(notice_ids)

        def write(connection: sqlite3.Connection) -> int:
            # At most a thousand are kept, so that what is asked for never makes the write long.
            found = [notice_id for (notice_id,) in connection.execute(_IDS) if notice_id in wanted]
            connection.executemany(_READ, [{"notice_id": notice_id} for notice_id in found])
            return len(found)

        return await self._database.write(write)

    async def _take(self, event: Event) -> None:
        try:
            await self.raise_one(
                event.kind, event.message, level=event.level, subject=event.subject, source=event.source
            )
        except ApplianceError as error:  # the disk is full: the event itself was told all the same
            log.warning("notice.not_stored", kind=event.kind, reason=error.message)


def _check(level: str, message: str, **names: str) -> None:
    if level not in LEVELS:
        raise BadInput(f"a notice's level is one of {', '.join(LEVELS)}", field="level")
    for name, text in names.items():
        if len(text) > NAME_MAX_CHARS:
            raise BadInput(f"a notice's {name} has at most {NAME_MAX_CHARS} characters", field=name)
    if len(message) > MESSAGE_MAX_CHARS:
        raise BadInput(f"a notice's message has at most {MESSAGE_MAX_CHARS} characters", field="message")
