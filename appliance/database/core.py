"""The database as everyone uses it: `Database.write`, `Database.read_now` and `Database.read`."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import trio

from appliance.clock import Now, unix_now_us
from appliance.database.connections import open_reader, open_writer
from appliance.database.failures import translate
from appliance.database.readers import Readers
from appliance.database.writer import Job, Transactions, Writer
from appliance.errors import Busy
from appliance.migrations import OWN_SCHEMA, Migration, migrate

CLOSE_SECONDS = 30.0

T = TypeVar("T")


class Database:
    """One SQLite file: a writer thread with group commit, a connection for point reads, threads for scans.

    Use it from the trio thread. Made by `open` alone.
    """

    def __init__(self, path: Path, *, backups: Path, now: Now, inline: bool) -> None:
        self.path = path
        self.backups = backups
        self.now = now
        self._inline = inline
        # The data folder makes it empty, for its owner only, before anything is written.
        self.existed = path.exists() and path.stat().st_size > 0
        """Whether there was anything in the file before this start."""
        self._transactions = Transactions(open_writer(path, backups), self._translate)
        try:
            self._transactions.connection.executescript(OWN_SCHEMA)
            self._reader = open_reader(path)
        except sqlite3.Error as error:
            self._transactions.connection.close()
            self._raise_told(error)
            raise
        self._readers = Readers(path)
        self._writer = None if inline else Writer(self._transactions)
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        inline: bool = False,
        migrations: Mapping[str, Sequence[Migration]] = MappingProxyType({}),
        now: Now = unix_now_us,
        backups: Path | None = None,
    ) -> AsyncIterator["Database"]:
        """Open the file, making it if need be, and migrate core's owners; close it in the end, whatever happens.

        :param inline: run everything in the calling thread, for tests under a mock clock.
        :param migrations: by owner; core's own, which may touch any table.
        :param backups: folder of automatic backups; ``backups`` beside the file when not given.
        :raises StorageFailed: the file cannot be read or written, or is damaged.
        :raises MigrationRefused: an owner's tables are of a newer version or have been changed.
        """
        folder = path.parent / "backups" if backups is None else backups
        database = cls(path, backups=folder, now=now, inline=inline)
        try:
            for owner, steps in migrations.items():
                await migrate(database, owner, steps, restrict=False)
            yield database
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await database._close()

    @property
    def problem(self) -> str | None:
        """Why writes fail now, in plain words; ``None`` when the last one was stored."""
        return self._transactions.problem if self._writer is None else self._writer.problem

    @property
    def commits(self) -> int:
        """How many transactions have been committed since the start."""
        return self._transactions.commits

    @property
    def rollbacks(self) -> int:
        """How often transactions, or one caller's part of them, have been undone since the start.

        For what the writer's thread remembers of its own writes: it holds only as long as this does not change.
        """
        return self._transactions.rollbacks

    async def write(
        self,
        fn: Callable[[sqlite3.Connection], T],
        *,
        on_commit: Callable[[T], None] | None = None,
        patience_seconds: float = 0.0,
    ) -> T:
        """Run ``fn`` inside a transaction and return its result once that is durable.

        ``fn`` runs in another thread, may run more than once and touches nothing but its connection: no BEGIN, no
        COMMIT. What it raises reaches this caller alone, with nothing of its work kept. ``on_commit`` is called with
        the result in the trio thread, in the order of commits, also when the caller was cancelled meanwhile; it must
        not block. A caller cancelled while waiting cannot know whether its write happened.

        :param patience_seconds: how long it may wait for others to share its commit, where its caller is in no hurry:
            one commit of several writes is much cheaper than one of each. The order of writes stays.
        :raises Busy: too many writes are waiting, or the database is closing.
        :raises StorageFailed: the disk is full, cannot be written, fails, or the file is damaged.
        :raises BadInput: a value does not fit (an integer beyond 64 bits, half a surrogate pair).
        """
        result: T = await self._submit(Job(fn, on_commit, patience_seconds=patience_seconds))
        return result

    def write_soon(
        self, fn: Callable[[sqlite3.Connection], T], *, on_commit: Callable[[T], None] | None = None
    ) -> None:
        """Queue a write that nobody waits for, and return at once; it is durable milliseconds later, in order.

        For what must be written down and has no task to wait in. What goes wrong with it is logged.

        :raises Busy: too many writes are waiting, or the database is closing.
        :raises StorageFailed: the writer is gone.
        """
        job = Job(fn, on_commit, unattended=True)
        if self._writer is not None:
            self._writer.submit_soon(job)
        else:
            self._run_inline(job)

    async def maintain(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``fn`` on the write connection outside any transaction, with nothing else in the writer.

        For migrations and upkeep; whatever transaction it leaves open is rolled back.
        """
        result: T = await self._submit(Job(fn, alone=True))
        return result

    def read_now(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``fn`` here and now on a read connection: for point reads of microseconds.

        Sees everything that was committed before; each of its statements sees a state of its own.
        """
        try:
            result = fn(self._reader)
        except Exception as error:
            self._raise_told(error)
            raise
        if isinstance(result, sqlite3.Cursor):
            # An open cursor is an open snapshot, beyond which the log could never be folded into the file.
            result.close()
            raise TypeError("a read returns rows, not the cursor: call fetchone or fetchall")
        return result

    async def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``fn`` on one snapshot in a reader thread: for scans. Cancelling interrupts it."""
        try:
            if not self._inline:
                return await self._readers.run(fn)
            await trio.lowlevel.checkpoint()
            return fn(self._reader)
        except Exception as error:
            self._raise_told(error)
            raise

    async def _submit(self, job: Job) -> Any:
        if self._writer is not None:
            return await self._writer.submit(job)
        await trio.lowlevel.checkpoint_if_cancelled()
        self._run_inline(job)
        await trio.lowlevel.cancel_shielded_checkpoint()
        assert job.result is not None
        return job.result.unwrap()

    def _run_inline(self, job: Job) -> None:
        if self._closed:
            raise Busy("the database is closing")
        self._transactions.run([job])
        job.finish()

    async def _close(self) -> None:
        self._closed = True
        try:
            if self._writer is not None:
                await self._writer.close()
        finally:
            self._readers.close()
            self._reader.close()
            if self._writer is None or not self._writer.is_working:
                self._transactions.connection.close()  # last, for the last one to close folds the log into the file

    def _translate(self, error: BaseException) -> BaseException:
        return translate(error, self.path, self.backups)

    def _raise_told(self, error: Exception) -> None:
        told = self._translate(error)
        if told is not error:
            raise told from error
