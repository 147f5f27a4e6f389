"""Turns what SQLite says into failures a caller can act on."""

import sqlite3
from pathlib import Path

from appliance.backups import restore_hint
from appliance.errors import ApplianceError, BadInput, Busy, StorageFailed, TooLarge

_FULL_HINT = "free space on that file system; writes work again as soon as there is some"
_READ_ONLY_HINT = "make the file, its folder and its file system writable for the user the appliance runs as"
_IO_HINT = "look at the kernel log (dmesg) for this disk"
_MEMORY_HINT = "the host or this process has run out of memory"


def is_storage_error(error: BaseException) -> bool:
    """Whether the disk, the file or memory is at fault, and not what the caller asked for."""
    return isinstance(error, sqlite3.Error) and _primary_code(error) in _STORAGE


def translate(error: BaseException, path: Path, backups: Path) -> BaseException:
    """Return the failure to raise for ``error``: one of ours where SQLite names a cause, else ``error`` itself."""
    if isinstance(error, ApplianceError):
        return error
    if isinstance(error, OverflowError) and "SQLite" in str(error):
        return BadInput("a number does not fit into 64 bits")
    if isinstance(error, UnicodeEncodeError):
        return BadInput("a text is not valid Unicode (it has half a surrogate pair)")
    if not isinstance(error, sqlite3.Error):
        return error
    code = _primary_code(error)
    if code == sqlite3.SQLITE_TOOBIG:
        return TooLarge("a text or blob is too large for the database")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy(f"another program holds a lock on {path}", hint="end it, or try again")
    if code not in _STORAGE:
        return error
    words, hint = _STORAGE[code]
    return StorageFailed(f"{words}: {path} ({error})", hint=hint or restore_hint(path, backups))


def _primary_code(error: BaseException) -> int:
    # Errors raised by the sqlite3 module itself (misuse) carry no code; extended codes keep the primary in 8 bits.
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else -1


# Code: what it means, what to do (empty: restore a backup).
_STORAGE = {
    sqlite3.SQLITE_FULL: ("the disk is full", _FULL_HINT),
    sqlite3.SQLITE_IOERR: ("the disk failed to read or write", _IO_HINT),
    sqlite3.SQLITE_READONLY: ("the database cannot be written", _READ_ONLY_HINT),
    sqlite3.SQLITE_CANTOPEN: ("the database cannot be opened", _READ_ONLY_HINT),
    sqlite3.SQLITE_PERM: ("the database cannot be used", _READ_ONLY_HINT),
    sqlite3.SQLITE_NOMEM: ("out of memory", _MEMORY_HINT),
    sqlite3.SQLITE_PROTOCOL: ("the database's lock does not work on this file system", "use a local disk"),
    sqlite3.SQLITE_CORRUPT: ("the database file is damaged", ""),
    sqlite3.SQLITE_NOTADB: ("this is not a database file", ""),
}
