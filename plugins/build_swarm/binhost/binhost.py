"""The binary host as a whole: its areas, who may upload what, and whether a build has left its package here."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import trio
from attrs import define, frozen

from appliance.plugin import Caller, Database, File, Kind, NotFound, Now

from ..binhost_settings import BinhostSettings
from ..states import Drone, Package
from . import requirement
from .index import PACKAGES, PACKED
from .models import Release
from .names import PackagePath
from .objects import Objects
from .publishing import Index, Indices
from .releases import Releases
from .staging import Staging, Stored
from .store import BinhostStore

_INDEX_TYPES: Final = {PACKAGES: "text/plain; charset=utf-8", PACKED: "application/gzip"}
PACKAGE_TYPE: Final = "application/vnd.gentoo.gpkg"
PORTAGE_ADDS_SECONDS: Final = 5
"""What Portage adds to the time of its copy of an index before it asks whether ours is newer: two of ours may be made
within that time, and the second must not look like the first."""
OPERATOR: Final = "operator:"
"""What stands before the name of a person who has uploaded; no drone's name has a colon."""

Assigned = Callable[[str], list[str]]
"""Returns the atoms that are delegated to the drone of a name."""


@frozen(kw_only=True)
class BinhostFigures:
    """How much there is."""

    staged: int
    staged_bytes: int
    releases: int
    current: Release | None
    used_bytes: int
    """Of all distinct files together."""
    free_bytes: int
    """What the disk has left."""


@define(eq=False, kw_only=True)
class Binhost:
    """Everything below the plugin's folder ``binhost``; also the service that opens and publishes it."""

    store: BinhostStore
    staging: Staging
    releases: Releases
    indices: Indices
    assigned: Assigned

    @classmethod
    def make(
        cls, folder: Path, *, database: Database, now: Now, settings: BinhostSettings, assigned: Assigned
    ) -> "Binhost":
        """Put the parts together; nothing is read or written yet.

        :param folder: where everything lies; it need not exist.
        """
        store = BinhostStore(database)
        indices = Indices(folder / "index", lambda: now() // 1_000_000)
        staging = Staging(store=store, objects=Objects(folder), indices=indices, settings=settings, now=now)
        releases = Releases(
            folder=folder / "releases", store=store, staging=staging, indices=indices, settings=settings, now=now
        )
        return cls(store=store, staging=staging, releases=releases, indices=indices, assigned=assigned)

    @property
    def name(self) -> str:
        """How the service is called."""
        return "binhost"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open what is on disk, then publish what changes until cancelled."""
        await trio.to_thread.run_sync(self.staging.objects.open)
        await trio.to_thread.run_sync(self.indices.open)
        await self.releases.open()
        self.staging.used_bytes = await self.store.used_bytes()
        await self.staging.run(task_status=task_status)

    # ------------------------------------------------------------ uploads

    async def upload(
        self, path: str, chunks: AsyncIterator[bytes], *, sha256: str, caller: Caller, expected_bytes: int = 0
    ) -> Stored:
        """Take a package in from a drone or an operator; see `Staging.put`."""
        is_drone = caller.kind is Kind.DRONE
        by = caller.subject if is_drone else OPERATOR + (caller.name or caller.kind.value)

        def may_replace(wanted: PackagePath) -> bool:
            return not is_drone or any(requirement.is_meant(atom, wanted) for atom in self.assigned(by))

        return await self.staging.put(
            path, chunks, sha256=sha256, by=by, may_replace=may_replace, expected_bytes=expected_bytes
        )

    # ------------------------------------------------------------ what is served

    def staged_file(self, path: str) -> File:
        """Return the index of the staging area, or a package of it; raise `NotFound`."""
        if path in _INDEX_TYPES:
            return _index_file(self.staging.current().index.folder, path)
        return _package_file(self.staging.file(path))

    def release_file(self, version: str, path: str) -> File:
        """Return the index of a release, or a package of it; raise `NotFound`."""
        release = self.store.release(version)
        folder = self.releases.path(release.version)
        if path in _INDEX_TYPES:
            return _index_file(folder, path)
        if not self.store.release_has(version, path):
            raise NotFound("binary package", path[:200])
        return _package_file(folder / path)

    def current_file(self, path: str) -> File:
        """Return the index of the current release, or a package of it; raise `NotFound`."""
        index: Index | None = self.releases.index
        if index is None:
            raise NotFound("release", "current", hint="promote one: appliance swarm release promote VERSION")
        if path in _INDEX_TYPES:
            return _index_file(index.folder, path)
        return self.release_file(index.label, path)

    # ------------------------------------------------------------ what is known

    def missing(self, package: Package, drone: Drone) -> str | None:
        """Return why a build counts as without its binary, ``None`` when it does not; see `requirement`."""
        return requirement.missing(package.atom, package.queued_unix_us, self.store.newest_upload)

    async def figures(self) -> BinhostFigures:
        """Return how much there is."""
        staged, staged_bytes = await self.store.staged_figures()
        releases = await self.store.releases()
        return BinhostFigures(
            staged=staged,
            staged_bytes=staged_bytes,
            releases=len(releases),
            current=next((one for one in releases if one.is_current), None),
            used_bytes=self.staging.used_bytes,
            free_bytes=await trio.to_thread.run_sync(_free_bytes, self.staging.objects.folder),
        )


def _index_file(folder: Path, name: str) -> File:
    return File(path=folder / name, content_type=_INDEX_TYPES[name], since_seconds=PORTAGE_ADDS_SECONDS)


def _package_file(path: Path) -> File:
    return File(path=path, content_type=PACKAGE_TYPE)


def _free_bytes(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize
