"""What front ends read from the built file: servers, the newest snapshot, history; fields, types, choices and codes."""

import json
import time
from contextlib import closing
from datetime import datetime
from typing import Any

import httpx2 as httpx
import pytest

from tests.product.served import Product, until
from tests.wire.metrics import AGENT, DOCUMENTED, Server, history, latest, now_iso, registered, sample
from tests.wire.shapes import HISTORY, LATEST, SERVERS, differences

pytestmark = pytest.mark.zipapp
GPU, DISK = DOCUMENTED["gpus"][0], DOCUMENTED["disks"][0]


def later_disk(seconds: float) -> dict[str, Any]:
    """Return the documented disk after it has worked for so long, at 100 MB/s, 5 MB/s and 61 %."""
    return {
        **DISK,
        "read_bytes_total": DISK["read_bytes_total"] + int(seconds * 100_000_000),
        "write_bytes_total": DISK["write_bytes_total"] + int(seconds * 5_000_000),
        "read_count_total": DISK["read_count_total"] + int(seconds * 250),
        "write_count_total": DISK["write_count_total"] + int(seconds * 50),
        "busy_time_ms_total": DISK["busy_time_ms_total"] + int(seconds * 610),
    }


def set_active(browser: httpx.Client, slug: str, wanted: bool) -> None:
    answer = browser.patch(f"/api/appliance/servers/{slug}", json={"is_active": wanted})
    assert answer.status_code == 200, answer.text


def slugs(answer: Any) -> list[str]:
    return [row["slug"] for row in answer["servers"]]


@pytest.mark.parametrize("path", ["/api/servers/", "/api/servers", "/api/metrics/latest/", "/api/metrics/history"])
def test_nobody_is_told_to_log_in_with_an_absolute_link_back(shared: Product, path: str) -> None:
    answer = httpx.get(f"{shared.base}{path}?server=a%20b&minutes=5", timeout=30)
    assert answer.status_code == 401
    said = answer.json()
    assert said["ok"] is False
    assert said["error"] == "Authentication required."
    assert said["auth_required"] is True
    assert said["login_url"].startswith(f"{shared.base}/accounts/google/login/?next=%2Fapi%2F")
    assert httpx.URL(said["login_url"]).params["next"] == f"{path}?server=a%20b&minutes=5"
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("path", ["/api/servers", "/api/metrics/latest", "/api/metrics/history"])
def test_slash_makes_no_difference_to_a_get(browser: httpx.Client, path: str) -> None:
    with_slash, without = browser.get(path + "/"), browser.get(path)
    assert with_slash.status_code == without.status_code == 200
    assert with_slash.json().keys() == without.json().keys()


def test_servers_list_has_the_documented_rows(browser: httpx.Client, box: Server) -> None:
    at = now_iso()
    box.send(collected_at=at)
    answer = browser.get("/api/servers/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert differences(SERVERS, answer.json()) == []
    row = next(each for each in answer.json()["servers"] if each["slug"] == box.slug)
    assert (row["name"], row["hostname"], row["description"]) == (box.slug, "train01", "")
    assert (row["is_active"], row["last_agent_version"], row["snapshot_count"]) == (True, "0.1.0", 1)
    assert row["latest_snapshot_at"] == at
    assert abs(datetime.fromisoformat(row["last_seen_at"]).timestamp() - time.time()) < 30
    assert row["agent_info"] == AGENT


def test_server_that_never_reported_has_nulls_and_no_count(browser: httpx.Client, box: Server) -> None:
    row = next(each for each in browser.get("/api/servers/").json()["servers"] if each["slug"] == box.slug)
    assert (row["last_seen_at"], row["latest_snapshot_at"], row["snapshot_count"]) == (None, None, 0)
    assert (row["agent_user"], row["agent_info"]) == ("", {})


def test_servers_with_the_newest_samples_come_first_and_disabled_ones_not_at_all(
    shared: Product, browser: httpx.Client, box: Server
) -> None:
    with closing(registered(shared, browser, "newer")) as newer, closing(registered(shared, browser, "never")) as never:
        set_active(browser, "local", False)
        try:
            box.send()
            newer.send()
            listed = slugs(browser.get("/api/servers/").json())
            assert listed.index(newer.slug) < listed.index(box.slug) < listed.index(never.slug)
            assert browser.get("/api/metrics/latest/").json()["selected_server"]["slug"] == newer.slug
            set_active(browser, newer.slug, False)
            assert newer.slug not in slugs(browser.get("/api/servers/").json())
            assert latest(browser, newer)["selected_server"]["slug"] == box.slug  # the next one: it cannot be chosen
        finally:
            set_active(browser, "local", True)


def test_local_host_is_a_server_without_any_command(shared: Product, browser: httpx.Client) -> None:
    answer = browser.get("/api/metrics/latest/", params={"server": "local"})
    assert differences(LATEST, answer.json()) == []
    assert answer.json()["selected_server"]["slug"] == "local"
    assert answer.json()["selected_server"]["name"]


def test_latest_has_every_documented_field_with_its_value(browser: httpx.Client, box: Server) -> None:
    box.send(-12)
    at = now_iso(-10)
    fans = [{"label": "rear", "speed_rpm": 900}, {"label": "front", "speed_rpm": 1500.5}]
    box.send(collected_at=at, disks=[later_disk(2)], fans=fans, cpu_temperature_c=55.5)
    answer = latest(browser, box)
    assert differences(LATEST, answer) == []
    found = answer["snapshot"]
    assert answer["selected_server"]["slug"] == found["server"]["slug"] == box.slug
    assert (found["server"]["snapshot_count"], found["server"]["latest_snapshot_at"]) == (None, None)
    assert found["collected_at"] == at
    assert 9 < found["age_seconds"] < 60
    assert found["interval_seconds"] == pytest.approx(2.0, abs=0.1)
    cpu = {name.removeprefix("cpu_"): value for name, value in DOCUMENTED.items() if name.startswith("cpu_")}
    assert found["cpu"] == {**cpu, "temperature_c": 55.5}
    memory = {name.removeprefix("memory_"): DOCUMENTED[name] for name in DOCUMENTED if name.startswith("memory_")}
    swap = {name: DOCUMENTED[name] for name in DOCUMENTED if name.startswith("swap_")}
    assert found["memory"] == {**memory, **swap}
    disk = found["disk"]["devices"][0]
    assert (disk["device"], disk["read_bytes_total"]) == ("nvme0n1", DISK["read_bytes_total"] + 200_000_000)
    assert disk["read_bps"] == pytest.approx(1e8, rel=0.1)
    assert disk["write_bps"] == pytest.approx(5e6, rel=0.1)
    assert disk["read_iops"] == pytest.approx(250, rel=0.1)
    assert disk["write_iops"] == pytest.approx(50, rel=0.1)
    assert disk["util_percent"] == pytest.approx(61, rel=0.1)
    for name in ("read_bps", "write_bps", "read_iops", "write_iops", "util_percent"):
        assert found["disk"][name] == disk[name]
    assert found["disk"]["avg_util_percent"] == disk["util_percent"]
    assert found["process_count"] == 412
    assert found["fans"]["count"] == 2
    assert (found["fans"]["max_rpm"], found["fans"]["avg_rpm"]) == (1500.5, 1200.25)
    assert [each["label"] for each in found["fans"]["devices"]] == ["front", "rear"]
    assert found["gpu"]["devices"] == [{**GPU, "fan_speed_percent": None}]
    figures = {name: value for name, value in found["gpu"].items() if name != "devices"}
    assert figures == {
        "present": True,
        "count": 1,
        "top_util_percent": 98.0,
        "avg_util_percent": 98.0,
        "top_memory_percent": 80.0,
        "avg_memory_percent": 80.0,
    }
    util = round(found["disk"]["util_percent"])
    assert found["bottleneck"] == {
        "label": "gpu-bound",
        "title": "Gpu Bound",
        "confidence": 0.9,
        "reason": f"GPU 98% saturated while CPU 32% and disk {util}% are lower",
    }


def test_first_sample_has_zero_rates_and_no_interval(browser: httpx.Client, box: Server) -> None:
    box.send()
    found = latest(browser, box)["snapshot"]
    assert found["interval_seconds"] is None
    assert found["disk"]["devices"][0]["read_bps"] == found["disk"]["read_bps"] == 0.0
    assert found["network"]["rx_bps"] == found["network"]["tx_bps"] == 0.0


def test_devices_are_sorted_by_index_name_and_label(browser: httpx.Client, box: Server) -> None:
    gpus = [{**GPU, "gpu_index": index, "uuid": f"GPU-{index}"} for index in (10, 2, 0)]
    box.send(gpus=gpus, disks=[{**DISK, "device": name} for name in ("sdb", "nvme1n1", "sda")])
    found = latest(browser, box)["snapshot"]
    assert [each["gpu_index"] for each in found["gpu"]["devices"]] == [0, 2, 10]
    assert [each["device"] for each in found["disk"]["devices"]] == ["nvme1n1", "sda", "sdb"]


def test_server_is_chosen_by_slug_or_number_and_never_refused(browser: httpx.Client, box: Server) -> None:
    number = box.send()["server"]["id"]
    for chosen in (box.slug, str(number), f"  {box.slug} "):
        for path in ("/api/metrics/latest/", "/api/metrics/history/"):
            answer = browser.get(path, params={"server": chosen})
            assert answer.json()["selected_server"]["slug"] == box.slug
    for unknown in ("nobody", "999999999", box.slug.upper(), "9" * 5000, "", "%00", "ü"):
        assert browser.get("/api/metrics/latest/", params={"server": unknown}).status_code == 200


def test_server_without_samples_is_404_with_what_keeps_the_page_usable(browser: httpx.Client, box: Server) -> None:
    answer = browser.get("/api/metrics/latest/", params={"server": box.slug})
    said = answer.json()
    assert answer.status_code == 404
    assert (said["ok"], said["error"]) == (False, f"No samples collected yet for server '{box.slug}'.")
    assert said["selected_server"]["slug"] == box.slug
    assert box.slug in slugs(said)
    assert differences(SERVERS, {"ok": False, "servers": said["servers"]}) == []


def test_without_any_active_server_latest_is_404_and_history_is_empty(fresh: Product) -> None:
    with closing(fresh.set_up()) as browser:
        set_active(browser, "local", False)
        assert browser.get("/api/servers/").json() == {"ok": True, "servers": []}
        answer = browser.get("/api/metrics/latest/")
        assert (answer.status_code, answer.json()) == (
            404,
            {
                "ok": False,
                "error": "No monitored servers registered yet. Register a server and start an agent.",
                "servers": [],
            },
        )
        answer = browser.get("/api/metrics/history/")
        assert (answer.status_code, answer.json()) == (
            200,
            {
                "ok": True,
                "minutes": 0,
                "point_count": 0,
                "stride": 1,
                "servers": [],
                "selected_server": None,
                "points": [],
            },
        )


def test_history_has_every_documented_field_with_its_value(browser: httpx.Client, box: Server) -> None:
    box.send(-4)
    at = now_iso(-2)
    box.send(collected_at=at, disks=[later_disk(2)], fans=[{"label": "front", "speed_rpm": 1500.0}])
    answer = history(browser, box)
    assert differences(HISTORY, answer) == []
    assert (answer["minutes"], answer["point_count"], answer["stride"]) == (60, 2, 1)
    first, last = answer["points"]
    assert first["collected_at"] < last["collected_at"] == at
    expected = {"cpu_usage_percent": 32.1, "cpu_iowait_percent": 2.7, "memory_percent": 72.3, "swap_percent": 0.0}
    assert {name: last[name] for name in expected} == expected
    assert last["disk_read_bps"] == pytest.approx(1e8, rel=0.1)
    assert last["disks"][0]["read_bps"] == pytest.approx(1e8, rel=0.1)
    assert last["disks"][0]["util_percent"] == pytest.approx(61, rel=0.1)
    assert (last["gpu_top_util_percent"], last["bottleneck"]) == (98.0, "gpu-bound")
    gpu = {"gpu_index": 0, "utilization_gpu_percent": 98.0, "memory_percent": 80.0, "temperature_c": 64.0}
    assert last["gpus"] == [{**gpu, "fan_speed_percent": None}]
    assert (last["fan_count"], last["fan_max_rpm"], last["fan_avg_rpm"]) == (1, 1500.0, 1500.0)
    assert last["fans"] == [{"label": "front", "speed_rpm": 1500.0}]
    assert (first["disk_read_bps"], first["fan_count"], first["fans"]) == (0.0, 0, [])


@pytest.mark.parametrize(
    ("asked", "minutes"),
    [
        (None, 60),
        ("15", 15),
        (" 15 ", 15),
        ("+15", 15),
        ("0", 1),
        ("-5", 1),
        ("43200", 43_200),
        ("43201", 43_200),
        ("9" * 400, 43_200),
        ("9" * 5000, 60),
        ("", 60),
        ("1.5", 60),
        ("1e3", 60),
        ("soon", 60),
    ],
)
def test_minutes_are_clamped_and_unreadable_ones_are_60(browser: httpx.Client, asked: str | None, minutes: int) -> None:
    answer = browser.get("/api/metrics/history/", params={} if asked is None else {"minutes": asked})
    assert (answer.status_code, answer.json()["minutes"]) == (200, minutes)


def test_history_beyond_its_window_is_left_out(browser: httpx.Client, box: Server) -> None:
    box.send(-300)
    box.send(-30)
    assert history(browser, box, 1)["point_count"] == 1
    assert history(browser, box, 15)["point_count"] == 2


@pytest.mark.parametrize("order", ["as taken", "newest first"])
def test_large_history_is_thinned_by_stride_and_keeps_every_peak(
    browser: httpx.Client, box: Server, order: str
) -> None:
    moments = [-(number * 0.5) for number in range(1800, 0, -1)]
    batch = [{"sample": sample(at, cpu_usage_percent=99.0 if at == -450 else 20.0)} for at in moments]
    parts = [batch[start : start + 600] for start in range(0, len(batch), 600)]
    for part in parts if order == "as taken" else reversed(parts):
        assert box.post(part).json["accepted"] == 600
    # What comes late is rolled up with the next ones, within seconds.
    until(lambda: history(browser, box)["point_count"] > 80)
    answer = history(browser, box)
    assert answer["point_count"] == len(answer["points"]) <= 1500
    assert answer["stride"] == round(1800 / answer["point_count"]) > 1
    assert max(point["cpu_usage_percent"] for point in answer["points"]) == 99.0
    times = [point["collected_at"] for point in answer["points"]]
    assert times == sorted(set(times))


def test_answers_are_strict_json_in_utf_8(browser: httpx.Client, box: Server) -> None:
    box.send(gpus=[{**GPU, "name": "Größe \u2028 \ud83d\ude00 </script>"}])
    raw = browser.get("/api/metrics/latest/", params={"server": box.slug}).content
    assert json.loads(raw.decode())["snapshot"]["gpu"]["devices"][0]["name"].startswith("Größe")


def test_only_people_read(shared: Product, box: Server) -> None:
    box.send()
    # What a Bearer token says is known, and it is not a person's.
    tried: list[tuple[dict[str, str], int]] = [
        ({}, 401),
        ({"X-Monitoring-Token": box.token}, 401),
        ({"Authorization": f"Bearer {box.token}"}, 403),
    ]
    for headers, status in tried:
        for path in ("/api/servers/", "/api/metrics/latest/", "/api/metrics/history/", "/api/notifications/"):
            answer = httpx.get(shared.base + path, headers=headers, timeout=30)
            assert (answer.status_code, answer.json()["ok"]) == (status, False)
