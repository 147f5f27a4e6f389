"""kill -9 under load, again and again on one file: what was acknowledged is there, and the file is whole."""

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("writing_child.py")


def write_until_killed(path: Path, first: int, rows: int) -> list[int]:
    """Start a writing process, kill it after it acknowledged ``rows`` rows, and return all it acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD.read_text(), str(path), str(first)], stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(rows)]
        child.kill()
        lines += child.stdout.readlines()
    return [int(line) for line in lines if line.endswith(b"\n")]


def lose_nothing(path: Path, kills: int) -> None:
    chance, acknowledged = random.Random(20261121), list[int]()
    for kill in range(kills):
        got = write_until_killed(path, kill * 1_000_000, chance.randint(1, 400))
        assert got
        acknowledged += got
        connection = sqlite3.connect(path)
        stored = {row[0] for row in connection.execute("SELECT id FROM test_row")}
        check = connection.execute("PRAGMA integrity_check").fetchall()
        connection.close()
        assert set(acknowledged) <= stored
        assert check == [("ok",)]
    assert len(set(acknowledged)) == len(acknowledged)


def test_killed_three_times_under_load_loses_nothing_acknowledged(tmp_path: Path) -> None:
    lose_nothing(tmp_path / "appliance.db", 3)


@pytest.mark.long
def test_killed_twenty_times_under_load_loses_nothing_acknowledged(tmp_path: Path) -> None:
    lose_nothing(tmp_path / "appliance.db", 20)
