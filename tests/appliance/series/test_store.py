"""The tiers are a function of the samples: not of their order, of restarts or of crashes."""

import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from appliance.database import Database
from appliance.devices import DiskSample, HostSample
from appliance.errors import Conflict
from appliance.series.fields import HOST
from appliance.series.schema import MIGRATIONS, OWNER
from appliance.series.service import Series
from appliance.series.store import Stored
from tests.appliance.series.conftest import SECOND, START, Box, Hands, series_at

TIERS = (
    "SELECT bucket_key & ((1 << 32) - 1), bucket_key >> 60, layout_id, sample_count, data"
    " FROM series_rollup ORDER BY bucket_key"
)
RAW = "SELECT * FROM series_raw ORDER BY series_id, at_unix_us"


def half_a_day() -> list[HostSample]:
    """Half a day of one host: irregular, with gaps, a reboot, a GPU and a disk that come and go."""
    random, box = Random(7), Box(3)
    at, found = START + 4 * 3600 * SECOND, list[HostSample]()
    while at < START + 16 * 3600 * SECOND:
        hour = (at - START) // (3600 * SECOND)
        box.gpus = 3 if 5 <= hour < 9 else 2
        changes: dict[str, object] = {}
        if 11 <= hour < 12:
            changes["disks"] = ()
        if hour >= 14:  # the box has been started again: totals begin anew
            changes["disks"] = (DiskSample(device="sda", read_bytes_total=(at - START) // SECOND - 50_000),)
        found.append(box.sample(at, **changes))
        at += random.choice([5, 9, 10, 11, 12, 60]) * SECOND + random.randrange(SECOND)
        if random.random() < 0.002:
            at += random.randrange(1000) * SECOND
    return found


async def fill(path: Path, samples: Sequence[HostSample]) -> None:
    async with series_at(path, Hands(START + 86_400 * SECOND)) as series:
        for sample in samples:
            await series.append(sample)
        await series.keep()


def dump(path: Path, sql: str) -> list[tuple[object, ...]]:
    conn = sqlite3.connect(path)
    try:
        return conn.execute(sql).fetchall()
    finally:
        conn.close()


async def crash(path: Path, into: Path, samples: Sequence[HostSample]) -> None:
    """Store, then leave the file as a kill would: with its log, and without any closing words."""
    async with series_at(path, Hands(START + 86_400 * SECOND)) as series:
        for number, sample in enumerate(samples):
            await series.append(sample)
            if number == len(samples) // 2:
                await series.keep()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{into}{suffix}")


async def test_shuffled_day_gives_byte_equal_tiers_with_a_restart_and_a_crash_in_the_middle(tmp_path: Path) -> None:
    day = half_a_day()
    await fill(tmp_path / "ordered.db", day)
    shuffled = day.copy()
    Random(5).shuffle(shuffled)
    third = len(day) // 3
    await fill(tmp_path / "first.db", shuffled[:third])
    await crash(tmp_path / "first.db", tmp_path / "second.db", shuffled[third : 2 * third])
    await fill(tmp_path / "second.db", shuffled[2 * third :])

    ordered = dump(tmp_path / "ordered.db", TIERS)
    assert len(ordered) > 2000
    assert {tier for _, tier, *_ in ordered} == {0, 1, 2, 3}
    assert dump(tmp_path / "second.db", TIERS) == ordered
    assert dump(tmp_path / "second.db", RAW) == dump(tmp_path / "ordered.db", RAW)


async def test_ordered_day_needs_no_flush_when_it_is_cut_off(tmp_path: Path) -> None:
    day = half_a_day()[:1500]
    await fill(tmp_path / "whole.db", day)
    await crash(tmp_path / "cut.db", tmp_path / "again.db", day[:777])
    await fill(tmp_path / "again.db", day[777:])
    assert dump(tmp_path / "again.db", TIERS) == dump(tmp_path / "whole.db", TIERS)


async def test_two_hosts_interleaved_give_the_same_tiers_as_apart(tmp_path: Path) -> None:
    times = [START + number * 7 * SECOND for number in range(300)]
    one, two = Box(1, host_id="one"), Box(2, host_id="two")
    ones, twos = [one.sample(at) for at in times], [two.sample(at) for at in times]
    await fill(tmp_path / "apart.db", ones + twos)
    await fill(tmp_path / "mixed.db", [each for pair in zip(ones, twos, strict=True) for each in pair])
    assert dump(tmp_path / "mixed.db", TIERS) == dump(tmp_path / "apart.db", TIERS)


async def test_late_sample_gives_the_next_one_its_rate(series: Series, box: Box) -> None:
    for second in (0, 400):  # too far apart for any rate
        await series.append(box.sample(START + second * SECOND))

    for second in range(3600, 3610, 2):  # the first hour closes, and is more samples than points
        await series.append(box.sample(START + second * SECOND))

    async def highest() -> object:
        window = await series.window(
            "box",
            metrics=["network_rx_bytes_per_s"],
            from_unix_us=START,
            to_unix_us=START + 7200 * SECOND,
            max_points=4,
        )
        assert window.tier_seconds == 3600
        return window.columns[0].maximum[0]

    assert await highest() is None
    late = await series.append(box.sample(START + 390 * SECOND))
    assert late.rates.host["network_rx_bytes_per_s"] is None
    await series.keep()
    assert await highest() == 1_234_567


async def test_second_sample_of_a_moment_changes_nothing(series: Series, box: Box) -> None:
    for second in range(0, 60, 2):
        await series.append(box.sample(START + second * SECOND, cpu_percent=10.0))
    await series.append(box.sample(START + 58 * SECOND, cpu_percent=99.0))
    await series.append(box.sample(START + 4 * SECOND, cpu_percent=99.0))
    await series.keep()
    await series.append(box.sample(START + 6 * SECOND, cpu_percent=99.0))
    found = await series.raw("box", START, START + 60 * SECOND)
    assert [each.sample.cpu_percent for each in found] == [10.0] * 30
    assert await series.count("box", START, START + 60 * SECOND) == 30


def test_tables_have_a_column_for_every_series_field_of_the_host() -> None:
    conn = sqlite3.connect(":memory:")
    conn.executescript(MIGRATIONS[0].sql)
    for table in ("series_raw", "series_tail"):
        columns = {row[1]: row[2] for row in conn.execute(f"PRAGMA table_info({table})")}
        assert {name: columns.get(name) for name in HOST.gauges} == dict.fromkeys(HOST.gauges, "REAL")
        assert {name: columns.get(name) for name in HOST.counters} == dict.fromkeys(HOST.counters, "INTEGER")
    conn.close()


async def test_samples_moved_in_many_steps_all_arrive(tmp_path: Path, box: Box, clock: Hands) -> None:
    path = tmp_path / "appliance.db"
    async with series_at(path, clock) as series:
        for number in range(2500):
            await series.append(box.sample(START + number * SECOND, gpus=()))
        await series.keep()
        assert await series.count("box", START, START + 2500 * SECOND) == 2500
    assert dump(path, "SELECT count(*) FROM series_tail") == [(0,)]


async def test_write_that_is_rolled_back_leaves_no_trace(tmp_path: Path, box: Box, clock: Hands) -> None:
    """A sample of a failed transaction must not count as the newest: the buckets before it would never close."""
    path = tmp_path / "appliance.db"
    async with Database.open(path, inline=True, migrations={OWNER: MIGRATIONS}, now=clock) as database:
        series = Series(database, clock)
        await series.append(box.sample(START))
        trigger = "CREATE TRIGGER full BEFORE INSERT ON series_rollup BEGIN SELECT RAISE(ABORT, 'no'); END"
        await database.write(lambda conn: conn.execute(trigger))
        with pytest.raises(Exception, match="no"):
            await series.append(box.sample(START + 12 * SECOND))
        await database.write(lambda conn: conn.execute("DROP TRIGGER full"))
        latest = series.latest("box")
        assert latest is not None
        assert latest.sample.taken_at_unix_us == START
        await series.append(box.sample(START + 25 * SECOND))
    assert [row[0] for row in dump(path, TIERS)] == [START // SECOND]


async def test_long_gap_of_a_frequent_host_yields_no_rate_in_any_tier(series: Series, box: Box) -> None:
    for second in (*range(0, 30, 2), 60):  # silent for fifteen of its intervals
        await series.append(box.sample(START + second * SECOND))
    for max_points in (1500, 8):
        window = await series.window(
            "box",
            metrics=["network_rx_bytes_per_s"],
            from_unix_us=START + 30 * SECOND,
            to_unix_us=START + 62 * SECOND,
            max_points=max_points,
        )
        assert {figure for column in window.columns for figure in column.maximum} == {None}


async def test_late_sample_changes_the_rates_of_those_whose_pace_it_is_part_of(tmp_path: Path) -> None:
    # Without the late ones the usual interval is 2 s, and the gap of 30 s at the end is one; with them it is not.
    times = [0, 2, 4, 6, 36, 66, 96, 126, 156, 186, 216, 246]
    late = [1, 3, 5]
    box = Box()
    day = [box.sample(START + second * SECOND) for second in sorted([*times, *late])]
    shuffled = [each for each in day if (each.taken_at_unix_us - START) // SECOND in times]
    shuffled += [each for each in day if each not in shuffled]
    await fill(tmp_path / "ordered.db", day)
    await fill(tmp_path / "late.db", shuffled)
    assert dump(tmp_path / "late.db", TIERS) == dump(tmp_path / "ordered.db", TIERS)


async def test_samples_given_together_are_stored_all_or_none_with_what_belongs_to_them(
    series: Series, box: Box
) -> None:
    def refuse(connection: sqlite3.Connection, stored: Sequence[Stored]) -> None:
        raise Conflict("not today")

    told: list[list[bool]] = []

    def note(connection: sqlite3.Connection, stored: Sequence[Stored]) -> None:
        told.append([each.is_new for each in stored])

    three = [box.sample(START + second * SECOND) for second in (0, 2, 4)]
    with pytest.raises(Conflict):
        await series.append_all(three, within=refuse)
    assert await series.raw("box", START, START + 60 * SECOND) == []
    assert series.latest("box") is None
    readings = await series.append_all([*three, three[0]], within=note)
    assert told == [[True, True, True, False]]
    assert [each.is_new for each in readings] == told[0]
    assert [each.interval_seconds for each in readings] == [None, 2.0, 2.0, None]
    assert await series.count("box", START, START + 60 * SECOND) == 3


async def test_what_is_sent_again_does_not_become_the_latest(series: Series, box: Box) -> None:
    await series.append(box.sample(START, cpu_percent=10.0))
    again = await series.append(box.sample(START, cpu_percent=99.0))
    assert not again.is_new
    latest = series.latest("box")
    assert latest is not None
    assert latest.sample.cpu_percent == 10.0
