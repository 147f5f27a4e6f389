"""The release mirror: what lies in the plugin's folder ``releases``, each file beside its description.

A description is ``NAME.json`` of the fields of `Release`; `Releases.add` makes both. A file without one is not served:
nobody could say what it is for.
"""

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import structlog
import trio
from attrs import define, evolve, field, frozen
from attrs.validators import in_, matches_re

from appliance.plugin import BadInput, NotFound, TooLarge

log = structlog.get_logger(__name__)

FILES_PATH: Final = "/api/ecosystem/releases/files"
DESCRIPTION: Final = ".json"
TYPES: Final = ("vgpu-library", "remote-gpu-worker", "remote-gpu-client", "cli")
"""What clients look for; ``cli`` is their own program, which install commands fetch."""
OSES: Final = ("linux", "darwin", "windows")
ARCHES: Final = ("amd64", "arm64")
FILE_BYTES_MAX: Final = 8 * 2**30
RELEASES_MAX: Final = 1000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_VENDOR: Final = r"[a-z0-9][a-z0-9._-]{0,31}"
_VERSION: Final = r"[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}(?:-[0-9A-Za-z.-]{1,64})?"
_CHUNK_BYTES: Final = 1 << 20


@frozen(kw_only=True)
class Release:
    """One file of the mirror."""

    name: str = field(validator=matches_re(_NAME))
    vendor: str = field(validator=matches_re(_VENDOR))
    version: str = field(validator=matches_re(_VERSION))
    """As semver.org has it, without build metadata."""
    type: str = field(validator=in_(TYPES))
    os: str = field(default="linux", validator=in_(OSES))
    arch: str = field(default="amd64", validator=in_(ARCHES))
    sha256: str = field(validator=matches_re(r"[0-9a-f]{64}"))
    size_bytes: int
    added_unix_us: int

    @property
    def key(self) -> tuple[tuple[int, int, int], bool, tuple[tuple[int, int, str], ...]]:
        """Orders versions as semver.org, 11 does."""
        core, _, rest = self.version.partition("-")
        major, minor, patch = (int(part) for part in core.split("."))
        parts = tuple((0, int(one), "") if one.isdecimal() else (1, 0, one) for one in rest.split(".") if one)
        return (major, minor, patch), not rest, parts


@define(eq=False)
class Releases:
    """The folder, read once and again whenever it has changed."""

    folder: Path
    _seen: tuple[int, ...] = field(default=(), init=False)
    _found: dict[str, Release] = field(factory=dict, init=False)

    def all(self) -> list[Release]:
        """Return every release, newest version first."""
        self._look()
        return sorted(self._found.values(), key=lambda each: (each.key, each.added_unix_us, each.name), reverse=True)

    def named(self, name: str) -> tuple[Release, Path]:
        """Return a release and its file; raises `NotFound`."""
        self._look()
        found = self._found.get(name)
        if found is None:
            raise NotFound("release", name[:128], hint="appliance share release list")
        return found, self.folder / name

    def newest(self, type_: str, *, os_name: str = "linux", arch: str = "amd64") -> Release | None:
        """Return the newest release of a type for a system."""
        return next(
            (each for each in self.all() if (each.type, each.os, each.arch) == (type_, os_name, arch)),
            None,
        )

    async def add(self, source: Path, wanted: Release) -> Release:
        """Copy a file into the mirror; a release of the same name is replaced at once, never half.

        :param wanted: what to say of it; hash and size are found here.
        :raises BadInput: it is no file that can be read.
        """
        if len(self.all()) >= RELEASES_MAX and wanted.name not in self._found:
            raise TooLarge(f"the mirror has {RELEASES_MAX} files already", hint="remove those that nobody fetches")
        if wanted.name.endswith(DESCRIPTION):
            raise BadInput("a release is no .json: such files describe the others", field="$.name")
        return await trio.to_thread.run_sync(self._add, source, wanted)

    def _add(self, source: Path, wanted: Release) -> Release:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        partial = self.folder / f".{wanted.name}.partial"
        try:
            with _opened(source) as reader:
                digest, size = hashlib.sha256(), 0
                with open(partial, "wb") as writer:
                    while chunk := reader.read(_CHUNK_BYTES):
                        digest.update(chunk)
                        size += len(chunk)
                        writer.write(chunk)
                    writer.flush()
                    os.fsync(writer.fileno())
        except (OSError, ValueError) as error:  # the latter for a path with NUL
            partial.unlink(missing_ok=True)
            why = error.strerror if isinstance(error, OSError) else error
            raise BadInput(f"{source} cannot be read: {why}", field="$.path") from error
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        made = evolve(wanted, sha256=digest.hexdigest(), size_bytes=size)
        described = self.folder / (wanted.name + DESCRIPTION)
        # Without its description a file is not served: so a crash in between leaves nothing that is wrong.
        described.unlink(missing_ok=True)
        partial.replace(self.folder / wanted.name)
        text = self.folder / f".{wanted.name}{DESCRIPTION}.partial"
        text.write_bytes(msgspec.json.encode(made))
        text.replace(described)
        self._seen = ()
        return made

    def remove(self, name: str) -> None:
        """Take a release out of the mirror; raises `NotFound`."""
        _, path = self.named(name)
        (self.folder / (name + DESCRIPTION)).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        self._seen = ()

    def _look(self) -> None:
        try:
            seen = (self.folder.stat().st_mtime_ns,)
        except FileNotFoundError:
            seen = (0,)
        if seen == self._seen:
            return
        self._seen, self._found = seen, {}
        for path in sorted(self.folder.glob("*" + DESCRIPTION)) if self.folder.is_dir() else ():
            found = _read(path)
            if found is not None:
                self._found[found.name] = found


def described(
    *, name: str, vendor: str, version: str, type_: str, os_name: str, arch: str, added_unix_us: int
) -> Release:
    """Return what is said of a file before it is copied; raises `BadInput` for what cannot be said."""
    for field_name, text, pattern in (
        ("name", name, _NAME.pattern),
        ("vendor", vendor, _VENDOR),
        ("version", version, _VERSION),
    ):
        if re.fullmatch(pattern, text) is None:
            raise BadInput(f"$.{field_name}: {text[:64]!r} does not match {pattern}", field=f"$.{field_name}")
    return Release(
        name=name,
        vendor=vendor,
        version=version,
        type=type_,
        os=os_name,
        arch=arch,
        sha256="0" * 64,
        size_bytes=0,
        added_unix_us=added_unix_us,
    )


def _opened(source: Path) -> BinaryIO:
    # Not blocking: a pipe with nobody at its other end would keep a thread for ever.
    descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and os.fstat(descriptor).st_size <= FILE_BYTES_MAX:
        return open(descriptor, "rb")
    os.close(descriptor)
    raise BadInput(f"{source} is no file of at most {FILE_BYTES_MAX} bytes", field="$.path")


def _read(path: Path) -> Release | None:
    file = path.with_name(path.name.removesuffix(DESCRIPTION))
    try:
        release = msgspec.json.decode(path.read_bytes(), type=Release)
        is_whole = release.name == file.name and not file.is_symlink() and file.stat().st_size == release.size_bytes
    except (OSError, ValueError, TypeError, msgspec.MsgspecError) as error:
        log.warning("release.not_served", description=path.name, reason=str(error)[:200])
        return None
    if not is_whole:
        log.warning("release.not_served", description=path.name, reason="it does not describe the file beside it")
        return None
    return release


def shown(releases: list[Release], base_url: str, iso: Any) -> list[dict[str, Any]]:
    """Return releases as clients read them, each of its version with its files.

    :param releases: newest first.
    :param iso: writes a moment as clients read it.
    """
    latest: set[tuple[str, str]] = set()
    items: list[dict[str, Any]] = []
    for release in releases:
        first = (release.vendor, release.type) not in latest
        latest.add((release.vendor, release.type))
        items.append(
            {
                "id": release.sha256[:16],
                "vendor": {"slug": release.vendor, "name": release.vendor.upper()},
                "version": release.version,
                "releaseType": release.type,
                "releaseDate": iso(release.added_unix_us),
                "artifacts": [
                    {
                        "cpuArch": release.arch,
                        "os": release.os,
                        "url": f"{base_url}{FILES_PATH}/{release.name}",
                        "sha256": release.sha256,
                        "metadata": {"type": release.type, "size": str(release.size_bytes)},
                    }
                ],
                "requirements": {},
                "isLatest": first,
            }
        )
    return items
