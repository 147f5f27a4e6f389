"""Where a worker's command starts: a folder of its own that nobody else can look into."""

import os
import stat
from pathlib import Path

from .identity import Identity
from .wanted import Wanted


def dwelling(homes: Path, wanted: Wanted, identity: Identity) -> str:
    """Return the folder in which a command starts, made if there is none.

    It is kept when the worker goes: what lies in it belongs to those who used it. Another user gets another folder.

    :raises OSError: it cannot be made, or something else has its name.
    """
    if wanted.command is not None and wanted.command.folder:
        return wanted.command.folder
    if not homes.exists():
        homes.mkdir(parents=True)
        homes.chmod(0o711)  # whatever the umask, which under systemd keeps all others out
    folder = homes / f"{wanted.worker_id}.{identity.uid}"
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        _check(folder, identity)
        return str(folder)
    try:
        if not identity.is_own:
            # Nobody but us can write in homes, so this is still what was made above.
            os.chown(folder, identity.uid, identity.gid)
    except OSError:
        folder.rmdir()
        raise
    return str(folder)


def _check(folder: Path, identity: Identity) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != identity.uid:
        raise NotADirectoryError(20, "is no folder of its user", str(folder))


def closed_above(homes: Path) -> str:
    """Return which folder above ``homes`` keeps other users out; empty when none does."""
    for folder in (homes, *homes.parents):
        try:
            if not folder.stat().st_mode & stat.S_IXOTH:
                return str(folder)
        except FileNotFoundError:
            continue
    return ""
