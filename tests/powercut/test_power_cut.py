"""The power fails at any moment: the database starts again, whole, with everything that was acknowledged."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from appliance.database import Database
from tests.powercut.disk import Disk, Record, records

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMPILER = shutil.which("cc") or shutil.which("gcc")
FLAGS = ["-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler on this machine")
NOTE = "note"


def journal_of(folder: Path, *, rows: int) -> list[Record]:
    """Write ``rows`` rows in a watched process and return what it asked for."""
    library, journal, watched = folder / "journal.so", folder / "journal", folder / "watched"
    assert COMPILER is not None
    subprocess.run(
        [COMPILER, *FLAGS, "-o", str(library), str(HERE / "journal.c"), "-ldl", "-pthread"], check=True, timeout=60
    )
    watched.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "LD_PRELOAD": str(library),
        "POWERCUT_FOLDER": str(watched),
        "POWERCUT_JOURNAL": str(journal),
    }
    command = [sys.executable, str(HERE / "writing_child.py"), str(watched), str(rows)]
    subprocess.run(command, check=True, env=environment, timeout=300)
    return list(records(journal.read_bytes(), watched))


async def survives(folder: Path, acknowledged: set[int]) -> None:
    """Start the database on what the disk holds: whole, and nothing acknowledged is missing."""
    async with Database.open(folder / "appliance.db", inline=True) as database:
        check = database.read_now(lambda connection: connection.execute("PRAGMA integrity_check").fetchall())
        assert [tuple(row) for row in check] == [("ok",)]

        def read(connection: sqlite3.Connection) -> set[int]:
            try:
                return {row[0] for row in connection.execute("SELECT id FROM test_row")}
            except sqlite3.OperationalError:  # the power failed before there was a table
                return set()

        assert acknowledged <= database.read_now(read)


def cut_often(folder: Path, *, rows: int, cuts: int) -> None:
    played = journal_of(folder, rows=rows)
    synced = [number for number, record in enumerate(played) if record.kind == "s"]
    assert len(synced) > 5
    noted = b"".join(record.data for record in played if record.name == NOTE)
    assert len(noted) == 4 * rows  # what is checked below was really seen
    chance = random.Random(20261121)
    moments = sorted(chance.choices(range(len(played) + 1), k=cuts))
    disk, acknowledged = Disk(), set[int]()
    at = 0
    for number, moment in enumerate(moments):
        for record in played[at:moment]:
            if record.name == NOTE:
                acknowledged.add(int.from_bytes(record.data, "big"))
            else:
                disk.play(record)
        at = moment
        found = folder / f"cut-{number}"
        disk.cut(found, chance)
        trio.run(survives, found, acknowledged)
        shutil.rmtree(found)
    assert len(acknowledged) > rows // 2


def test_power_cut_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    cut_often(tmp_path, rows=300, cuts=60)


@pytest.mark.long
def test_thousands_of_power_cuts_lose_nothing_acknowledged(tmp_path: Path) -> None:
    cut_often(tmp_path, rows=5000, cuts=2000)


def test_disk_loses_what_was_not_synced_and_keeps_what_was() -> None:
    disk = Disk()
    disk.play(Record(kind="w", name="a", offset=0, data=b"kept" * 512))
    disk.play(Record(kind="s", name="a", offset=0, data=b""))
    disk.play(Record(kind="w", name="a", offset=0, data=b"lost" * 512))
    seen = {bytes(disk.files["a"].after_cut(random.Random(seed))) for seed in range(50)}
    assert b"kept" * 512 in seen
    assert b"lost" * 512 in seen
    assert any(b"kept" in one and b"lost" in one for one in seen)


def test_database_that_does_not_sync_would_be_found_out(tmp_path: Path) -> None:
    played = [record for record in journal_of(tmp_path, rows=200) if record.kind != "s"]
    disk, acknowledged = Disk(), set[int]()
    for record in played:
        if record.name == NOTE:
            acknowledged.add(int.from_bytes(record.data, "big"))
        else:
            disk.play(record)

    def lost(seed: int) -> bool:
        found = tmp_path / f"cut-{seed}"
        disk.cut(found, random.Random(seed))
        try:
            trio.run(survives, found, acknowledged)
        except Exception:  # any failure is the point: which one depends on what was torn
            return True
        return False

    assert any(lost(seed) for seed in range(10))
