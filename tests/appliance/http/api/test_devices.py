"""Devices, host, processes, series and the overview, as the dashboard and the command line read them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from attrs import evolve, frozen

from appliance.clock import Now, unix_now_us
from appliance.devices import GpuProcess
from appliance.errors import BadInput, Busy, NotFound
from appliance.http.api import device_models as models
from appliance.http.api import devices as api
from appliance.inventory.models import MarkKind
from appliance.surface import Call, Head, ServerEvent
from tests.appliance.local_agent.agent_kit import HOST, Parts, parts
from tests.appliance.local_agent.backend_kit import Scripted, gpu


@frozen(kw_only=True)
class State:
    """The fields of core's state that these endpoints use."""

    agent: Any
    series: Any
    inventory: Any
    events: Any
    host_id: str = HOST
    now: Now = unix_now_us
    panels: Any = None


def call(made: Parts, query: Any = None, *, state: State | None = None, **path: str) -> Call[None]:
    """Return a call as the edge makes it."""
    head = Head(
        method="GET",
        path="/",
        raw_query=b"",
        headers=(),
        peer=None,
        local="",
        listener="",
        scheme="http",
        path_values=path,
    )
    given = State(agent=made.agent, series=made.series, inventory=made.inventory, events=made.events)
    return Call(head=head, body=None, query=query, state=state or given)


def as_json(answer: Any) -> Any:
    """Return an answer as a client gets it."""
    return msgspec.json.decode(msgspec.json.encode(answer))


PROCESS = GpuProcess(pid=1, vram_used_bytes=2**30, sm_percent=40.0)


@asynccontextmanager
async def sampled(tmp_path: Path, *backends: Scripted) -> AsyncIterator[Parts]:
    """Give an agent that has sampled twice."""
    async with parts(tmp_path, *(backends or (Scripted(processes=(PROCESS,)),))) as made:
        await made.agent.sample_once()
        await made.agent.sample_once()
        yield made


def just_before() -> float:
    """Return a start so near that raw samples fit the window."""
    return unix_now_us() / 1_000_000 - 2


def keys_of(model: Any) -> set[str]:
    """Return the names that a model documents."""
    return {each.name for each in msgspec.structs.fields(model)}


async def test_answers_have_exactly_the_documented_fields(tmp_path: Path) -> None:
    async with sampled(tmp_path) as made:
        page = as_json(await api.devices(call(made)))
        assert set(page) == keys_of(models.DevicePage)
        item = page["items"][0]
        assert set(item) == keys_of(models.GpuItem)
        assert set(item["latest"]) == keys_of(models.GpuLatest)
        assert set(item["top_process"]) == keys_of(models.ProcessItem)
        assert set(page["backends"][0]) == keys_of(models.BackendItem)
        detail = as_json(await api.device(call(made, gpu_id="GPU-a")))
        assert set(detail) == keys_of(models.GpuDetail)
        host = as_json(await api.host(call(made)))
        assert set(host) == keys_of(models.HostItem)
        assert set(host["latest"]) == keys_of(models.HostLatest)
        for disk in host["latest"]["disks"]:
            assert set(disk) == keys_of(models.DiskItem)
        for card in host["latest"]["networks"]:
            assert set(card) == keys_of(models.NetworkItem)
        processes = as_json(await api.processes(call(made, api.PageQuery())))
        assert set(processes["items"][0]) == keys_of(models.PlacedProcessItem)
        assert set(as_json(await api.overview(call(made)))) == keys_of(models.Overview)


async def test_gpu_item_tells_who_uses_it_and_how_it_is(tmp_path: Path) -> None:
    async with sampled(tmp_path) as made:
        item = as_json(await api.devices(call(made)))["items"][0]
        assert (item["gpu_id"], item["host_id"], item["index"], item["state"]) == ("GPU-a", HOST, 0, "present")
        assert (item["health"], item["health_text"]) == ("ok", "ok")
        assert item["latest"]["utilization_percent"] == 50.0
        assert item["latest"]["process_count"] == 1
        assert (item["top_process"]["pid"], item["top_process"]["sm_percent"]) == (1, 40.0)
        assert item["top_process"]["user"] is not None or item["top_process"]["missing"]["user"]


async def test_lost_gpu_is_listed_as_lost_and_marks_are_shown(tmp_path: Path) -> None:
    backend = Scripted(gpus=(gpu("GPU-a"), gpu("GPU-b", 1)))
    async with sampled(tmp_path, backend) as made:
        await made.inventory.set_mark("GPU-a", MarkKind.CORDONED, reason="upgrade", who="ann", at_unix_us=1)
        backend.gpus = (gpu("GPU-a"),)
        await made.agent.sample_once()
        first, lost = as_json(await api.devices(call(made)))["items"]
        assert first["marks"] == [{"mark": "cordoned", "reason": "upgrade"}]
        assert (lost["gpu_id"], lost["state"], lost["health"], lost["latest"]) == ("GPU-b", "lost", "critical", None)
        assert as_json(await api.device(call(made, gpu_id="GPU-b")))["processes"] == []


async def test_unknown_gpu_is_not_found(tmp_path: Path) -> None:
    async with sampled(tmp_path) as made:
        with pytest.raises(NotFound):
            await api.device(call(made, gpu_id="GPU-zzz"))
        with pytest.raises(NotFound):
            await api.device_series(call(made, api.WindowQuery(metrics="power_watts"), gpu_id="GPU-zzz"))


async def test_processes_are_listed_most_memory_first_within_the_limit(tmp_path: Path) -> None:
    crowd = tuple(GpuProcess(pid=pid, vram_used_bytes=size) for pid, size in ((11, 5), (12, 50), (13, None)))
    async with sampled(tmp_path, Scripted(processes=crowd)) as made:
        items = as_json(await api.processes(call(made, api.PageQuery())))["items"]
        assert [item["pid"] for item in items] == [12, 11, 13]
        assert (items[0]["gpu_id"], items[0]["gpu_index"], items[0]["model"]) == ("GPU-a", 0, "Model T")
        assert len(as_json(await api.processes(call(made, api.PageQuery(limit=1))))["items"]) == 1


async def test_series_are_columns_over_one_axis(tmp_path: Path) -> None:
    async with sampled(tmp_path) as made:
        names = "memory_percent,gpus.GPU-a.utilization_percent,gpus.GPU-x.utilization_percent"
        query = api.WindowQuery(metrics=names, from_unix_s=just_before(), max_points=api.MOST_POINTS)
        answer = as_json(await api.series(call(made, query)))
        assert answer["host_id"] == HOST
        assert answer["tier"] == "raw"
        assert answer["step_seconds"] > 0
        assert len(answer["at_unix_s"]) == 2
        assert [column["metric"] for column in answer["series"]] == [
            "memory_percent",
            "gpus.GPU-a.utilization_percent",
        ]
        assert answer["series"][1]["mean"] == answer["series"][1]["max"] == answer["series"][1]["min"] == [50.0, 50.0]


async def test_series_of_one_gpu_take_bare_names(tmp_path: Path) -> None:
    async with sampled(tmp_path) as made:
        query = api.WindowQuery(metrics="utilization_percent", from_unix_s=just_before(), max_points=api.MOST_POINTS)
        answer = as_json(await api.device_series(call(made, query, gpu_id="GPU-a")))
        assert [(column["metric"], column["max"]) for column in answer["series"]] == [
            ("utilization_percent", [50.0, 50.0])
        ]


async def test_series_go_back_a_quarter_of_an_hour_when_nothing_is_said(tmp_path: Path) -> None:
    async with sampled(tmp_path) as made:
        answer = as_json(await api.series(call(made, api.WindowQuery(metrics="memory_percent"))))
        assert answer["to_unix_s"] - answer["from_unix_s"] == pytest.approx(900)
        assert answer["tier"] == "raw", "the few samples that there are fit"


@pytest.mark.parametrize(
    "query",
    [
        {"metrics": ""},
        {"metrics": "no_such_metric"},
        {"metrics": "pets.cat.weight"},
        {"metrics": "gpus.power_watts"},
        {"metrics": "cpu_percent", "from_unix_s": float("nan")},
        {"metrics": "cpu_percent", "to_unix_s": float("inf")},
        {"metrics": "cpu_percent", "from_unix_s": -1.0},
        {"metrics": "cpu_percent", "from_unix_s": 1e300},
        {"metrics": "cpu_percent", "from_unix_s": 200.0, "to_unix_s": 100.0},
        {"metrics": ",".join(f"m{number}" for number in range(201))},
    ],
)
async def test_series_refuse_what_they_cannot_answer(tmp_path: Path, query: dict[str, Any]) -> None:
    async with sampled(tmp_path) as made:
        with pytest.raises(BadInput):
            await api.series(call(made, api.WindowQuery(**query)))


async def test_device_names_may_hold_dots(tmp_path: Path) -> None:
    assert api._parsed("networks.eth0.100.rx_bytes_per_s") == (
        "networks.eth0.100.rx_bytes_per_s",
        "network.rx_bytes_per_s",
        "eth0.100",
    )


async def test_stream_tells_the_overview_first_and_then_every_sample(tmp_path: Path) -> None:
    async with sampled(tmp_path) as made:
        stream = api.overview_stream(call(made))
        told: list[ServerEvent] = []
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                async for event in stream:
                    told.append(event)
                    if len(told) == 2:
                        break
                nursery.cancel_scope.cancel()

            nursery.start_soon(read)
            with trio.fail_after(30):
                while True:
                    await made.agent.sample_once()
        await stream.aclose()
        first, second = told
        assert (first.event, second.event) == ("overview", "sample")
        assert set(first.data) == keys_of(models.Overview)
        assert set(second.data) == keys_of(models.Overview) - {"panels"}
        assert second.data["host"]["latest"]["taken_at_unix_s"] > first.data["host"]["latest"]["taken_at_unix_s"]


async def test_overview_holds_the_panels_of_plugins(tmp_path: Path) -> None:
    async def panels() -> list[dict[str, Any]]:
        return [{"plugin": "fans", "name": "speed", "title": "Fans", "rows": [], "note": "", "error": None}]

    async with sampled(tmp_path) as made:
        state = State(agent=made.agent, series=made.series, inventory=made.inventory, events=made.events, panels=panels)
        answer = as_json(await api.overview(call(made, state=state)))
        assert [panel["plugin"] for panel in answer["panels"]] == ["fans"]


async def test_before_the_first_sample_there_is_a_document_without_figures(tmp_path: Path) -> None:
    async with parts(tmp_path, Scripted()) as made:
        answer = as_json(await api.overview(call(made)))
        assert answer["host"]["latest"] is None
        assert answer["gpus"] == []
        assert answer["backends"][0]["state"] == "starting"


async def test_appliance_without_an_agent_says_so(tmp_path: Path) -> None:
    async with parts(tmp_path, Scripted()) as made:
        given: State = call(made).state
        with pytest.raises(Busy):
            await api.host(call(made, state=evolve(given, agent=None)))
