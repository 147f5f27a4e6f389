"""The row that says, at the next start, until when we were up."""

import sqlite3

import trio
from attrs import frozen

from appliance.clock import Now
from appliance.database.core import Database

_WRITE = """
INSERT INTO database_alive (only, alive_at_unix_us) VALUES (1, :now)
ON CONFLICT (only) DO UPDATE SET alive_at_unix_us = excluded.alive_at_unix_us"""
_READ = "SELECT alive_at_unix_us FROM database_alive"


def went_down_at(database: Database) -> int | None:
    """Return when the last run was last known to be up (microseconds since the epoch); ``None`` at the first start.

    To be asked before an `AliveWriter` runs.
    """
    row = database.read_now(lambda connection: connection.execute(_READ).fetchone())
    return None if row is None else int(row[0])


@frozen
class AliveWriter:
    """Writes the time every ``every_seconds``, and once more when it is stopped."""

    database: Database
    now: Now
    every_seconds: float = 5.0
    grace_seconds: float = 2.0
    name: str = "alive"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; a disk that cannot take it is a crash of this service, which is tried again."""
        await self._write()
        task_status.started()
        try:
            while True:
                await trio.sleep(self.every_seconds)
                await self._write()
        finally:
            with trio.move_on_after(self.grace_seconds, shield=True):
                await self._write()

    async def _write(self) -> None:
        now = self.now()

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_WRITE, {"now": now})

        await self.database.write(write)
