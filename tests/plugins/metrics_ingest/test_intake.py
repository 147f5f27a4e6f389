"""Samples taken in over HTTP: placed in time, told once, all or none."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from appliance.testing import RunningAppliance, SteppingClock, running, until
from tests.plugins.metrics_ingest.kit import Agent, agent, disk, gpu, iso, sample

SECOND = 1_000_000


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
async def appliance(tmp_path: Path, clock: SteppingClock) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path, now=clock) as made:
        yield made


@pytest.fixture
async def box(appliance: RunningAppliance) -> Agent:
    return await agent(appliance)


async def latest(appliance: RunningAppliance, slug: str = "box") -> Any:
    reply = await appliance.get(f"/api/metrics/latest/?server={slug}", headers=await appliance.bearer())
    assert reply.status == 200, reply.text
    return reply.json["snapshot"]


async def count(appliance: RunningAppliance, slug: str = "box") -> int:
    listed = (await appliance.control("GET", "/api/appliance/servers")).json["items"]
    found: int = next(item["snapshot_count"] for item in listed if item["slug"] == slug)
    return found


async def test_sample_stamped_ahead_is_stored_as_of_now_and_repeated_as_sent(
    appliance: RunningAppliance, box: Agent, clock: SteppingClock
) -> None:
    await box.send(clock())
    ahead = clock() + 86_400 * SECOND
    clock.advance(2)
    reply = await box.send(ahead, cpu_usage_percent=77.0)
    assert reply.json["snapshot"]["collected_at"] == iso(ahead)
    shown = await latest(appliance)
    assert shown["collected_at"] == iso(clock())
    assert shown["cpu"]["usage_percent"] == 77.0
    again = await box.send(ahead, cpu_usage_percent=77.0)
    assert again.json["snapshot"]["id"] == reply.json["snapshot"]["id"]
    assert await count(appliance) == 2
    clock.advance(2)
    await box.send(clock(), cpu_usage_percent=5.0)
    assert (await latest(appliance))["cpu"]["usage_percent"] == 5.0


async def test_late_sample_older_than_is_kept_is_refused_by_its_field_and_hides_nothing(
    appliance: RunningAppliance, box: Agent, clock: SteppingClock
) -> None:
    await box.send(clock())
    reply = await box.post({"sample": sample(0)})
    assert reply.status == 400
    assert reply.json["error"] == "Ingest processing failed."
    assert reply.json["field"] == "$.sample.collected_at"
    assert (await latest(appliance))["collected_at"] == iso(clock())


async def test_out_of_order_and_repeated_samples_are_counted_once_and_leave_the_newest(
    appliance: RunningAppliance, box: Agent, clock: SteppingClock
) -> None:
    start = clock() - 100 * SECOND
    for seconds in (10, 2, 6, 2, 10):
        await box.send(start + seconds * SECOND, cpu_usage_percent=float(seconds))
    assert await count(appliance) == 3
    assert (await latest(appliance))["cpu"]["usage_percent"] == 10.0


async def test_array_is_stored_whole_or_not_at_all(
    appliance: RunningAppliance, box: Agent, clock: SteppingClock
) -> None:
    start = clock() - 100 * SECOND
    bodies = [{"sample": sample(start + 2 * number * SECOND)} for number in range(10)]
    reply = await box.post([bodies[0], bodies[9], *bodies[1:9]])
    assert reply.status == 200
    assert reply.json["accepted"] == 10
    assert reply.json["snapshot"]["collected_at"] == iso(start + 18 * SECOND)
    assert (await box.post(bodies)).json["accepted"] == 0
    bad = [{"sample": sample(start + 30 * SECOND)}, {"sample": sample(clock() + 3600 * SECOND)}]
    refused = await box.post(bad)
    assert (refused.status, refused.json["field"]) == (400, "$[1].sample.collected_at")
    assert await count(appliance) == 10
    assert (await box.post([])).status == 400


async def test_packed_body_counts_as_what_it_holds_and_no_more_than_a_plain_one_may(
    box: Agent, clock: SteppingClock
) -> None:
    headers = {"X-Monitoring-Token": box.token, "Content-Encoding": "gzip"}
    body = json.dumps({"sample": sample(clock())}).encode()
    assert (await box.post(gzip.compress(body), headers=headers)).status == 200
    bomb = gzip.compress(b'{"x":"' + b"a" * (6 * 2**20) + b'"}')
    assert (await box.post(bomb, headers=headers)).status == 413
    for broken in (b"not gzip", gzip.compress(body)[:-9], gzip.compress(body) + b"more"):
        assert (await box.post(broken, headers=headers)).status == 400
    other = {"X-Monitoring-Token": box.token, "Content-Encoding": "br"}
    assert (await box.post(body, headers=other)).json["field"] == "Content-Encoding"


async def test_rates_are_those_between_neighbours_and_a_counter_that_went_back_counts_nothing(
    appliance: RunningAppliance, box: Agent, clock: SteppingClock
) -> None:
    start = clock() - 100 * SECOND
    await box.send(start)
    moved = disk(read_bytes_total=2000, write_bytes_total=400, read_count_total=8, busy_time_ms_total=1000)
    reply = await box.send(start + 2 * SECOND, disks=[moved, disk("sdb")], network_rx_bytes_total=3000)
    assert reply.json["snapshot"]["disk_util_percent"] == 50.0
    shown = await latest(appliance)
    assert shown["interval_seconds"] == 2.0
    assert (shown["disk"]["read_bps"], shown["disk"]["write_bps"], shown["disk"]["read_iops"]) == (1000.0, 200.0, 4.0)
    assert shown["disk"]["avg_util_percent"] == 25.0
    assert [each["device"] for each in shown["disk"]["devices"]] == ["sda", "sdb"]
    assert shown["network"]["rx_bps"] == 1000.0
    await box.send(start + 4 * SECOND, disks=[disk(read_bytes_total=5)], network_rx_bytes_total=1)
    shown = await latest(appliance)
    assert (shown["disk"]["read_bps"], shown["network"]["rx_bps"]) == (0.0, 0.0)


async def test_gap_of_more_than_ten_intervals_yields_no_rate(
    appliance: RunningAppliance, box: Agent, clock: SteppingClock
) -> None:
    start = clock() - 1000 * SECOND
    for number in range(5):
        await box.send(start + 2 * number * SECOND)
    await box.send(start + 60 * SECOND, network_rx_bytes_total=10**9)
    shown = await latest(appliance)
    assert shown["interval_seconds"] is None
    assert shown["network"]["rx_bps"] == 0.0


async def test_server_disabled_meanwhile_stores_nothing(appliance: RunningAppliance, box: Agent) -> None:
    assert (await appliance.control("PATCH", "/api/appliance/servers/box", {"is_active": False})).status == 200
    refused = await box.post({"sample": {}})
    assert (refused.status, refused.json["error"]) == (403, "Server is disabled.")
    assert await count(appliance) == 0
    assert (await appliance.control("PATCH", "/api/appliance/servers/box", {"is_active": True})).status == 200
    assert (await box.post({"sample": {}})).status == 200


async def test_verdict_of_a_sample_is_in_its_answer_the_latest_and_the_history(
    appliance: RunningAppliance, box: Agent, clock: SteppingClock
) -> None:
    start = clock() - 60 * SECOND
    labels = []
    for number, busy in enumerate((98.0, 98.0, 10.0, 98.0)):
        reply = await box.send(start + 2 * number * SECOND, gpus=[gpu(utilization_gpu_percent=busy)])
        labels.append(reply.json["snapshot"]["bottleneck"])
    assert labels == ["gpu-bound", "gpu-bound", "underutilized", "gpu-bound"]
    assert (await latest(appliance))["bottleneck"]["title"] == "Gpu Bound"
    reply = await appliance.get("/api/metrics/history/?server=box&minutes=5", headers=await appliance.bearer())
    assert [point["bottleneck"] for point in reply.json["points"]] == labels


async def test_what_the_agent_says_is_kept_until_it_says_something_else(
    appliance: RunningAppliance, box: Agent, clock: SteppingClock
) -> None:
    said = {"version": "0.2.0", "hostname": "train01", "user": "root", "labels": {"rack": "r1"}}
    first = await box.post({"sample": sample(clock()), "agent": said})
    assert first.json["server"]["agent_info"] == said
    assert first.json["server"]["agent_user"] == "Administrator"
    assert (first.json["server"]["hostname"], first.json["server"]["last_agent_version"]) == ("train01", "0.2.0")
    clock.advance(2)
    assert (await box.post({"sample": sample(clock())})).json["server"]["agent_info"] == said
    clock.advance(2)
    third = await box.post({"sample": sample(clock()), "agent": {"version": "0.3.0"}})
    assert (third.json["server"]["last_agent_version"], third.json["server"]["hostname"]) == ("0.3.0", "train01")


async def test_host_is_the_one_with_its_gpus_else_one_of_its_own(
    appliance: RunningAppliance, box: Agent, clock: SteppingClock
) -> None:
    inventory = appliance.state.inventory
    await box.send(clock(), gpus=[gpu(0), gpu(1)])
    host_id = await until(lambda: inventory.host_of("metrics_ingest", "box"))
    assert [known.gpu_id for known in inventory.gpus(host_id)] == ["GPU-0", "GPU-1"]
    twin = await agent(appliance, "twin")
    await twin.send(clock(), gpus=[gpu(0), gpu(1)])
    assert await until(lambda: inventory.host_of("metrics_ingest", "twin")) == host_id
    nameless = await agent(appliance, "nameless")
    await nameless.send(clock(), gpus=[gpu(0, uuid="")])
    other = await until(lambda: inventory.host_of("metrics_ingest", "nameless"))
    assert other != host_id
    assert inventory.gpus(other) == []


async def test_sample_sent_again_with_other_content_is_answered_as_it_was_stored(
    box: Agent, clock: SteppingClock
) -> None:
    at = clock()
    first = await box.send(at, cpu_usage_percent=10.0, gpus=[gpu(utilization_gpu_percent=97.0)])
    clock.advance(2)
    again = await box.send(at, cpu_usage_percent=99.0, gpus=[])
    assert again.json["snapshot"] == first.json["snapshot"]


async def test_verdicts_of_samples_sent_at_once_are_each_its_own(
    appliance: RunningAppliance, box: Agent, clock: SteppingClock
) -> None:
    start = clock() - 200 * SECOND
    random = Random(3)
    busy = [random.choice((98.0, 10.0)) for _ in range(40)]
    labels = {98.0: "gpu-bound", 10.0: "underutilized"}

    async def send(number: int) -> None:
        await box.send(start + 2 * number * SECOND, gpus=[gpu(utilization_gpu_percent=busy[number])])

    for first in range(0, 40, 8):  # eight at once, in any order, over connections of their own
        async with trio.open_nursery() as nursery:
            for number in random.sample(range(first, first + 8), 8):
                nursery.start_soon(send, number)
    reply = await appliance.get("/api/metrics/history/?server=box&minutes=10", headers=await appliance.bearer())
    assert [point["bottleneck"] for point in reply.json["points"]] == [labels[each] for each in busy]
