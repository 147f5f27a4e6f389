"""The binary packages of a build: those that came or changed, and the package's own."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from .models import plain

SUFFIX: Final = ".gpkg.tar"
DEPTH: Final = 3
"""CATEGORY/NAME/FILE, or CATEGORY/FILE without binpkg-multi-instance."""
FILES_MAX: Final = 500
PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+_.-]{0,62}(?:/[A-Za-z0-9_][A-Za-z0-9+_.-]{0,190}){1,2}")
READ_BYTES: Final = 1_048_576

Packages = Mapping[str, tuple[int, int, int]]
"""Paths below the folder of packages, with inode, size and time of change: as good as their contents."""


def packages(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return every binary package below a folder; none where there is no folder."""
    return {
        path: (state.st_ino, state.st_size, state.st_mtime_ns)
        for path, state in _files(folder, "", DEPTH)
        if PATH.fullmatch(path)
    }


def _files(folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, os.stat_result]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if depth > 1 and entry.is_dir(follow_symlinks=False):
                    yield from _files(folder / entry.name, f"{prefix}{entry.name}/", depth - 1)
                elif entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                    yield prefix + entry.name, entry.stat(follow_symlinks=False)
    except OSError:
        return


def to_upload(before: Packages, after: Packages, atom: str) -> tuple[str, ...]:
    """Return what a build is to upload, the package itself first: it may have been there before (``--usepkg``)."""
    own = own_package(after, atom)
    new = sorted(path for path, state in after.items() if before.get(path) != state and path != own)
    return ((own,) if own else ()) + tuple(new[:FILES_MAX])


def own_package(found: Packages, atom: str) -> str | None:
    """Return the newest binary package of a versioned atom, by its build id; ``None`` for one without a version."""
    category, _, version = plain(atom).partition(":")[0].partition("/")
    own = re.compile(rf"{re.escape(category)}/(?:[^/]+/)?{re.escape(version)}(?:-([0-9]{{1,9}}))?{re.escape(SUFFIX)}")
    matches = {path: match for path in found if (match := own.fullmatch(path))}
    newest = max(matches, key=lambda path: (found[path][2], int(matches[path][1] or 0)), default=None)
    is_versioned = re.search(r"-[0-9]", version) is not None
    return newest if is_versioned else None


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; raise `OSError`."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
