"""Releases: what was staged at one moment, kept as it was, and which of them is the current one.

A release is a folder as Portage's PKGDIR is one, index included: any other web server can serve it too. Its files are
hard links, so it takes no space of its own for what is still staged or in another release. It is made beside its place,
then renamed, then has its row: a folder without a row is what a crash in between has left, and goes at the next start.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, field

from appliance.plugin import BadInput, Conflict, Now

from ..binhost_settings import BinhostSettings
from .index import PACKAGES, body_of_entries, head_of, sync_folder, write_index
from .models import Binary, Difference, Release, checked_version, difference
from .publishing import Index, Indices, body_of
from .staging import Staging
from .store import BinhostStore, taken

log = structlog.get_logger(__name__)

AREA: Final = "current"
VERSIONS_A_DAY: Final = 10_000


@define(eq=False, kw_only=True)
class Releases:
    """All releases; one thing is done to them at a time."""

    folder: Path
    store: BinhostStore
    staging: Staging
    indices: Indices
    settings: BinhostSettings
    now: Now
    index: Index | None = None
    """Of the current release, at its stable address."""
    _working: trio.Lock = field(factory=trio.Lock, init=False)

    def path(self, version: str) -> Path:
        """Return the folder of a release."""
        return self.folder / version

    async def open(self) -> None:
        """Bring rows and folders together; make the index of the current release where it is missing."""
        known = {one.version for one in await self.store.releases()}
        gone = await trio.to_thread.run_sync(self._mend, known)
        for version in gone:
            log.error("binhost.release_lost", version=version)
        current = self.store.current()
        if current is not None and current.version not in gone:
            self.index = await trio.to_thread.run_sync(self._index, current)

    def _mend(self, known: set[str]) -> set[str]:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for path in self.folder.iterdir():
            if path.name not in known:
                shutil.rmtree(path, ignore_errors=True)
        return {version for version in known if not (self.path(version) / PACKAGES).is_file()}

    # ------------------------------------------------------------ what is done to them

    async def create(self, version: str, *, notes: str, by: str) -> Release:
        """Make a release of what is staged.

        :param version: empty for one that is made of the date.
        :raises BadInput: the version cannot be one, or nothing is staged.
        :raises Conflict: there is such a release.
        """
        async with self._working:
            version = checked_version(version) if version else self._next_version()
            if self.store.has_release(version):
                raise taken(version)
            binaries: list[Binary] = []
            async with self.staging.placing:  # no file goes while it is linked to
                await self.store.with_entries(partial(self._make, version, binaries))
            release = Release(
                version=version,
                notes=notes,
                packages=len(binaries),
                size_bytes=sum(one.size_bytes for one in binaries),
                created_by=by,
                created_unix_us=self.now(),
                promoted_unix_us=None,
                archived_unix_us=None,
                is_current=False,
            )
            with trio.CancelScope(shield=True):  # whoever is cancelled here could not know whether there is a row
                try:
                    await self.store.add_release(release, binaries)
                except BaseException:
                    await trio.to_thread.run_sync(self._remove, version)
                    raise
            return release

    def _make(self, version: str, binaries: list[Binary], count: int, rows: Iterator[tuple[Binary, str]]) -> None:
        if not count:
            raise BadInput("nothing is staged, so there is nothing to release", hint="upload packages first")
        unfinished = self.folder / f".{version}.partial"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o755)
        folders = {unfinished}

        def linked() -> Iterator[str]:
            for binary, entry in rows:
                target = unfinished / binary.path
                if target.parent not in folders:
                    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                    folders.update((target.parent, target.parent.parent))
                os.link(self.staging.objects.path(binary.sha256), target)
                binaries.append(binary)
                yield entry

        try:
            timestamp = self.indices.timestamp()
            head = head_of(packages=count, timestamp=timestamp, further=self.settings.binhost_header)
            write_index(unfinished, head, body_of_entries(linked()), timestamp=timestamp)
            for folder in folders:
                sync_folder(folder)
            shutil.rmtree(self.path(version), ignore_errors=True)
            unfinished.rename(self.path(version))
            sync_folder(self.folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    async def promote(self, version: str) -> Release:
        """Make a release the current one: what clients of the stable address get. Raises `NotFound`."""
        async with self._working:
            await self._set_current(self.store.release(version), is_promotion=True)
            await self._forget_old()
            return self.store.release(version)

    async def rollback(self, version: str = "") -> tuple[Release, Release]:
        """Go back to an earlier release; return the one that was current, and the one that is.

        :param version: empty for the one that was promoted last before the current one and is not archived.
        :raises Conflict: there is none to go back to.
        """
        async with self._working:
            before = self.store.current()
            if before is None:
                raise Conflict("no release is current, so there is none to go back from", hint="promote one")
            target = self.store.release(version) if version else await self._previous(before)
            if target.version == before.version:
                raise Conflict(f"release {version} is the current one already")
            await self._set_current(target, is_promotion=False)
            return before, self.store.release(target.version)

    async def _previous(self, current: Release) -> Release:
        until = current.promoted_unix_us or 0
        found = [
            one
            for one in await self.store.releases()
            if one.archived_unix_us is None and one.promoted_unix_us is not None and one.promoted_unix_us < until
        ]
        if not found:
            raise Conflict(
                f"no release was promoted before {current.version}", hint="name one: appliance swarm release rollback V"
            )
        return max(found, key=lambda one: one.promoted_unix_us or 0)

    async def archive(self, version: str, *, even_current: bool = False) -> Release:
        """Put a release aside: it is kept and served, but nobody goes back to it unasked, and it is the first to go.

        :param even_current: the current one too; clients get it until another is promoted.
        :raises Conflict: it is the current one.
        """
        async with self._working:
            await self.store.archive(version, now_unix_us=self.now(), even_current=even_current)
            return self.store.release(version)

    async def delete(self, version: str) -> Release:
        """Delete a release and what only it has; raise `Conflict` for the current one."""
        async with self._working:
            release = self.store.release(version)
            await self._delete(version)
            return release

    async def compare(self, before: str, after: str) -> Difference:
        """Return what sets two releases apart; raise `NotFound`."""
        for version in (before, after):
            self.store.release(version)
        old, new = await self.store.packages(before), await self.store.packages(after)
        return difference(before, after, old, new)

    # ------------------------------------------------------------ how

    async def _set_current(self, release: Release, *, is_promotion: bool) -> None:
        index = await trio.to_thread.run_sync(self._index, release)
        with trio.CancelScope(shield=True):
            await self.store.set_current(release.version, now_unix_us=self.now(), is_promotion=is_promotion)
        self.index = index
        await trio.to_thread.run_sync(self.indices.forget_before, AREA, index)

    def _index(self, release: Release) -> Index:
        """Make the index at the stable address: the release's own, but with a time that clients have not seen yet."""

        def fill(folder: Path, timestamp: int) -> None:
            head = head_of(packages=release.packages, timestamp=timestamp, further=self.settings.binhost_header)
            write_index(folder, head, body_of(self.path(release.version)), timestamp=timestamp)

        return self.indices.make(AREA, fill, label=release.version)

    async def _delete(self, version: str) -> None:
        with trio.CancelScope(shield=True):
            await self.store.delete(version)
            await trio.to_thread.run_sync(self._remove, version)
        async with self.staging.placing:  # no upload adds to it meanwhile
            self.staging.used_bytes = await self.store.used_bytes()

    def _remove(self, version: str) -> None:
        doomed = self.folder / f".{version}.gone"
        shutil.rmtree(doomed, ignore_errors=True)
        with suppress(FileNotFoundError):
            self.path(version).rename(doomed)  # at once: nobody gets half of a release
        shutil.rmtree(doomed, ignore_errors=True)

    async def _forget_old(self) -> None:
        """Delete what is beyond the number of releases that are kept; archived ones first, then the oldest."""
        kept = self.settings.binhost_releases_kept
        if not kept:
            return
        others = [one for one in await self.store.releases() if not one.is_current]
        others.sort(key=lambda one: (one.archived_unix_us is None, one.promoted_unix_us or one.created_unix_us))
        for one in others[: max(0, len(others) - kept)]:
            await self._delete(one.version)
            log.info("binhost.release_deleted", version=one.version, reason=f"binhost_releases_kept = {kept}")

    def _next_version(self) -> str:
        day = datetime.fromtimestamp(self.now() / 1e6, UTC).strftime("%Y.%m.%d")
        for number in range(1, VERSIONS_A_DAY):
            version = day if number == 1 else f"{day}-{number}"
            if not self.store.has_release(version):
                return version
        raise Conflict(f"there are {VERSIONS_A_DAY} releases of today", hint="give it a version")
