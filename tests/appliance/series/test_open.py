"""Open buckets in memory: the same as those of the rows, whatever fails, comes late or starts again meanwhile."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import trio

from appliance.database import Database
from appliance.devices import HostSample
from appliance.errors import NotFound
from appliance.series.open import PARTS_MAX
from appliance.series.schema import MIGRATIONS, OWNER
from appliance.series.service import Series
from tests.appliance.series.conftest import SECOND, START, Box, Hands
from tests.appliance.series.test_store import TIERS, dump, fill

REFUSING = """
CREATE TABLE refusing (yes INTEGER);
CREATE TRIGGER refuse BEFORE INSERT ON series_rollup WHEN EXISTS (SELECT 1 FROM refusing)
BEGIN SELECT RAISE(ABORT, 'refused'); END;"""


def refuse(conn: sqlite3.Connection) -> None:
    conn.execute("INSERT INTO refusing VALUES (1)")


def accept(conn: sqlite3.Connection) -> None:
    conn.execute("DELETE FROM refusing")


def a_stream(random: Random, count: int) -> list[HostSample]:
    """An hour of one host in order of time, with GPUs that come and go and one gap."""
    box, found, at = Box(4), list[HostSample](), START
    for number in range(count):
        box.gpus = 1 if number // 200 % 2 else 2
        at += random.choice([1, 2, 2, 3]) * SECOND + (700 * SECOND if number == count // 2 else 0)
        found.append(box.sample(at))
    return found


def delayed(samples: Sequence[HostSample], random: Random) -> list[HostSample]:
    """Let each twentieth sample come up to forty places late."""
    places = [number + (random.randrange(40) if random.random() < 0.05 else 0) for number in range(len(samples))]
    return [samples[number] for number in sorted(range(len(samples)), key=lambda number: (places[number], number))]


async def append_together(series: Series, samples: Sequence[HostSample], *, failing: bool) -> list[HostSample]:
    """Append in one group, perhaps beside a write that fails; return the samples that were not taken."""
    refused: list[HostSample] = []

    async def append(sample: HostSample) -> None:
        try:
            await series.append(sample)
        except sqlite3.IntegrityError:
            refused.append(sample)

    def fail(_: sqlite3.Connection) -> None:
        raise NotFound("nothing", "here")

    async def expect_failure() -> None:
        try:
            await series.database.write(fail)
        except NotFound:
            return
        raise AssertionError("the write did not fail")

    async with trio.open_nursery() as nursery:
        for sample in samples:
            nursery.start_soon(append, sample)
        if failing:
            nursery.start_soon(expect_failure)
    return refused


async def test_tiers_equal_those_of_an_ordered_hour_whatever_fails_comes_late_or_starts_again(
    tmp_path: Path,
) -> None:
    random = Random(12)
    samples = a_stream(random, 1200)
    await fill(tmp_path / "ordered.db", samples)
    coming = delayed(samples, random)
    assert coming != samples
    await fill(tmp_path / "hard.db", [])
    with closing(sqlite3.connect(tmp_path / "hard.db")) as conn:
        conn.executescript(REFUSING)
    refusals, clock = 0, Hands(START + 86_400 * SECOND)
    while coming:
        async with Database.open(tmp_path / "hard.db", migrations={OWNER: MIGRATIONS}, now=clock) as database:
            series = Series(database, clock)
            await series.recover()
            for _ in range(60):
                size = random.randrange(1, 9)
                group, coming = coming[:size], coming[size:]
                is_refusing = random.random() < 0.2
                if is_refusing:
                    await database.write(refuse)
                refused = await append_together(series, group, failing=random.random() < 0.3)
                if is_refusing:
                    await database.write(accept)
                refusals += len(refused)
                coming = refused + coming
                if random.random() < 0.1:
                    await series.keep()
            await series.keep()
    assert refusals > 20
    assert dump(tmp_path / "hard.db", TIERS) == dump(tmp_path / "ordered.db", TIERS)


async def test_fast_reporter_has_the_same_bucket_from_memory_as_from_rows(tmp_path: Path) -> None:
    box = Box(9)
    fast = [box.sample(START + number * 30_000) for number in range(4 * PARTS_MAX + 5)]
    after = box.sample(START + 11 * SECOND)
    await fill(tmp_path / "memory.db", [*fast, after])
    await fill(tmp_path / "rows.db", [*reversed(fast), after])
    found = dump(tmp_path / "memory.db", TIERS)
    assert found[0][3] == len(fast)
    assert found == dump(tmp_path / "rows.db", TIERS)
