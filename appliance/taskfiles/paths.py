"""Paths that come from outside: what is one of ours, and how it is opened without following a link."""

import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from appliance.errors import BadInput, NotFound

PART_BYTES_MAX: Final = 255
PATH_BYTES_MAX: Final = 1024
DEPTH_MAX: Final = 32
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def checked_path(path: str) -> tuple[str, ...]:
    """Return the parts of a relative path that stays below its folder.

    :raises BadInput: it is absolute, has ``..``, ``.``, empty or over-long parts, control characters or bytes that are
        no UTF-8, or is deeper than 32 folders.
    """
    wrong = _what_is_wrong(path)
    if wrong:
        raise BadInput(f"the path {wrong}", hint="name the file relative to its folder, such as results/out.txt")
    return tuple(path.split("/"))


def _what_is_wrong(path: str) -> str:
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return "is no UTF-8"
    parts = path.split("/")
    if not path:
        return "is empty"
    if path.startswith("/"):
        return "is absolute"
    if any(part in {"", ".", ".."} for part in parts):
        return "has an empty part, '.' or '..'"
    if _CONTROL.search(path):
        return "has control characters"
    if length > PATH_BYTES_MAX or any(len(part.encode()) > PART_BYTES_MAX for part in parts):
        return f"is longer than {PATH_BYTES_MAX} bytes, or a part of it than {PART_BYTES_MAX}"
    if len(parts) > DEPTH_MAX:
        return f"is deeper than {DEPTH_MAX} folders"
    return ""


def create(folder: Path, parts: Sequence[str], mode: int) -> int:
    """Make a new file below ``folder``, and the folders on its way; return its descriptor, open for writing.

    :raises OSError: it is there already, or something on its way is no folder.
    """
    at = os.open(folder, _FOLDER)
    try:
        for part in parts[:-1]:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=at)
                os.chmod(part, mode | (mode & 0o444) >> 2, dir_fd=at)  # whatever the umask
            below = os.open(part, _FOLDER, dir_fd=at)
            os.close(at)
            at = below
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made = os.open(parts[-1], flags, 0o600, dir_fd=at)
        os.fchmod(made, mode)
        return made
    finally:
        os.close(at)


def regular(folder: Path, parts: Sequence[str]) -> tuple[Path, os.stat_result]:
    """Return the path and state of a regular file below ``folder`` that no link leads to; raise `NotFound`."""
    descriptors: list[int] = []
    try:
        descriptors.append(os.open(folder, _FOLDER))
        for part in parts[:-1]:
            descriptors.append(os.open(part, _FOLDER, dir_fd=descriptors[-1]))
        state = os.stat(parts[-1], dir_fd=descriptors[-1], follow_symlinks=False)
    except OSError:
        raise NotFound("file", "/".join(parts)) from None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    if not stat.S_ISREG(state.st_mode):
        raise NotFound("file", "/".join(parts))
    return folder.joinpath(*parts), state
