"""Documented JSON of machines in lists."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from plugins.machine_registry import wire
from plugins.machine_registry.models import Metrics
from tests.plugins.machine_registry.parts import Parts, beat, opened


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as made:
        yield made


async def test_listed_machine_has_every_field_in_the_documents_order(parts: Parts) -> None:
    machine = await parts.ready(hostname='b"ox\\')
    parts.machines.beat(machine, beat(version='1"2', metrics=Metrics(worker_count=1)))
    found = json.loads(wire.listed(machine, 'A"100'))
    now = str(parts.now() // 1_000_000)
    assert list(found["state"].items()) == [
        ("machine_id", "1165a9b6"),
        ("pool_name", "default"),
        ("status", "ready"),
        ("hostname", 'b"ox\\'),
        ("cpu", 8000),
        ("memory", 16_384),
        ("gpu", 'A"100'),
        ("gpu_count", 1),
        ("private_ip", "192.0.2.1"),
        ("created", now),
        ("last_worker_seen", now),
        ("last_keepalive", now),
        ("auto_consolidate", False),
        ("agent_version", '1"2'),
    ]
    assert found["metrics"]["worker_count"] == 1


async def test_listed_machine_shows_what_each_beat_and_each_registration_changed(parts: Parts) -> None:
    machine = await parts.ready()
    before = json.loads(wire.listed(machine, "T4"))
    parts.now.advance(60)
    parts.machines.beat(machine, beat(version="2", metrics=None))
    after = json.loads(wire.listed(machine, "T4"))
    assert int(after["state"]["last_keepalive"]) - int(before["state"]["last_keepalive"]) == 60
    assert (after["state"]["agent_version"], after["metrics"]) == ("2", None)
    again = await parts.ready(hostname="other", gpu_count=4)
    found = json.loads(wire.listed(again, "T4"))["state"]
    assert (found["hostname"], found["gpu_count"]) == ("other", 4)


async def test_other_name_of_the_gpus_is_shown_from_the_next_beat_on(parts: Parts) -> None:
    machine = await parts.ready()
    assert json.loads(wire.listed(machine, ""))["state"]["gpu"] == ""
    parts.machines.beat(machine, beat())
    assert json.loads(wire.listed(machine, "H100"))["state"]["gpu"] == "H100"
