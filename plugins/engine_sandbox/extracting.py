"""Unpacks the tar archive of a root file system from anybody's hands into a folder, and never outside it.

What comes out belongs to us, is readable for every user, and has no special rights: a task sees it read-only, as
another user. Links are made as they are, and never followed: what is below one is refused. Devices and FIFOs are left
out, since a task has its own ``/dev``.
"""

import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Final

from attrs import define, field, frozen

from appliance.plugin import BadInput

HEADER_BYTES_MAX: Final = 1 << 20
"""Of the extended headers, which are read into memory at one go."""
PATH_BYTES_MAX: Final = 4095
DEPTH_MAX: Final = 64
CHUNK_BYTES: Final = 1 << 20
FOLDERS: Final = ("proc", "dev", "sys", "run", "tmp", "var/tmp", "input", "output", "volumes")
"""Where something is mounted in every sandbox: real folders, made when the archive lacks them."""
_OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@frozen(kw_only=True)
class Caps:
    """How much an archive may hold."""

    bytes_max: int
    entries_max: int = 2_000_000


@frozen(kw_only=True)
class Extracted:
    """What came out of an archive."""

    files: int
    bytes: int
    left_out: int
    """Devices, FIFOs and sockets."""


class _BoundedHeader(tarfile.TarInfo):
    """Refuses headers that would fill the memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:  # the one seam for all kinds of headers
        extended = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        if self.type in (*extended, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK) and (
            not 0 <= self.size <= HEADER_BYTES_MAX
        ):
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found


def extract(source: IO[bytes], folder: str, caps: Caps, is_wanted: Callable[[], bool] = lambda: True) -> Extracted:
    """Unpack an archive, compressed or not, into a new and empty folder.

    :param is_wanted: asked before each entry; once it says no, this ends with `BadInput`.
    :raises BadInput: it is no such archive, or holds what must not be.
    """
    root = os.open(folder, _OPEN_FOLDER)
    try:
        work = _Work(root=root, caps=caps)
        try:
            with tarfile.open(fileobj=source, mode="r|*", tarinfo=_BoundedHeader) as archive:
                for entry in archive:
                    if not is_wanted():
                        raise BadInput("given up")
                    archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                    work.take(archive, entry)
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            raise BadInput(f"this is no tar archive that can be read: {error}") from error
        except OSError as error:
            raise BadInput(f"it cannot be unpacked: {error.strerror or error}") from error
        work.finish()
        return Extracted(files=work.files, bytes=work.bytes, left_out=work.left_out)
    finally:
        os.close(root)


@define
class _Work:
    root: int
    caps: Caps
    files: int = field(default=0, init=False)
    bytes: int = field(default=0, init=False)
    left_out: int = field(default=0, init=False)
    entries: int = field(default=0, init=False)

    def take(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        """Make what one entry says."""
        self.entries += 1
        if self.entries > self.caps.entries_max:
            raise BadInput(f"it holds more than {self.caps.entries_max} entries")
        parts = _parts(entry.name)
        if not parts:
            return
        if entry.isdir():
            with self._parent([*parts, ""]):
                return
        if not (entry.isreg() or entry.issym() or entry.islnk()):
            self.left_out += 1
            return
        with self._parent(parts) as at:
            with suppress(FileNotFoundError):
                self._make_way(parts, at)
            if entry.issym():
                _checked_text(entry.linkname, entry.name)
                os.symlink(entry.linkname, parts[-1], dir_fd=at)
            elif entry.islnk():
                self._link(entry, parts, at)
            else:
                self._file(archive, entry, parts, at)

    def _make_way(self, parts: list[str], at: int) -> None:
        found = os.stat(parts[-1], dir_fd=at, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode):
            raise BadInput(f"{'/'.join(parts)} is a folder and something else")
        os.unlink(parts[-1], dir_fd=at)  # a later entry of one name replaces the earlier, as with tar itself

    def _link(self, entry: tarfile.TarInfo, parts: list[str], at: int) -> None:
        target = _parts(entry.linkname)
        if not target:
            raise BadInput(f"{entry.name} is linked with nothing")
        with self._parent(target, make=False) as source:
            found = os.stat(target[-1], dir_fd=source, follow_symlinks=False)
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
                raise BadInput(f"{entry.name} is linked with what is no file")
            os.link(target[-1], parts[-1], src_dir_fd=source, dst_dir_fd=at, follow_symlinks=False)

    def _file(self, archive: tarfile.TarFile, entry: tarfile.TarInfo, parts: list[str], at: int) -> None:
        self.bytes += entry.size
        if self.bytes > self.caps.bytes_max:
            raise BadInput(f"it holds more than {self.caps.bytes_max} bytes", hint="raise image_bytes_max")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(parts[-1], flags, 0o600, dir_fd=at)
        with open(fd, "wb") as target:
            content = archive.extractfile(entry)
            while content is not None and (chunk := content.read(CHUNK_BYTES)):
                target.write(chunk)
            target.flush()
            if os.fstat(fd).st_size != entry.size:
                raise BadInput(f"it ends within {entry.name}")
            os.fchmod(fd, 0o755 if entry.mode & 0o111 else 0o644)
            with suppress(OverflowError, OSError):
                os.utime(fd, (entry.mtime, entry.mtime))
        self.files += 1

    @contextmanager
    def _parent(self, parts: list[str], *, make: bool = True) -> Iterator[int]:
        """Open the folder that the last part is in, link by link refused, making what lacks."""
        at = os.dup(self.root)
        try:
            for number, part in enumerate(parts[:-1]):
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=at)
                        os.chmod(part, 0o755, dir_fd=at)  # noqa: S103 (whatever our umask)
                try:
                    below = os.open(part, _OPEN_FOLDER, dir_fd=at)
                except OSError as error:
                    where = "/".join(parts[: number + 1])
                    raise BadInput(f"{'/'.join(parts)} lies below {where}, which is no folder of it") from error
                os.close(at)
                at = below
            yield at
        finally:
            os.close(at)

    def finish(self) -> None:
        """Make the folders that every sandbox needs; refuse what is none."""
        for path in FOLDERS:
            with self._parent([*path.split("/"), ""]):
                continue
        for marker in ("manifest.json", "oci-layout"):
            with suppress(FileNotFoundError):
                os.stat(marker, dir_fd=self.root, follow_symlinks=False)
                raise BadInput(
                    "this is an image with its layers, not a root file system",
                    hint="docker create --name c IMAGE; docker export c | appliance image import NAME -",
                )


def _parts(name: str) -> list[str]:
    """Return the parts of a path in the archive; nothing leads out of it."""
    _checked_text(name, name)
    if name.startswith("/"):
        raise BadInput(f"{name!r} is absolute", hint="tar -C ROOTFS -cf FILE .")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise BadInput(f"{name!r} leads out of the archive")
    if len(parts) > DEPTH_MAX:
        raise BadInput(f"{name[:100]!r} is nested deeper than {DEPTH_MAX} folders")
    return parts


def _checked_text(text: str, name: Any) -> None:
    if "\0" in text or len(os.fsencode(text)) > PATH_BYTES_MAX:
        raise BadInput(f"the name {str(name)[:100]!r} is no path")
