"""Writes rows from 16 tasks until it is killed, and prints the number of each row once it is acknowledged."""

import os
import sqlite3
import sys
from pathlib import Path

import trio

from appliance.database import Database
from appliance.migrations import Migration

TABLE = Migration(version=1, name="rows", sql="CREATE TABLE test_row (id INTEGER PRIMARY KEY, data BLOB) STRICT;")
CALLERS = 16


async def main(path: Path, first: int) -> None:
    """Write rows numbered from ``first`` on."""
    async with Database.open(path, migrations={"test": [TABLE]}) as database, trio.open_nursery() as nursery:

        async def caller(number: int) -> None:
            while True:

                def write(connection: sqlite3.Connection, number: int = number) -> None:
                    connection.execute("INSERT INTO test_row (id, data) VALUES (?, randomblob(700))", (number,))

                await database.write(write)
                os.write(1, b"%d\n" % number)  # unbuffered: whoever reads this has our word
                number += CALLERS

        for number in range(CALLERS):
            nursery.start_soon(caller, first + number)


trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
