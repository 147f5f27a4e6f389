"""Adds numbered rows to the database until it has added as many as it was told, and notes each acknowledged one.

A note is a write to the watched file ``note``, so the journal has it in order with what SQLite asks for.
"""

import os
import sqlite3
import sys
from pathlib import Path

import trio

from appliance.database import Database
from appliance.migrations import Migration

TABLE = Migration(
    version=1,
    name="rows",
    sql="CREATE TABLE test_row (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;"
    "CREATE INDEX test_row_by_data ON test_row (data);",
)
CALLERS = 8


async def main(folder: Path, rows: int) -> None:
    """Write ``rows`` rows from several tasks, so that commits carry several of them."""
    note = os.open(folder / "note", os.O_WRONLY | os.O_CREAT, 0o600)
    async with (
        Database.open(folder / "appliance.db", migrations={"test": [TABLE]}) as database,
        trio.open_nursery() as nursery,
    ):

        async def caller(first: int) -> None:
            for number in range(first, rows, CALLERS):

                def write(connection: sqlite3.Connection, number: int = number) -> None:
                    connection.execute("INSERT INTO test_row (id, data) VALUES (?, randomblob(900))", (number,))

                await database.write(write)
                os.write(note, number.to_bytes(4, "big"))

        for first in range(CALLERS):
            nursery.start_soon(caller, first)


trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
