"""Servers for ``/metrics``: the active ones, each with its newest sample, the silent ones without figures."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from attrs import define

from appliance.database import Database
from appliance.prometheus import hosts_text
from appliance.series.schema import MIGRATIONS as SERIES_MIGRATIONS
from appliance.series.schema import OWNER
from appliance.series.service import Series
from appliance.testing import SteppingClock
from plugins.metrics_ingest import store
from plugins.metrics_ingest.models import Server
from plugins.metrics_ingest.prometheus import Watching, section
from plugins.metrics_ingest.schema import MIGRATIONS
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
