"""Every statement of the metrics API's document, against the built file."""

import re
from datetime import datetime
from typing import Any

import httpx2 as httpx
import pytest

from tests.product.served import Product
from tests.wire.metrics import AGENT, DOCUMENTED, Server, history, latest, registered, sample

pytestmark = pytest.mark.zipapp

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00")


def moment(text: Any) -> datetime:
    assert MOMENT.fullmatch(text), text
    return datetime.fromisoformat(text)


# ---------------------------------------------------------------- ingest


def test_document_s_own_example_is_taken_word_for_word(box: Server) -> None:
    answer = box.post({"sample": DOCUMENTED, "agent": AGENT})
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    found = answer.json
    assert found["ok"] is True
    server = found["server"]
    assert type(server["id"]) is int
    assert (server["slug"], server["hostname"], server["is_active"]) == (box.slug, "train01", True)
    snapshot = found["snapshot"]
    assert type(snapshot["id"]) is int
    assert snapshot["collected_at"] == DOCUMENTED["collected_at"]
    assert snapshot["bottleneck"] == "gpu-bound"
    assert (snapshot["cpu_usage_percent"], snapshot["top_gpu_util_percent"]) == (32.1, 98.0)
    assert snapshot["disk_util_percent"] == 0.0, "nothing to compare the first sample with"


def test_raw_sample_object_is_accepted_too(box: Server) -> None:
    answer = box.post(sample(cpu_usage_percent=7.5))
    assert answer.status == 200
    assert answer.json["snapshot"]["cpu_usage_percent"] == 7.5


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_token_travels_in_either_header(box: Server, scheme: str) -> None:
    assert box.post(sample(), headers={"X-Monitoring-Token": box.token}).status == 200
    assert box.post(sample(), headers={"X-Monitoring-Token": f"  {box.token} "}).status == 200
    assert box.post(sample(), headers={"Authorization": f"{scheme} {box.token}"}).status == 200


def test_own_header_alone_counts_where_it_says_anything(box: Server) -> None:
    bearer = {"Authorization": f"Bearer {box.token}"}
    assert box.post(sample(), headers={**bearer, "X-Monitoring-Token": "wrong"}).status == 401
    assert box.post(sample(), headers={**bearer, "X-Monitoring-Token": "  "}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Monitoring-Token": ""},
        {"X-Monitoring-Token": "wrong"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic abc"},
        {"Authorization": "Bearer"},
    ],
)
def test_missing_or_wrong_token_is_401(box: Server, headers: dict[str, str]) -> None:
    answer = box.post(sample(), headers=headers)
    assert answer.status == 401
    assert answer.json == {"ok": False, "error": "Invalid ingest token."}


def test_token_of_one_server_is_none_for_another(shared: Product, browser: httpx.Client, box: Server) -> None:
    other = registered(shared, browser, "other")
    assert box.post(sample(), headers={"X-Monitoring-Token": other.token}).status == 401


def test_unknown_slug_is_404_before_all_else_and_slugs_are_case_sensitive(box: Server) -> None:
    for slug in ("no-such-server", box.slug.upper()):
        answer = box.post(b"not json", headers={}, path=f"/api/ingest/servers/{slug}/metrics/")
        assert answer.status == 404
        assert answer.json["ok"] is False


def test_disabled_server_is_403_before_the_token_and_the_body_are_looked_at(
    shared: Product, browser: httpx.Client, box: Server
) -> None:
    assert browser.patch(f"/api/appliance/servers/{box.slug}", json={"is_active": False}).status_code == 200
    for headers in ({}, {"X-Monitoring-Token": "wrong"}, {"X-Monitoring-Token": box.token}):
        answer = box.post(b"not json", headers=headers)
        assert (answer.status, answer.json) == (403, {"ok": False, "error": "Server is disabled."})


def test_token_is_looked_at_before_the_body(box: Server) -> None:
    assert box.post(b"not json", headers={"X-Monitoring-Token": "wrong"}).status == 401
    assert box.post(b"not json").status == 400


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"not json", "Invalid JSON payload."),
        (b"\xef\xbb\xbf{}", "Invalid JSON payload."),
        (b'{"a":"\xff"}', "Invalid JSON payload."),
        (b"5", "Payload must be a JSON object."),
        (b'"text"', "Payload must be a JSON object."),
        (b"null", "Payload must be a JSON object."),
        (b'{"sample":{"disks":7}}', "Ingest processing failed."),
    ],
)
def test_body_that_cannot_be_taken_is_400_with_the_documented_words(box: Server, body: bytes, error: str) -> None:
    answer = box.post(body)
    assert (answer.status, answer.json["ok"], answer.json["error"]) == (400, False, error)


def test_ingest_is_post_alone_and_slashes_at_the_end_are_as_one_likes(box: Server) -> None:
    path = f"/api/ingest/servers/{box.slug}/metrics"
    answer = box.post(b"", method="GET", path=path + "/")
    assert answer.status == 405
    assert "POST" in answer.headers["allow"]
    assert box.post(sample(), path=path).status == 200, "no redirect: it would turn the POST into a GET"


def test_content_type_is_not_asked_for(box: Server) -> None:
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        headers = {"X-Monitoring-Token": box.token, "Content-Type": kind}
        assert box.post(sample(), headers=headers).status == 200


# ---------------------------------------------------------------- servers


def test_servers_lists_the_active_ones_with_the_documented_fields(browser: httpx.Client, box: Server) -> None:
    box.send()
    answer = browser.get("/api/servers/")
    assert answer.status_code == 200
    assert answer.json()["ok"] is True
    row = next(each for each in answer.json()["servers"] if each["slug"] == box.slug)
    assert type(row["id"]) is int
    assert (row["name"], row["hostname"], row["description"], row["is_active"]) == (box.slug, "train01", "", True)
    assert (row["last_agent_version"], row["snapshot_count"]) == ("0.1.0", 1)
    assert moment(row["last_seen_at"])
    assert moment(row["latest_snapshot_at"])


def test_disabled_server_is_not_listed(browser: httpx.Client, box: Server) -> None:
    browser.patch(f"/api/appliance/servers/{box.slug}", json={"is_active": False})
    assert box.slug not in [each["slug"] for each in browser.get("/api/servers/").json()["servers"]]


# ---------------------------------------------------------------- latest


def test_latest_shows_every_documented_field_with_its_type(browser: httpx.Client, box: Server) -> None:
    box.send(-2)
    disk = {
        **DOCUMENTED["disks"][0],
        "read_bytes_total": 111111111111 + 2 * 10**8,
        "busy_time_ms_total": 9876543 + 1000,
    }
    box.send(0, disks=[disk])
    found = latest(browser, box)
    assert found["ok"] is True
    assert found["selected_server"]["slug"] == box.slug
    assert box.slug in [each["slug"] for each in found["servers"]]
    shown = found["snapshot"]
    assert type(shown["id"]) is int
    assert shown["server"]["slug"] == box.slug
    assert moment(shown["collected_at"])
    assert 0 <= shown["age_seconds"] < 60
    assert shown["interval_seconds"] == pytest.approx(2, abs=0.5)
    cpu = {"usage_percent": 32.1, "iowait_percent": 2.7, "load_1": 6.2, "load_5": 5.8, "load_15": 5.1}
    assert {name: shown["cpu"][name] for name in cpu} == cpu
    assert (shown["memory"]["percent"], shown["memory"]["swap_percent"]) == (72.3, 0.0)
    assert shown["disk"]["read_bps"] == pytest.approx(10**8, rel=0.2)
    assert shown["disk"]["write_bps"] == 0.0
    assert shown["disk"]["util_percent"] == pytest.approx(50, abs=12)
    (device,) = shown["disk"]["devices"]
    assert device["device"] == "nvme0n1"
    assert (device["read_bps"], device["util_percent"]) == (shown["disk"]["read_bps"], shown["disk"]["util_percent"])
    gpu = shown["gpu"]
    assert (gpu["present"], gpu["count"], gpu["top_util_percent"]) == (True, 1, 98.0)
    (one,) = gpu["devices"]
    assert (one["gpu_index"], one["name"], one["utilization_gpu_percent"]) == (0, "NVIDIA A100-SXM4-80GB", 98.0)
    verdict = shown["bottleneck"]
    assert (verdict["label"], verdict["title"], verdict["confidence"]) == ("gpu-bound", "Gpu Bound", 0.9)
    assert re.fullmatch(r"GPU 98% saturated while CPU 32% and disk \d+% are lower", verdict["reason"])


def test_server_is_chosen_by_slug_or_number_and_one_that_is_unknown_is_none_named(
    browser: httpx.Client, box: Server
) -> None:
    number = box.send()["server"]["id"]
    assert latest(browser, box)["selected_server"]["id"] == number
    by_number = browser.get("/api/metrics/latest/", params={"server": str(number)}).json()
    assert by_number["selected_server"]["slug"] == box.slug
    box.send(1.5)
    for text in ("no-such-server", "", "  ", "999999", "9" * 5000, box.slug.upper()):
        found = browser.get("/api/metrics/latest/", params={"server": text}).json()
        assert found["ok"] is True, text
        assert found["selected_server"]["slug"] == box.slug, "the one with the newest sample"


def test_server_without_samples_is_404_and_keeps_the_page_usable(browser: httpx.Client, box: Server) -> None:
    answer = browser.get("/api/metrics/latest/", params={"server": box.slug})
    assert answer.status_code == 404
    found = answer.json()
    assert found["ok"] is False
    assert found["error"] == f"No samples collected yet for server '{box.slug}'."
    assert found["selected_server"]["slug"] == box.slug
    assert box.slug in [each["slug"] for each in found["servers"]]


# ---------------------------------------------------------------- history


def test_history_shows_every_documented_field(browser: httpx.Client, box: Server) -> None:
    for seconds in (-6, -4, -2):
        box.send(seconds)
    found = history(browser, box)
    assert (found["ok"], found["minutes"], found["point_count"], found["stride"]) == (True, 60, 3, 1)
    assert found["selected_server"]["slug"] == box.slug
    times = [moment(point["collected_at"]) for point in found["points"]]
    assert times == sorted(times)
    point = found["points"][-1]
    assert (point["cpu_usage_percent"], point["cpu_iowait_percent"]) == (32.1, 2.7)
    assert (point["memory_percent"], point["swap_percent"]) == (72.3, 0.0)
    assert (point["disk_read_bps"], point["disk_write_bps"], point["disk_util_percent"]) == (0.0, 0.0, 0.0)
    assert (point["gpu_top_util_percent"], point["bottleneck"]) == (98.0, "gpu-bound")
    (gpu,) = point["gpus"]
    assert (gpu["gpu_index"], gpu["utilization_gpu_percent"]) == (0, 98.0)
    assert (gpu["memory_percent"], gpu["temperature_c"]) == (80.0, 64.0)
    assert point["disks"] == [{"device": "nvme0n1", "read_bps": 0.0, "write_bps": 0.0, "util_percent": 0.0}]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("15", 15), ("0", 1), ("-5", 1), ("99999999", 43200), ("", 60), ("x", 60), (" 7 ", 7), ("+9", 9), ("1.5", 60)],
)
def test_minutes_are_clamped_and_what_is_no_number_is_an_hour(browser: httpx.Client, text: str, minutes: int) -> None:
    found = browser.get("/api/metrics/history/", params={"minutes": text}).json()
    assert found["minutes"] == minutes


def test_minutes_of_5000_digits_are_no_error(browser: httpx.Client) -> None:
    assert browser.get("/api/metrics/history/", params={"minutes": "9" * 5000}).status_code == 200


def test_history_without_minutes_is_an_hour(browser: httpx.Client) -> None:
    assert browser.get("/api/metrics/history/").json()["minutes"] == 60


# ---------------------------------------------------------------- who may look


@pytest.mark.parametrize("path", ["/api/servers/", "/api/metrics/latest/", "/api/metrics/history/", "/api/servers"])
def test_dashboard_needs_a_login_even_from_this_host(shared: Product, path: str) -> None:
    answer = shared.get(path)
    assert answer.status_code == 401
    found = answer.json()
    assert (found["ok"], found["error"], found["auth_required"]) == (False, "Authentication required.", True)
    assert found["login_url"].startswith(f"{shared.base}/accounts/google/login/?next=%2Fapi%2F")


def test_token_of_an_agent_reads_nothing(shared: Product, box: Server) -> None:
    answer = shared.get("/api/servers/", headers={"Authorization": f"Bearer {box.token}"})
    assert answer.status_code == 403
    assert answer.json()["ok"] is False
