"""Scans in a bounded number of threads, so that no long read holds up the loop or the writer."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from appliance.database.connections import open_reader

READERS_MAX = 4

T = TypeVar("T")


class Readers:
    """A pool of read connections, each used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._limiter = trio.CapacityLimiter(READERS_MAX)
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    async def run(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``fn`` on one snapshot in a thread; cancelling interrupts its statement."""
        working: list[sqlite3.Connection] = []
        lock = threading.Lock()  # an interrupt must not reach a connection that already serves somebody else

        def work() -> T:
            connection = self._take()
            working.append(connection)
            try:
                connection.execute("BEGIN")
                return fn(connection)
            finally:
                with lock:
                    working.clear()
                self._give_back(connection)

        try:
            return await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
        except trio.Cancelled:
            with lock:
                for connection in working:
                    connection.interrupt()
            raise

    def close(self) -> None:
        """Close what is idle now and the rest as it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return open_reader(self._path)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)
