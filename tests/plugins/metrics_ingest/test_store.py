"""Verdicts are stored as changes, and the one in effect at any moment is what that moment's sample said."""

import sqlite3
from collections.abc import Iterator
from random import Random

import pytest

from plugins.metrics_ingest import store
from plugins.metrics_ingest.schema import MIGRATIONS


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:")
    for step in MIGRATIONS:
        made.executescript(step.sql)
    yield made
    made.close()


def in_effect(connection: sqlite3.Connection, at: int) -> int | None:
    found = store.verdicts(connection, 1, at, at + 1)
    return found[-1][1] if found else None


def test_only_changes_take_a_row(connection: sqlite3.Connection) -> None:
    for at, code in enumerate([3, 3, 3, 5, 5, 3, 3]):
        store.put_verdict(connection, 1, at, code, after_unix_us=None)
    assert store.verdicts(connection, 1, 0, 100) == [(0, 3), (3, 5), (5, 3)]
    assert store.verdicts(connection, 1, 4, 100) == [(3, 5), (5, 3)]
    assert store.verdicts(connection, 2, 0, 100) == []


@pytest.mark.parametrize("seed", range(20))
def test_late_verdicts_leave_every_sample_its_own(connection: sqlite3.Connection, seed: int) -> None:
    random = Random(seed)
    said = {at: random.randrange(3) for at in range(0, 400, 10)}
    order = random.sample(sorted(said), len(said))
    taken: list[int] = []
    for at in order:
        after = min((each for each in taken if each > at), default=None)
        store.put_verdict(connection, 1, at, said[at], after_unix_us=after)
        taken.append(at)
    first = min(order)
    assert [in_effect(connection, at) for at in sorted(said) if at >= first] == [said[at] for at in sorted(said)]


def test_pruning_keeps_the_verdict_in_effect_at_the_border(connection: sqlite3.Connection) -> None:
    for at, code in ((10, 1), (20, 2), (30, 3)):
        store.put_verdict(connection, 1, at, code, after_unix_us=None)
    store.prune_verdicts(connection, [1], 25)
    assert store.verdicts(connection, 1, 25, 100) == [(20, 2), (30, 3)]


def test_samples_of_a_disabled_or_deleted_server_are_not_counted(connection: sqlite3.Connection) -> None:
    server = store.insert(connection, slug="box", name="Box", series_id="s", created_unix_us=1)
    assert server is not None
    assert store.insert(connection, slug="box", name="Other", series_id="t", created_unix_us=1) is None
    assert store.sampled(connection, server.server_id, seen_unix_us=9, at_unix_us=7, count=2)
    assert store.sampled(connection, server.server_id, seen_unix_us=10, at_unix_us=5, count=1)
    (known,) = store.servers(connection)
    assert (known.snapshot_count, known.latest_unix_us, known.last_seen_unix_us) == (3, 7, 10)
    assert store.change(connection, server.server_id, name="Box", description="", is_active=False)
    assert not store.sampled(connection, server.server_id, seen_unix_us=11, at_unix_us=11, count=1)
    store.delete(connection, server.server_id)
    assert not store.sampled(connection, server.server_id, seen_unix_us=11, at_unix_us=11, count=1)
