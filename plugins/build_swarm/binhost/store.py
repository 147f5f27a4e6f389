"""All SQL of the binary host."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from attrs import define

from appliance.plugin import Conflict, Database, NotFound

from .models import Binary, Release

T = TypeVar("T")

# The names of columns below are ours alone.
_COLUMNS: Final = "path, cpv, cp, build_id, sha256, size_bytes, uploaded_by, uploaded_unix_us, is_signed"
_RELEASE: Final = (
    "version, notes, packages, size_bytes, created_by, created_unix_us, promoted_unix_us, archived_unix_us, is_current"
)
PUT = """
INSERT INTO build_swarm_staged (
    path, cpv, cp, build_id, sha256, size_bytes, uploaded_by, stored_unix_us, uploaded_unix_us, is_signed, entry
) VALUES (
    :path, :cpv, :cp, :build_id, :sha256, :size_bytes, :uploaded_by, :stored_unix_us, :uploaded_unix_us, :is_signed,
    :entry
) ON CONFLICT (path) DO UPDATE SET
    cpv = excluded.cpv, cp = excluded.cp, build_id = excluded.build_id, sha256 = excluded.sha256,
    size_bytes = excluded.size_bytes, uploaded_by = excluded.uploaded_by, stored_unix_us = excluded.stored_unix_us,
    uploaded_unix_us = excluded.uploaded_unix_us, is_signed = excluded.is_signed, entry = excluded.entry"""
TOUCH = "UPDATE build_swarm_staged SET uploaded_unix_us = :uploaded_unix_us WHERE path = :path"
ONE = f"SELECT {_COLUMNS} FROM build_swarm_staged WHERE path = :path"  # noqa: S608
STAGED = f"SELECT {_COLUMNS} FROM build_swarm_staged ORDER BY path"  # noqa: S608
STAGED_PAGE = f"SELECT {_COLUMNS} FROM build_swarm_staged WHERE path > :after ORDER BY path LIMIT :limit"  # noqa: S608
ENTRIES = f"SELECT {_COLUMNS}, entry FROM build_swarm_staged ORDER BY cpv, build_id, path"  # noqa: S608
COUNT = "SELECT COUNT(*) FROM build_swarm_staged"
NAMED = "SELECT 1 FROM build_swarm_staged WHERE sha256 = :sha256 LIMIT 1"
STAGED_FIGURES = "SELECT COUNT(*), COALESCE(SUM(size_bytes), 0) FROM build_swarm_staged"
USED = """
SELECT COALESCE(SUM(size_bytes), 0) FROM (
    SELECT sha256, size_bytes FROM build_swarm_staged UNION SELECT sha256, size_bytes FROM build_swarm_release_package
)"""
NEWEST_OF_VERSION = "SELECT MAX(uploaded_unix_us) FROM build_swarm_staged WHERE cp = :cp AND cpv = :cpv"
NEWEST_OF_PACKAGE = "SELECT MAX(uploaded_unix_us) FROM build_swarm_staged WHERE cp = :cp"
DROP = "DELETE FROM build_swarm_staged WHERE path = :path AND sha256 = :sha256"
RELEASES = f"SELECT {_RELEASE} FROM build_swarm_release ORDER BY created_unix_us DESC, version DESC"  # noqa: S608
RELEASE = f"SELECT {_RELEASE} FROM build_swarm_release WHERE version = :version"  # noqa: S608
CURRENT = f"SELECT {_RELEASE} FROM build_swarm_release WHERE is_current = 1"  # noqa: S608
ADD_RELEASE = """
INSERT INTO build_swarm_release (version, notes, packages, size_bytes, created_by, created_unix_us)
VALUES (:version, :notes, :packages, :size_bytes, :created_by, :created_unix_us)"""
ADD_PACKAGE = f"""
INSERT INTO build_swarm_release_package (version, {_COLUMNS})
VALUES (:version, :path, :cpv, :cp, :build_id, :sha256, :size_bytes, :uploaded_by, :uploaded_unix_us, :is_signed)
"""  # noqa: S608
PACKAGES = f"SELECT {_COLUMNS} FROM build_swarm_release_package WHERE version = :version ORDER BY path"  # noqa: S608
PACKAGES_PAGE = f"""
SELECT {_COLUMNS} FROM build_swarm_release_package WHERE version = :version AND path > :after
 ORDER BY path LIMIT :limit"""  # noqa: S608
HAS = "SELECT 1 FROM build_swarm_release_package WHERE version = :version AND path = :path"
UNSET_CURRENT = "UPDATE build_swarm_release SET is_current = 0 WHERE is_current = 1 AND version <> :version"
SET_CURRENT = """
UPDATE build_swarm_release SET is_current = 1, archived_unix_us = NULL,
       promoted_unix_us = CASE WHEN :is_promotion THEN :now ELSE promoted_unix_us END
 WHERE version = :version"""
ARCHIVE = """
UPDATE build_swarm_release SET archived_unix_us = :now
 WHERE version = :version AND (is_current = 0 OR :even_current)"""
DELETE = "DELETE FROM build_swarm_release WHERE version = :version AND is_current = 0"


def _binary(row: sqlite3.Row | tuple[Any, ...]) -> Binary:
    path, cpv, cp, build_id, sha256, size_bytes, uploaded_by, uploaded_unix_us, is_signed = row
    return Binary(
        path=path,
        cpv=cpv,
        cp=cp,
        build_id=build_id,
        sha256=sha256,
        size_bytes=size_bytes,
        uploaded_by=uploaded_by,
        uploaded_unix_us=uploaded_unix_us,
        is_signed=bool(is_signed),
    )


def _release(row: sqlite3.Row | tuple[Any, ...]) -> Release:
    version, notes, packages, size_bytes, created_by, created, promoted, archived, is_current = row
    return Release(
        version=version,
        notes=notes,
        packages=packages,
        size_bytes=size_bytes,
        created_by=created_by,
        created_unix_us=created,
        promoted_unix_us=promoted,
        archived_unix_us=archived,
        is_current=bool(is_current),
    )


def _values(binary: Binary) -> dict[str, Any]:
    return {
        "path": binary.path,
        "cpv": binary.cpv,
        "cp": binary.cp,
        "build_id": binary.build_id,
        "sha256": binary.sha256,
        "size_bytes": binary.size_bytes,
        "uploaded_by": binary.uploaded_by,
        "uploaded_unix_us": binary.uploaded_unix_us,
        "is_signed": int(binary.is_signed),
    }


@define(eq=False)
class BinhostStore:
    """The rows."""

    database: Database

    # ------------------------------------------------------------ staging

    async def put(
        self, binary: Binary, entry: str, *, may_replace: bool, on_commit: Callable[[Binary | None], None]
    ) -> Binary | None:
        """Store what was uploaded; return what was there before.

        :param may_replace: whether it may take the place of another file that somebody else has uploaded.
        :raises Conflict: it may not.
        """

        def write(connection: sqlite3.Connection) -> Binary | None:
            row = connection.execute(ONE, {"path": binary.path}).fetchone()
            before = None if row is None else _binary(row)
            if before is not None and before.sha256 == binary.sha256:
                connection.execute(TOUCH, _values(binary))
                return before
            if before is not None and not may_replace and before.uploaded_by != binary.uploaded_by:
                raise Conflict(
                    f"{binary.path} is there already, from {before.uploaded_by}, and differs",
                    hint="the first one counts, until the package is given to you to build",
                )
            connection.execute(PUT, _values(binary) | {"entry": entry, "stored_unix_us": binary.uploaded_unix_us})
            return before

        return await self.database.write(write, on_commit=on_commit)

    async def staged(self) -> list[Binary]:
        """Return everything that is staged, by path."""
        return await self.database.read(lambda connection: [_binary(row) for row in connection.execute(STAGED)])

    def staged_at(self, path: str) -> Binary | None:
        """Return what is staged at a path, ``None`` when nothing is."""
        row = self.database.read_now(lambda connection: connection.execute(ONE, {"path": path}).fetchone())
        return None if row is None else _binary(row)

    async def named(self, hashes: Iterable[str]) -> set[str]:
        """Return those of some hashes that a staged path leads to."""
        wanted = [{"sha256": one} for one in hashes]
        return await self.database.read(
            lambda connection: {one["sha256"] for one in wanted if connection.execute(NAMED, one).fetchone()}
        )

    async def used_bytes(self) -> int:
        """Return the bytes of all distinct files, those of releases included."""
        return await self.database.read(lambda connection: int(connection.execute(USED).fetchone()[0]))

    async def staged_figures(self) -> tuple[int, int]:
        """Return how many packages are staged, and their bytes."""
        row = await self.database.read(lambda connection: connection.execute(STAGED_FIGURES).fetchone())
        return row[0], row[1]

    async def staged_page(self, *, after: str, limit: int) -> list[Binary]:
        """Return what is staged behind a path, by path."""
        values = {"after": after, "limit": limit}
        return await self.database.read(
            lambda connection: [_binary(row) for row in connection.execute(STAGED_PAGE, values)]
        )

    async def with_entries(self, use: Callable[[int, Iterator[tuple[Binary, str]]], T]) -> T:
        """Call ``use`` with the number of staged packages, and with each and its entry in the order of an index.

        All of one state, and in a reader's thread.
        """

        def read(connection: sqlite3.Connection) -> T:
            count = connection.execute(COUNT).fetchone()[0]
            return use(count, ((_binary(row[:-1]), row[-1]) for row in connection.execute(ENTRIES)))

        return await self.database.read(read)

    def newest_upload(self, cp: str, cpv: str | None) -> int | None:
        """Return when a package (of one version, or of any) was last uploaded."""
        statement = NEWEST_OF_PACKAGE if cpv is None else NEWEST_OF_VERSION
        values = {"cp": cp} if cpv is None else {"cp": cp, "cpv": cpv}
        row = self.database.read_now(lambda connection: connection.execute(statement, values).fetchone())
        found: int | None = row[0]
        return found

    async def drop(self, binaries: Iterable[Binary], *, on_commit: Callable[[int], None] = lambda _: None) -> int:
        """Take staged packages out, unless they have been replaced meanwhile; return how many were there."""
        wanted = [{"path": one.path, "sha256": one.sha256} for one in binaries]
        return await self.database.write(
            lambda connection: connection.executemany(DROP, wanted).rowcount, on_commit=on_commit
        )

    # ------------------------------------------------------------ releases

    async def releases(self) -> list[Release]:
        """Return every release, newest first."""
        return await self.database.read(lambda connection: [_release(row) for row in connection.execute(RELEASES)])

    def release(self, version: str) -> Release:
        """Return a release; raise `NotFound`."""
        row = self.database.read_now(lambda connection: connection.execute(RELEASE, {"version": version}).fetchone())
        if row is None:
            raise NotFound("release", version[:80], hint="appliance swarm release list")
        return _release(row)

    def has_release(self, version: str) -> bool:
        """Whether there is a release of that name."""
        found = self.database.read_now(lambda connection: connection.execute(RELEASE, {"version": version}).fetchone())
        return found is not None

    def current(self) -> Release | None:
        """Return the current release; ``None`` before the first promotion."""
        row = self.database.read_now(lambda connection: connection.execute(CURRENT).fetchone())
        return None if row is None else _release(row)

    def release_has(self, version: str, path: str) -> bool:
        """Whether a release has a file at a path."""
        values = {"version": version, "path": path}
        return self.database.read_now(lambda connection: connection.execute(HAS, values).fetchone()) is not None

    async def packages(self, version: str) -> list[Binary]:
        """Return what a release holds, by path."""
        values = {"version": version}
        return await self.database.read(
            lambda connection: [_binary(row) for row in connection.execute(PACKAGES, values)]
        )

    async def packages_page(self, version: str, *, after: str, limit: int) -> list[Binary]:
        """Return what a release holds behind a path, by path."""
        values = {"version": version, "after": after, "limit": limit}
        return await self.database.read(
            lambda connection: [_binary(row) for row in connection.execute(PACKAGES_PAGE, values)]
        )

    async def add_release(self, release: Release, binaries: list[Binary]) -> None:
        """Store a release and what it holds; raise `Conflict` for a version that is taken."""
        values = {
            "version": release.version,
            "notes": release.notes,
            "packages": release.packages,
            "size_bytes": release.size_bytes,
            "created_by": release.created_by,
            "created_unix_us": release.created_unix_us,
        }

        def write(connection: sqlite3.Connection) -> None:
            if connection.execute(RELEASE, {"version": release.version}).fetchone() is not None:
                raise taken(release.version)
            connection.execute(ADD_RELEASE, values)
            connection.executemany(ADD_PACKAGE, [_values(one) | {"version": release.version} for one in binaries])

        await self.database.write(write)

    async def set_current(self, version: str, *, now_unix_us: int, is_promotion: bool) -> None:
        """Make a release the current one, archived or not; raise `NotFound`."""
        values = {"version": version, "now": now_unix_us, "is_promotion": is_promotion}

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(UNSET_CURRENT, values)
            if connection.execute(SET_CURRENT, values).rowcount == 0:
                raise NotFound("release", version[:80], hint="appliance swarm release list")

        await self.database.write(write)

    async def archive(self, version: str, *, now_unix_us: int, even_current: bool = False) -> None:
        """Put a release aside; raise `Conflict` for the current one, unless that is meant too."""
        values = {"version": version, "now": now_unix_us, "even_current": even_current}
        await self._unless_current(ARCHIVE, values, "archived")

    async def delete(self, version: str) -> None:
        """Forget a release; raise `Conflict` for the current one."""
        await self._unless_current(DELETE, {"version": version}, "deleted")

    async def _unless_current(self, statement: str, values: dict[str, Any], done: str) -> None:
        self.release(values["version"])
        if await self.database.write(lambda connection: connection.execute(statement, values).rowcount) == 0:
            raise Conflict(
                f"release {values['version']} is the current one and cannot be {done}",
                hint="promote another, or roll back, first",
            )


def taken(version: str) -> Conflict:
    """Return the failure of a version that a release has already."""
    return Conflict(
        f"there is a release {version} already", hint="releases never change: give the next one a new version"
    )
