"""What the binary host thinks in."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import frozen

from appliance.plugin import BadInput

RESERVED: Final = frozenset({"current", "diff", "migrate", "rollback", "staging"})
"""Words that paths have in the place of a version."""
VERSION_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}"
_version: Final = re.compile(VERSION_PATTERN)


def checked_version(version: str) -> str:
    """Return ``version`` if a release may have it as its name; raise `BadInput`."""
    if _version.fullmatch(version) is None or version in RESERVED:
        raise BadInput(
            f"{version[:80]!r} cannot name a release",
            field="version",
            hint=f"1 to 64 letters, digits and . _ + -, not {', '.join(sorted(RESERVED))}",
        )
    return version


@frozen(kw_only=True)
class Binary:
    """One binary package of an area."""

    path: str
    """Relative to the area."""
    cpv: str
    cp: str
    """The package without its version."""
    build_id: int | None
    sha256: str
    size_bytes: int
    uploaded_by: str
    """Name of the drone, or what the person is called."""
    uploaded_unix_us: int
    """When it was last uploaded, the same file again included."""
    is_signed: bool
    """Whether its Manifest carries a signature; it is the installing host that checks it."""


@frozen(kw_only=True)
class Release:
    """A set of packages that never changes."""

    version: str
    notes: str
    packages: int
    size_bytes: int
    created_by: str
    created_unix_us: int
    promoted_unix_us: int | None
    """When it last became the current one by a promotion."""
    archived_unix_us: int | None
    is_current: bool

    @property
    def state(self) -> str:
        """In one word: ``current``, ``archived``, ``superseded`` (it was current), or ``new``."""
        if self.is_current:
            return "current"
        if self.archived_unix_us is not None:
            return "archived"
        return "new" if self.promoted_unix_us is None else "superseded"


@frozen(kw_only=True)
class Changed:
    """A package that two releases have in different builds."""

    cp: str
    before: tuple[str, ...]
    """Names with version, and with the build's number where there is one."""
    after: tuple[str, ...]


@frozen(kw_only=True)
class Difference:
    """What sets one release apart from another."""

    before: str
    after: str
    added: tuple[Binary, ...]
    """Packages of which the first had no build."""
    removed: tuple[Binary, ...]
    changed: tuple[Changed, ...]
    unchanged: int
    """Packages without versions of which both have the same builds."""


def difference(before: str, after: str, old: list[Binary], new: list[Binary]) -> Difference:
    """Compare two releases: by package, then by the hashes of its builds."""
    olds, news = _by_package(old), _by_package(new)
    both = sorted(olds.keys() & news.keys())
    changed = [cp for cp in both if {one.sha256 for one in olds[cp]} != {one.sha256 for one in news[cp]}]
    return Difference(
        before=before,
        after=after,
        added=_builds(news, news.keys() - olds.keys()),
        removed=_builds(olds, olds.keys() - news.keys()),
        changed=tuple(
            Changed(cp=cp, before=tuple(map(shown, olds[cp])), after=tuple(map(shown, news[cp]))) for cp in changed
        ),
        unchanged=len(both) - len(changed),
    )


def _builds(found: Mapping[str, list[Binary]], packages: Iterable[str]) -> tuple[Binary, ...]:
    return tuple(one for cp in sorted(packages) for one in found[cp])


def _by_package(binaries: list[Binary]) -> dict[str, list[Binary]]:
    found: dict[str, list[Binary]] = {}
    for one in sorted(binaries, key=lambda one: (one.cpv, one.build_id or 0)):
        found.setdefault(one.cp, []).append(one)
    return found


def shown(binary: Binary) -> str:
    """Name a build: ``dev-libs/openssl-3.2.0``, with ``-1`` behind it where builds are numbered."""
    return binary.cpv if binary.build_id is None else f"{binary.cpv}-{binary.build_id}"
