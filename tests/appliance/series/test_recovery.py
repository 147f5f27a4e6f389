"""What was latest before a start is the latest after it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

import pytest

from appliance.devices import HostSample
from appliance.series.limits import HOUR_US
from appliance.series.pruning import RAW, oldest, prune_all, series_before
from appliance.series.service import Series
from appliance.series.store import MOVED_ROWS
from tests.appliance.series.conftest import SECOND, START, Box, Hands, series_at

HOSTS = 12


def history(seed: int) -> list[HostSample]:
    """Samples of several hosts: of one moment, few or many, at a pace or none, some late, some without counters."""
    random, found = Random(seed), list[HostSample]()
    for number in range(HOSTS):
        box = Box(seed + number, host_id=f"box-{number}", gpus=number % 3)
        at = START + random.randrange(HOUR_US)
        for _ in range((0, 1, 2, 3, 15, 30)[number % 6]):
            bare = {"network_rx_bytes_total": None, "network_tx_bytes_total": None, "disks": (), "networks": ()}
            found.append(box.sample(at, **(bare if number % 4 == 0 else {})))
            at += random.choice([10, 10, 10, 60, 1000]) * SECOND
    random.shuffle(found)
    return found


def told(series: Series) -> dict[str, object]:
    """Return what counts of the latest of each host."""
    found: dict[str, object] = {}
    for host_id in series.hosts():
        latest = series.latest(host_id)
        assert latest is not None
        rates = latest.rates
        found[host_id] = (latest.row, latest.interval_seconds, rates.host_values, rates.device_values)
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("moved", ["all", "half", "none"])
async def test_latest_of_each_host_is_what_its_samples_tell_wherever_they_lie(
    tmp_path: Path, clock: Hands, seed: int, moved: str
) -> None:
    samples = history(seed)
    async with series_at(tmp_path / "a.db", clock) as series:
        for number, sample in enumerate(samples):
            if number == len(samples) // 2 and moved == "half":
                await series.keep()
            await series.append(sample)
        await series.append_value("plugin", "length", clock(), 1.0)
        if moved == "all":
            await series.keep()
    async with series_at(tmp_path / "a.db", clock) as series:
        assert set(series.hosts()) == {sample.host_id for sample in samples}
        for host_id, found in told(series).items():
            *_, newest = await series.raw(host_id, 0, clock() + 1)
            rates = newest.rates
            assert found == (newest.row, newest.interval_seconds, rates.host_values, rates.device_values)


async def test_forgotten_host_is_not_recovered(tmp_path: Path, clock: Hands, box: Box) -> None:
    async with series_at(tmp_path / "a.db", clock) as series:
        await series.append(box.sample(START))
        await series.append(Box(2, host_id="other").sample(START))
        await series.forget("box")
    async with series_at(tmp_path / "a.db", clock) as series:
        assert series.hosts() == ("other",)


async def test_hour_of_many_hosts_is_pruned_in_few_writes_and_each_is_bounded(series: Series, clock: Hands) -> None:
    for number in range(60):
        box = Box(number, host_id=f"box-{number}", gpus=0)
        await series.append_all([box.sample(START + second * SECOND) for second in range(0, 400, 10)])
        await series.append(box.sample(START + 2 * HOUR_US))
    await series.keep()
    database, until = series.database, START + HOUR_US
    for tier in (RAW, 0, 3):
        assert database.read_now(partial(oldest, tier=tier)) == START
        left: Sequence[int] = database.read_now(partial(series_before, tier=tier, until_unix_us=until))
        assert len(left) == 60
        writes, count = 0, len(left)
        while left:
            left = await database.write(partial(prune_all, tier=tier, series_ids=left, until_unix_us=until))
            assert tier != RAW or count - len(left) <= MOVED_ROWS / 40 * (writes + 1)
            writes += 1
        assert writes == (3 if tier != 3 else 1)
        assert not database.read_now(partial(series_before, tier=tier, until_unix_us=until))
    assert database.read_now(partial(oldest, tier=RAW)) == START + 2 * HOUR_US
    assert await series.count("box-7", 0, clock()) == 1


async def test_nothing_is_the_oldest_of_no_samples(series: Series) -> None:
    assert [series.database.read_now(partial(oldest, tier=tier)) for tier in (RAW, 0)] == [None, None]
