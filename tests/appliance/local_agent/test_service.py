"""The local agent over a real database, real series and a real inventory."""

import threading
from pathlib import Path

import trio
from attrs import define, evolve

from appliance.backends import DeviceAbsent, DeviceEvent
from appliance.clock import unix_now_us
from appliance.devices import GpuProcess, HostSample
from appliance.errors import DeviceUnavailable, StorageFailed
from appliance.local_agent.service import LocalAgent, sample_now
from tests.appliance.local_agent.agent_kit import HOST, parts
from tests.appliance.local_agent.backend_kit import Scripted, gpu


async def test_sample_lands_in_series_inventory_and_on_the_bus(tmp_path: Path) -> None:
    async with parts(tmp_path, Scripted()) as made:
        with made.events.subscribe("sample") as told:
            sample = await made.agent.sample_once()
            async for event in told:
                assert (event.kind, event.subject, event.event_id) == ("sample", HOST, None)
                break
        latest = made.series.latest(HOST)
        assert latest is not None
        assert latest.sample.taken_at_unix_us == sample.taken_at_unix_us
        assert [known.gpu_id for known in made.inventory.gpus(HOST)] == ["GPU-a"]
        assert made.inventory.host(HOST).hostname == made.agent.facts.hostname
        assert made.agent.latest is sample
        assert made.agent.storage_problem is None


async def test_driver_event_is_stored_and_shows_in_the_health(tmp_path: Path) -> None:
    xid = DeviceEvent(kind="gpu.xid", gpu_id="GPU-a", message="GPU 0: XID 79", level="critical", data={"xid": 79})
    async with parts(tmp_path, Scripted(events=(xid,))) as made:
        await made.agent.sample_once()
        stored = await made.events.history()
        assert [(event.kind, event.subject, event.level, event.data) for event in stored] == [
            ("gpu.xid", "GPU-a", "critical", {"xid": 79})
        ]
        item = made.agent.view(now_unix_us=unix_now_us()).devices()[0]
        assert (item["health"], item["health_text"]) == ("critical", "GPU 0: XID 79 (just now)")


@define
class FullDisk:
    """A series that cannot store anything."""

    async def append(self, sample: HostSample) -> None:
        raise StorageFailed("the disk is full")


async def test_sampling_goes_on_and_stays_visible_when_nothing_can_be_stored(tmp_path: Path) -> None:
    async with parts(tmp_path, Scripted()) as made:
        agent = LocalAgent(
            host_id=HOST,
            backends=[Scripted()],
            series=FullDisk(),
            inventory=made.inventory,
            events=made.events,
        )
        first = await agent.sample_once()
        second = await agent.sample_once()
        assert second.taken_at_unix_us > first.taken_at_unix_us
        assert agent.latest is second
        assert agent.storage_problem == "the disk is full"
        assert agent.view(now_unix_us=0).host()["latest"]["memory_total_bytes"]


async def test_running_agent_follows_an_interval_that_changes(tmp_path: Path) -> None:
    interval = [60.0]
    async with parts(tmp_path, Scripted(), sample_seconds=lambda: interval[0]) as made:
        interval[0] = 0.1
        with made.events.subscribe("sample") as told:
            async with trio.open_nursery() as nursery:
                await nursery.start(made.agent.run)
                assert made.agent.latest is not None, "started means the first sample is there"
                count = 0
                with trio.fail_after(30):
                    async for _ in told:
                        count += 1
                        if count == 4:
                            break
                nursery.cancel_scope.cancel()


async def test_slow_driver_delays_the_start_by_half_a_second_at_most_and_comes_soon_after(tmp_path: Path) -> None:
    slow = Scripted()
    slow.go.clear()
    async with parts(tmp_path, slow, sample_seconds=lambda: 60.0) as made:
        with made.events.subscribe("sample") as told:
            async with trio.open_nursery() as nursery:
                with trio.fail_after(30):
                    await nursery.start(made.agent.run)
                    assert made.agent.gpus == ()
                    slow.go.set()
                    async for _ in told:
                        if made.agent.gpus:
                            break
                nursery.cancel_scope.cancel()


async def test_driver_that_opens_when_the_first_pass_is_just_over_is_read_soon_after(tmp_path: Path) -> None:
    slow = Scripted()
    slow.go.clear()
    opened = threading.Event()

    def interval() -> float:
        slow.go.set()
        for _ in range(30_000):
            if made.agent.backends[0].state != "starting":
                opened.set()
                break
            opened.wait(0.001)
        return 60.0

    async with parts(tmp_path, slow, sample_seconds=interval) as made:
        with made.events.subscribe("sample") as told:
            async with trio.open_nursery() as nursery:
                with trio.fail_after(30):
                    await nursery.start(made.agent.run)
                    async for _ in told:
                        if made.agent.gpus:
                            break
                nursery.cancel_scope.cancel()
    assert opened.is_set()


async def test_agent_that_was_stopped_can_run_again(tmp_path: Path) -> None:
    backend = Scripted()
    async with parts(tmp_path, backend) as made:
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                with trio.fail_after(30):
                    await nursery.start(made.agent.run)
                nursery.cancel_scope.cancel()
    assert backend.calls == ["open", "read", "close"] * 2


async def test_gpus_of_a_backend_that_cannot_read_are_unknown_not_lost(tmp_path: Path) -> None:
    backend = Scripted()
    async with parts(tmp_path, backend) as made:
        await made.agent.sample_once()
        backend.failure = DeviceUnavailable("the driver is being upgraded")
        await made.agent.sample_once()
        assert made.inventory.gpu("GPU-a").present
        item = made.agent.view(now_unix_us=0).devices()[0]
        assert (item["state"], item["health"], item["latest"]) == ("unknown", "warning", None)
        assert "the driver is being upgraded" in item["health_text"]


async def test_lost_gpu_is_marked_as_gone_in_the_inventory(tmp_path: Path) -> None:
    backend = Scripted(gpus=(gpu("GPU-a"), gpu("GPU-b", 1)))
    async with parts(tmp_path, backend) as made:
        await made.agent.sample_once()
        backend.gpus = (gpu("GPU-a"),)
        await made.agent.sample_once()
        assert [known.present for known in made.inventory.gpus(HOST)] == [True, False]
        assert [event.kind for event in await made.events.history()] == ["gpu.lost"]
        assert made.agent.leaving == frozenset()


async def test_gpu_that_is_gone_is_known_as_leaving_until_the_inventory_has_been_told(tmp_path: Path) -> None:
    backend = Scripted(gpus=(gpu("GPU-a"), gpu("GPU-b", 1)))
    async with parts(tmp_path, backend) as made:
        await made.agent.sample_once()
        seen = made.agent.last
        assert seen is not None
        made.agent.last = evolve(seen, gpus=(gpu("GPU-a"),))  # as between a sample and its being stored
        assert made.inventory.gpu("GPU-b").present
        assert made.agent.leaving == {"GPU-b"}


def test_one_sample_without_an_appliance_has_shares_and_lets_go_of_the_driver() -> None:
    backend = Scripted(processes=(GpuProcess(pid=1),))
    waited: list[float] = []
    look = sample_now([backend, Scripted("none", open_failure=DeviceAbsent("nothing here"))], sleep=waited.append)
    assert waited == [0.2]
    assert backend.calls[-1] == "close"
    view = look.view()
    assert [item["gpu_id"] for item in view.devices()] == ["GPU-a"]
    assert [item["state"] for item in view.backend_items()] == ["ok", "absent"]
    assert [item["pid"] for item in view.processes()] == [1]
    assert view.host()["latest"]["memory_total_bytes"]
