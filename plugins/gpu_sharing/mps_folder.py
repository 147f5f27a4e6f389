"""Where an MPS control daemon keeps its pipe and its log: in directories that its own user alone can enter."""

import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from attrs import frozen

from .launching import Identity, as_user

log = structlog.get_logger(__name__)

SOCKET_PATH_BYTES: Final = 107
"""Of a Unix socket, without its end (unix(7))."""
LONGEST_SOCKET: Final = "control_privileged"
PARENT: Final = "appliance-mps"
LOGS: Final = ("control.log", "server.log")
LOG_BYTES: Final = 4 * 2**20
HELP_SECONDS: Final = 5.0
"""For what is done as a daemon's user."""


@frozen(kw_only=True)
class Folder:
    """The directories of one daemon."""

    base: Path
    """Ours; nobody else can put anything into it."""

    @property
    def pipe(self) -> Path:
        """Through which the daemon and its clients speak."""
        return self.base / "pipe"

    @property
    def log(self) -> Path:
        """What it writes down."""
        return self.base / "log"

    def remove(self) -> None:
        """Take the directories away; what cannot be removed is said."""
        try:
            _remove(self)
        except OSError as error:
            log.warning("mps.folder_not_removed", folder=str(self.base), reason=str(error))


def make_folder(key: str, identity: Identity, *, own: Path, run: Path, instance: str) -> Folder:
    """Make a daemon's directories anew, each 0700 and its user's.

    :param own: the folder for daemons of our own user; one of another user, which cannot enter it, has its directories
        below ``run``, and so has one whose path would be too long for a socket.
    :raises OSError: they cannot be made, or something that is not ours is in their place.
    """
    folder = Folder(base=own / key)
    if not identity.is_own or _is_too_long(folder):
        folder = Folder(base=_parent(run, instance) / key)
        for parent in (folder.base.parent.parent, folder.base.parent):
            _make_parent(parent)
    if _is_too_long(folder):
        raise OSError(0, "its path is too long for a socket", str(folder.base))
    _remove(folder)
    folder.base.mkdir(mode=0o711)
    folder.base.chmod(0o711)  # whatever the umask: its user passes through
    for path in (folder.pipe, folder.log):
        path.mkdir(mode=0o700)
        if not identity.is_own:
            os.chown(path, identity.uid, identity.gid, follow_symlinks=False)
    return folder


def clear(*, own: Path, run: Path, instance: str) -> None:
    """Take away what a run has left that was killed."""
    for parent in (own, _parent(run, instance)):
        if parent.is_dir() and not parent.is_symlink() and parent.lstat().st_uid == os.geteuid():
            for each in parent.iterdir():
                if each.is_dir() and not each.is_symlink():
                    Folder(base=each).remove()


def bound_logs(folder: Folder, identity: Identity) -> None:
    """Begin a daemon's logs anew that have become large: they may lie in memory.

    Their folder is its user's, who could have put a link there: only a plain file of that user is written to.
    """
    for name in LOGS:
        path = folder.log / name
        try:
            log_file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:  # as in `_remove`: its user may, and does no more than it could anyway
            if path.lstat().st_size > LOG_BYTES:
                _do_as(identity, ["truncate", "--no-create", "--size=0", str(path)])
            continue
        except OSError:  # there is none, or none of that kind
            continue
        try:
            found = os.fstat(log_file)
            is_plain = stat.S_ISREG(found.st_mode) and found.st_uid == identity.uid and found.st_nlink == 1
            if is_plain and found.st_size > LOG_BYTES:
                os.ftruncate(log_file, 0)
        finally:
            os.close(log_file)


def _remove(folder: Folder) -> None:
    """Take everything away, following no links, whatever the daemon's user has put there; raises `OSError`."""
    try:
        shutil.rmtree(folder.base)
    except FileNotFoundError:
        return
    except (PermissionError, RecursionError):
        # Root without the capability to pass over modes, as under the hardened unit, may not look into what is
        # another user's; and that user can have made a tree of any depth. Each empties its own.
        for path in (folder.pipe, folder.log):
            with suppress(FileNotFoundError):
                owner = path.lstat()
                if owner.st_uid != os.geteuid():
                    identity = Identity(uid=owner.st_uid, gid=owner.st_gid, home=Path("/"), is_own=False)
                    _do_as(identity, ["rm", "-rf", "--", str(path)])  # but for the directory itself, which is in ours
        shutil.rmtree(folder.base)


def _do_as(identity: Identity, argv: Sequence[str]) -> None:
    """Run a program of the system as a daemon's user; what it could not do is seen by what is left."""
    with suppress(subprocess.TimeoutExpired):
        subprocess.run(
            argv,
            check=False,
            timeout=HELP_SECONDS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            **as_user(identity),
        )


def _parent(run: Path, instance: str) -> Path:
    return run / PARENT / instance.replace("-", "")[:16]


def _is_too_long(folder: Folder) -> bool:
    return len(os.fsencode(folder.pipe / LONGEST_SOCKET)) > SOCKET_PATH_BYTES


def _make_parent(path: Path) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o711)
        path.chmod(0o711)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise OSError(0, "is not a directory of ours alone", str(path))
