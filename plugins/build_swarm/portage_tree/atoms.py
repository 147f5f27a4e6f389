"""What a dependency asks for, and whether a version is that (PMS 8.3)."""

import re
from functools import lru_cache
from typing import Final

from attrs import frozen

from . import versions

_ATOM: Final = re.compile(
    r"(?P<operator>[<>]=?|=|~)?"
    r"(?P<key>[A-Za-z0-9_][A-Za-z0-9+_.-]*/[A-Za-z0-9_][A-Za-z0-9+_-]*?)"
    rf"(?:-(?P<version>{versions.PATTERN})(?P<glob>\*)?)?"
    r"(?::(?P<slot>[A-Za-z0-9_][A-Za-z0-9+_.-]*)?(?:/[A-Za-z0-9+_.-]+)?[=*]?)?"
    r"(?:::[A-Za-z0-9_-]+)?(?:\[[^\[\]\s]*\])?"
)
ATOM_CHARACTERS: Final = 1_000


@frozen(kw_only=True)
class Wanted:
    """Packages of one name: those of some versions, in some slot."""

    key: str
    """category/name."""
    operator: str = ""
    """Empty: any version."""
    version: str = ""
    is_glob: bool = False
    """``=category/name-1.2*``: versions that begin with these components."""
    slot: str = ""
    """Empty: any."""

    def takes(self, version: str, slot: str | None) -> bool:
        """Whether that package is one; a slot that is not known (``None``) is no reason against it."""
        if self.slot and slot is not None and slot.partition("/")[0] != self.slot:
            return False
        if not self.operator:
            return True
        if self.is_glob:
            return version == self.version or (
                version.startswith(self.version) and not version[len(self.version)].isdigit()
            )
        if self.operator == "~":
            return versions.compare(_without_revision(version), _without_revision(self.version)) == 0
        found = versions.compare(version, self.version)
        return {"=": found == 0, ">=": found >= 0, "<=": found <= 0, ">": found > 0, "<": found < 0}[self.operator]


def _without_revision(version: str) -> str:
    return version.rpartition("-r")[0] or version


@lru_cache(maxsize=65_536)
def read(text: str) -> Wanted | None:
    """Return what an atom asks for, ``None`` for what is no atom; USE flags and repositories are passed over."""
    match = _ATOM.fullmatch(text) if len(text) <= ATOM_CHARACTERS else None
    if (
        match is None
        or bool(match["operator"]) != bool(match["version"])
        or (match["glob"] and match["operator"] != "=")
    ):
        return None
    if match["version"] and versions.read(match["version"]) is None:
        return None
    return Wanted(
        key=match["key"],
        operator=match["operator"] or "",
        version=match["version"] or "",
        is_glob=bool(match["glob"]),
        slot=match["slot"] or "",
    )
