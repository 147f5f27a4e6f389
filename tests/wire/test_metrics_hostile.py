"""Bodies and times that broke the server this stands in for: a clear 400, or no harm; later answers stay valid JSON."""

import gzip
import json
from typing import Any

import httpx2 as httpx
import pytest

from tests.product.served import Product, exchange
from tests.wire.metrics import Server, history, latest, now_iso, sample

pytestmark = pytest.mark.zipapp


def with_value(text: str, name: str = "cpu_load_1") -> bytes:
    return b'{"sample":{"%s":%s}}' % (name.encode(), text.encode())


@pytest.mark.parametrize("value", ["Infinity", "-Infinity", "NaN", "1e400", "-1e999", "9" * 5000])
def test_number_that_is_none_is_refused_by_its_field_and_nothing_is_stored(
    browser: httpx.Client, box: Server, value: str
) -> None:
    box.send(-2)
    answer = box.post(with_value(value))
    assert answer.status == 400
    assert answer.json["error"] == "Ingest processing failed."
    assert answer.json["field"] == "$.sample.cpu_load_1"
    found = latest(browser, box)
    assert found["snapshot"]["cpu"]["load_1"] == 6.2
    row = next(row for row in found["servers"] if row["slug"] == box.slug)
    assert row["snapshot_count"] == 1


@pytest.mark.parametrize(
    ("value", "load", "count"),
    [
        ('"33.5"', 33.5, 33),
        ("true", 1.0, 1),
        ("12.9", 12.9, 12),
        ('"inf"', None, 0),
        ('"nan"', None, 0),
        ('"x"', None, 0),
        ("null", None, 0),
        ("[]", None, 0),
        ('"41"', 41.0, 41),
    ],
)
def test_finite_numbers_in_text_are_numbers_and_what_is_unreadable_is_not_reported(
    browser: httpx.Client, box: Server, value: str, load: float | None, count: int
) -> None:
    body = b'{"sample":{"cpu_load_1":%s,"process_count":%s}}' % (value.encode(), value.encode())
    assert box.post(body).status == 200
    shown = latest(browser, box)["snapshot"]
    assert shown["cpu"]["load_1"] == load
    if count != 33:  # a fraction in text is no integer to the documented server
        assert shown["process_count"] == count


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"sample":{"memory_total_bytes":9223372036854775808}}', "$.sample.memory_total_bytes"),
        (b'{"sample":{"gpus":[{"gpu_index":0,"name":5}]}}', "$.sample.gpus[0].name"),
        (b'{"sample":{"disks":[{"device":7}]}}', "$.sample.disks[0].device"),
        (b'{"sample":{"disks":[{"device":"a"},{"device":"a"}]}}', "$.sample.disks[1].device"),
        (b'{"sample":{"gpus":[{"gpu_index":1},{"gpu_index":1}]}}', "$.sample.gpus[1].gpu_index"),
        (b'{"sample":{"collected_at":"2026-13-01T00:00:00Z"}}', "$.sample.collected_at"),
        (b"[]", "$"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_its_field(box: Server, body: bytes, field: str) -> None:
    answer = box.post(body)
    assert (answer.status, answer.json["field"]) == (400, field)


def test_json_of_any_depth_is_an_answer_and_no_failure(box: Server) -> None:
    for depth in (100, 1000, 20_000, 200_000):
        for body in (b"[" * depth, b'{"sample":{"x":' + b"[" * depth + b"]" * depth + b"}}"):
            assert box.post(body).status in {200, 400}
    box.send()


def test_names_that_no_client_can_show_are_stored_as_what_they_can(browser: httpx.Client, box: Server) -> None:
    body = b'{"sample":{"disks":[{"device":"a\\ud800b\\u0000c"}],"gpus":[{"gpu_index":0,"name":"<script>"}]}}'
    answer = box.post(body)
    assert answer.status in {200, 400}
    if answer.status == 200:
        (disk,) = latest(browser, box)["snapshot"]["disk"]["devices"]
        assert disk["device"].isprintable()


def test_body_beyond_the_limit_is_413_in_this_api_s_shape(box: Server) -> None:
    fits = json.dumps({"sample": sample(), "filler": "x" * (5 * 2**20 - 3000)}).encode()
    assert box.post(fits).status == 200
    box.close()
    answer = httpx.post(
        f"{box.base}/api/ingest/servers/{box.slug}/metrics/",
        content=b'{"x":"' + b"x" * (5 * 2**20) + b'"}',
        headers={"X-Monitoring-Token": box.token},
        timeout=30,
    )
    assert (answer.status_code, answer.json()["ok"]) == (413, False)


def test_packed_bodies_and_arrays_are_taken_on_the_same_path(browser: httpx.Client, box: Server) -> None:
    many = [{"sample": sample(-seconds)} for seconds in (8, 6, 4)]
    headers = {"X-Monitoring-Token": box.token, "Content-Encoding": "gzip"}
    answer = box.post(gzip.compress(json.dumps(many).encode()), headers=headers)
    assert (answer.status, answer.json["accepted"]) == (200, 3)
    assert answer.json["snapshot"]["collected_at"] == many[-1]["sample"]["collected_at"]
    assert history(browser, box)["point_count"] == 3
    bad = [{"sample": sample(-2)}, {"sample": {"cpu_load_1": 2**2000}}]
    assert box.post(bad).json["field"] == "$[1].sample.cpu_load_1"
    assert history(browser, box)["point_count"] == 3, "one bad sample refuses all"
    bomb = gzip.compress(b" " * (64 * 2**20))
    assert box.post(bomb, headers=headers).status == 413


# ---------------------------------------------------------------- time


def test_samples_from_the_future_delete_hide_and_zero_nothing(browser: httpx.Client, box: Server) -> None:
    moved: dict[str, Any] = {"device": "sda", "read_bytes_total": 0}
    box.send(-4, disks=[moved])
    for text in ("9999-12-31T23:59:59+00:00", now_iso(86_400)):
        answer = box.post({"sample": sample(collected_at=text, disks=[moved])})
        assert answer.status == 200
        assert answer.json["snapshot"]["collected_at"] == text
    later = box.send(1, disks=[{"device": "sda", "read_bytes_total": 10**9}])
    found = latest(browser, box)
    assert found["snapshot"]["id"] == later["snapshot"]["id"]
    assert found["snapshot"]["disk"]["read_bps"] > 0
    assert history(browser, box)["point_count"] == 4


@pytest.mark.parametrize("text", ["1971-01-01T00:00:00Z", "2020-02-26T02:37:49+00:00"])
def test_samples_from_the_far_past_hide_nothing(browser: httpx.Client, box: Server, text: str) -> None:
    newest = box.send()["snapshot"]["id"]
    assert box.post({"sample": sample(collected_at=text)}).status == 400
    assert latest(browser, box)["snapshot"]["id"] == newest
    assert history(browser, box)["point_count"] == 1


def test_samples_come_in_any_order_and_twice(browser: httpx.Client, box: Server) -> None:
    bodies = [{"sample": sample(-seconds)} for seconds in (10, 8, 6, 4, 2)]
    for place in (3, 0, 4, 1, 3, 2, 0):
        assert box.post(bodies[place]).status == 200
    found = history(browser, box)
    assert [point["collected_at"] for point in found["points"]] == [each["sample"]["collected_at"] for each in bodies]
    row = next(row for row in found["servers"] if row["slug"] == box.slug)
    assert row["snapshot_count"] == 5


def test_counters_that_reset_or_wrap_give_zero(browser: httpx.Client, box: Server) -> None:
    high = {"device": "sda", "read_bytes_total": 2**62, "write_bytes_total": 5, "busy_time_ms_total": 9}
    box.send(-2, disks=[high], network_rx_bytes_total=2**40)
    low = {"device": "sda", "read_bytes_total": 1, "write_bytes_total": 0, "busy_time_ms_total": 0}
    box.send(disks=[low], network_rx_bytes_total=7)
    shown = latest(browser, box)["snapshot"]
    assert (shown["disk"]["read_bps"], shown["disk"]["write_bps"], shown["disk"]["util_percent"]) == (0.0, 0.0, 0.0)
    assert shown["network"]["rx_bps"] == 0.0


def test_retention_in_a_payload_deletes_nothing(browser: httpx.Client, box: Server) -> None:
    box.send(-20)
    for days in (0, -1, 1):
        assert box.post({"sample": sample(), "retention_days": days}).status == 200
    assert history(browser, box)["point_count"] == 4


# ---------------------------------------------------------------- connections


def test_sender_that_hangs_up_in_the_middle_of_a_body_stores_nothing(
    shared: Product, browser: httpx.Client, box: Server
) -> None:
    box.send(-2)
    body = json.dumps({"sample": sample()}).encode()
    head = (
        f"POST /api/ingest/servers/{box.slug}/metrics/ HTTP/1.1\r\nHost: {shared.base.removeprefix('http://')}\r\n"
        f"X-Monitoring-Token: {box.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    for part in (head, head + body[:-1]):
        with shared.connect() as one:
            one.sendall(part)
    with shared.connect() as one:
        whole = exchange(one, head + body, until_bytes=b"}}")
        assert whole.startswith(b"HTTP/1.1 200")
    assert history(browser, box)["point_count"] == 2
