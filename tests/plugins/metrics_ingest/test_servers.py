"""The registered servers: chosen as clients mean it, and no more of them than can be held."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.database import Database
from appliance.errors import NotFound, TooLarge
from appliance.series.schema import MIGRATIONS as SERIES_MIGRATIONS
from appliance.series.schema import OWNER
from appliance.series.service import Series
from appliance.testing import SteppingClock
from plugins.metrics_ingest import store
from plugins.metrics_ingest.schema import MIGRATIONS
from plugins.metrics_ingest.servers import Servers
from tests.plugins.metrics_ingest.parts import Parts


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    clock = SteppingClock()
    migrations = {OWNER: SERIES_MIGRATIONS, "metrics_ingest": MIGRATIONS}
    async with Database.open(tmp_path / "a.db", inline=True, migrations=migrations, now=clock) as database:
        yield Parts(database, clock, Series(database, clock))


async def register(parts: Parts, *slugs: str) -> Servers:
    def write(connection: sqlite3.Connection) -> None:
        for slug in slugs:
            store.insert(connection, slug=slug, name=slug.upper(), series_id=f"s-{slug}", created_unix_us=1)

    await parts.database.write(write)
    parts.read_servers()
    return parts.servers


async def test_servers_with_the_newest_samples_come_first_and_those_without_last(parts: Parts) -> None:
    servers = await register(parts, "c", "b", "a", "d")
    for slug, latest, seen in (("a", None, None), ("b", 10, 99), ("c", 20, 1), ("d", None, 5)):
        server = servers.known(slug)
        server.latest_unix_us, server.last_seen_unix_us = latest, seen
    assert [each.slug for each in servers.active()] == ["c", "b", "d", "a"]
    servers.known("c").is_active = False
    assert [each.slug for each in servers.active()] == ["b", "d", "a"]
    assert [each.slug for each in servers.all()] == ["c", "b", "a", "d"]


async def test_server_is_chosen_by_number_or_slug_else_the_first_with_samples_else_the_first(parts: Parts) -> None:
    servers = await register(parts, "a", "b", "7")
    by_slug = {each.slug: each for each in servers.all()}
    found = servers.select(f" {by_slug['b'].server_id} ")
    assert found is by_slug["b"]
    assert servers.select("b") is by_slug["b"]
    for text in (None, "", "B", "no-such", "9" * 40, "-1", "²"):
        assert servers.select(text) is servers.active()[0], text
    by_slug["b"].latest_unix_us = 5
    assert servers.select(None) is by_slug["b"]
    assert servers.select("7") is by_slug["b"], "digits are a number, never a slug"
    by_slug["b"].is_active = False
    assert servers.select("b") is not by_slug["b"]


async def test_nothing_is_chosen_where_nothing_is_registered(parts: Parts) -> None:
    assert parts.servers.select(None) is None
    with pytest.raises(NotFound):
        parts.servers.known("a")


async def test_no_more_servers_are_registered_than_can_be_held(parts: Parts) -> None:
    servers = await register(parts, "a", "b")
    servers.most = 2
    with pytest.raises(TooLarge):
        await servers.register(slug="c", name="C")
    with pytest.raises(TooLarge):
        await servers.enrol(
            machine_sha256=b"m",
            slugs=lambda attempt: f"c-{attempt}",
            name="C",
            hostname="c",
            agent_user="",
            platform="",
            owner="",
            may_take=lambda server: None,
        )
    assert len(servers.all()) == 2
