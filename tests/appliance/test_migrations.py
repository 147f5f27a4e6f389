"""Migrations: numbered, remembered, whole or not at all, backed up, and held to their owner's tables."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import structlog

from appliance.database import Database
from appliance.migrations import BACKUPS_KEPT, Migration, MigrationRefused, migrate, statements

FIRST = Migration(version=1, name="first", sql="CREATE TABLE acme_fan (fan_id TEXT PRIMARY KEY) STRICT;")
SECOND = Migration(version=2, name="second", sql="ALTER TABLE acme_fan ADD COLUMN rpm INTEGER;")


def opened(folder: Path, **options: Any) -> Any:
    return Database.open(folder / "appliance.db", inline=True, **options)


def backups(folder: Path) -> list[Path]:
    return list(folder.glob("backups/*"))


def tables(database: Database) -> set[str]:
    sql = "SELECT name FROM sqlite_master WHERE type = 'table'"
    return {name for (name,) in database.read_now(lambda read: read.execute(sql).fetchall())}


async def test_steps_run_once_each_in_order(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await migrate(database, "acme", [FIRST], restrict=True)
        await migrate(database, "acme", [FIRST, SECOND], restrict=True)
        await migrate(database, "acme", [FIRST, SECOND], restrict=True)
        await database.write(lambda write: write.execute("INSERT INTO acme_fan (fan_id, rpm) VALUES ('a', 1)").close())


async def test_edited_step_is_refused_for_its_owner_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await migrate(database, "acme", [FIRST], restrict=True)
        edited = Migration(version=1, name="first", sql=FIRST.sql.replace("TEXT", "BLOB"))
        with pytest.raises(MigrationRefused, match=r"migration 1 \(first\) is not the one that ran here"):
            await migrate(database, "acme", [edited], restrict=True)
        await migrate(
            database, "other", [Migration(version=1, name="a", sql="CREATE TABLE other_x (a);")], restrict=True
        )
        assert "other_x" in tables(database)


async def test_newer_database_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await migrate(database, "acme", [FIRST, SECOND], restrict=True)
        with pytest.raises(MigrationRefused, match="the database is at version 2, this program knows 1"):
            await migrate(database, "acme", [FIRST], restrict=True)


@pytest.mark.parametrize("versions", [(2,), (1, 3), (1, 1), (2, 1), (0, 1)])
async def test_numbers_with_a_gap_are_refused(tmp_path: Path, versions: tuple[int, ...]) -> None:
    steps = [Migration(version=version, name="x", sql="SELECT 1;") for version in versions]
    async with opened(tmp_path) as database:
        with pytest.raises(MigrationRefused, match="numbered 1, 2, 3"):
            await migrate(database, "acme", steps, restrict=True)


async def test_failed_step_leaves_nothing_and_keeps_the_steps_before_it(tmp_path: Path) -> None:
    broken = Migration(version=2, name="broken", sql="CREATE TABLE acme_a (a); INSERT INTO acme_nowhere VALUES (1);")
    async with opened(tmp_path) as database:
        with pytest.raises(MigrationRefused, match=r"acme: migration 2 \(broken\) failed: no such table"):
            await migrate(database, "acme", [FIRST, broken], restrict=True)
        assert "acme_fan" in tables(database)
        assert "acme_a" not in tables(database)
        await migrate(database, "acme", [FIRST, SECOND], restrict=True)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE people_x (a);",
        "CREATE TABLE acmefan (a);",
        "INSERT INTO core_secret VALUES (1);",
        "UPDATE core_secret SET a = 2;",
        "DELETE FROM core_secret;",
        "DROP TABLE core_secret;",
        "ALTER TABLE core_secret ADD COLUMN b;",
        "CREATE INDEX acme_i ON core_secret (a);",
        "CREATE TRIGGER acme_t AFTER INSERT ON core_secret BEGIN SELECT 1; END;",
        "CREATE TABLE acme_x AS SELECT a FROM core_secret;",
        "CREATE TABLE acme_x (a); ALTER TABLE acme_x RENAME TO core_x;",
        "CREATE TABLE acme_x (a); CREATE INDEX core_i ON acme_x (a);",
        "CREATE TEMP TABLE acme_x (a);",
        "UPDATE database_migration SET version = 9;",
        "PRAGMA writable_schema = 1;",
        "ATTACH ':memory:' AS acme_y;",
        "COMMIT;",
        "SAVEPOINT acme_s;",
        "CREATE TABLE acme_big_x (a);",
    ],
)
async def test_plugin_step_that_touches_what_is_not_its_own_is_refused(tmp_path: Path, sql: str) -> None:
    secret = Migration(
        version=1, name="secret", sql="CREATE TABLE core_secret (a); INSERT INTO core_secret VALUES (7);"
    )
    bigger = Migration(version=1, name="a", sql="CREATE TABLE acme_big_y (a);")
    async with opened(tmp_path, migrations={"core": [secret], "acme_big": [bigger]}) as database:
        before = tables(database)
        with pytest.raises(MigrationRefused):
            await migrate(database, "acme", [Migration(version=1, name="bad", sql=sql)], restrict=True)
        assert tables(database) == before
        assert database.read_now(lambda read: read.execute("SELECT a FROM core_secret").fetchall()) == [(7,)]
        await migrate(database, "acme", [FIRST], restrict=True)


async def test_plugin_may_do_everything_to_its_own_tables(tmp_path: Path) -> None:
    sql = """
    CREATE TABLE acme_x (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, n INTEGER);
    CREATE INDEX acme_x_n ON acme_x (n);
    INSERT INTO acme_x (name, n) VALUES ('a;b', 1), ('c', 2); -- a comment; with a semicolon
    CREATE VIEW acme_v AS SELECT name, COUNT(*) AS n FROM acme_x GROUP BY name;
    CREATE TRIGGER acme_t AFTER INSERT ON acme_x BEGIN UPDATE acme_x SET n = 0; DELETE FROM acme_x WHERE n = 9; END;
    CREATE TABLE acme_new AS SELECT id, upper(name) AS name FROM acme_x WHERE n > (SELECT MIN(n) FROM acme_x);
    DROP VIEW acme_v; DROP TRIGGER acme_t; DROP INDEX acme_x_n; DROP TABLE acme_x;
    ALTER TABLE acme_new RENAME TO acme_x;
    ALTER TABLE acme_x RENAME COLUMN name TO title;
    """
    async with opened(tmp_path) as database:
        await migrate(database, "acme", [Migration(version=1, name="all", sql=sql)], restrict=True)
        assert database.read_now(lambda read: read.execute("SELECT title FROM acme_x").fetchall()) == [("C",)]


async def test_plugin_with_the_name_of_a_core_owner_is_refused(tmp_path: Path) -> None:
    step = Migration(version=1, name="a", sql="CREATE TABLE people_x (a);")
    async with opened(tmp_path, migrations={"people": [step]}) as database:
        with pytest.raises(MigrationRefused, match="belong to the core"):
            await migrate(database, "people", [step], restrict=True)


async def test_table_is_rebuilt_without_losing_what_refers_to_it(tmp_path: Path) -> None:
    one = "CREATE TABLE t_a (id INTEGER PRIMARY KEY); CREATE TABLE t_b (a REFERENCES t_a (id) ON DELETE CASCADE);"
    fill = "INSERT INTO t_a VALUES (1); INSERT INTO t_b VALUES (1);"
    rebuild = (
        "CREATE TABLE t_new (id INTEGER PRIMARY KEY, n); INSERT INTO t_new (id) SELECT id FROM t_a;"
        "DROP TABLE t_a; ALTER TABLE t_new RENAME TO t_a;"
    )
    steps = [
        Migration(version=1, name="one", sql=one),
        Migration(version=2, name="fill", sql=fill),
        Migration(version=3, name="rebuild", sql=rebuild),
    ]
    async with opened(tmp_path, migrations={"t": steps}) as database:
        assert database.read_now(lambda read: read.execute("SELECT a FROM t_b").fetchall()) == [(1,)]
        broken = Migration(version=4, name="broken", sql="DELETE FROM t_a;")
        with pytest.raises(MigrationRefused, match="broken reference"):
            await migrate(database, "t", [*steps, broken], restrict=False)
        assert database.read_now(lambda read: read.execute("SELECT id FROM t_a").fetchall()) == [(1,)]


async def test_existing_database_is_backed_up_first_and_the_way_back_is_logged(tmp_path: Path) -> None:
    async with opened(tmp_path, migrations={"acme": [FIRST]}) as database:
        await database.write(lambda write: write.execute("INSERT INTO acme_fan VALUES ('kept')").close())
    assert not backups(tmp_path)
    with structlog.testing.capture_logs() as logs:
        async with opened(tmp_path, migrations={"acme": [FIRST, SECOND]}):
            pass
    (backup,) = backups(tmp_path)
    assert backup.stat().st_mode & 0o777 == 0o600
    copy = sqlite3.connect(backup)
    assert copy.execute("SELECT * FROM acme_fan").fetchall() == [("kept",)]  # one column: from before the step
    copy.close()
    (line,) = [line for line in logs if line["event"] == "database.backed_up"]
    assert str(backup) in line["restore"]
    assert str(tmp_path / "appliance.db") in line["restore"]


async def test_backups_are_bounded_and_the_newest_stay(tmp_path: Path) -> None:
    steps = [FIRST]
    for version in range(2, BACKUPS_KEPT + 5):
        async with opened(tmp_path, migrations={"acme": steps}, now=lambda number=version: number * 1_000_000):
            pass
        steps.append(Migration(version=version, name="x", sql=f"ALTER TABLE acme_fan ADD COLUMN c{version} TEXT;"))
    names = sorted(path.name for path in backups(tmp_path))
    assert len(names) == BACKUPS_KEPT
    assert f"before-acme-{BACKUPS_KEPT + 4}.db" in names


async def test_migration_is_refused_when_no_backup_can_be_made(tmp_path: Path) -> None:
    async with opened(tmp_path, migrations={"acme": [FIRST]}):
        pass
    (tmp_path / "backups").write_text("a file where the folder should be")
    with pytest.raises(MigrationRefused, match="no backup could be made"):
        async with opened(tmp_path, migrations={"acme": [FIRST, SECOND]}):
            pass
    async with opened(tmp_path, migrations={"acme": [FIRST]}):
        pass  # nothing has changed


def test_statements_are_split_where_sqlite_ends_them() -> None:
    sql = "SELECT ';'; -- one; two\nCREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; SELECT 2; END; SELECT 3"
    assert [statement.split()[0] for statement in statements(sql)] == ["SELECT", "--", "SELECT"]
    assert list(statements(" \n ")) == []
