"""Where a worker's command starts: a folder of its own that nobody else can look into."""

import os
import stat
from pathlib import Path

from .launching import Identity


def homes_beside(data: Path) -> Path:
    """Return where commands of other users have their folders: beside the data directory, which nobody else enters."""
    return data.with_name(f"{data.name}-workers")


def place(homes: Path, worker_id: str, identity: Identity) -> Path:
    """Return which folder is a worker's own; for another user it is another one."""
    return homes / f"{worker_id}.{identity.uid}"


def dwell(folder: Path, identity: Identity) -> None:
    """Make a worker's own folder, if it is not there: mode 0700, and its user's.

    It is kept when the worker goes: what lies in it belongs to those who used it.

    :param folder: of `place`; its parent is made too, for all to pass through where it is not for ourselves. Whether
        its user can get there is seen when the command starts: other folders above may keep it out.
    :raises OSError: it cannot be made, or something else has its name.
    """
    homes = folder.parent
    if not homes.exists():
        homes.mkdir(mode=0o700, parents=True)
    if not identity.is_own:
        _open(homes)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != identity.uid:
            raise NotADirectoryError(20, "is no folder of its user", str(folder)) from None
        return
    if not identity.is_own:
        try:
            os.chown(folder, identity.uid, identity.gid)  # nobody but us can write in homes: this is what was made
        except OSError:
            folder.rmdir()
            raise


def _open(homes: Path) -> None:
    """Let others pass through the folder of folders; a service manager keeps them out again at each of its starts."""
    found = homes.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise OSError(0, "is not a folder of ours alone", str(homes))
    if stat.S_IMODE(found.st_mode) != 0o711:
        homes.chmod(0o711)
