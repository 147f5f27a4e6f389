"""Copies of the database: how one is made while it is in use, and how one takes the database's place."""

import os
import shlex
import sqlite3
from pathlib import Path


def restore_hint(path: Path, backups: Path) -> str:
    """Say how the newest backup in ``backups`` takes the place of the database ``path``, as one shell line."""
    newest = (
        max(backups.glob("*.db"), key=lambda file: file.stat().st_mtime, default=None) if backups.is_dir() else None
    )
    if newest is None:
        return f"there is no backup in {backups}; keep the file for repair, move it away and start with an empty one"
    return f"stop the appliance, then restore the newest backup from {backups}: {restore_command(path, newest)}"


def restore_command(path: Path, backup: Path) -> str:
    """Return the shell line that puts ``backup`` in the place of the database ``path``, keeping the old file."""
    # A log or index left beside a file that it does not belong to would be applied to it.
    old, wal, shm = f"{path}.broken", f"{path}-wal", f"{path}-shm"
    return (
        f"mv -- {shlex.quote(str(path))} {shlex.quote(old)} && rm -f -- {shlex.quote(wal)} {shlex.quote(shm)} && "
        f"cp -p -- {shlex.quote(str(backup))} {shlex.quote(str(path))}"
    )


def back_up(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the database of ``connection`` to ``target`` (mode 0600), which appears whole and on disk, or not at all.

    :raises OSError: the folder cannot be written.
    :raises sqlite3.Error: the disk is full, or the database cannot be read.
    """
    partial = target.with_suffix(".partial")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        copy = sqlite3.connect(partial)
        try:
            connection.backup(copy)
        finally:
            copy.close()
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def prune(folder: Path, pattern: str, *, kept: int, newest: Path) -> None:
    """Remove the oldest files that match ``pattern`` until ``kept`` are left; ``newest`` always stays."""
    others = [file for file in folder.glob(pattern) if file != newest]
    others.sort(key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for old in others[kept - 1 :]:
        old.unlink()
