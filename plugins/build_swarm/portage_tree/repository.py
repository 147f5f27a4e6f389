"""Reads one tree: its versions, what their cache says of them, and what the whole tree masks. Belongs into a thread."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from . import atoms, versions
from .atoms import Wanted

ENTRY_BYTES_MAX: Final = 1_048_576
MASK_BYTES_MAX: Final = 8_388_608
_NAME_VERSION: Final = re.compile(rf"(?P<name>[A-Za-z0-9_][A-Za-z0-9+_-]*?)-(?P<version>{versions.PATTERN})")
_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+_.-]*/[A-Za-z0-9_][A-Za-z0-9+_-]*")


@frozen(kw_only=True)
class Entry:
    """What the cache says of one version."""

    version: str
    slot: str
    keywords: tuple[str, ...]
    build: str
    """What must be there to build it."""
    run: str
    """What must be there for it to be of use."""


@define
class _Category:
    """The packages of one category, as of one state of its folder."""

    changed_ns: int
    versions: dict[str, list[str]]


@define(eq=False)
class Repository:
    """One tree; one thread at a time."""

    path: Path
    keywords: Sequence[str]
    """What drones accept: ``amd64``, ``~amd64`` (which takes stable ones too), ``*`` or ``**``."""
    _categories: dict[str, _Category] = field(factory=dict, init=False)
    _masks: tuple[tuple[int, ...], dict[str, list[Wanted]]] | None = field(default=None, init=False)

    @property
    def cache(self) -> Path:
        """The folder of the tree's metadata cache."""
        return self.path / "metadata" / "md5-cache"

    def best(self, wanted: Wanted) -> Entry | None:
        """Return the best visible version of what an atom asks for, ``None`` where there is none."""
        masks = self._masked().get(wanted.key, [])
        for version in sorted(self.versions(wanted.key), key=versions.order, reverse=True):
            if not wanted.takes(version, None):
                continue
            entry = self.entry(wanted.key, version)
            if entry is None or not wanted.takes(version, entry.slot) or not self._is_accepted(entry):
                continue
            if not any(mask.takes(version, entry.slot) for mask in masks):
                return entry
        return None

    def versions(self, key: str) -> list[str]:
        """Return every version of a package, in no order."""
        category, _, name = key.partition("/")
        if not _KEY.fullmatch(key):
            return []
        try:
            changed_ns = os.stat(self.cache / category).st_mtime_ns
            known = self._categories.get(category)
            if known is None or known.changed_ns != changed_ns:
                known = _Category(changed_ns, _listed(self.cache / category))
                self._categories[category] = known
        except OSError:
            return []
        return known.versions.get(name, [])

    def entry(self, key: str, version: str) -> Entry | None:
        """Return what the cache says of a version, ``None`` where it says nothing."""
        if not _KEY.fullmatch(key) or versions.read(version) is None:
            return None
        try:
            with (self.cache / f"{key}-{version}").open("rb") as opened:
                text = opened.read(ENTRY_BYTES_MAX).decode("utf-8", "replace")
        except OSError:
            return None
        said = dict(line.partition("=")[::2] for line in text.split("\n"))
        return Entry(
            version=version,
            slot=said.get("SLOT", "0"),
            keywords=tuple(said.get("KEYWORDS", "").split()),
            build=" ".join(said.get(name, "") for name in ("DEPEND", "BDEPEND", "IDEPEND")),
            run=said.get("RDEPEND", ""),
        )

    def _is_accepted(self, entry: Entry) -> bool:
        for accepted in self.keywords:
            if accepted == "**":
                return True
            for keyword in entry.keywords:
                is_testing, bare = keyword.startswith("~"), keyword.lstrip("~")
                if bare.startswith("-"):
                    continue
                if accepted.lstrip("~") in (bare, "*") and (accepted.startswith("~") or not is_testing):
                    return True
        return False

    def _masked(self) -> dict[str, list[Wanted]]:
        """Return what the tree masks for everybody, by category/name."""
        files = _mask_files(self.path / "profiles" / "package.mask")
        try:
            state = tuple(os.stat(file).st_mtime_ns for file in files)
        except OSError:
            return {}
        if self._masks is None or self._masks[0] != state:
            found: dict[str, list[Wanted]] = {}
            for line in _lines(files):
                wanted = atoms.read(line)
                if wanted is not None:
                    found.setdefault(wanted.key, []).append(wanted)
            self._masks = (state, found)
        return self._masks[1]


def _listed(folder: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _NAME_VERSION.fullmatch(entry.name)
            if match is not None and versions.read(match["version"]) is not None:
                found.setdefault(match["name"], []).append(match["version"])
    return found


def _mask_files(path: Path) -> list[Path]:
    """Return the file, or those of a folder of that name (PMS 5.2.5)."""
    if path.is_dir():
        return sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
    return [path] if path.is_file() else []


def _lines(files: Sequence[Path]) -> Iterator[str]:
    for file in files:
        with file.open("rb") as opened:
            text = opened.read(MASK_BYTES_MAX).decode("utf-8", "replace")
        for line in text.split("\n"):
            bare = line.partition("#")[0].strip()
            if bare:
                yield bare
