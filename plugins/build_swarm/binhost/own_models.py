"""What our own API says of the binary host."""

from attrs import field, frozen
from attrs.validators import and_, ge, le, max_len
from msgspec import Struct

from appliance.plugin import to_unix_s

from .binhost import BinhostFigures
from .models import Binary, Difference, Release, shown

NOTES_CHARACTERS = 2000
VERSION_CHARACTERS = 80
PATH_CHARACTERS = 4096
PAGE_MAX = 1000


@frozen(kw_only=True)
class NewRelease:
    """A release to be made of what is staged."""

    version: str = field(default="", validator=max_len(VERSION_CHARACTERS))
    """Empty: of the date."""
    notes: str = field(default="", validator=max_len(NOTES_CHARACTERS))
    promote: bool = False
    """Make it the current one at once."""


@frozen(kw_only=True)
class Rollback:
    """Where to go back to."""

    version: str = field(default="", validator=max_len(VERSION_CHARACTERS))
    """Empty: the one that was promoted last before the current one, and is not archived."""


@frozen(kw_only=True)
class ImportFolder:
    """A folder of this host whose packages are to be staged."""

    path: str = field(validator=max_len(PATH_CHARACTERS))


@frozen(kw_only=True)
class PageQuery:
    """Which part of a list."""

    limit: int = field(default=200, validator=and_(ge(1), le(PAGE_MAX)))
    cursor: str = field(default="", validator=max_len(PATH_CHARACTERS))
    """``next`` of the page before."""


class ReleaseItem(Struct, frozen=True, kw_only=True):
    """One release."""

    version: str
    state: str
    """``new``, ``current``, ``superseded`` or ``archived``."""
    notes: str
    packages: int
    size_bytes: int
    created_by: str
    created_unix_s: float
    promoted_unix_s: float | None
    archived_unix_s: float | None


class ReleasePage(Struct, frozen=True, kw_only=True):
    """Every release, newest first."""

    items: tuple[ReleaseItem, ...]
    next: None = None


class BinaryItem(Struct, frozen=True, kw_only=True):
    """One binary package."""

    path: str
    cpv: str
    build_id: int | None
    sha256: str
    size_bytes: int
    uploaded_by: str
    """Name of a drone, or ``operator:NAME``."""
    uploaded_unix_s: float
    is_signed: bool


class BinaryPage(Struct, frozen=True, kw_only=True):
    """Packages by path; ``next`` is the ``cursor`` of the page that follows."""

    items: tuple[BinaryItem, ...]
    next: str | None


class UploadItem(Struct, frozen=True, kw_only=True):
    """What became of an upload."""

    package: BinaryItem
    is_new: bool
    """Whether this very file was not staged at this path before."""
    is_published: bool
    """Whether the index names it already; else it will in a moment."""


class ChangedItem(Struct, frozen=True, kw_only=True):
    """A package of which two releases have different builds."""

    package: str
    before: tuple[str, ...]
    after: tuple[str, ...]


class DifferenceItem(Struct, frozen=True, kw_only=True):
    """What sets one release apart from another."""

    before: str
    after: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[ChangedItem, ...]
    unchanged_count: int


class ImportItem(Struct, frozen=True, kw_only=True):
    """What became of a folder's packages."""

    taken_count: int
    known_count: int
    skipped_count: int
    skipped: tuple[tuple[str, str], ...]
    """Path and reason of the first hundred."""


class BinhostItem(Struct, frozen=True, kw_only=True):
    """The binary host at a glance."""

    staged_packages: int
    staged_bytes: int
    releases: int
    current: ReleaseItem | None
    used_bytes: int
    bytes_max: int | None
    """``null``: as much as the disk has."""
    free_bytes: int
    require_binary: bool
    problem: str | None


def release_item(release: Release) -> ReleaseItem:
    """Render a release."""
    return ReleaseItem(
        version=release.version,
        state=release.state,
        notes=release.notes,
        packages=release.packages,
        size_bytes=release.size_bytes,
        created_by=release.created_by,
        created_unix_s=to_unix_s(release.created_unix_us),
        promoted_unix_s=None if release.promoted_unix_us is None else to_unix_s(release.promoted_unix_us),
        archived_unix_s=None if release.archived_unix_us is None else to_unix_s(release.archived_unix_us),
    )


def binary_item(binary: Binary) -> BinaryItem:
    """Render a package."""
    return BinaryItem(
        path=binary.path,
        cpv=binary.cpv,
        build_id=binary.build_id,
        sha256=binary.sha256,
        size_bytes=binary.size_bytes,
        uploaded_by=binary.uploaded_by,
        uploaded_unix_s=to_unix_s(binary.uploaded_unix_us),
        is_signed=binary.is_signed,
    )


def binary_page(found: list[Binary], limit: int) -> BinaryPage:
    """Render a page of which one more than ``limit`` was asked for."""
    return BinaryPage(
        items=tuple(map(binary_item, found[:limit])), next=found[limit - 1].path if len(found) > limit else None
    )


def difference_item(found: Difference) -> DifferenceItem:
    """Render what sets two releases apart."""
    return DifferenceItem(
        before=found.before,
        after=found.after,
        added=tuple(map(shown, found.added)),
        removed=tuple(map(shown, found.removed)),
        changed=tuple(ChangedItem(package=one.cp, before=one.before, after=one.after) for one in found.changed),
        unchanged_count=found.unchanged,
    )


def binhost_item(figures: BinhostFigures, *, bytes_max: int, require_binary: bool, problem: str | None) -> BinhostItem:
    """Render the whole."""
    return BinhostItem(
        staged_packages=figures.staged,
        staged_bytes=figures.staged_bytes,
        releases=figures.releases,
        current=None if figures.current is None else release_item(figures.current),
        used_bytes=figures.used_bytes,
        bytes_max=bytes_max or None,
        free_bytes=figures.free_bytes,
        require_binary=require_binary,
        problem=problem,
    )
