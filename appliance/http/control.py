"""The control socket: how the command line on this host reaches the running appliance, as admin.

It is a unix socket of mode 0600 in a folder of mode 0700, and the uid of whoever connects is checked besides. It
serves the same edge as every listener.
"""

import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from appliance.data_folder import DataFolder
from appliance.listeners import UNIX_PATH_MAX_BYTES, bind_unix

NAME = "control.sock"
RECORD = "control"


@frozen
class ControlSocket:
    """The bound socket and where it is."""

    path: Path
    socket: socket.socket


@contextmanager
def control_socket(folder: DataFolder, environment: Mapping[str, str]) -> Iterator[ControlSocket]:
    """Bind the control socket, and take it away in the end.

    A path that is too long for a unix socket goes to a folder of our own in ``$XDG_RUNTIME_DIR``, else to a fresh
    temporary one; ``run/control`` in the data directory then says where.

    :raises CannotListen: it cannot be bound.
    """
    record = folder.run / RECORD
    record.unlink(missing_ok=True)
    path = folder.run / NAME
    shelter = None
    if len(os.fsencode(path)) > UNIX_PATH_MAX_BYTES:
        shelter = _shelter(environment)
        path = shelter / NAME
    bound = bind_unix(path)
    try:
        if shelter is not None:
            record.write_text(f"{path}\n", "utf-8")
        yield ControlSocket(path, bound)
    finally:
        bound.close()
        path.unlink(missing_ok=True)
        if shelter is not None:
            record.unlink(missing_ok=True)
            shelter.rmdir()


def _is_ours_alone(folder: str) -> bool:
    """Whether nobody else could move what we make in ``folder`` aside and put their own in its place."""
    try:
        found = os.lstat(folder)
    except (OSError, ValueError):
        return False
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return is_ours and os.access(folder, os.W_OK | os.X_OK)


def _shelter(environment: Mapping[str, str]) -> Path:
    """Make a folder of mode 0700 and a short name; never one of a fixed name that somebody could have planted."""
    base = environment.get("XDG_RUNTIME_DIR", "")
    usable = bool(base) and len(os.fsencode(base)) <= UNIX_PATH_MAX_BYTES // 2 and _is_ours_alone(base)
    return Path(tempfile.mkdtemp(prefix="appliance-", dir=base if usable else None))
