"""The history endpoint: which server, how long, which points, and what the clients need around them."""

import gzip
import inspect
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.database import Database
from appliance.http.answers import render
from appliance.plugin import Answer, Call, Surface
from appliance.series.schema import MIGRATIONS as SERIES_MIGRATIONS
from appliance.series.schema import OWNER
from appliance.series.service import Series
from plugins.metrics_ingest import history_routes, store, wire
from plugins.metrics_ingest.bottleneck import LABELS
from plugins.metrics_ingest.history_routes import history, minutes_of
from plugins.metrics_ingest.schema import MIGRATIONS
from plugins.metrics_ingest.settings import MetricsSettings
from tests.plugins.metrics_ingest.parts import Parts, head_of

NOW = 1_795_219_200_000_000
SECOND = 1_000_000
MINUTE = 60 * SECOND


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    migrations = {OWNER: SERIES_MIGRATIONS, "metrics_ingest": MIGRATIONS}
    async with Database.open(tmp_path / "a.db", inline=True, migrations=migrations, now=lambda: NOW) as database:
        yield Parts(database, lambda: NOW, Series(database, lambda: NOW))


async def get(parts: Parts, query: str = "") -> Any:
    answer = await history(Call(head=head_of(query), body=None, state=parts))
    assert isinstance(answer, Answer)
    return json.loads(msgspec.json.encode(answer.model))


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        (None, 60),
        ("", 60),
        ("15", 15),
        (" 15 ", 15),
        ("+15", 15),
        ("1_5", 15),
        ("0", 1),
        ("-7", 1),
        ("43200", 43_200),
        ("43201", 43_200),
        ("9" * 100, 43_200),
        ("-" + "9" * 100, 1),
        ("9" * 5000, 60),
        ("１５", 15),  # full-width digits are digits to the documented server  # noqa: RUF001
        ("¼", 60),
        ("15.0", 60),
        ("1e3", 60),
        ("0x10", 60),
        ("nan", 60),
        ("15\x00", 60),
    ],
)
def test_minutes_are_read_as_the_documents_server_reads_them(text: str | None, minutes: int) -> None:
    assert minutes_of(text, 43_200) == minutes


def test_minutes_keep_to_a_maximum_below_the_default() -> None:
    assert minutes_of(None, 30) == 30
    assert minutes_of("45", 30) == 30


async def test_history_without_servers_is_an_empty_answer_and_no_error(parts: Parts) -> None:
    assert await get(parts, "minutes=99") == {
        "ok": True,
        "minutes": 0,
        "point_count": 0,
        "stride": 1,
        "servers": [],
        "selected_server": None,
        "points": [],
    }


async def test_history_has_every_sample_as_a_point_with_what_clients_need_around(parts: Parts) -> None:
    times = [NOW - 9 * MINUTE + number * 2 * SECOND for number in range(240)]
    server = await parts.add("box", times)

    def write(conn: Any) -> None:
        store.put_verdict(conn, server.server_id, times[0], LABELS.index("idle"), after_unix_us=None)
        store.put_verdict(conn, server.server_id, times[100], LABELS.index("gpu-bound"), after_unix_us=None)

    await parts.database.write(write)
    said = await get(parts)
    assert set(said) == {
        *("ok", "minutes", "point_count", "stride", "servers", "selected_server", "points"),
        *("backend_version", "min_agent_version"),
    }
    assert (said["ok"], said["minutes"], said["point_count"], said["stride"]) == (True, 60, 240, 1)
    assert said["servers"] == [said["selected_server"]]
    assert said["selected_server"]["slug"] == "box"
    assert [each["cpu_usage_percent"] for each in said["points"]] == [float(number) for number in range(240)]
    assert [each["collected_at"] for each in said["points"]] == [wire.iso(at) for at in times]
    assert [each["bottleneck"] for each in said["points"]] == ["idle"] * 100 + ["gpu-bound"] * 140


async def test_history_begins_so_many_minutes_ago_and_shows_a_sample_stamped_a_little_ahead(parts: Parts) -> None:
    await parts.add("box", [NOW - 5 * MINUTE - 1, NOW - 5 * MINUTE, NOW, NOW + 59 * SECOND])
    said = await get(parts, "minutes=5")
    assert [each["cpu_usage_percent"] for each in said["points"]] == [1.0, 2.0, 3.0]


async def test_history_of_more_samples_than_points_says_how_many_are_behind_each(parts: Parts) -> None:
    await parts.add("box", [NOW - 55 * MINUTE + number * 2 * SECOND for number in range(1501)])
    said = await get(parts)
    assert said["point_count"] == len(said["points"]) == 301
    assert said["stride"] == 5
    assert said["points"][-1]["cpu_usage_percent"] == 1500.0
    assert [each["cpu_usage_percent"] for each in said["points"][:2]] == [4.0, 9.0], "the peaks of 10 s"


async def test_history_of_exactly_1500_samples_is_not_thinned(parts: Parts) -> None:
    await parts.add("box", [NOW - 55 * MINUTE + number * 2 * SECOND for number in range(1500)])
    said = await get(parts)
    assert (said["point_count"], said["stride"]) == (1500, 1)


async def test_history_of_a_server_without_samples_is_empty(parts: Parts) -> None:
    await parts.add("box", [])
    said = await get(parts, "minutes=15")
    assert (said["minutes"], said["point_count"], said["stride"], said["points"]) == (15, 0, 1, [])
    assert said["selected_server"]["slug"] == "box"


async def test_server_is_chosen_by_number_by_slug_else_the_one_with_samples(parts: Parts) -> None:
    empty, full = await parts.add("empty", []), await parts.add("full", [NOW - SECOND])
    asked = {"": full, "server=nobody": full, "server=empty": empty, f"server={empty.server_id}": empty}
    for query, server in asked.items():
        assert (await get(parts, query))["selected_server"]["id"] == server.server_id, query


@pytest.mark.parametrize(
    "query",
    [
        "minutes=" + "9" * 5000,
        "minutes=%D9%A3%00",
        "server=%FF%FE&minutes=%",
        "&&&=;=",
        "minutes=5&minutes=x",
        "a=b&" * 99,
    ],
)
async def test_hostile_queries_are_answered_as_if_nothing_was_asked(parts: Parts, query: str) -> None:
    await parts.add("box", [NOW - SECOND])
    assert (await get(parts, query))["minutes"] == 60


async def test_history_max_minutes_is_the_longest_history(parts: Parts) -> None:
    await parts.add("box", [NOW - 3 * MINUTE, NOW])
    parts.settings = MetricsSettings(history_max_minutes=2)
    said = await get(parts, "minutes=1440")
    assert (said["minutes"], said["point_count"]) == (2, 1)


async def test_history_is_not_kept_by_anyone_and_packed_when_that_is_understood(parts: Parts) -> None:
    await parts.add("box", [NOW - number * SECOND for number in range(500, 0, -1)])
    head = head_of("", accept_encoding="gzip, deflate")
    answer = await history(Call(head=head, body=None, state=parts))
    plain = await render(answer, head_of(""), status=200)
    packed = await render(answer, head, status=200)
    assert dict(plain.headers)[b"cache-control"] == b"no-store"
    assert dict(plain.headers)[b"content-type"] == b"application/json"
    assert dict(packed.headers)[b"content-encoding"] == b"gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) * 5 < len(plain.body)


def test_documentation_states_what_a_stride_keeps() -> None:
    api = Surface("test", slash="both")
    history_routes.declare(api)
    (endpoint,) = api.endpoints
    assert (endpoint.method, endpoint.path, endpoint.access) == ("GET", "/api/metrics/history", "keyed")
    words = inspect.getdoc(endpoint.handler) or ""
    for said in ("stride", "maximum", "mean", "1,500", "newest sample"):
        assert said in words
