"""Removes folders that a hostile task has filled: of any depth, with any rights, full of links."""

import os
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

_TRASH: Final = ".doomed"


def remove_tree(folder: Path) -> None:
    """Remove a folder and all that is in it, following nothing; nothing happens when there is none.

    Every folder met is first moved up to one place, so that neither paths nor recursion grow with its depth. What
    cannot be removed (a file system is mounted on it) raises `OSError`.
    """
    if not os.path.lexists(folder):
        return
    if os.path.islink(folder) or not folder.is_dir():
        folder.unlink()
        return
    os.chmod(folder, 0o700)
    trash = folder / _TRASH
    with suppress(FileExistsError):
        os.mkdir(trash, 0o700)
    numbers = count()
    _empty(folder, trash, numbers, spare=_TRASH)
    while names := os.listdir(trash):
        for name in names:
            _empty(trash / name, trash, numbers)
            os.rmdir(trash / name)
    os.rmdir(trash)
    os.rmdir(folder)


def _empty(folder: Path, trash: Path, numbers: "count[int]", spare: str = "") -> None:
    """Remove what is in a folder, moving the folders in it to the trash."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if entry.name != spare]
    for name, is_folder in found:
        path = folder / name
        if not is_folder:
            os.unlink(path)
            continue
        os.chmod(path, 0o700)  # moving a folder changes its way up
        while True:
            target = trash / str(next(numbers))
            if not target.exists():  # of a removal that was interrupted
                break
        os.rename(path, target)
