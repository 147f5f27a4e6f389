"""The rules between what agents send and what people see, from outside: readings, times, rates, verdicts, news."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx2 as httpx
import pytest

from tests.product.served import ADMIN, PASSWORD, Product, until
from tests.wire.metrics import AGENT, DOCUMENTED, Server, history, latest, now_iso, sample
from tests.wire.shapes import HISTORY, LATEST, NOTIFICATIONS, differences

pytestmark = pytest.mark.zipapp
GPU, DISK = DOCUMENTED["gpus"][0], DOCUMENTED["disks"][0]
NOTHING: dict[str, Any] = {"gpus": [], "disks": []}


def snapshot(browser: httpx.Client, box: Server) -> Any:
    return latest(browser, box)["snapshot"]


# ---------------------------------------------------------------- readings


@pytest.mark.parametrize("name", ["disks", "gpus", "fans"])
def test_devices_that_are_no_list_are_none_and_a_number_is_400(browser: httpx.Client, box: Server, name: str) -> None:
    for nothing in (None, "sda", {"device": "sda"}, [], [None, 5, "sda", ["sda"]]):
        box.send(**{**NOTHING, name: nothing})
    found = snapshot(browser, box)
    assert (found["disk"]["devices"], found["gpu"]["devices"], found["fans"]["devices"]) == ([], [], [])
    assert (found["gpu"]["present"], found["gpu"]["top_util_percent"]) == (False, None)
    for number in (5, 1.5, True):
        answer = box.post({"sample": sample(**{name: number})})
        assert (answer.status, answer.json["field"]) == (400, f"$.sample.{name}")


def test_names_of_devices_are_stripped_cut_and_have_defaults(browser: httpx.Client, box: Server) -> None:
    box.send(
        disks=[{"device": "  sda  "}, {"device": "   "}, {"device": "d" * 100}, {}],
        gpus=[{"gpu_index": 0, "name": "", "uuid": "u" * 200}, {"gpu_index": 1, "name": "n" * 300}],
        fans=[{"label": ""}, {"label": "f" * 100}],
    )
    found = snapshot(browser, box)
    assert [each["device"] for each in found["disk"]["devices"]] == ["d" * 64, "sda"]
    assert [each["name"] for each in found["gpu"]["devices"]] == ["GPU", "n" * 200]
    assert [each["uuid"] for each in found["gpu"]["devices"]] == ["u" * 128, ""]
    assert [each["label"] for each in found["fans"]["devices"]] == ["Fan", "f" * 64]


def test_values_beyond_their_range_are_shown_as_sent(browser: httpx.Client, box: Server) -> None:
    box.send(cpu_usage_percent=-5.0, memory_percent=150.5, cpu_iowait_percent=1e15, process_count=-3, cpu_load_1=True)
    found = snapshot(browser, box)
    assert (found["cpu"]["usage_percent"], found["memory"]["percent"]) == (-5.0, 150.5)
    assert (found["cpu"]["iowait_percent"], found["process_count"], found["cpu"]["load_1"]) == (1e15, -3, 1.0)


def test_value_beyond_all_sense_leaves_answers_that_clients_can_read(browser: httpx.Client, box: Server) -> None:
    box.send(cpu_usage_percent=1e300, cpu_load_1=-1.7e308, memory_total_bytes=2**63 - 1, process_count=-(2**63))
    assert differences(LATEST, latest(browser, box)) == []
    assert differences(HISTORY, history(browser, box)) == []


def test_no_physical_core_is_none_known(browser: httpx.Client, box: Server) -> None:
    box.send(cpu_count_physical=0, cpu_count_logical=0)
    cpu = snapshot(browser, box)["cpu"]
    assert (cpu["count_physical"], cpu["count_logical"]) == (None, 0)


def test_of_two_keys_of_one_name_the_last_counts(browser: httpx.Client, box: Server) -> None:
    assert box.post(b'{"sample":{"cpu_load_1":1.0,"cpu_load_1":2.0}}').status == 200
    assert snapshot(browser, box)["cpu"]["load_1"] == 2.0


def test_gpus_of_one_uuid_stay_apart_by_their_index(browser: httpx.Client, box: Server) -> None:
    box.send(gpus=[{**GPU, "gpu_index": index, "utilization_gpu_percent": 10.0 * index} for index in (0, 1, 2)])
    found = snapshot(browser, box)["gpu"]["devices"]
    assert [each["utilization_gpu_percent"] for each in found] == [0.0, 10.0, 20.0]


def test_what_an_agent_says_of_itself_is_cut_to_what_strict_clients_read(browser: httpx.Client, box: Server) -> None:
    said = {
        **AGENT,
        "labels": {"rack": "r1", "slot": 5},
        "pid": "4711",
        "user": " ROOT ",
        **{f"k{each:02}" + "x" * 80: each for each in range(40)},
    }
    assert box.post({"sample": sample(), "agent": said}).status == 200
    row = latest(browser, box)["selected_server"]
    assert row["agent_user"] == "Administrator"
    assert row["agent_info"]["labels"] == {"rack": "r1"}
    assert "pid" not in row["agent_info"]
    assert len(row["agent_info"]) <= 25
    assert max(map(len, row["agent_info"])) == 64
    box.send()  # AGENT names no user and the same host
    assert latest(browser, box)["selected_server"]["agent_user"] == "Administrator"


# ---------------------------------------------------------------- times


def test_time_is_echoed_with_its_offset_and_read_back_in_utc(browser: httpx.Client, box: Server) -> None:
    utc = now_iso(-5)
    hour = int(utc[11:13])
    offset = f"{utc[:11]}{(hour + 2) % 24:02}{utc[13:-6]}+02:00"
    if hour >= 22:  # the day changes on the way: the offset to the other side then
        offset = f"{utc[:11]}{hour - 2:02}{utc[13:-6]}-02:00"
    assert box.send(collected_at=offset)["snapshot"]["collected_at"] == offset
    assert snapshot(browser, box)["collected_at"] == utc


@pytest.mark.parametrize("written", ["Z", "", "blank", "comma", "nanoseconds", "basic"])
def test_time_is_read_in_every_form_that_the_documented_server_reads(
    browser: httpx.Client, box: Server, written: str
) -> None:
    utc = now_iso(-5)
    plain = utc[:-6]
    text = {
        "Z": plain + "Z",
        "": plain,
        "blank": plain.replace("T", " ") + "+00:00",
        "comma": plain.replace(".", ",") + "Z",
        "nanoseconds": plain + "999Z",
        "basic": plain.replace("-", "").replace(":", "") + "Z",
    }[written]
    box.send(collected_at=text)
    assert snapshot(browser, box)["collected_at"] == utc


@pytest.mark.parametrize("value", [None, "", "soon", 1_790_000_000, 1_790_000_000_123, "1790000000123", [], {}, True])
def test_time_that_is_none_is_now(browser: httpx.Client, box: Server, value: Any) -> None:
    box.send(collected_at=value)
    assert snapshot(browser, box)["age_seconds"] < 30


@pytest.mark.parametrize(
    "text", ["2026-13-01T00:00:00Z", "2026-02-30T00:00:00", "0001-01-01T00:00:00+14:00", "2026-01-01T25:00Z"]
)
def test_time_that_cannot_be_is_400(box: Server, text: str) -> None:
    answer = box.post({"sample": sample(collected_at=text)})
    assert (answer.status, answer.json["error"]) == (400, "Ingest processing failed.")
    assert answer.json["field"] == "$.sample.collected_at"


def test_fraction_of_zero_is_not_written(browser: httpx.Client, box: Server) -> None:
    box.send(collected_at=now_iso(-5)[:19] + "Z")
    assert len(snapshot(browser, box)["collected_at"]) == len("2026-02-26T02:37:49+00:00")


def test_server_was_seen_when_it_was_heard_not_when_its_clock_says(browser: httpx.Client, box: Server) -> None:
    box.send(-600)
    row = latest(browser, box)["selected_server"]
    assert row["last_seen_at"] > now_iso(-30)
    assert row["latest_snapshot_at"] < now_iso(-590)


# ---------------------------------------------------------------- rates


def test_gap_of_more_than_ten_intervals_yields_no_rate(browser: httpx.Client, box: Server) -> None:
    def at(seconds: float) -> None:
        moved = int((300 + seconds) * 1_000_000)
        box.send(seconds, disks=[{**DISK, "read_bytes_total": moved}], network_rx_bytes_total=moved)

    for seconds in (-260, -258, -256, -254, -252):
        at(seconds)
    assert snapshot(browser, box)["disk"]["read_bps"] == pytest.approx(1e6, rel=0.05)
    at(-10)
    found = snapshot(browser, box)
    assert (found["interval_seconds"], found["disk"]["read_bps"], found["network"]["rx_bps"]) == (None, 0.0, 0.0)
    at(-8)
    found = snapshot(browser, box)
    assert found["interval_seconds"] == pytest.approx(2.0, abs=0.1)
    assert found["disk"]["read_bps"] == found["network"]["rx_bps"] == pytest.approx(1e6, rel=0.05)


def test_disk_that_is_new_has_no_rate_and_the_others_have_theirs(browser: httpx.Client, box: Server) -> None:
    box.send(-4, disks=[{**DISK, "read_bytes_total": 0}])
    box.send(-2, disks=[{**DISK, "read_bytes_total": 10**9}, {**DISK, "device": "sdb", "read_bytes_total": 10**12}])
    rates = {each["device"]: each["read_bps"] for each in snapshot(browser, box)["disk"]["devices"]}
    assert rates["sdb"] == 0.0
    assert rates["nvme0n1"] == pytest.approx(5e8, rel=0.05)


def test_busy_time_is_100_percent_at_most(browser: httpx.Client, box: Server) -> None:
    box.send(-4, disks=[{**DISK, "busy_time_ms_total": 0}])
    box.send(-2, disks=[{**DISK, "busy_time_ms_total": 50_000}])
    assert snapshot(browser, box)["disk"]["util_percent"] == 100.0


# ---------------------------------------------------------------- verdicts


def gpu(percent: float | None) -> list[dict[str, Any]]:
    return [{**GPU, "utilization_gpu_percent": percent}]


VERDICTS: list[tuple[dict[str, Any], str, str, float, str]] = [
    ({"memory_percent": 92.5}, "memory-pressure", "Memory Pressure", 0.82, "Memory 92% / swap 0%"),
    ({"cpu_iowait_percent": 20}, "io-bound", "Io Bound", 0.74, "Disk util 0% / iowait 20%"),
    ({"cpu_usage_percent": 85}, "cpu-bound", "Cpu Bound", 0.78, "CPU 85% with no GPU telemetry"),
    ({"cpu_usage_percent": 14.9}, "idle", "Idle", 0.9, "Low CPU and no GPU telemetry"),
    ({}, "balanced", "Balanced", 0.45, "No GPU telemetry available"),
    ({"gpus": gpu(None)}, "balanced", "Balanced", 0.45, "No GPU telemetry available"),
    ({"gpus": gpu(50), "memory_percent": 95}, "memory-pressure", "Memory Pressure", 0.9, "Memory 95% / swap 0%"),
    (
        {"gpus": gpu(50), "cpu_iowait_percent": 15},
        "io-bound",
        "Io Bound",
        0.88,
        "GPU 50% low while disk 0% / iowait 15%",
    ),
    ({"gpus": gpu(50), "cpu_usage_percent": 85}, "cpu-bound", "Cpu Bound", 0.87, "GPU 50% low while CPU 85% is high"),
    (
        {"gpus": gpu(50), "memory_percent": 88},
        "memory-pressure",
        "Memory Pressure",
        0.75,
        "GPU 50% low while memory 88% is high",
    ),
    ({"gpus": gpu(10), "cpu_usage_percent": 5}, "idle", "Idle", 0.85, "GPU, CPU, and disk activity are all low"),
    (
        {"gpus": gpu(50)},
        "underutilized",
        "Underutilized",
        0.55,
        "GPU 50% below target; check dataloader or batch size",
    ),
    ({"gpus": gpu(98)}, "gpu-bound", "Gpu Bound", 0.9, "GPU 98% saturated while CPU 30% and disk 0% are lower"),
    (
        {"gpus": gpu(98), "cpu_usage_percent": 92},
        "mixed-cpu-gpu",
        "Mixed Cpu Gpu",
        0.72,
        "CPU 92% and GPU 98% are both high",
    ),
    ({"gpus": gpu(75)}, "balanced", "Balanced", 0.65, "GPU 75% with CPU 30% and disk util 0%"),
    ({"gpus": gpu(75), "cpu_usage_percent": 85}, "mixed", "Mixed", 0.5, "CPU 85%, GPU 75%, disk 0%"),
]


@pytest.mark.parametrize(("changes", "label", "title", "confidence", "reason"), VERDICTS)
def test_verdict_is_the_documented_one_in_every_answer(
    browser: httpx.Client,
    box: Server,
    changes: dict[str, Any],
    label: str,
    title: str,
    confidence: float,
    reason: str,
) -> None:
    quiet = {"cpu_usage_percent": 30, "cpu_iowait_percent": 0, "memory_percent": 50, "swap_percent": 0}
    assert box.send(**{**quiet, **NOTHING, **changes})["snapshot"]["bottleneck"] == label
    assert snapshot(browser, box)["bottleneck"] == {
        "label": label,
        "title": title,
        "confidence": confidence,
        "reason": reason,
    }
    assert history(browser, box)["points"][0]["bottleneck"] == label


def test_busy_disk_beside_a_busy_gpu_is_mixed_io_gpu(browser: httpx.Client, box: Server) -> None:
    for seconds, busy in ((-4, 0), (-2, 1800)):
        box.send(seconds, gpus=gpu(65), cpu_iowait_percent=0, disks=[{**DISK, "busy_time_ms_total": busy}])
    found = snapshot(browser, box)
    percent = found["disk"]["util_percent"]
    assert (found["bottleneck"]["label"], found["bottleneck"]["confidence"]) == ("mixed-io-gpu", 0.7)
    assert found["bottleneck"]["reason"] == f"Disk util {percent:.0f}% and GPU 65% are both high"


# ---------------------------------------------------------------- news


def told(browser: httpx.Client, box: Server) -> list[dict[str, Any]]:
    found = browser.get("/api/notifications/").json()
    assert differences(NOTIFICATIONS, found) == []
    return [each for each in found["notifications"] if each["server"] and each["server"]["slug"] == box.slug]


def test_high_load_is_told_once_in_its_cool_down_and_a_lost_gpu_at_once(browser: httpx.Client, box: Server) -> None:
    two = [{**GPU, "utilization_gpu_percent": 96.0}, {**GPU, "gpu_index": 1, "uuid": "GPU-1"}]
    for seconds in (-8, -6, -4):
        box.send(seconds, cpu_usage_percent=91.6, memory_percent=93.0, gpus=two)
    box.send(-2, gpus=two[:1])
    until(lambda: any(each["code"] == "gpu_lost" for each in told(browser, box)))
    found = {each["code"]: each for each in told(browser, box)}
    assert len(told(browser, box)) == len(found)  # each once, though the load was high three times
    assert {code: (each["level"], each["title"], each["message"]) for code, each in found.items()} == {
        "high_cpu": ("warning", "High CPU usage", f"CPU at 92% on {box.slug}"),
        "high_mem": ("warning", "High memory usage", f"Memory at 93% on {box.slug}"),
        "high_gpu": ("warning", "High GPU utilization", f"GPU util at 98% on {box.slug}"),
        "gpu_added": ("info", "New GPU detected", f"2 GPU(s) present (was 0) on {box.slug}"),
        "disk_added": ("info", "New disk detected", f"1 disk(s) present (was 0) on {box.slug}"),
        "gpu_lost": ("critical", "GPU lost", f"1 GPU(s) present (was 2) on {box.slug}"),
    }
    newest_first = [each["id"] for each in told(browser, box)]
    assert newest_first == sorted(newest_first, reverse=True)


def test_digit_strings_count_as_ids_and_a_list_is_needed(browser: httpx.Client, box: Server) -> None:
    box.send()
    until(lambda: len(told(browser, box)) >= 2)
    ids = [each["id"] for each in told(browser, box)]
    answer = browser.post("/api/notifications/mark-read", json={"ids": [ids[0], str(ids[1]), "x", None, 1.5, [], -1]})
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "updated": 2})
    read = {each["id"] for each in told(browser, box) if each["is_read"]}
    assert set(ids[:2]) <= read
    for bad in ({"ids": "1"}, {"ids": {"1": 1}}, {}):
        refused = browser.post("/api/notifications/mark-read/", json=bad)
        assert (refused.status_code, refused.json()["ok"]) == (400, False)


# ---------------------------------------------------------------- too many


def refused_after(most: int, ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Ask until it is too often; so many must be allowed at least, and more where a slow machine takes its time."""
    for number in range(10 * most):
        answer = ask()
        if answer.status_code != 400:
            assert number >= most
            return answer
    raise AssertionError("it was never too often")


def test_too_many_tries_are_429_in_the_documented_words(fresh: Product) -> None:
    with closing(fresh.set_up()) as browser:
        body = {"username": ADMIN, "password": PASSWORD, "hostname": "box", "machine_id": ""}
        tried = refused_after(30, lambda: httpx.post(fresh.base + "/api/agent/enroll/", json=body, timeout=30))
        registered = refused_after(20, lambda: browser.post("/api/servers/register/", json={}))
        for refused in (tried, registered):
            assert refused.status_code == 429
            assert refused.json()["error"] == "Too many requests. Please try again later."
            assert refused.json()["ok"] is False
            assert int(refused.headers["retry-after"]) >= 1


def test_answer_of_ingest_comes_after_its_sample_is_seen_everywhere(browser: httpx.Client, box: Server) -> None:
    for number in range(20):
        sent = box.send(cpu_usage_percent=float(number))["snapshot"]
        found = latest(browser, box)
        assert (found["snapshot"]["id"], found["snapshot"]["cpu"]["usage_percent"]) == (sent["id"], float(number))
        assert found["selected_server"]["snapshot_count"] == number + 1
        assert history(browser, box)["points"][-1]["cpu_usage_percent"] == float(number)
