"""Names of Gentoo packages, and the paths that their binary packages have on a binary host.

The rules of names are those of the Package Manager Specification, 3.1 (names) and 3.2 (versions); the two layouts are
Portage's: ``CATEGORY/PN/PF-BUILDID.gpkg.tar`` with ``FEATURES=binpkg-multi-instance``, else
``CATEGORY/PF.gpkg.tar``.
"""

import re
from functools import lru_cache
from typing import Final

from attrs import frozen

from appliance.plugin import BadInput

SUFFIX: Final = ".gpkg.tar"
PATH_BYTES_MAX: Final = 512
_NAME_BYTES_MAX: Final = 255
BUILD_ID_MAX: Final = 999_999_999
_CATEGORY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+_.-]*")
_PACKAGE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+_-]*")
_VERSION: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*[a-z]?(?:_(?:pre|p|beta|alpha|rc)[0-9]*)*")
_REVISION: Final = re.compile(r"r[0-9]+")
_BUILD_ID: Final = re.compile(r"[1-9][0-9]{0,8}")
_LAYOUTS: Final = "CATEGORY/PN/PF-BUILDID.gpkg.tar or CATEGORY/PF.gpkg.tar"


@frozen(kw_only=True)
class PackagePath:
    """The path of a binary package, taken apart."""

    path: str
    category: str
    name: str
    """PN: without version."""
    pf: str
    """PN, version and revision."""
    build_id: int | None = None
    """``None`` in the layout without."""

    @property
    def cpv(self) -> str:
        """Category and PF, as indices name a package."""
        return f"{self.category}/{self.pf}"


def split_pf(pf: str) -> tuple[str, str] | None:
    """Return PN and version (with revision) of a PF; ``None`` for what is none."""
    parts = pf.split("-")
    # A revision is never alone: foo-r1 is a name without a version.
    start = len(parts) - (2 if len(parts) > 2 and _REVISION.fullmatch(parts[-1]) else 1)
    name, version = "-".join(parts[:start]), parts[start]
    if start < 1 or _VERSION.fullmatch(version) is None or not is_package_name(name):
        return None
    return name, "-".join(parts[start:])


def is_package_name(name: str) -> bool:
    """Whether a text may be a PN: it must not end as a version would."""
    if _PACKAGE.fullmatch(name) is None:
        return False
    head, separator, tail = name.rpartition("-")
    if separator and _REVISION.fullmatch(tail) and "-" in head:
        tail = head.rpartition("-")[2]
    return not (separator and _VERSION.fullmatch(tail))


def is_category(text: str) -> bool:
    """Whether a text may name a category."""
    return _CATEGORY.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def parse_path(path: str) -> PackagePath:
    """Take the path of a binary package apart.

    :raises BadInput: it is of neither layout, or a part of it breaks the rules of names.
    """
    found = _parsed(path)
    if found is None:
        raise BadInput(f"{path[:200]!r} is no path of a binary package", field="path", hint=f"send it to {_LAYOUTS}")
    return found


def _parsed(path: str) -> PackagePath | None:
    if not path.isascii() or len(path) > PATH_BYTES_MAX or not path.endswith(SUFFIX):
        return None
    parts = path[: -len(SUFFIX)].split("/")
    if len(parts) not in {2, 3} or any(len(part) > _NAME_BYTES_MAX - len(SUFFIX) for part in parts):
        return None
    category, last = parts[0], parts[-1]
    if not is_category(category):
        return None
    if len(parts) == 2:
        split = split_pf(last)
        return None if split is None else PackagePath(path=path, category=category, name=split[0], pf=last)
    pf, _, number = last.rpartition("-")
    split = split_pf(pf)
    if split is None or split[0] != parts[1] or _BUILD_ID.fullmatch(number) is None:
        return None
    return PackagePath(path=path, category=category, name=split[0], pf=pf, build_id=int(number))


def of_atom(atom: str) -> tuple[str, str, str | None] | None:
    """Return category, PN and PF (``None`` without a version) of an atom such as ``=dev-libs/openssl-3.2.0:0``.

    Operator, slot, repository and USE part are left out; ``None`` for what names no package.
    """
    text = atom.strip().lstrip("<>=~!").partition("[")[0].partition(":")[0]
    category, separator, rest = text.partition("/")
    if not separator or not is_category(category):
        return None
    split = split_pf(rest.rstrip("*"))
    if split is not None:
        return category, split[0], rest.rstrip("*")
    return (category, rest, None) if is_package_name(rest) else None
