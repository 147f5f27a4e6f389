"""Brings the packages of a folder of this host into the staging area: an existing PKGDIR, or another binary host's."""

import hashlib
import os
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import trio
from attrs import define, field

from appliance.plugin import ApplianceError, BadInput

from .names import SUFFIX
from .staging import Staging

FILES_MAX: Final = 200_000
SKIPPED_MAX: Final = 100
"""So many that were not taken are told one by one."""
_CHUNK_BYTES: Final = 1 << 20


@define(kw_only=True)
class Imported:
    """What became of a folder."""

    taken: int = 0
    known: int = 0
    """Were staged already, as they are."""
    skipped: int = 0
    reasons: list[tuple[str, str]] = field(factory=list)
    """Path and reason of the first that were not taken."""


async def import_folder(staging: Staging, folder: Path, *, by: str) -> Imported:
    """Take every binary package below a folder in, by its path there; links are not followed.

    :raises BadInput: it is no folder that we can read, or has absurdly many files.
    """
    paths = await trio.to_thread.run_sync(_found, folder)
    done = Imported()
    for path in paths:
        try:
            is_new = await _import(staging, folder, path, by)
        except (ApplianceError, OSError) as error:
            done.skipped += 1
            if len(done.reasons) < SKIPPED_MAX:
                reason = error.message if isinstance(error, ApplianceError) else str(error.strerror)
                done.reasons.append((path, reason))
        else:
            done.taken += is_new
            done.known += not is_new
    return done


async def _import(staging: Staging, folder: Path, path: str, by: str) -> bool:
    with await trio.to_thread.run_sync(_opened, folder / path) as source:
        sha256 = await trio.to_thread.run_sync(_sha256, source)
        known = staging.store.staged_at(path)
        if known is not None and known.sha256 == sha256:
            return False
        source.seek(0)
        stored = await staging.put(path, _chunks(source), sha256=sha256, by=by, may_replace=lambda _: True)
    return stored.is_new


def _found(folder: Path) -> list[str]:
    if not folder.is_absolute() or not folder.is_dir():
        raise BadInput(f"{folder} is no folder of this host", field="path", hint="name a PKGDIR by its absolute path")
    paths = list(_walk(folder))
    return sorted(paths)


def _walk(folder: Path) -> Iterator[str]:
    count = 0
    for where, _, names in os.walk(folder):
        for name in names:
            count += 1
            if count > FILES_MAX:
                raise BadInput(f"{folder} has more than {FILES_MAX} files", field="path")
            if name.endswith(SUFFIX):
                yield Path(where, name).relative_to(folder).as_posix()


def _opened(path: Path) -> BinaryIO:
    # Not blocking: a pipe with nobody at its other end would keep a thread for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return open(descriptor, "rb")
    os.close(descriptor)
    raise BadInput("it is no regular file")


def _sha256(source: BinaryIO) -> str:
    digest = hashlib.sha256()
    while data := source.read(_CHUNK_BYTES):
        digest.update(data)
    return digest.hexdigest()


async def _chunks(source: BinaryIO) -> AsyncIterator[bytes]:
    while data := await trio.to_thread.run_sync(source.read, _CHUNK_BYTES):
        yield data
