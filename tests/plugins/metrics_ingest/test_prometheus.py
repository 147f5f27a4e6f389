"""Servers for ``/metrics``: the active ones, each with its newest sample, the silent ones without figures."""

import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from attrs import define

from appliance.credentials.kinds import Kind
from appliance.database import Database
from appliance.prometheus import hosts_text
from appliance.series.schema import MIGRATIONS as SERIES_MIGRATIONS
from appliance.series.schema import OWNER
from appliance.series.service import Series
from appliance.testing import SteppingClock, running
from plugins.metrics_ingest import store
from plugins.metrics_ingest.models import Server
from plugins.metrics_ingest.prometheus import Watching, section
from plugins.metrics_ingest.schema import MIGRATIONS
from tests.appliance.prometheus.parsing import parse
from tests.plugins.metrics_ingest.parts import Parts

SECOND = 1_000_000


@define(eq=False)
class Watched(Parts):
    """The parts, with silence after a minute."""

    def is_silent(self, server: Server) -> bool:
        seen = server.last_seen_unix_us
        return seen is not None and self.core.now() - seen > 60 * SECOND


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
async def parts(tmp_path: Path, clock: SteppingClock) -> AsyncIterator[Watched]:
    migrations = {OWNER: SERIES_MIGRATIONS, "metrics_ingest": MIGRATIONS}
    async with Database.open(tmp_path / "a.db", inline=True, migrations=migrations, now=clock) as database:
        yield Watched(database, clock, Series(database, clock))


def text(parts: Watched) -> str:
    return hosts_text(section(cast(Watching, parts))())


async def test_every_active_server_shows_its_newest_sample_under_its_slug(parts: Watched, clock: SteppingClock) -> None:
    await parts.add("alpha", [clock() - 2 * SECOND, clock() - SECOND])
    await parts.add("beta", [clock() - SECOND])
    await parts.add("gamma", [])
    written = text(parts)
    assert 'appliance_host_cpu_percent{server="alpha",host="Alpha"} 1.0\n' in written
    assert 'appliance_host_cpu_percent{server="beta",host="Beta"} 0.0\n' in written
    assert 'appliance_server_up{server="beta",host="Beta"} 1\n' in written
    assert 'appliance_server_up{server="gamma",host="Gamma"} 0\n' in written
    assert 'cpu_percent{server="gamma"' not in written


async def test_a_server_that_falls_silent_keeps_only_that_and_its_last_moment(
    parts: Watched, clock: SteppingClock
) -> None:
    at = clock()
    await parts.add("alpha", [at])
    clock.advance(parts.settings.silent_seconds - 1)
    assert "appliance_host_cpu_percent" in text(parts)
    clock.advance(2)
    assert [line for line in text(parts).splitlines() if not line.startswith("#")] == [
        'appliance_server_up{server="alpha",host="Alpha"} 0',
        f'appliance_sample_timestamp_seconds{{server="alpha",host="Alpha"}} {at / SECOND}',
    ]


async def test_a_disabled_server_is_not_told_of(parts: Watched, clock: SteppingClock) -> None:
    server = await parts.add("alpha", [clock()])

    def disable(connection: sqlite3.Connection) -> None:
        store.change(connection, server.server_id, name=server.name, description="", is_active=False)

    await parts.database.write(disable)
    parts.read_servers()
    assert section(cast(Watching, parts))() == []


async def test_what_an_agent_posts_is_in_the_next_scrape_by_either_names(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        made = (await one.post("/api/appliance/servers", {"slug": "rack-1", "name": "Rack 1"})).json
        scraper = await one.running.state.credentials.create(Kind.SCRAPE)
        moment = datetime.now(UTC).isoformat()
        gpu = {"gpu_index": 0, "name": "H200", "uuid": "GPU-z", "utilization_gpu_percent": 77}
        hostile = {"gpu_index": 1, "name": 'a"b\\c\n{', "uuid": "", "temperature_c": True, "power_w": 71}
        sample = {"collected_at": moment, "cpu_usage_percent": 12.5, "gpus": [gpu, gpu | hostile]}
        posted = await one.post(
            "/api/ingest/servers/rack-1/metrics/", sample, headers={"X-Monitoring-Token": made["token"]}
        )
        assert posted.status == 200, posted.text
        asked = {"Authorization": f"Bearer {scraper.secret}"}
        found = parse((await one.get("/metrics", headers=asked)).text)
        [value] = [each for each in found["appliance_host_cpu_percent"].samples if each.labels["server"] == "rack-1"]
        assert value.value == 12.5
        models = {
            each.labels["gpu"]: each.labels["model"] for each in found["appliance_gpu_utilization_percent"].samples
        }
        assert models["0"] == "H200"
        assert models["1"].startswith('a"b\\c')
        dcgm = parse((await one.get("/metrics?names=dcgm", headers=asked)).text)
        assert [each.value for each in dcgm["DCGM_FI_DEV_GPU_UTIL"].samples] == [77, 77]
        assert dcgm["DCGM_FI_DEV_GPU_UTIL"].samples[0].labels["server"] == "rack-1"
