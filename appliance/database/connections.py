"""Opens SQLite connections with the settings everything else relies on."""

import sqlite3
from pathlib import Path

from appliance.backups import restore_hint
from appliance.database.failures import translate
from appliance.errors import NotAvailable, StorageFailed

SQLITE_FLOOR = (3, 37, 0)
"""STRICT tables and RETURNING; every distribution since 2022 has it."""

PAGE_SIZE_BYTES = 8192  # an hour's rollup row of eight GPUs spills to an overflow page at 4 kB, and not at 8 kB
BUSY_TIMEOUT_MS = 5_000
WAL_LIMIT_BYTES = 64 * 2**20


def check_sqlite(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Raise `NotAvailable` when the SQLite library of this Python is too old."""
    if version < SQLITE_FLOOR:
        found, floor = (".".join(map(str, number)) for number in (version, SQLITE_FLOOR))
        raise NotAvailable(
            f"SQLite {found} is too old: {floor} or newer is needed",
            hint="use the Python of a newer distribution, or one built with a newer SQLite",
        )


def open_writer(path: Path, backups: Path, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> sqlite3.Connection:
    """Open, and make if it is not there, the database for writing; raise `StorageFailed` when it cannot be used."""
    check_sqlite()
    if _is_empty_file(path) and any(backups.glob("*.db")):
        # SQLite takes an empty file for a new database; with backups beside it, it is a lost one.
        raise StorageFailed(f"the database file is empty: {path}", hint=restore_hint(path, backups))
    connection: sqlite3.Connection | None = None
    try:
        connection = _connect(path, busy_timeout_ms)
        connection.execute(f"PRAGMA page_size={PAGE_SIZE_BYTES}")  # has to stand before WAL: it is ignored after
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        # Takes the write lock once, so that a read-only file is found now and not at the first request.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise translate(error, path, backups) from error
    if mode != "wal":
        connection.close()
        raise StorageFailed(f"{path} is on a file system without shared memory", hint="use a local disk")
    return connection


def _is_empty_file(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except OSError:
        return False  # SQLite says what is wrong with it


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a connection on which every attempt to write fails."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _connect(path: Path, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> sqlite3.Connection:
    # Connections move between threads, one thread at a time; transactions are ours, not the module's.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        connection.execute(f"PRAGMA busy_timeout={busy_timeout_ms}")
        connection.execute("PRAGMA cache_size=-16000")  # kB; reads the file, and fails where that is damaged
    except sqlite3.Error:
        connection.close()
        raise
    return connection
