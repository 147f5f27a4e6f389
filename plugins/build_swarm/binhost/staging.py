"""The staging area: what drones have uploaded since the beginning, checked, and published as one index.

An upload is acknowledged once its file and its row are durable. What clients see is the last publication: an index and
the files that it names, taken from one state of the rows and put in the place of the one before at once; so no index
ever names a file that is not there, nor one of another hash. Publications are made beside the loop, one for all that
has changed meanwhile, and from entries that were worked out when each package came.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, evolve, field, frozen

from appliance.plugin import ApplianceError, BadInput, Busy, NotFound, Now, StorageFailed

from ..binhost_settings import BinhostSettings
from .gpkg import read_gpkg
from .index import FileFacts, body_of_entries, entry_of, head_of, write_index
from .models import Binary
from .names import PackagePath, parse_path
from .objects import Objects
from .publishing import Index, Indices
from .receiving import Received, Room, receive
from .store import BinhostStore

log = structlog.get_logger(__name__)

AREA: Final = "staging"
PAUSE_SECONDS: Final = 0.2
"""Between two publications: under a flood of uploads one serves many."""
RETRY_SECONDS: Final = 5.0
READERS: Final = 2
"""Packages that are hashed and unpacked at once: each takes a core, and up to 26 MB for its metadata."""
STRAY_SECONDS: Final = 86_400.0


@frozen(kw_only=True)
class Published:
    """What clients see of the area."""

    index: Index
    files: Mapping[str, str]
    """Hashes by path."""


@frozen(kw_only=True)
class Stored:
    """What became of an upload."""

    binary: Binary
    is_new: bool
    """Whether the area did not have this very file at this path."""


@define(eq=False, kw_only=True)
class Staging:
    """The area; also the service that publishes it."""

    store: BinhostStore
    objects: Objects
    indices: Indices
    settings: BinhostSettings
    now: Now
    used_bytes: int = 0
    """Of all distinct files, those of releases included; see `Binhost`."""
    retry_seconds: float = RETRY_SECONDS
    """Until what could not be published is tried again."""
    published: Published | None = None
    problem: str | None = None
    """Why the last publication failed."""
    placing: trio.Lock = field(factory=trio.Lock)
    """Held while a file gets its place and its row, while files are removed, and while a release links to them."""
    _arriving_bytes: dict[object, int] = field(factory=dict, init=False)
    _readers: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(READERS), init=False)
    _changes: int = field(default=1, init=False)
    _shown: int = field(default=0, init=False)
    _changed: trio.Event = field(factory=trio.Event, init=False)
    _was_published: trio.Event = field(factory=trio.Event, init=False)
    _doomed: set[str] = field(factory=set, init=False)

    @property
    def name(self) -> str:
        """How the service is called."""
        return "binhost"

    # ------------------------------------------------------------ what comes in

    async def put(
        self,
        path: str,
        chunks: AsyncIterator[bytes],
        *,
        sha256: str,
        by: str,
        may_replace: Callable[[PackagePath], bool],
        expected_bytes: int = 0,
    ) -> Stored:
        """Take a package in; durable when it returns, visible with the next publication.

        :param sha256: what the sender says it is, in lower case.
        :param may_replace: asked once it has arrived: whether it may take the place of what somebody else has uploaded
            to this path.
        :param expected_bytes: how much will come, where that is known.
        :raises BadInput: the path, the hash or the package is wrong, or they do not agree.
        :raises Conflict: there is another file at this path, which it may not replace.
        :raises TooLarge: it is too large, or there is no room.
        """
        wanted = parse_path(path)
        token = object()
        try:
            room = partial(self._room, token)
            received = await receive(self.objects.incoming, chunks, room, expected_bytes=expected_bytes)
            try:
                return await self._keep(wanted, received, sha256=sha256, by=by, may_replace=may_replace)
            finally:
                received.partial.unlink(missing_ok=True)
        except OSError as error:
            raise StorageFailed(f"the binary host cannot store files: {error.strerror}") from error
        finally:
            self._arriving_bytes.pop(token, None)

    def _room(self, token: object, size: int) -> Room:
        self._arriving_bytes[token] = size
        budget = self.settings.binhost_bytes_max
        others = sum(self._arriving_bytes.values()) - size
        return Room(
            bytes_max=self.settings.binhost_package_bytes_max,
            free_bytes_min=self.settings.binhost_free_bytes_min,
            budget_bytes=max(0, budget - self.used_bytes - others) if budget else None,
        )

    async def _keep(
        self,
        wanted: PackagePath,
        received: Received,
        *,
        sha256: str,
        by: str,
        may_replace: Callable[[PackagePath], bool],
    ) -> Stored:
        if received.sha256 != sha256:
            raise BadInput(
                f"what arrived has the SHA-256 {received.sha256}, not {sha256}",
                field="X-Content-SHA256",
                hint="send the file again",
            )
        package = await trio.to_thread.run_sync(read_gpkg, received.partial, limiter=self._readers)
        _check_agrees(wanted, package.category, package.pf, package.build_id)
        now = self.now()
        facts = FileFacts(
            path=wanted.path,
            size_bytes=received.size_bytes,
            mtime_unix_s=now // 1_000_000,
            md5=received.md5,
            sha1=received.sha1,
        )
        binary = Binary(
            path=wanted.path,
            cpv=wanted.cpv,
            cp=f"{wanted.category}/{wanted.name}",
            build_id=package.build_id,
            sha256=sha256,
            size_bytes=received.size_bytes,
            uploaded_by=by,
            uploaded_unix_us=now,
            is_signed=package.is_signed,
        )
        entry_of(package, facts)  # before anything is kept: it may be refused
        async with self.placing:
            place = partial(self.objects.place, received.partial, sha256, mtime_unix_us=now)
            facts = evolve(facts, mtime_unix_s=await trio.to_thread.run_sync(place))
            before = await self._store(binary, entry_of(package, facts), wanted, may_replace)
        if before is not None and before.sha256 == sha256:
            return Stored(binary=evolve(before, uploaded_unix_us=now), is_new=False)
        return Stored(binary=binary, is_new=True)

    async def _store(
        self,
        binary: Binary,
        entry: str,
        wanted: PackagePath,
        may_replace: Callable[[PackagePath], bool],
    ) -> Binary | None:
        def committed(before: Binary | None) -> None:
            if before is not None and before.sha256 == binary.sha256:
                return
            self.used_bytes += binary.size_bytes
            if before is not None:
                self._doomed.add(before.sha256)
            self.touch()

        try:
            return await self.store.put(binary, entry, may_replace=may_replace(wanted), on_commit=committed)
        except ApplianceError:
            self._doomed.add(binary.sha256)  # goes if no row names it
            raise

    async def remove(self, path: str) -> Binary:
        """Take a package out of the area; releases keep theirs. Raises `NotFound`."""
        found = self.store.staged_at(path)
        if found is None:
            raise NotFound("staged package", path[:200])
        await self.drop([found])
        return found

    async def drop(self, binaries: list[Binary]) -> None:
        """Take packages out of the area."""
        hashes = {one.sha256 for one in binaries}

        def committed(_: int) -> None:
            self._doomed.update(hashes)
            self.touch()

        await self.store.drop(binaries, on_commit=committed)

    # ------------------------------------------------------------ what is seen

    def touch(self) -> None:
        """Have the area published again."""
        self._changes += 1
        self._changed.set()

    async def seen(self, *, within_seconds: float) -> bool:
        """Wait until all that has changed so far is published; ``False`` when that takes too long."""
        wanted = self._changes
        with trio.move_on_after(within_seconds):
            while self._shown < wanted:
                await self._was_published.wait()
        return self._shown >= wanted

    def current(self) -> Published:
        """Return what clients see; raise `Busy` while there is nothing yet."""
        if self.published is None:
            raise Busy("the binary host is starting", hint="try again in a moment")
        return self.published

    def file(self, path: str) -> Path:
        """Return where a published package lies; raise `NotFound`."""
        sha256 = self.current().files.get(path)
        if sha256 is None:
            raise NotFound("binary package", path[:200])
        return self.objects.path(sha256)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish what has changed, until cancelled."""
        await self._mend()
        await self._publish()
        task_status.started()
        while True:
            if self._shown >= self._changes:
                self._changed = trio.Event()
                await self._changed.wait()
            try:
                await self._publish()
                await self._tidy()
                self.problem = None
            except (OSError, ApplianceError) as error:
                self.problem = f"the index of the staging area cannot be written: {error}"
                log.exception("binhost.not_published")
                await trio.sleep(self.retry_seconds)
            await trio.sleep(PAUSE_SECONDS)

    async def _publish(self) -> None:
        covered = self._changes
        files: dict[str, str] = {}

        def write(count: int, rows: Iterator[tuple[Binary, str]]) -> Index:
            def entries() -> Iterator[str]:
                for binary, entry in rows:
                    files[binary.path] = binary.sha256
                    yield entry

            def fill(folder: Path, timestamp: int) -> None:
                head = head_of(packages=count, timestamp=timestamp, further=self.settings.binhost_header)
                write_index(folder, head, body_of_entries(entries()), timestamp=timestamp)

            return self.indices.make(AREA, fill)

        index = await self.store.with_entries(write)
        self.published = Published(index=index, files=files)
        self._shown = covered
        was_published, self._was_published = self._was_published, trio.Event()
        was_published.set()
        await trio.to_thread.run_sync(self.indices.forget_before, AREA, index)

    async def _tidy(self) -> None:
        """Remove files that no path leads to any more, and builds beyond those that are kept."""
        if self.settings.binhost_builds_kept:
            await self._drop_old_builds()
        if not self._doomed:
            return
        async with self.placing:
            doomed, self._doomed = self._doomed, set()
            doomed -= await self.store.named(doomed)
            # One that is gone from the rows, but not yet from what clients see, waits for the next publication.
            self._doomed |= doomed & set(self.current().files.values())
            await trio.to_thread.run_sync(self.objects.remove, doomed - self._doomed)
            self.used_bytes = await self.store.used_bytes()

    async def _drop_old_builds(self) -> None:
        kept: dict[str, int] = {}
        old = []
        for one in sorted(await self.store.staged(), key=lambda one: one.uploaded_unix_us, reverse=True):
            kept[one.cpv] = kept.get(one.cpv, 0) + 1
            if kept[one.cpv] > self.settings.binhost_builds_kept:
                old.append(one)
        if old:
            await self.drop(old)

    async def _mend(self) -> None:
        """Bring rows and files together after a start: whoever went down in between left one without the other."""
        async with self.placing:
            staged = await self.store.staged()
            sizes = {(one.sha256, one.size_bytes) for one in staged}
            gone = await trio.to_thread.run_sync(self.objects.missing, sizes)
            lost = [one for one in staged if one.sha256 in gone]
            for one in lost:
                log.error("binhost.file_lost", path=one.path, sha256=one.sha256)
            if lost:
                await self.store.drop(lost)
            old = self.now() / 1e6 - STRAY_SECONDS
            find = partial(self.objects.strays, {one.sha256 for one in staged}, older_than_unix_s=old)
            await trio.to_thread.run_sync(self.objects.remove, await trio.to_thread.run_sync(find))


def _check_agrees(wanted: PackagePath, category: str, pf: str, build_id: int | None) -> None:
    """Raise `BadInput` where a path and the package that is sent to it do not agree."""
    if (category, pf) != (wanted.category, wanted.pf):
        raise BadInput(
            f"this is {category[:100]}/{pf[:200]}, which does not belong at {wanted.path}",
            field="path",
            hint="send it to the path that Portage gave it below PKGDIR",
        )
    if wanted.build_id is not None and build_id is not None and build_id != wanted.build_id:
        raise BadInput(f"this is build {build_id}, which does not belong at {wanted.path}", field="path")
