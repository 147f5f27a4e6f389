"""The ingest endpoint of the built file: each statement of its document, and what its real agents rely on."""

import gzip
import http.client
import json
from contextlib import closing
from threading import Thread
from typing import Any

import httpx2 as httpx
import pytest

from tests.product.served import Product
from tests.wire.metrics import AGENT, DOCUMENTED, Server, history, latest, now_iso, registered, sample
from tests.wire.shapes import INGESTED, differences

pytestmark = pytest.mark.zipapp


def change(browser: httpx.Client, box: Server, **values: Any) -> None:
    answer = browser.patch(f"/api/appliance/servers/{box.slug}", json=values)
    assert answer.status_code == 200, answer.text


def refused(box: Server, status: int, error: str, body: Any = None, **options: Any) -> Any:
    """Post what must be refused with exactly that error; return the answer's JSON."""
    answer = box.post({"sample": sample()} if body is None else body, **options)
    assert (answer.status, answer.json["ok"], answer.json["error"]) == (status, False, error)
    assert answer.headers["content-type"].startswith("application/json")
    return answer.json


def test_answer_has_every_documented_field_with_its_type(box: Server) -> None:
    at = now_iso()
    said = box.post({"sample": {**DOCUMENTED, "collected_at": at}, "agent": AGENT})
    assert said.status == 200
    assert said.headers["content-type"].startswith("application/json")
    assert differences(INGESTED, said.json) == []
    server, snapshot = said.json["server"], said.json["snapshot"]
    assert said.json["ok"] is True
    assert (server["slug"], server["name"], server["hostname"]) == (box.slug, box.slug, "train01")
    assert server["is_active"] is True
    assert snapshot["collected_at"] == at
    assert snapshot["cpu_usage_percent"] == 32.1
    assert snapshot["top_gpu_util_percent"] == 98.0
    assert snapshot["disk_util_percent"] == 0.0  # no sample before it to tell a rate from
    assert snapshot["bottleneck"] == "gpu-bound"


def test_server_of_an_ingest_answer_has_no_counts(box: Server) -> None:
    server = box.send()["server"]
    assert server["snapshot_count"] is None
    assert server["latest_snapshot_at"] is None
    assert server["agent_info"] == AGENT
    assert server["last_agent_version"] == "0.1.0"


@pytest.mark.parametrize("form", ["recommended", "raw"])
def test_both_body_forms_are_taken(box: Server, browser: httpx.Client, form: str) -> None:
    one = sample()
    answer = box.post({"sample": one, "agent": AGENT} if form == "recommended" else one)
    assert answer.status == 200
    assert latest(browser, box)["snapshot"]["memory"]["percent"] == 72.3


def test_sample_that_is_no_object_makes_the_payload_the_sample(box: Server) -> None:
    answer = box.post({**sample(), "sample": 5})
    assert (answer.status, answer.json["snapshot"]["cpu_usage_percent"]) == (200, 32.1)


def test_agent_that_is_no_object_is_passed_over(box: Server) -> None:
    answer = box.post({"sample": sample(), "agent": "0.1.0"})
    assert (answer.status, answer.json["server"]["last_agent_version"]) == (200, "")


def test_empty_body_is_a_sample_of_zeros_that_is_idle(box: Server, browser: httpx.Client) -> None:
    for body in (b"", b"{}"):
        answer = box.post(body)
        assert answer.status == 200
        assert answer.json["snapshot"]["bottleneck"] == "idle"
        assert answer.json["snapshot"]["cpu_usage_percent"] == 0.0
        assert answer.json["snapshot"]["top_gpu_util_percent"] is None
    cpu = latest(browser, box)["snapshot"]["cpu"]
    assert (cpu["usage_percent"], cpu["load_1"], cpu["count_logical"]) == (0.0, None, 0)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Monitoring-Token": "{}"},
        {"x-monitoring-token": "  {}  "},
        {"Authorization": "Bearer {}"},
        {"Authorization": "bEARER {}  "},
        {"X-Monitoring-Token": "", "Authorization": "Bearer {}"},
        {"X-Monitoring-Token": "   ", "Authorization": "Bearer {}"},
        {"X-Monitoring-Token": "{}", "Authorization": "Bearer nonsense"},
        {"X-Monitoring-Token": "{}", "Content-Type": "text/plain", "Accept": "text/html"},
        {"X-Monitoring-Token": "{}", "Content-Type": "application/json; charset=utf-16"},
    ],
)
def test_either_token_header_is_taken_whatever_else_is_sent(box: Server, headers: dict[str, str]) -> None:
    sent = {name: value.format(box.token) for name, value in headers.items()}
    assert box.post({"sample": sample()}, headers=sent).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Monitoring-Token": "nonsense"},
        {"X-Monitoring-Token": "nonsense", "Authorization": "Bearer {}"},
        {"Authorization": "Basic {}"},
        {"Authorization": "{}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"X-Monitoring-Token": "{}x"},
        {"X-Monitoring-Token": "\xfc"},
    ],
)
def test_missing_or_wrong_token_is_401(box: Server, headers: dict[str, str]) -> None:
    sent = {name: value.format(box.token) for name, value in headers.items()}
    said = refused(box, 401, "Invalid ingest token.", headers=sent)
    assert "auth_required" not in said
    assert "login_url" not in said


def test_session_of_a_person_is_no_ingest_token(box: Server, browser: httpx.Client) -> None:
    answer = browser.post(f"/api/ingest/servers/{box.slug}/metrics/", json={"sample": sample()})
    assert (answer.status_code, answer.json()["error"]) == (401, "Invalid ingest token.")


def test_token_of_another_server_is_401(shared: Product, browser: httpx.Client, box: Server) -> None:
    with closing(registered(shared, browser, "another")) as other:
        refused(box, 401, "Invalid ingest token.", headers={"X-Monitoring-Token": other.token})
        assert box.post({"sample": sample()}).status == 200


def test_rotated_token_ends_the_old_one_at_once(box: Server, browser: httpx.Client) -> None:
    box.send()
    made = browser.post(f"/api/appliance/servers/{box.slug}/rotate-token").json()
    refused(box, 401, "Invalid ingest token.")
    assert box.post({"sample": sample()}, headers={"X-Monitoring-Token": made["token"]}).status == 200


def test_tokens_are_43_characters_of_base64url(box: Server) -> None:
    assert len(box.token) >= 43
    assert all(each.isascii() and (each.isalnum() or each in "-_") for each in box.token)


def test_unknown_slug_is_404_whatever_else_is_wrong(box: Server) -> None:
    for token in (box.token, "nonsense"):
        headers = {"X-Monitoring-Token": token}
        answer = box.post(b"no json", headers=headers, path="/api/ingest/servers/nobody/metrics/")
        assert (answer.status, answer.json["ok"]) == (404, False)
        assert isinstance(answer.json["error"], str)


def test_slug_is_case_sensitive(box: Server) -> None:
    answer = box.post({"sample": sample()}, path=f"/api/ingest/servers/{box.slug.upper()}/metrics/")
    assert answer.status == 404


def test_disabled_server_is_403_whatever_else_is_wrong(box: Server, browser: httpx.Client) -> None:
    change(browser, box, is_active=False)
    for headers in ({}, {"X-Monitoring-Token": "nonsense"}, {"X-Monitoring-Token": box.token}):
        for body in (b"no json", b"{}"):
            refused(box, 403, "Server is disabled.", body, headers=headers)
    change(browser, box, is_active=True)
    assert box.post({"sample": sample()}).status == 200


def test_wrong_token_is_401_before_the_body_is_looked_at(box: Server) -> None:
    refused(box, 401, "Invalid ingest token.", b"no json", headers={"X-Monitoring-Token": "nonsense"})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"no json", "Invalid JSON payload."),
        (b'{"sample": {}', "Invalid JSON payload."),
        (b'{"sample": {}} x', "Invalid JSON payload."),
        (b"\xff\xfe{}", "Invalid JSON payload."),
        (b"\xef\xbb\xbf{}", "Invalid JSON payload."),
        (b'{"sample": {"disks": [{"device": "\xff"}]}}', "Invalid JSON payload."),
        (b'"text"', "Payload must be a JSON object."),
        (b"5", "Payload must be a JSON object."),
        (b"null", "Payload must be a JSON object."),
        (b"true", "Payload must be a JSON object."),
        (b'[{"sample": {}}, 5]', "Payload must be a JSON object."),
        (b'{"sample": {"disks": 5}}', "Ingest processing failed."),
        (b'{"sample": {"collected_at": "2026-13-01T00:00:00Z"}}', "Ingest processing failed."),
    ],
)
def test_bad_body_is_400_with_the_documented_text(box: Server, body: bytes, error: str) -> None:
    refused(box, 400, error, body)


@pytest.mark.parametrize("slash", ["", "/"])
def test_post_is_answered_with_and_without_the_slash_and_never_redirected(box: Server, slash: str) -> None:
    answer = box.post({"sample": sample()}, path=f"/api/ingest/servers/{box.slug}/metrics{slash}")
    assert answer.status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD"])
def test_other_methods_are_405_and_name_the_one_there_is(box: Server, method: str) -> None:
    answer = box.post(b"", method=method)
    assert answer.status == 405
    assert "POST" in answer.headers["allow"]


def test_array_is_stored_whole_and_answered_with_its_newest(box: Server, browser: httpx.Client) -> None:
    batch = [{"sample": sample(-seconds, cpu_usage_percent=float(seconds))} for seconds in (30, 10, 20)]
    answer = box.post(batch)
    assert answer.status == 200, answer.body
    assert answer.json["accepted"] == 3
    assert answer.json["snapshot"]["cpu_usage_percent"] == 10.0
    assert answer.json["snapshot"]["collected_at"] == batch[1]["sample"]["collected_at"]
    assert [each["cpu_usage_percent"] for each in history(browser, box)["points"]] == [30.0, 20.0, 10.0]
    assert box.post(batch).json["accepted"] == 0


def test_array_with_one_bad_sample_stores_none_of_it(box: Server, browser: httpx.Client) -> None:
    said = refused(box, 400, "Ingest processing failed.", [sample(-20), sample(-10, disks=5)])
    assert said["field"] == "$[1].disks"
    assert history(browser, box)["points"] == []


def test_one_sample_sent_at_once_over_many_connections_is_stored_once(box: Server, browser: httpx.Client) -> None:
    body, statuses = {"sample": sample()}, list[int]()

    def repeat() -> None:
        with closing(Server(box.base, box.slug, box.token)) as sender:
            statuses.extend(sender.post(body).status for _ in range(10))

    senders = [Thread(target=repeat) for _ in range(8)]
    for each in senders:
        each.start()
    for each in senders:
        each.join(30)
    assert statuses == [200] * 80
    assert latest(browser, box)["selected_server"]["snapshot_count"] == 1
    assert len(history(browser, box)["points"]) == 1


def test_array_that_repeats_a_sample_counts_it_once(box: Server, browser: httpx.Client) -> None:
    at = now_iso(-5)
    answer = box.post([sample(collected_at=at, cpu_load_1=1.0), sample(collected_at=at, cpu_load_1=2.0)])
    assert (answer.status, answer.json["accepted"]) == (200, 1)
    assert latest(browser, box)["selected_server"]["snapshot_count"] == 1


def test_empty_array_is_400(box: Server) -> None:
    assert box.post([]).status == 400


def test_gzip_body_counts_as_what_it_holds(box: Server) -> None:
    headers = {"X-Monitoring-Token": box.token, "Content-Encoding": "gzip"}
    packed = gzip.compress(json.dumps([{"sample": sample(-2)}, sample()]).encode())
    assert box.post(packed, headers=headers).json["accepted"] == 2
    assert refused(box, 400, "Invalid JSON payload.", b"not gzip", headers=headers)
    assert refused(box, 400, "Invalid JSON payload.", packed[:-9], headers=headers)
    assert box.post(b"{}", headers={**headers, "Content-Encoding": "br"}).status == 400


def test_chunked_body_is_taken(shared: Product, box: Server) -> None:
    body = json.dumps({"sample": sample()}).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", shared.port, timeout=30)) as connection:
        chunks = iter([body[:100], body[100:]])
        headers = {"X-Monitoring-Token": box.token, "Transfer-Encoding": "chunked"}
        connection.request("POST", f"/api/ingest/servers/{box.slug}/metrics/", chunks, headers, encode_chunked=True)
        assert connection.getresponse().status == 200


def padded(size: int) -> bytes:
    """Return a body of exactly so many bytes."""
    body = json.dumps({"sample": sample(), "note": ""}).encode()
    return body[:-2] + b" " * (size - len(body)) + body[-2:]


def test_body_of_nearly_5_mib_is_taken_and_a_larger_one_is_refused_as_json(box: Server, browser: httpx.Client) -> None:
    assert box.post(padded(int(4.9 * 2**20))).status == 200
    try:
        answer = box.post(padded(int(5.1 * 2**20)))
    except OSError:
        pass  # refused before all of it was sent; the connection is at its end
    else:
        assert (answer.status, answer.json["ok"]) == (413, False)
        box.close()
    box.send()
    assert len(history(browser, box)["points"]) == 2
