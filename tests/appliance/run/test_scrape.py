"""``/metrics`` of a whole appliance: in order for a strict scraper, whatever plugins add, and nothing told twice."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

import appliance
from appliance.backends import DeviceEvent
from appliance.clock import unix_now_us
from appliance.testing import RunningAppliance, running, scripted_gpus, until
from tests.appliance.prometheus.parsing import Family, parse

PLUGIN = """
from appliance.plugin import Core, Parts, ScrapedHost, hookimpl

appliance_api = 1


@hookimpl
def appliance_setup(core: Core) -> Parts:
    def hosts():
        reading = core.series.latest(core.host_id)
        row = None if reading is None else reading.row
        return [HOSTS]

    def broken():
        raise ValueError("no figures today")

    def wrong():
        return ["a line"]

    return Parts(prometheus=[broken, hosts, wrong, lambda: TEXT])
"""
TEXT = "# HELP hello_total Hello.\\n# TYPE hello_total counter\\nhello_total 1"


def plugin(*hosts: str, text: str = TEXT) -> str:
    """Return the source of a plugin that gives these hosts, as source."""
    return PLUGIN.replace("HOSTS", ", ".join(hosts)).replace("TEXT", f'"{text}"')


def host(host_id: str, server: str) -> str:
    return f'ScrapedHost(host_id={host_id}, server="{server}", hostname="far", row=row)'


async def scrape(one: RunningAppliance, query: str = "") -> dict[str, Family]:
    answer = await one.get(f"/metrics{query}")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.text)


def only(family: Family, **labels: str) -> float:
    [value] = [each.value for each in family.samples if labels.items() <= each.labels.items()]
    return value


async def test_the_appliance_its_process_its_parts_and_its_host_are_told(tmp_path: Path) -> None:
    async with running(tmp_path, backends=[scripted_gpus(2)]) as one:
        await until(one.running.state.series.hosts)
        await one.get("/healthz")
        found = await scrape(one)
        build = found["appliance_build_info"].samples[0].labels
        assert build["version"] == appliance.__version__
        assert only(found["process_resident_memory_bytes"]) > 10_000_000
        assert only(found["process_cpu_seconds_total"]) > 0
        assert only(found["process_open_fds"]) >= 3
        assert only(found["process_max_fds"]) > 0
        assert only(found["appliance_uptime_seconds"]) >= 0
        assert only(found["appliance_plugin_up"], plugin="dashboard") == 1
        assert only(found["appliance_device_backend_up"], backend="scripted") == 1
        assert only(found["appliance_part_ok"], part="database") == 1
        assert only(found["appliance_database_used_bytes"]) > 4096
        assert only(found["appliance_database_commits_total"]) > 0
        assert only(found["appliance_series_hosts"]) == 1
        assert only(found["appliance_gpu_power_watts"], gpu="1", uuid="GPU-1", server="local") == 300
        assert only(found["appliance_gpu_info"], uuid="GPU-0", driver_version="1.0", vendor="nvidia") == 1
        assert only(found["appliance_server_up"], server="local") == 1
        assert only(found["appliance_host_memory_total_bytes"], server="local") > 0
        requests = found["appliance_http_request_duration_seconds"].samples
        assert [each.labels["path"] for each in requests if each.name.endswith("_count")] == ["/healthz"]


async def test_events_are_counted_over_their_pruning(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        before = await scrape(one)
        await one.running.state.events.publish("test.said", "Said.")
        after = await scrape(one)
        assert only(after["appliance_events_published_total"]) == only(before["appliance_events_published_total"]) + 1
        assert only(after["appliance_events_bytes"]) > only(before["appliance_events_bytes"])


async def test_dcgm_names_are_there_on_request_and_tell_the_last_driver_error(tmp_path: Path) -> None:
    backend = scripted_gpus(2)
    backend.events = [
        DeviceEvent(kind="gpu.xid", gpu_id="GPU-1", message="XID 79", data={"xid": code}) for code in (31, 79)
    ]
    async with running(tmp_path, backends=[backend], plugins={"hello": plugin()}) as one:
        await until(lambda: one.running.state.agent.recent)
        found = await scrape(one, "?names=dcgm")
        assert {name.partition("_FI_")[0] for name in found} == {"DCGM"}
        assert only(found["DCGM_FI_DEV_FB_USED"], gpu="0") == 8 * 1024
        assert only(found["DCGM_FI_DEV_FB_FREE"], gpu="0") == 72 * 1024
        assert only(found["DCGM_FI_DEV_XID_ERRORS"], gpu="0") == 0
        assert only(found["DCGM_FI_DEV_XID_ERRORS"], gpu="1") == 79
        assert set(await scrape(one, "?names=appliance")) == set(await scrape(one))


@pytest.mark.parametrize("query", ["?names=", "?names=DCGM", "?names=dcgm%00", "?name=dcgm"])
async def test_names_that_nobody_has_are_refused(tmp_path: Path, query: str) -> None:
    async with running(tmp_path) as one:
        assert (await one.get(f"/metrics{query}")).status == 400


async def test_hosts_of_a_plugin_are_written_with_this_one_and_its_failures_cost_nothing_else(tmp_path: Path) -> None:
    source = plugin(host('"far"', "far"))
    async with running(tmp_path, backends=[scripted_gpus()], plugins={"hello": source}) as one:
        await until(one.running.state.series.hosts)
        found = await scrape(one)
        servers = [each.labels["server"] for each in found["appliance_gpu_power_watts"].samples]
        assert servers == ["local", "far"]
        assert only(found["hello_total"]) == 1
        # What is live is known of this host alone.
        assert [each.labels["server"] for each in found["appliance_gpu_info"].samples] == ["local"]


async def test_a_section_that_fails_all_day_is_logged_once(tmp_path: Path) -> None:
    async with running(tmp_path, plugins={"hello": plugin()}) as one:
        with capture_logs() as logged:
            for _ in range(3):
                await scrape(one)
    told = [entry for entry in logged if entry["event"] == "metrics.section_failed"]
    assert [entry["reason"] for entry in told] == [
        "ValueError: no figures today",
        "TypeError: a section is text or hosts, not str",
    ]
    line = next(place for place, text in enumerate(PLUGIN.splitlines(), 1) if "raise ValueError" in text)
    assert told[0]["at"].endswith(f"hello.py:{line}")


async def test_a_plugin_may_say_what_this_host_is_called_and_nothing_is_told_twice(tmp_path: Path) -> None:
    source = plugin(host("core.host_id", "front"), host("core.host_id", "again"), host('"far"', "front"))
    async with running(tmp_path, plugins={"hello": source}) as one:
        found = await scrape(one)
        servers = [each.labels["server"] for each in found["appliance_server_up"].samples]
        assert sorted(servers) == sorted(set(servers))
        assert len(servers) == 2


async def test_another_server_may_be_called_local(tmp_path: Path) -> None:
    async with running(tmp_path, plugins={"hello": plugin(host('"far"', "local"))}) as one:
        found = await scrape(one)
        servers = [each.labels["server"] for each in found["appliance_server_up"].samples]
        assert servers == [one.running.state.host_id, "local"]


async def test_many_hosts_are_written_beside_the_loop(tmp_path: Path) -> None:
    hosts = [host(f'"far-{number}"', f"far-{number}") for number in range(100)]
    async with running(tmp_path, backends=[scripted_gpus()], plugins={"hello": plugin(*hosts)}) as one:
        await until(one.running.state.series.hosts)
        found = await scrape(one)
        assert len(found["appliance_gpu_power_watts"].samples) == 101


async def test_a_host_that_is_no_longer_sampled_counts_as_down(tmp_path: Path) -> None:
    shift = 0
    async with running(tmp_path, now=lambda: unix_now_us() + shift, config="[devices]\nsample_seconds = 60") as one:
        assert only((await scrape(one))["appliance_server_up"]) == 1
        shift = 601_000_000
        found = await scrape(one)
        assert only(found["appliance_server_up"]) == 0
        assert "appliance_host_cpu_load_1" not in found
