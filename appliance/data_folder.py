"""The data directory: ours alone, made on first start, held by one process at a time."""

import fcntl
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

from appliance.errors import AlreadyRunning, ApplianceError

SUBFOLDERS = ("keys", "tls", "run", "cache", "files", "plugins", "plugin-data", "backups")


class FolderRefused(ApplianceError):
    """The data directory cannot be used safely: it is somebody else's, others can read it, or it cannot be made."""


@frozen
class DataFolder:
    """The data directory and what lies in it; made by `open_data_folder`."""

    path: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "appliance.db"

    @property
    def instance(self) -> Path:
        """The file with this host's id."""
        return self.path / "instance"

    @property
    def keys(self) -> Path:
        """Secret keys, one file each."""
        return self.path / "keys"

    @property
    def tls(self) -> Path:
        """The certificate made at first start."""
        return self.path / "tls"

    @property
    def run(self) -> Path:
        """What is there only while we run: the lock, the control socket."""
        return self.path / "run"

    @property
    def cache(self) -> Path:
        """What can be made again."""
        return self.path / "cache"

    @property
    def files(self) -> Path:
        """Files of tasks."""
        return self.path / "files"

    @property
    def plugins(self) -> Path:
        """Where plugins are dropped in."""
        return self.path / "plugins"

    @property
    def plugin_data(self) -> Path:
        """One folder per plugin."""
        return self.path / "plugin-data"

    @property
    def backups(self) -> Path:
        """Copies of the database."""
        return self.path / "backups"

    def instance_id(self) -> str:
        """Return this host's id, a UUID made at the first start; it is no machine-id, and copies of a disk share it.

        :raises FolderRefused: the file does not hold a UUID.
        """
        with suppress(FileExistsError):
            _write_new(self.instance, f"{uuid.uuid4()}\n".encode())
        text = self.instance.read_bytes()[:64].decode("ascii", "replace").strip()
        try:
            return str(uuid.UUID(text))
        except ValueError as error:
            raise FolderRefused(
                f"{self.instance} does not hold an id (a UUID)",
                hint="restore it from a backup; removing it makes this a new host in the inventory",
            ) from error


def open_data_folder(path: Path) -> DataFolder:
    """Make the data directory and its folders where they are missing, mode 0700.

    :raises FolderRefused: it is a link, belongs to another user, or others can get into it.
    """
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(path)
        for name in SUBFOLDERS:
            (path / name).mkdir(mode=0o700, exist_ok=True)
            _check(path / name)
        with suppress(FileExistsError):
            # SQLite would make it as the umask says, and gives the files beside it the same mode.
            os.close(os.open(path / "appliance.db", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise FolderRefused(
            f"the data directory {path} cannot be used: {error.strerror or error}",
            hint="choose another with --data-dir, or make it writable for the user the appliance runs as",
        ) from error
    return DataFolder(path)


@contextmanager
def lock_data_folder(folder: Path) -> Iterator[None]:
    """Hold the data directory ``folder`` for this process; the lock goes with the process, however it ends.

    :raises AlreadyRunning: another process holds it; the failure names its pid.
    """
    path = folder / "run" / "lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if not _try_lock(file):
            raise _already_running(folder, os.pread(file, 32, 0))
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        # The file stays: removing it would let two processes hold locks on two files of one name.
        yield
        os.ftruncate(file, 0)
    finally:
        os.close(file)


def holder_pid(folder: Path) -> int | None:
    """Return the pid of the process that holds the data directory ``folder``; ``None`` when none does, 0 if unknown."""
    try:
        file = os.open(folder / "run" / "lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid(os.pread(file, 32, 0))
    else:
        return None
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    for _ in range(10):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if _pid(os.pread(file, 32, 0)):
            return False
        time.sleep(0.02)  # no pid yet: a command that looks who holds it (`holder_pid`), or a start as young as ours
    return False


def _already_running(folder: Path, content: bytes) -> AlreadyRunning:
    pid = _pid(content)
    holder = f"process {pid}" if pid else "another process"
    return AlreadyRunning(
        f"the data directory {folder} is in use by {holder}",
        pid=pid,
        hint="stop that one first, or choose another directory with --data-dir",
    )


def task_folder(configured: str, folder: DataFolder) -> Path:
    """Return where logs and files of tasks are kept: ``configured``, made if need be, else below the data directory.

    :raises FolderRefused: it cannot be made, belongs to somebody else or is open to others.
    """
    if not configured:
        return folder.files
    path = Path(configured)
    hint = "[scheduler] files_folder, or CLOUDAI_FILES_DIR in the environment, says where files of tasks are kept"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(path)
    except FolderRefused as refused:
        raise FolderRefused(refused.message, hint=hint) from None
    except OSError as error:
        raise FolderRefused(f"{path} cannot be made: {error.strerror}", hint=hint) from None
    return path


def _pid(content: bytes) -> int:
    text = content.strip()
    return int(text) if text.isdigit() and len(text) <= 10 else 0


def _check(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise FolderRefused(f"{path} is not a directory (a link is not followed)")
    if found.st_uid != os.geteuid():
        raise FolderRefused(
            f"{path} belongs to user id {found.st_uid}, and the appliance runs as {os.geteuid()}",
            hint="run it as that user, or choose another directory with --data-dir",
        )
    if found.st_mode & 0o077:
        raise FolderRefused(
            f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o})", hint=f"chmod 700 {path}"
        )


def _write_new(path: Path, content: bytes) -> None:
    """Make ``path`` (mode 0600) with ``content``, whole or not at all; raise FileExistsError when it is there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    file = os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    try:
        os.write(file, content)
        os.fsync(file)
        os.link(partial, path)
    finally:
        os.close(file)
        partial.unlink(missing_ok=True)
