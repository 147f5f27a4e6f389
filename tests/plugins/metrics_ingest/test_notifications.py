"""The notifier: samples become notices at most once per cool-down, and servers that fall silent are told of."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from appliance.database import Database
from appliance.devices import DiskSample, GpuSample, HostSample
from appliance.errors import StorageFailed
from appliance.events import MIGRATIONS as EVENTS
from appliance.events import EventBus
from appliance.notices import MIGRATIONS as NOTICES
from appliance.notices import Notices
from appliance.series.schema import MIGRATIONS as SERIES
from appliance.series.schema import OWNER
from appliance.series.service import Series
from plugins.metrics_ingest.models import Server
from plugins.metrics_ingest.notifications import QUEUE, RETRY_SECONDS, Notifier

START = 1_795_219_200_000_000
SECOND = 1_000_000
SOON = 0.001
"""By when the service has written what was queued, under a mock clock."""


@define(eq=False)
class Wall:
    """Our own clock: it goes as trio's does, and can be set."""

    unix_us: int = START
    _set_at: float = field(factory=trio.current_time, init=False)

    def __call__(self) -> int:
        return self.unix_us + round((trio.current_time() - self._set_at) * SECOND)

    def set(self, seconds: float) -> None:
        """Set it on (or back) by so much."""
        self.unix_us = self() + round(seconds * SECOND)
        self._set_at = trio.current_time()


@define(eq=False)
class Lab:
    """The real parts behind a notifier, and servers that send what they are told."""

    now: Callable[[], int]
    notices: Notices
    series: Series
    servers: list[Server] = field(factory=list)
    silent_seconds: float = 60.0
    notifier: Notifier = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.notifier = Notifier(
            self.notices,
            self.now,
            servers=lambda: self.servers,
            latest=self.series.latest,
            silent_seconds=self.silent_seconds,
        )

    def add(self, slug: str = "box", **values: Any) -> Server:
        number = len(self.servers) + 1
        server = Server(server_id=number, slug=slug, name=slug.title(), series_id=f"s-{slug}", **values)
        self.servers.append(server)
        return server

    async def send(
        self, server: Server, *, gpus: int = 0, gpu_percent: float = 50.0, busy_ms: int | None = None, **values: Any
    ) -> None:
        """Let a server report, as ingest does it."""
        now = self.now()
        sample = HostSample(
            host_id=server.series_id,
            taken_at_unix_us=now,
            gpus=tuple(
                GpuSample(
                    gpu_id=f"GPU-{number}",
                    gpu_index=number,
                    model="A100",
                    taken_at_unix_us=now,
                    utilization_percent=gpu_percent,
                )
                for number in range(gpus)
            ),
            disks=() if busy_ms is None else (DiskSample(device="sda", busy_time_ms_total=busy_ms),),
            **values,
        )
        before = self.series.latest(server.series_id)
        reading = await self.series.append(sample)
        server.last_seen_unix_us = server.latest_unix_us = now
        server.snapshot_count += 1
        self.notifier.check(server, before, reading)

    async def told(self) -> list[tuple[str, str]]:
        """Return subject and kind of every notice, oldest first, once everything queued is written."""
        await trio.sleep(SOON)
        return [(one.subject, one.kind) for one in reversed(await self.notices.newest(1000))]

    async def kinds(self) -> list[str]:
        return [kind for _, kind in await self.told()]


@asynccontextmanager
async def opened(path: Path, now: Callable[[], int]) -> AsyncIterator[Lab]:
    migrations = {"events": EVENTS, "notices": NOTICES, OWNER: SERIES}
    async with Database.open(path, inline=True, migrations=migrations, now=now) as database:
        yield Lab(now, Notices(database, EventBus(database, now), now), Series(database, now))


@pytest.fixture
async def wall(autojump_clock: MockClock) -> Wall:
    return Wall()


@pytest.fixture
async def lab(tmp_path: Path, wall: Wall) -> AsyncIterator[Lab]:
    async with opened(tmp_path / "a.db", wall) as lab:
        yield lab


@pytest.fixture
async def running(lab: Lab, nursery: trio.Nursery) -> Lab:
    await nursery.start(lab.notifier.run)
    return lab


# ---------------------------------------------------------------- samples


async def test_a_busy_sample_becomes_a_notice_of_its_server(running: Lab, autojump_clock: MockClock) -> None:
    await running.send(running.add(), cpu_percent=97.4)
    await trio.sleep(SOON)
    (notice,) = await running.notices.newest()
    assert (notice.kind, notice.title, notice.message) == ("high_cpu", "High CPU usage", "CPU at 97% on Box")
    assert (notice.level, notice.subject, notice.source) == ("warning", "box", "metrics_ingest")


async def test_memory_gpu_and_the_rate_of_the_busiest_disk_are_looked_at(
    running: Lab, autojump_clock: MockClock
) -> None:
    box = running.add()
    await running.send(box, memory_percent=95.0, gpus=2, gpu_percent=99.0, busy_ms=0)
    await trio.sleep(2)
    await running.send(box, memory_percent=95.0, gpus=2, gpu_percent=99.0, busy_ms=1900)
    assert await running.kinds() == ["high_mem", "high_gpu", "gpu_added", "disk_added", "high_disk"]


async def test_a_busy_host_is_told_of_every_ten_minutes_while_it_lasts(running: Lab, autojump_clock: MockClock) -> None:
    box = running.add()
    for second in range(0, 1202, 2):
        await running.send(box, cpu_percent=95.0)
        await trio.sleep(2)
        expected = 1 + (second >= 600) + (second >= 1200)
        assert len(await running.notices.newest()) == expected, second
    assert [notice.event_count for notice in await running.notices.newest()] == [1, 1, 1], "held in memory"


async def test_cool_downs_are_those_of_one_server_and_one_kind(running: Lab, autojump_clock: MockClock) -> None:
    one, other = running.add("one"), running.add("other")
    await running.send(one, cpu_percent=95.0)
    await running.send(other, cpu_percent=95.0)
    await trio.sleep(2)
    await running.send(one, cpu_percent=95.0, memory_percent=95.0)
    assert await running.told() == [("one", "high_cpu"), ("other", "high_cpu"), ("one", "high_mem")]


async def test_devices_of_a_first_sample_are_new_and_later_only_further_ones(
    running: Lab, autojump_clock: MockClock
) -> None:
    box = running.add()
    await running.send(box, gpus=1)
    for gpus in (1, 2):
        await trio.sleep(3601)
        await running.send(box, gpus=gpus)
    await trio.sleep(SOON)
    messages = [notice.message for notice in await running.notices.newest() if notice.kind == "gpu_added"]
    assert messages == ["2 GPU(s) present (was 1) on Box", "1 GPU(s) present (was 0) on Box"]


async def test_a_lost_gpu_is_told_of_once(running: Lab, autojump_clock: MockClock) -> None:
    box = running.add()
    for gpus in (2, 1, 1):
        await running.send(box, gpus=gpus)
        await trio.sleep(2)
    lost = [notice for notice in await running.notices.newest() if notice.kind == "gpu_lost"]
    assert [(notice.message, notice.level) for notice in lost] == [("1 GPU(s) present (was 2) on Box", "critical")]


async def test_the_local_server_takes_part_and_its_devices_at_the_start_are_no_news(
    running: Lab, autojump_clock: MockClock
) -> None:
    local = running.add("local", is_local=True)
    await running.send(local, gpus=2, cpu_percent=99.0)
    await trio.sleep(2)
    await running.send(local, gpus=1)
    assert await running.told() == [("local", "high_cpu"), ("local", "gpu_lost")]


async def test_a_reading_from_before_the_restart_is_not_told_of_again(
    tmp_path: Path, wall: Wall, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path / "a.db", wall) as lab:
        await lab.send(lab.add(), cpu_percent=99.0, gpus=1)
    async with opened(tmp_path / "a.db", wall) as lab, trio.open_nursery() as nursery:
        await lab.series.recover()
        await nursery.start(lab.notifier.run)
        box = lab.add(snapshot_count=1)
        recovered = lab.series.latest(box.series_id)
        assert recovered is not None
        lab.notifier.check(box, None, recovered)
        assert await lab.kinds() == []
        await trio.sleep(2)
        await lab.send(box, gpus=2)
        assert await lab.kinds() == ["gpu_added"]
        (notice,) = await lab.notices.newest()
        assert notice.message == "2 GPU(s) present (was 1) on Box"
        nursery.cancel_scope.cancel()


async def test_an_inactive_server_raises_nothing(running: Lab, autojump_clock: MockClock) -> None:
    box = running.add(is_active=False)
    await running.send(box, cpu_percent=99.0, gpus=1)
    await trio.sleep(300)
    assert await running.kinds() == []


# ---------------------------------------------------------------- cool-downs and restarts


async def test_a_cool_down_holds_over_a_restart_and_ends_when_it_would_have(
    tmp_path: Path, wall: Wall, autojump_clock: MockClock
) -> None:
    for seconds, counts in ((300, [1]), (550, [1 + 5]), (700, [1, 1 + 6])):  # counted up once a minute
        async with opened(tmp_path / "a.db", wall) as lab, trio.open_nursery() as nursery:
            await lab.series.recover()
            await nursery.start(lab.notifier.run)
            box = lab.add()
            while wall() < START + seconds * SECOND:
                await lab.send(box, cpu_percent=99.0)
                await trio.sleep(2)
            found = await lab.notices.newest()
            assert [notice.event_count for notice in found] == counts
            nursery.cancel_scope.cancel()
    assert START + 600 * SECOND <= found[0].first_unix_us <= START + (600 + RETRY_SECONDS + 2) * SECOND


async def test_a_clock_that_was_set_back_does_not_prolong_a_cool_down(
    running: Lab, wall: Wall, autojump_clock: MockClock
) -> None:
    box = running.add()
    await running.send(box, cpu_percent=99.0)
    await trio.sleep(2)
    wall.set(-86_400)
    running.notifier.check(box, None, await running.series.append(busy(box, wall())))
    assert [kind for kind in await running.kinds() if kind == "high_cpu"] == ["high_cpu", "high_cpu"]


def busy(server: Server, at_unix_us: int) -> HostSample:
    return HostSample(host_id=server.series_id, taken_at_unix_us=at_unix_us, cpu_percent=99.0)


async def test_what_does_not_fit_the_queue_is_told_later(
    lab: Lab, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    servers = [lab.add(f"box-{number}") for number in range(QUEUE + 5)]
    for server in servers:
        await lab.send(server, cpu_percent=99.0)
    await nursery.start(lab.notifier.run)
    assert len(await lab.told()) == QUEUE
    for server in servers[-5:]:
        await lab.send(server, cpu_percent=99.0)
    assert [subject for subject, _ in (await lab.told())[-5:]] == [server.slug for server in servers[-5:]]


async def test_what_is_queued_when_stopping_is_written(lab: Lab, autojump_clock: MockClock) -> None:
    await lab.send(lab.add("one"), cpu_percent=99.0)
    await lab.send(lab.add("two"), gpus=1)
    async with trio.open_nursery() as nursery:
        await nursery.start(lab.notifier.run)
        nursery.cancel_scope.cancel()
    assert await lab.told() == [("one", "high_cpu"), ("two", "gpu_added")]


class FullDisk:
    """Notices on a disk that is full at first."""

    def __init__(self, notices: Notices) -> None:
        self.notices = notices
        self.is_full = True
        self.tries = 0

    async def raise_one(self, kind: str, message: str, **said: Any) -> bool:
        self.tries += 1
        if self.is_full:
            raise StorageFailed("no space left on the disk")
        return await self.notices.raise_one(kind, message, **said)

    async def newest(self, *wanted: Any) -> list[Any]:
        return list(await self.notices.newest(*wanted))


async def test_what_could_not_be_stored_is_tried_again_once_a_minute(
    lab: Lab, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    disk: Any = FullDisk(lab.notices)
    lab.notices = disk
    lab.__attrs_post_init__()
    await nursery.start(lab.notifier.run)
    box = lab.add()
    for _ in range(80):
        await lab.send(box, cpu_percent=99.0)
        await trio.sleep(2)
    assert (disk.tries, await lab.kinds()) == (3, [])
    await trio.sleep(200)
    assert disk.tries > 3, "silence is tried again too"
    disk.is_full = False
    await trio.sleep(RETRY_SECONDS + 10)
    assert await lab.kinds() == ["host_silent"]
    await lab.send(box, cpu_percent=99.0)
    await trio.sleep(6)
    assert await lab.kinds() == ["host_silent", "high_cpu", "host_back"]


# ---------------------------------------------------------------- silence


async def test_a_server_is_silent_after_a_minute_and_told_of_once(running: Lab, autojump_clock: MockClock) -> None:
    box = running.add()
    await running.send(box)
    await trio.sleep(58)
    assert await running.kinds() == []
    await trio.sleep(12)
    (notice,) = await running.notices.newest()
    assert (notice.kind, notice.level, notice.subject) == ("host_silent", "warning", "box")
    assert notice.message == "No sample from Box since 2026-11-21 00:00:00 UTC"
    await trio.sleep(86_400)
    assert await running.kinds() == ["host_silent"]
    assert (await running.notices.newest())[0].event_count == 1


async def test_a_server_that_reports_again_is_back_and_can_fall_silent_again(
    running: Lab, autojump_clock: MockClock
) -> None:
    box = running.add()
    for _ in range(2):
        for _ in range(5):
            await running.send(box)
            await trio.sleep(2)
        await trio.sleep(70)
    await running.send(box)
    await trio.sleep(6)
    assert await running.kinds() == ["host_silent", "host_back", "host_silent", "host_back"]


async def test_a_server_may_be_quiet_for_ten_of_its_intervals(running: Lab, autojump_clock: MockClock) -> None:
    box = running.add()
    for _ in range(6):
        await running.send(box)
        await trio.sleep(30)
    assert running.notifier.silent_after_seconds(box) == 300
    await trio.sleep(265)
    assert await running.kinds() == []
    await trio.sleep(20)
    assert await running.kinds() == ["host_silent"]


async def test_one_long_silence_does_not_make_a_server_slow(running: Lab, autojump_clock: MockClock) -> None:
    box = running.add()
    await running.send(box)
    await trio.sleep(2)
    await running.send(box)
    await trio.sleep(10_000)
    await running.send(box)
    assert running.notifier.silent_after_seconds(box) == 60


async def test_usual_interval_is_that_of_the_series_after_a_restart(
    tmp_path: Path, wall: Wall, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path / "a.db", wall) as lab:
        box = lab.add()
        for _ in range(3):
            await lab.send(box)
            await trio.sleep(100)
    async with opened(tmp_path / "a.db", wall) as lab, trio.open_nursery() as nursery:
        await lab.series.recover()
        box = lab.add(last_seen_unix_us=box.last_seen_unix_us)
        assert lab.notifier.silent_after_seconds(box) == 1000
        await nursery.start(lab.notifier.run)
        await trio.sleep(990)
        assert await lab.kinds() == []
        await trio.sleep(30)
        assert await lab.kinds() == ["host_silent"]
        nursery.cancel_scope.cancel()


async def test_the_shortest_silence_is_a_setting(
    tmp_path: Path, wall: Wall, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path / "a.db", wall) as lab:
        lab.silent_seconds = 300.0
        lab.__attrs_post_init__()
        await nursery.start(lab.notifier.run)
        await lab.send(lab.add())
        await trio.sleep(290)
        assert await lab.kinds() == []
        await trio.sleep(20)
        assert await lab.kinds() == ["host_silent"]
        nursery.cancel_scope.cancel()


async def test_a_server_that_never_reported_and_one_that_is_inactive_are_not_silent(
    running: Lab, autojump_clock: MockClock
) -> None:
    running.add("new")
    disabled = running.add("disabled")
    await running.send(disabled)
    disabled.is_active = False
    await trio.sleep(3600)
    assert await running.kinds() == []
    disabled.is_active = True
    await trio.sleep(55)
    assert await running.kinds() == [], "its silence begins when it is enabled"
    await trio.sleep(20)
    assert await running.told() == [("disabled", "host_silent")]


async def test_a_deleted_server_is_not_silent(running: Lab, autojump_clock: MockClock) -> None:
    box = running.add()
    await running.send(box)
    running.servers.remove(box)
    await trio.sleep(3600)
    assert await running.kinds() == []


async def test_silence_is_told_once_over_a_restart_and_its_end_after_it(
    tmp_path: Path, wall: Wall, autojump_clock: MockClock
) -> None:
    seen = None
    for hours in (1, 2):
        async with opened(tmp_path / "a.db", wall) as lab, trio.open_nursery() as nursery:
            box = lab.add(last_seen_unix_us=seen)
            await nursery.start(lab.notifier.run)
            if seen is None:
                await lab.send(box)
            seen = box.last_seen_unix_us
            await trio.sleep(3600 * hours)
            assert await lab.kinds() == ["host_silent"]
            nursery.cancel_scope.cancel()
    async with opened(tmp_path / "a.db", wall) as lab, trio.open_nursery() as nursery:
        box = lab.add(last_seen_unix_us=seen)
        await nursery.start(lab.notifier.run)
        await lab.send(box)
        await trio.sleep(6)
        assert await lab.kinds() == ["host_silent", "host_back"]
        nursery.cancel_scope.cancel()


async def test_silence_of_a_deleted_server_is_not_that_of_one_that_takes_its_slug(
    tmp_path: Path, wall: Wall, autojump_clock: MockClock
) -> None:
    async with opened(tmp_path / "a.db", wall) as lab, trio.open_nursery() as nursery:
        await nursery.start(lab.notifier.run)
        await lab.send(lab.add())
        await trio.sleep(80)
        assert await lab.kinds() == ["host_silent"]
        nursery.cancel_scope.cancel()
    async with opened(tmp_path / "a.db", wall) as lab, trio.open_nursery() as nursery:
        box = lab.add(created_unix_us=wall())
        await nursery.start(lab.notifier.run)
        await lab.send(box)
        await trio.sleep(6)
        assert await lab.kinds() == ["host_silent"]
        nursery.cancel_scope.cancel()


async def test_nobody_is_silent_because_we_stood_still(lab: Lab, autojump_clock: MockClock) -> None:
    box = lab.add()
    await lab.send(box)
    lab.notifier.look()
    await trio.sleep(3600)
    lab.notifier.look(stood_still=True)
    await trio.sleep(50)
    lab.notifier.look()
    async with trio.open_nursery() as nursery:
        await nursery.start(lab.notifier.run)
        assert await lab.kinds() == []
        nursery.cancel_scope.cancel()


async def test_a_look_that_comes_much_too_late_counts_as_standing_still(
    lab: Lab, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    slow: Any = Slow(lab.notices)
    lab.notices = slow
    lab.__attrs_post_init__()
    await nursery.start(lab.notifier.run)
    quiet, loud = lab.add("quiet"), lab.add("loud")
    await lab.send(quiet)
    await trio.sleep(6)
    await lab.send(loud, cpu_percent=99.0)
    await trio.sleep(90)
    assert await lab.told() == [("loud", "high_cpu")]
    await trio.sleep(30)
    assert {subject for subject, kind in await lab.told() if kind == "host_silent"} == {"quiet", "loud"}


class Slow:
    """Notices on a disk that takes 50 s for the first."""

    def __init__(self, notices: Notices) -> None:
        self.notices = notices
        self.wait = 50.0

    async def raise_one(self, kind: str, message: str, **said: Any) -> bool:
        wait, self.wait = self.wait, 0.0
        await trio.sleep(wait)
        return await self.notices.raise_one(kind, message, **said)

    async def newest(self, *wanted: Any) -> list[Any]:
        return list(await self.notices.newest(*wanted))
