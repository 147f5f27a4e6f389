"""Numbered SQL per owner (core or a plugin), each step in one transaction, remembered with its checksum."""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from attrs import frozen

from appliance.backups import back_up, prune, restore_command
from appliance.errors import ApplianceError

if TYPE_CHECKING:
    from appliance.database.core import Database

BACKUPS_KEPT = 5

OWN_SCHEMA = """
CREATE TABLE IF NOT EXISTS database_migration (
    owner TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL, checksum TEXT NOT NULL,
    restricted INTEGER NOT NULL, applied_at_unix_us INTEGER NOT NULL,
    PRIMARY KEY (owner, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS database_alive (
    only INTEGER PRIMARY KEY CHECK (only = 1), alive_at_unix_us INTEGER NOT NULL
) STRICT;
"""

_APPLIED = "SELECT version, checksum, restricted FROM database_migration WHERE owner = :owner ORDER BY version"
_REMEMBER = """
INSERT INTO database_migration (owner, version, name, checksum, restricted, applied_at_unix_us)
VALUES (:owner, :version, :name, :checksum, :restricted, :now)"""

log = structlog.get_logger(__name__)


class MigrationRefused(ApplianceError):
    """An owner's tables cannot be brought to the version its code needs; everything of that owner stays as it was."""

    status = 503


@frozen(kw_only=True)
class Migration:
    """One step of an owner's schema; never edited once shipped (its checksum is kept)."""

    version: int
    """1, 2, 3 ... without a gap."""
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL, as hex digits."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


async def migrate(database: "Database", owner: str, migrations: Sequence[Migration], *, restrict: bool) -> None:
    """Bring ``owner``'s tables to the newest of ``migrations``; one transaction a step, a failed step leaves nothing.

    :param restrict: hold the steps to tables named ``<owner>_*``, as for every plugin.
    :raises MigrationRefused: the database has a newer version, a step that ran has been edited since, a step fails or
        touches what is not its own, or no backup could be made. Other owners are not affected.
    """
    _check_numbers(owner, migrations)
    backed_up = await database.maintain(
        lambda connection: _apply_all(database, connection, owner, migrations, restrict)
    )
    if backed_up is not None:
        log.info(
            "database.backed_up",
            owner=owner,
            file=str(backed_up),
            restore=f"stop the appliance, then: {restore_command(database.path, backed_up)}",
        )


def _check_numbers(owner: str, migrations: Sequence[Migration]) -> None:
    if [step.version for step in migrations] != list(range(1, len(migrations) + 1)):
        found = ", ".join(str(step.version) for step in migrations)
        raise MigrationRefused(f"{owner}: migrations must be numbered 1, 2, 3 ... in order, and are {found}")


def _apply_all(
    database: "Database", connection: sqlite3.Connection, owner: str, migrations: Sequence[Migration], restrict: bool
) -> Path | None:
    """Apply what is missing; return the backup that was made before, if any."""
    applied = connection.execute(_APPLIED, {"owner": owner}).fetchall()
    _check_applied(owner, migrations, applied, restrict)
    missing = migrations[len(applied) :]
    if not missing:
        return None
    # A plugin's first step finds no table of its own, and can touch no other: there is nothing to lose.
    backup = None
    if database.existed and (applied or not restrict):
        backup = _backup(database, connection, owner)
    foreign_owners = [
        name
        for (name,) in connection.execute("SELECT DISTINCT owner FROM database_migration").fetchall()
        if name.startswith(f"{owner}_")
    ]
    for step in missing:
        _apply(connection, owner, step, Restriction(owner, foreign_owners) if restrict else None, database.now())
    return backup


def _check_applied(
    owner: str, migrations: Sequence[Migration], applied: Sequence[tuple[int, str, int]], restrict: bool
) -> None:
    newest = applied[-1][0] if applied else 0
    if newest > len(migrations):
        raise MigrationRefused(
            f"{owner}: the database is at version {newest}, this program knows {len(migrations)}",
            hint="use the newer program again, or restore the backup made before it ran",
        )
    for (version, checksum, restricted), step in zip(applied, migrations, strict=False):
        if bool(restricted) != restrict:
            raise MigrationRefused(f"{owner}: these tables belong to {'a plugin' if restricted else 'the core'}")
        if checksum != step.checksum:
            raise MigrationRefused(
                f"{owner}: migration {version} ({step.name}) is not the one that ran here",
                hint="a migration is never edited once shipped: add another one",
            )


def _apply(
    connection: sqlite3.Connection, owner: str, step: Migration, restriction: "Restriction | None", now_unix_us: int
) -> None:
    # Tables are rebuilt by dropping and renaming, which must not cascade; whole references are checked before commit.
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("BEGIN IMMEDIATE")
    try:
        before = _names(connection)
        if restriction is not None:
            connection.set_authorizer(restriction.judge)
        try:
            for statement in statements(step.sql):
                connection.execute(statement).close()
                if not connection.in_transaction:
                    raise MigrationRefused(f"{owner}: migration {step.version} ends its transaction")
        finally:
            connection.set_authorizer(None)
        if restriction is not None:
            restriction.check_new(_names(connection) - before)
        broken = connection.execute("PRAGMA foreign_key_check").fetchone()
        if broken is not None:
            raise MigrationRefused(f"{owner}: migration {step.version} leaves {broken[0]} with a broken reference")
        values = {"owner": owner, "version": step.version, "name": step.name, "checksum": step.checksum}
        connection.execute(_REMEMBER, values | {"restricted": restriction is not None, "now": now_unix_us})
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        denied = f": {restriction.denied}" if restriction is not None and restriction.denied else ""
        raise MigrationRefused(f"{owner}: migration {step.version} ({step.name}) failed: {error}{denied}") from error
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("PRAGMA foreign_keys=ON")


def statements(sql: str) -> Iterator[str]:
    """Split SQL into statements; semicolons in strings, comments and trigger bodies do not end one."""
    # executescript would commit the open transaction.
    start = 0
    end = sql.find(";")
    while end >= 0:
        if sqlite3.complete_statement(sql[start : end + 1]):
            yield sql[start : end + 1].strip()
            start = end + 1
        end = sql.find(";", end + 1)
    if sql[start:].strip():
        yield sql[start:].strip()


def _names(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def _backup(database: "Database", connection: sqlite3.Connection, owner: str) -> Path:
    target = database.backups / f"before-{owner}-{database.now() // 1_000_000}.db"
    try:
        back_up(connection, target)
        prune(target.parent, "before-*.db", kept=BACKUPS_KEPT, newest=target)
    except (OSError, sqlite3.Error) as error:
        raise MigrationRefused(
            f"{owner}: no backup could be made in {target.parent} before the migration: {error}",
            hint=f"free {database.path.stat().st_size // 2**20 + 1} MiB there, or make the folder writable",
        ) from error
    return target


class Restriction:
    """Holds SQL to the tables of one owner, asked by SQLite for each thing a statement would do."""

    def __init__(self, owner: str, foreign_owners: Sequence[str]) -> None:
        self.denied = ""
        """What was refused last, in words."""
        self._owner = owner
        self._prefix = f"{owner}_"
        self._foreign = tuple(f"{name}_" for name in foreign_owners)

    def judge(self, action: int, first: str | None, second: str | None, database: str | None, by: str | None) -> int:
        """Answer SQLite's authorizer: ``SQLITE_OK`` or ``SQLITE_DENY``."""
        if action in _HARMLESS and not (action == sqlite3.SQLITE_FUNCTION and second == "load_extension"):
            return sqlite3.SQLITE_OK
        if action in _NAMED:
            name = (second if action in _SECOND_IS_TABLE else first) or ""
            if database in (None, "main") and (self._is_own(name) or name.startswith("sqlite_")):
                return sqlite3.SQLITE_OK
            if name == "sqlite_temp_master" and action in (sqlite3.SQLITE_READ, sqlite3.SQLITE_UPDATE):
                return sqlite3.SQLITE_OK  # what renaming looks into by itself
            self.denied = f"{name or 'that'} is not a table of {self._owner} ({self._prefix}*)"
        else:
            self.denied = "only tables, indexes, views, triggers and rows may be touched"
        return sqlite3.SQLITE_DENY

    def check_new(self, names: set[str]) -> None:
        """Raise `MigrationRefused` when something was made, or renamed to, outside the owner's names."""
        for name in sorted(names):
            if not (self._is_own(name) or name.startswith("sqlite_")):
                raise MigrationRefused(f"{self._owner}: {name} must be named {self._prefix}*")

    def _is_own(self, name: str) -> bool:
        return name.startswith(self._prefix) and not name.startswith(self._foreign)


_HARMLESS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_SECOND_IS_TABLE = frozenset(
    {
        sqlite3.SQLITE_ALTER_TABLE,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_DROP_INDEX,
        sqlite3.SQLITE_DROP_TRIGGER,
    }
)
# The table of indexes and triggers is judged here; their own names, as all new names, after the step.
_NAMED = _SECOND_IS_TABLE | {
    sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_CREATE_VIEW,
    sqlite3.SQLITE_CREATE_VTABLE,
    sqlite3.SQLITE_DROP_TABLE,
    sqlite3.SQLITE_DROP_VIEW,
    sqlite3.SQLITE_DROP_VTABLE,
    sqlite3.SQLITE_INSERT,
    sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_DELETE,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_REINDEX,
}
