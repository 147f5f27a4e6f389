"""Series as everyone uses them: latest, windows, clocks, retention, values."""

from pathlib import Path

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from appliance.database import Database
from appliance.devices import GpuProcess
from appliance.errors import BadInput
from appliance.series.fields import METRICS
from appliance.series.limits import Retention
from appliance.series.schema import MIGRATIONS, OWNER
from appliance.series.service import Series
from tests.appliance.series.conftest import SECOND, START, Box, Hands, series_at

HOUR = 3600 * SECOND


async def fill(series: Series, box: Box, *, count: int, step: int = 2 * SECOND, start: int = START) -> None:
    for number in range(count):
        await series.append(box.sample(start + number * step))


# -- latest


async def test_latest_is_the_newest_sample_with_its_rates(series: Series, box: Box) -> None:
    assert series.latest("box") is None
    await fill(series, box, count=3)
    await series.append(box.sample(START + SECOND))
    latest = series.latest("box")
    assert latest is not None
    assert latest.sample.taken_at_unix_us == START + 4 * SECOND
    assert latest.rates.disks["nvme0n1"]["read_bytes_per_s"] == 4096
    assert series.hosts() == ("box",)


async def test_latest_is_recovered_without_what_is_never_stored(tmp_path: Path, box: Box, clock: Hands) -> None:
    gpu = evolve(box.sample(START).gpus[0], processes=(GpuProcess(pid=1),))
    async with series_at(tmp_path / "a.db", clock) as series:
        await fill(series, box, count=2)
        before = await series.append(box.sample(START + 4 * SECOND, gpus=(gpu,), cpu_core_percents=(1.0,)))
    async with series_at(tmp_path / "a.db", clock) as series:
        after = series.latest("box")
    assert after is not None
    assert after.is_recovered
    assert after.rates == before.rates
    bare = evolve(gpu, processes=None, taken_at_unix_us=START + 4 * SECOND)
    assert after.sample == evolve(before.sample, cpu_core_percents=(), gpus=(bare,))


async def test_not_a_number_reaches_neither_the_latest_nor_a_bucket(series: Series, box: Box) -> None:
    for second in range(0, 20, 2):
        await series.append(box.sample(START + second * SECOND, cpu_percent=float("nan" if second % 4 else "inf")))
    await series.append(box.sample(START + 20 * SECOND, cpu_percent=5.0))
    latest = series.latest("box")
    assert latest is not None
    assert latest.sample.cpu_percent == 5.0
    window = await series.window(
        "box", metrics=["cpu_percent"], from_unix_us=START, to_unix_us=START + 60 * SECOND, max_points=10
    )
    assert window.columns[0].maximum == [None, None, 5.0]


# -- clocks


async def test_sample_from_the_future_is_refused_and_poisons_nothing(series: Series, box: Box, clock: Hands) -> None:
    await series.append(box.sample(clock() + 60 * SECOND))
    with pytest.raises(BadInput) as caught:
        await series.append(box.sample(clock() + 61 * SECOND))
    assert caught.value.field == "taken_at_unix_us"
    latest = series.latest("box")
    assert latest is not None
    assert latest.sample.taken_at_unix_us == clock() + 60 * SECOND


@pytest.mark.parametrize("at", [0, START - 25 * HOUR])
async def test_late_sample_older_than_raw_samples_are_kept_is_refused_and_hides_nothing(
    series: Series, box: Box, at: int, clock: Hands
) -> None:
    await series.append(box.sample(clock()))
    with pytest.raises(BadInput) as caught:
        await series.append(box.sample(at))
    assert caught.value.field == "taken_at_unix_us"
    latest = series.latest("box")
    assert latest is not None
    assert latest.sample.taken_at_unix_us == clock()


@pytest.mark.parametrize("at", [-1, -(2**80)])
async def test_sample_stamped_before_1970_is_refused(series: Series, box: Box, at: int) -> None:
    with pytest.raises(BadInput) as caught:
        await series.append(box.sample(at))
    assert caught.value.field == "taken_at_unix_us"
    assert series.latest("box") is None


async def test_host_whose_clock_is_far_behind_reports_until_it_is_set_right(
    series: Series, box: Box, clock: Hands
) -> None:
    for second in range(0, 60, 2):  # its battery is flat: 1970
        await series.append(box.sample(second * SECOND, cpu_percent=50.0))
    latest = series.latest("box")
    assert latest is not None
    assert latest.sample.taken_at_unix_us == 58 * SECOND
    await series.append(box.sample(clock(), cpu_percent=10.0))
    latest = series.latest("box")
    assert latest is not None
    assert latest.sample.cpu_percent == 10.0
    window = await series.window(
        "box", metrics=["cpu_percent"], from_unix_us=clock() - HOUR, to_unix_us=clock() + SECOND, max_points=100
    )
    assert [figure for column in window.columns for figure in column.maximum] == [10.0]


async def test_host_goes_on_when_our_own_clock_is_set_back(series: Series, box: Box, clock: Hands) -> None:
    for _ in range(10):
        clock.at_unix_us += 2 * SECOND
        await series.append(box.sample(clock()))
    clock.at_unix_us -= HOUR
    for _ in range(30):
        clock.at_unix_us += 2 * SECOND
        await series.append(box.sample(clock()))
        latest = series.latest("box")
        assert latest is not None
        assert latest.sample.taken_at_unix_us == clock()
    await series.keep()
    window = await series.window("box", from_unix_us=clock() - 60 * SECOND, to_unix_us=clock(), max_points=10)
    assert len(window.times_unix_us) >= 6


async def test_future_samples_of_a_wrong_clock_are_not_recovered_as_latest(
    tmp_path: Path, box: Box, clock: Hands
) -> None:
    async with series_at(tmp_path / "a.db", clock) as series:
        await series.append(box.sample(clock()))
        clock.at_unix_us += 24 * HOUR
        await series.append(box.sample(clock()))
    clock.at_unix_us -= 24 * HOUR
    async with series_at(tmp_path / "a.db", clock) as series:
        latest = series.latest("box")
        assert latest is not None
        assert latest.sample.taken_at_unix_us == clock()


async def test_clock_that_is_years_ahead_for_a_while_costs_hours_and_not_the_history(
    tmp_path: Path, box: Box, clock: Hands
) -> None:
    async with series_at(tmp_path / "a.db", clock) as series:
        await fill(series, box, count=24, step=HOUR)
        clock.at_unix_us += 3650 * 24 * HOUR
        await series.append(box.sample(clock()))
        await series.keep()
        clock.at_unix_us -= 3650 * 24 * HOUR
        await series.keep()
        assert await series.count("box", START, START + 24 * HOUR) == 23
        await series.append(box.sample(clock()))


# -- windows


async def test_window_answers_from_the_finest_tier_that_fits(series: Series, box: Box) -> None:
    await fill(series, box, count=2000, step=2 * SECOND)
    tiers = {}
    for points in (3, 5, 20, 100, 500, 2500):
        window = await series.window("box", from_unix_us=START, to_unix_us=START + 4000 * SECOND, max_points=points)
        assert len(window.times_unix_us) <= points
        tiers[points] = window.tier_seconds
    assert tiers == {3: 3600, 5: 3600, 20: 600, 100: 60, 500: 10, 2500: 0}


async def test_every_tier_holds_the_peak_and_the_open_bucket(series: Series, box: Box) -> None:
    for number in range(2000):
        await series.append(box.sample(START + number * 2 * SECOND, cpu_percent=100.0 if number == 1999 else 5.0))
    for points in (3, 20, 100, 500, 2500):
        window = await series.window(
            "box", metrics=["cpu_percent"], from_unix_us=START, to_unix_us=START + 4000 * SECOND, max_points=points
        )
        column = window.columns[0]
        assert column.maximum[-1] == 100.0, points
        assert column.minimum[0] == 5.0
        assert sorted(window.times_unix_us) == list(window.times_unix_us)


async def test_window_beyond_the_coarsest_tier_merges_points(tmp_path: Path, box: Box, clock: Hands) -> None:
    async with series_at(tmp_path / "a.db", clock, Retention(raw_hours=24 * 400)) as series:
        clock.at_unix_us = START + 100 * HOUR
        for hour in range(100):
            await series.append(box.sample(START + hour * HOUR, cpu_percent=float(hour)))
        window = await series.window(
            "box", metrics=["cpu_percent"], from_unix_us=START, to_unix_us=START + 100 * HOUR, max_points=12
        )
        assert (window.tier_seconds, window.step_seconds) == (3600, 36_000)
        first = START // HOUR
        points: dict[int, list[float]] = {}
        for hour in range(100):
            points.setdefault((first + hour) // 10, []).append(float(hour))
        assert window.times_unix_us == [number * 10 * HOUR for number in points]
        assert window.columns[0].maximum == [max(each) for each in points.values()]
        assert window.columns[0].mean == [sum(each) / len(each) for each in points.values()]


async def test_window_has_the_asked_metrics_of_the_asked_devices(series: Series, box: Box) -> None:
    await fill(series, box, count=20)
    span = {"from_unix_us": START, "to_unix_us": START + 40 * SECOND}
    window = await series.window(
        "box", metrics=["gpu.power_watts", "memory_used_bytes"], devices=["GPU-1"], max_points=6, **span
    )
    assert [(each.metric, each.device) for each in window.columns] == [
        ("memory_used_bytes", None),
        ("gpu.power_watts", "GPU-1"),
    ]
    everything = await series.window("box", max_points=6, **span)
    assert {each.metric for each in everything.columns} == set(METRICS)
    assert everything.column("gpu.power_watts", "GPU-1") == window.columns[1]
    assert everything.column("gpu.power_watts", "GPU-9") is None


async def test_device_that_came_later_is_absent_before(series: Series) -> None:
    await fill(series, Box(gpus=1), count=10)
    await fill(series, Box(gpus=2), count=10, start=START + 20 * SECOND)
    window = await series.window(
        "box", metrics=["gpu.power_limit_watts"], from_unix_us=START, to_unix_us=START + 40 * SECOND, max_points=6
    )
    one, two = window.columns
    assert (one.device, list(one.mean)) == ("GPU-0", [700.0] * 4)
    assert (two.device, list(two.mean)) == ("GPU-1", [None, None, 700.0, 700.0])


async def test_raw_window_has_the_readings_themselves(series: Series, box: Box) -> None:
    await fill(series, box, count=10)
    window = await series.window("box", from_unix_us=START, to_unix_us=START + 20 * SECOND)
    assert window.tier_seconds == 0
    assert list(window.times_unix_us) == [START + number * 2 * SECOND for number in range(10)]
    column = window.column("disk.busy_percent", "nvme0n1")
    assert column is not None
    assert list(column.mean) == [None] + [25.0] * 9


async def test_host_that_samples_faster_than_thought_is_answered_from_a_tier(series: Series, box: Box) -> None:
    await fill(series, box, count=100, step=SECOND // 10)
    await series.append(box.sample(START + 20 * SECOND))
    window = await series.window("box", from_unix_us=START, to_unix_us=START + 30 * SECOND, max_points=20)
    assert window.tier_seconds == 10


async def test_window_of_an_unknown_host_is_empty(series: Series) -> None:
    window = await series.window("nobody", from_unix_us=START, to_unix_us=START + HOUR)
    assert (window.times_unix_us, window.columns) == ([], [])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"metrics": ["cpu_procent"]}, "metrics"),
        ({"from_unix_us": START + HOUR}, "from_unix_s"),
        ({"from_unix_us": -1}, "from_unix_s"),
        ({"to_unix_us": 2**70}, "from_unix_s"),
        ({"max_points": 1}, "max_points"),
        ({"max_points": 10**9}, "max_points"),
    ],
)
async def test_window_that_cannot_be_is_refused(series: Series, changes: dict[str, object], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        await series.window("box", **{"from_unix_us": START, "to_unix_us": START + HOUR, **changes})  # type: ignore[arg-type]
    assert caught.value.field == field


# -- retention


async def test_old_hours_go_and_their_rollups_stay(tmp_path: Path, box: Box, clock: Hands) -> None:
    async with series_at(tmp_path / "a.db", clock, Retention(raw_hours=2, ten_seconds_days=1)) as series:
        clock.at_unix_us = START
        for number in range(6 * 60):
            clock.at_unix_us = START + number * 60 * SECOND
            await series.append(box.sample(clock()))
        for _ in range(10):
            await series.keep()
        assert await series.count("box", 0, clock() + 1) == 3 * 60
        assert series.usage().pruned_until_unix_us == (START + 3 * HOUR, 0, 0, 0, 0)
        window = await series.window("box", from_unix_us=START, to_unix_us=START + HOUR)
        assert (window.tier_seconds, len(window.times_unix_us)) == (10, 60)


async def test_sample_behind_what_is_pruned_is_refused_for_its_bucket_could_not_be_whole(
    tmp_path: Path, box: Box, clock: Hands
) -> None:
    async with series_at(tmp_path / "a.db", clock, Retention(raw_hours=2)) as series:
        clock.at_unix_us = START
        await series.append(box.sample(START))
        clock.at_unix_us = START + 4 * HOUR
        await series.append(box.sample(clock()))
        await series.keep()
        clock.at_unix_us = START + 2 * HOUR + 1800 * SECOND
        with pytest.raises(BadInput):
            await series.append(box.sample(START + HOUR - 1))
        await series.append(box.sample(START + HOUR + 300 * SECOND))


async def test_silent_host_keeps_its_last_buckets_when_its_samples_go(tmp_path: Path, box: Box, clock: Hands) -> None:
    async with series_at(tmp_path / "a.db", clock, Retention(raw_hours=2)) as series:
        clock.at_unix_us = START + HOUR
        await fill(series, box, count=5)
        clock.at_unix_us = START + 5 * HOUR
        await series.keep()
        assert await series.count("box", 0, clock()) == 0
        window = await series.window("box", from_unix_us=START, to_unix_us=START + HOUR, max_points=10)
        assert window.times_unix_us == [START]
        window = await series.window("box", from_unix_us=START - HOUR, to_unix_us=START + SECOND, max_points=10)
        assert window.times_unix_us == [START]


async def test_budget_takes_the_oldest_raw_samples_first_and_says_when_it_cannot_be_met(
    tmp_path: Path, box: Box, clock: Hands
) -> None:
    clock.at_unix_us = START + 10 * HOUR
    async with series_at(tmp_path / "a.db", clock) as series:
        for hour in range(10):
            await fill(series, box, count=20, step=30 * SECOND, start=START + hour * HOUR)
        await series.keep()
        assert not series.usage().is_over_budget
        # The validator's floor is far above what a test writes.
        series.retention = Retention()
        object.__setattr__(series.retention, "disk_budget_bytes", 1)
        await series.keep()
        await series.keep()
        usage = series.usage()
        assert usage.is_over_budget
        assert usage.pruned_until_unix_us == (START + 8 * HOUR, 0, 0, 0, 0)
        assert await series.count("box", 0, clock()) == 40


async def test_forgotten_host_is_gone_and_may_come_back_as_new(series: Series, box: Box) -> None:
    await fill(series, box, count=2500, step=SECOND)
    await series.keep()
    await fill(series, box, count=10, start=START + 3000 * SECOND)
    await series.append_value("p", "n", START, 1.0)
    await series.forget("box")
    await series.forget("nobody")
    assert series.latest("box") is None
    assert await series.count("box", 0, START + 24 * HOUR) == 0
    for table in ("raw", "tail", "rollup", "dirty", "key"):
        rows = f"SELECT count(*) FROM series_{table}"
        assert series.database.read_now(lambda conn, sql=rows: conn.execute(sql).fetchone()) == (0,), table
    await series.append(box.sample(START))
    assert await series.count("box", 0, START + 24 * HOUR) == 1


async def test_layouts_that_nothing_uses_go(series: Series, box: Box, clock: Hands) -> None:
    await fill(series, box, count=20)
    count = "SELECT count(*) FROM series_layout"
    clock.at_unix_us += 1800 * 24 * HOUR
    await series.keep()
    assert series.database.read_now(lambda conn: conn.execute(count).fetchone()) == (1,)
    clock.at_unix_us += 100 * 24 * HOUR
    await series.keep()
    assert series.database.read_now(lambda conn: conn.execute(count).fetchone()) == (0,)


# -- values


async def test_values_have_the_same_tiers(series: Series) -> None:
    for number in range(1000):
        await series.append_value("swarm", "queue_length", START + number * 10 * SECOND, float(number % 100))
    span = {"from_unix_us": START, "to_unix_us": START + 10_000 * SECOND}
    raw = await series.window_values("swarm", "queue_length", max_points=1000, **span)
    assert (raw.tier_seconds, len(raw.times_unix_us)) == (0, 1000)
    coarse = await series.window_values("swarm", "queue_length", max_points=30, **span)
    assert coarse.tier_seconds == 600
    column = coarse.columns[0]
    assert (column.metric, column.minimum[0], column.maximum[0], column.mean[0]) == ("queue_length", 0.0, 59.0, 29.5)
    merged = await series.window_values("swarm", "queue_length", max_points=3, **span)
    assert merged.step_seconds == 2 * 3600
    assert merged.columns[0].maximum == [99.0, 99.0]
    assert merged.columns[0].mean == [pytest.approx(sum(n % 100 for n in range(720)) / 720), pytest.approx(14660 / 280)]


async def test_late_and_repeated_values_leave_the_buckets_right(series: Series) -> None:
    for second, value in ((5, 5.0), (1, 1.0), (3, 2.0), (3, 99.0), (7, 4.0)):
        await series.append_value("p", "n", START + second * SECOND, value)
    window = await series.window_values("p", "n", from_unix_us=START, to_unix_us=START + HOUR, max_points=3)
    column = window.columns[0]
    assert (column.minimum, column.maximum, column.mean) == ([1.0], [5.0], [3.0])
    assert (await series.window_values("p", "other", from_unix_us=0, to_unix_us=START)).columns == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
async def test_value_that_is_no_number_is_refused(series: Series, value: float) -> None:
    with pytest.raises(BadInput):
        await series.append_value("p", "n", START, value)


@pytest.mark.parametrize(
    ("series_name", "name", "field"), [("", "n", "series"), ("p", "", "name"), ("p", "x" * 201, "name")]
)
async def test_value_without_a_usable_name_is_refused(series: Series, series_name: str, name: str, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        await series.append_value(series_name, name, START, 1.0)
    assert caught.value.field == field


async def test_values_are_pruned_like_samples(series: Series, clock: Hands) -> None:
    await series.append_value("p", "n", START, 1.0)
    clock.at_unix_us = START + 49 * HOUR
    await series.keep()
    rows = "SELECT (SELECT count(*) FROM series_value), (SELECT count(*) FROM series_value_rollup)"
    assert series.database.read_now(lambda conn: conn.execute(rows).fetchone()) == (0, 4)
    window = await series.window_values("p", "n", from_unix_us=START, to_unix_us=START + HOUR)
    assert (window.tier_seconds, window.columns[0].mean) == (10, [1.0])


async def test_upkeep_writes_no_more_for_many_values_when_none_is_old(series: Series) -> None:
    async def commits() -> int:
        before = series.database.commits
        await series.keep()
        return series.database.commits - before

    await series.append_value("p", "n", START, 1.0)
    one = await commits()
    await series.append_values([(f"p{number}", "n", START, 1.0) for number in range(50)])
    assert await commits() <= one


def test_tier_is_kept_at_least_as_long_as_those_it_is_built_of() -> None:
    retention = Retention(raw_hours=72, ten_seconds_days=1, one_minute_days=2)
    assert [retention.kept_us(tier) // HOUR for tier in (-1, 0, 1)] == [72, 72, 72]


# -- the service


async def test_service_recovers_then_builds_late_buckets_and_moves_the_tail(
    tmp_path: Path, box: Box, clock: Hands, autojump_clock: MockClock
) -> None:
    migrations = {OWNER: MIGRATIONS}
    async with Database.open(tmp_path / "a.db", inline=True, migrations=migrations, now=clock) as database:
        await Series(database, clock).append(box.sample(START))
        series = Series(database, clock)
        async with trio.open_nursery() as nursery:
            await nursery.start(series.run)
            assert series.latest("box") is not None
            await series.append(box.sample(START + 30 * SECOND))
            await series.append(box.sample(START + 12 * SECOND))
            assert series.usage().waiting_buckets == 1
            await trio.sleep(1.5)
            assert series.usage().waiting_buckets == 0
            await trio.sleep(61)
            tail = "SELECT count(*) FROM series_tail"
            assert database.read_now(lambda conn: conn.execute(tail).fetchone()) == (0,)
            nursery.cancel_scope.cancel()


async def test_many_callers_at_once_lose_nothing(tmp_path: Path, clock: Hands) -> None:
    hosts = [Box(number, host_id=f"host-{number}") for number in range(8)]
    async with Database.open(tmp_path / "a.db", migrations={OWNER: MIGRATIONS}, now=clock) as database:
        series = Series(database, clock)

        async def report(box: Box) -> None:
            for number in range(60):
                await series.append(box.sample(START + number * 2 * SECOND))

        async with trio.open_nursery() as nursery:
            for each in hosts:
                nursery.start_soon(report, each)
        await series.keep()
        for each in hosts:
            assert await series.count(each.host_id, 0, clock()) == 60
            window = await series.window(
                each.host_id,
                metrics=["process_count"],
                from_unix_us=START,
                to_unix_us=START + 120 * SECOND,
                max_points=20,
            )
            assert window.columns[0].mean == [300.0] * 12


class Decoded:
    """A decoder's own object: what it has not read is absent, what is no series it does not know."""

    def __init__(self, model: object, **more: object) -> None:
        self.__dict__ |= {name: getattr(model, name) for name in model.__dict__} if hasattr(model, "__dict__") else {}
        for cls in type(model).__mro__:
            for name in getattr(cls, "__slots__", ()):
                if not name.startswith("__"):
                    setattr(self, name, getattr(model, name))
        self.__dict__ |= more


@pytest.mark.parametrize("cpu_percent", [12.5, float("nan")])
async def test_what_is_like_a_sample_is_stored_as_one(
    series: Series, box: Box, clock: Hands, cpu_percent: float
) -> None:
    model = box.sample(clock(), cpu_percent=cpu_percent)
    like = Decoded(model, gpus=[Decoded(each) for each in model.gpus], disks=[Decoded(each) for each in model.disks])
    await series.append(like)  # type: ignore[arg-type]
    seen = series.latest("box")
    assert seen is not None
    (stored,) = await series.raw("box", clock(), clock() + 1)
    assert seen.sample == stored.sample
    assert seen.sample.cpu_percent == (12.5 if cpu_percent == 12.5 else None)
    assert seen.sample.gpus[0].utilization_percent == model.gpus[0].utilization_percent
