"""A full disk, a read-only one and a damaged file: a clear error each, and nothing acknowledged is lost."""

import os
import shlex
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.database import Database
from appliance.database.connections import open_writer
from appliance.errors import Busy, StorageFailed
from appliance.migrations import Migration

TABLE = Migration(version=1, name="rows", sql="CREATE TABLE test_row (id INTEGER PRIMARY KEY, data BLOB) STRICT;")
NOBODY = 65534


def opened(folder: Path, *, inline: bool = False) -> Any:
    return Database.open(folder / "appliance.db", inline=inline, migrations={"test": [TABLE]})


def insert(number: int, size_bytes: int) -> Callable[[sqlite3.Connection], int]:
    def write(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO test_row (id, data) VALUES (?, zeroblob(?))", (number, size_bytes))
        return number

    return write


def ids(database: Database) -> list[int]:
    return database.read_now(lambda read: [row[0] for row in read.execute("SELECT id FROM test_row ORDER BY id")])


async def set_page_limit(database: Database, pages_more: int | None) -> None:
    """Leave room for so many more pages: what SQLite answers beyond it is the code of a full disk."""

    def limit(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        wanted = 2**30 if pages_more is None else pages + pages_more
        connection.execute(f"PRAGMA max_page_count={wanted}")

    await database.maintain(limit)


@pytest.mark.parametrize("inline", [False, True])
async def test_full_disk_fails_what_does_not_fit_and_works_again_when_there_is_space(
    tmp_path: Path, inline: bool
) -> None:
    acknowledged: list[int] = []
    refused: list[StorageFailed] = []
    async with opened(tmp_path, inline=inline) as database:
        await set_page_limit(database, 40)

        async def one(number: int) -> None:
            try:
                acknowledged.append(await database.write(insert(number, 20_000)))
            except StorageFailed as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(one, number)
        assert acknowledged
        assert refused
        assert "the disk is full" in refused[0].message
        assert "free space" in refused[0].hint
        assert "the disk is full" in str(database.problem)
        assert ids(database) == sorted(acknowledged)
        await set_page_limit(database, None)
        acknowledged.append(await database.write(insert(1000, 20_000)))
        assert database.problem is None
    async with opened(tmp_path) as database:
        assert ids(database) == sorted(acknowledged)


async def test_really_full_file_system_loses_nothing_acknowledged(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    arguments = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or (await trio.run_process(arguments, capture_stderr=True, check=False)).returncode != 0:
        pytest.skip("mounting a small file system needs rights that this run has not")
    try:
        acknowledged, failure = [], None
        async with opened(mount) as database:
            for number in range(100):
                try:
                    acknowledged.append(await database.write(insert(number, 50_000)))
                except StorageFailed as error:
                    failure = error
                    break
            assert failure is not None
            assert "the disk is full" in failure.message
            assert ids(database) == acknowledged
            await trio.run_process(["mount", "-o", "remount,size=64m", str(mount)])
            acknowledged.append(await database.write(insert(1000, 50_000)))
        async with opened(mount) as database:
            assert ids(database) == acknowledged
    finally:
        await trio.run_process(["umount", str(mount)])


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_read_only_database_is_named_at_start_with_what_to_do(open_folder: Path) -> None:
    path = open_folder / "appliance.db"
    open_writer(path, open_folder / "backups").close()
    # Rights do not bind root: another user has to try.
    program = (
        "import os, sys, pathlib\n"
        "from appliance.database.connections import open_writer\n"
        "from appliance.errors import StorageFailed\n"
        "if os.geteuid() == 0:\n"
        f"    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "try:\n    open_writer(path, path.parent / 'backups')\n"
        "except StorageFailed as error:\n    print(error.message, '|', error.hint)\n"
    )
    open_folder.chmod(0o755)
    path.chmod(0o444)
    run = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert str(path) in run.stdout
    assert "make the file, its folder and its file system writable" in run.stdout


@pytest.mark.parametrize("damage", ["not a database", "cut off", "empty"])
async def test_damaged_file_is_named_at_start_and_its_restore_command_works(tmp_path: Path, damage: str) -> None:
    async with opened(tmp_path) as database:
        for number in range(50):
            await database.write(insert(number, 4_000))
    later = [TABLE, Migration(version=2, name="more", sql="ALTER TABLE test_row ADD COLUMN more TEXT;")]
    path = tmp_path / "appliance.db"
    async with Database.open(path, migrations={"test": later}) as database:
        pass  # the migration has made a backup
    content = path.read_bytes()
    path.write_bytes(
        {"not a database": b"x" * len(content), "cut off": content[: len(content) // 2], "empty": b""}[damage]
    )
    with pytest.raises(StorageFailed) as failure:
        async with opened(tmp_path):
            pass
    assert str(path) in failure.value.message
    assert str(tmp_path / "backups") in failure.value.hint
    command = failure.value.hint.rpartition(": ")[2]
    assert shlex.split(command)[0] == "mv"
    await trio.run_process(["sh", "-c", command])
    async with opened(tmp_path) as database:
        assert ids(database) == list(range(50))


async def test_damage_found_while_running_is_told_to_who_reads_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        for number in range(200):
            await database.write(insert(number, 4_000))
    path = tmp_path / "appliance.db"
    content = bytearray(path.read_bytes())
    assert not path.with_name("appliance.db-wal").exists()  # closing has folded the log into the file
    content[len(content) // 4 : len(content) // 2] = b"\xff" * (len(content) // 2 - len(content) // 4)
    path.write_bytes(content)
    async with opened(tmp_path) as database:
        with pytest.raises(StorageFailed, match="damaged"):
            await database.read(lambda read: read.execute("SELECT SUM(LENGTH(data)) FROM test_row").fetchall())


def test_lock_of_another_program_is_busy_and_not_a_broken_disk(tmp_path: Path) -> None:
    path = tmp_path / "appliance.db"
    open_writer(path, tmp_path / "backups").close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(Busy, match="another program"):
            open_writer(path, tmp_path / "backups", busy_timeout_ms=10)
    finally:
        other.close()
