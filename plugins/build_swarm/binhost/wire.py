"""Releases and their packages as the documented surfaces show them: the fields that the older server answers.

What we call a release's state, and what only we know, stands beside them under keys of its own.
"""

from collections.abc import Sequence
from typing import Any, Final

from ..wire.moments import seconds
from .models import Binary, Changed, Difference, Release, shown

MB: Final = 1_000_000
_STATUS: Final = {"new": "staging", "current": "active", "superseded": "archived", "archived": "archived"}
"""By our state. A release that another has taken the place of is archived to the older server, and can be promoted."""


def status(release: Release) -> str:
    """Return ``staging``, ``active`` or ``archived``: what can be done with a release, its page tells by this."""
    return "archived" if release.archived_unix_us is not None else _STATUS[release.state]


def release(found: Release) -> dict[str, Any]:
    """Return a release."""
    return {
        "version": found.version,
        "name": None,  # it has none but its version
        "status": status(found),
        "state": found.state,
        "is_current": found.is_current,
        "package_count": found.packages,
        "size_mb": size_mb(found),
        "size_bytes": found.size_bytes,
        "path": path(found),
        "notes": found.notes,
        "created_by": found.created_by,
        "created_at": seconds(found.created_unix_us),
        "promoted_at": seconds(found.promoted_unix_us),
        "archived_at": seconds(found.archived_unix_us),
    }


def done(found: Release, **more: Any) -> dict[str, Any]:
    """Return what is answered when something was done to a release."""
    return {
        "status": "ok",
        "version": found.version,
        "package_count": found.packages,
        "size_mb": size_mb(found),
        "path": path(found),
        "release": release(found),
        **more,
    }


def path(found: Release) -> str:
    """Return where Portage finds a release on this server; the older one names a folder of its disk."""
    return f"/api/appliance/binhost/releases/{found.version}"


def size_mb(found: Release) -> float:
    """Return the size of a release in megabytes."""
    return round(found.size_bytes / MB, 1)


def package(binary: Binary) -> dict[str, Any]:
    """Return a package: category, name and version apart, the number of the build behind the version."""
    category, _, name = binary.cp.partition("/")
    return {
        "category": category,
        "package": name,
        "version": _version(shown(binary), binary.cp),
        "cpv": binary.cpv,
        "build_id": binary.build_id,
        "path": binary.path,
        "size_bytes": binary.size_bytes,
        "sha256": binary.sha256,
        "built_by": binary.uploaded_by,
        "uploaded_at": seconds(binary.uploaded_unix_us),
    }


def difference(found: Difference) -> dict[str, Any]:
    """Return what sets two releases apart."""
    return {
        "from": found.before,
        "to": found.after,
        "added": [package(one) for one in found.added],
        "removed": [package(one) for one in found.removed],
        "changed": [_changed(one) for one in found.changed],
        "unchanged_count": found.unchanged,
        "summary": {
            "added": len(found.added),
            "removed": len(found.removed),
            "changed": len(found.changed),
            "unchanged": found.unchanged,
        },
    }


def _changed(found: Changed) -> dict[str, Any]:
    category, _, name = found.cp.partition("/")
    return {
        "category": category,
        "package": name,
        "from_version": _versions(found.before, found.cp),
        "to_version": _versions(found.after, found.cp),
        "from": found.before,
        "to": found.after,
    }


def _versions(builds: Sequence[str], cp: str) -> str:
    return ", ".join(_version(one, cp) for one in builds)


def _version(build: str, cp: str) -> str:
    return build[len(cp) + 1 :]
