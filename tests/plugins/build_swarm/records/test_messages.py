"""What the protocol log says of a request and its answer, and what it never keeps."""

import gzip
import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.ids import new_secret
from plugins.build_swarm.records.messages import (
    ANSWER_CHARACTERS,
    CUT,
    REQUEST_CHARACTERS,
    TYPES,
    Entry,
    Seen,
    entry_of,
    kept,
    type_of,
)

NAMES = {"abc123": "drone-01"}


def entry(method: str, path: str, asked: Any = None, said: Any = None, **changes: Any) -> Entry:
    seen = Seen(
        unix_us=1_700_000_000_000_000,
        method=method,
        path=path,
        raw_query=b"",
        source_ip="10.0.0.7",
        body=b"" if asked is None else json.dumps(asked).encode(),
        status=200,
        answer=b"" if said is None else json.dumps(said).encode(),
        seconds=0.0015,
        body_bytes=0,
    )
    seen = evolve(seen, **changes)
    msg_type = type_of(method, path)
    assert msg_type is not None
    return entry_of(seen, msg_type, name_of=lambda drone: NAMES.get(drone, ""))


@pytest.mark.parametrize(
    ("method", "path", "msg_type"),
    [
        ("GET", "/api/v1/work", "work_request"),
        ("GET", "/api/v1/poll", "work_request"),
        ("POST", "/api/v1/register", "register"),
        ("POST", "/api/v1/complete/", "complete"),
        ("POST", "/api/v1/report", "complete"),
        ("GET", "/api/v1/orchestrator", "discovery"),
        ("HEAD", "/api/v1/status", "status_query"),
        ("GET", "/api/v1/events", "events_query"),
        ("POST", "/api/v1/queue", "queue"),
        ("GET", "/api/v1/queue", "unknown"),
        ("POST", "/api/v1/control", "control"),
        ("GET", "/api/v1/nodes", "node_list"),
        ("GET", "/api/v1/metrics", "metrics_query"),
        ("GET", "/api/v1/history", "history_query"),
        ("GET", "/api/v1/sessions", "session_query"),
        ("GET", "/api/v1/versions", "version_query"),
        ("GET", "/api/v1/portage-config", "config_query"),
        ("POST", "/api/v1/provision/drone", "provisioning"),
        ("POST", "/api/v1/nodes/drone-01/pause", "node_pause"),
        ("POST", "/api/v1/nodes/drone-01/resume", "node_resume"),
        ("DELETE", "/api/v1/nodes/abc123", "node_delete"),
        ("POST", "/api/v1/nodes/drone-01/ping", "unknown"),
        ("GET", "/api/v1/protocol", None),
        ("GET", "/api/v1/protocol/detail", None),
    ],
)
def test_messages_have_the_names_that_clients_filter_by(method: str, path: str, msg_type: str | None) -> None:
    assert type_of(method, path) == msg_type
    assert msg_type is None or msg_type in TYPES


def test_work_names_drone_and_package() -> None:
    found = entry("GET", "/api/v1/work", said={"package": "=dev-libs/a-1"}, raw_query=b"id=abc123&cores=4")
    assert (found.drone_id, found.source_node, found.package) == ("abc123", "drone-01", "=dev-libs/a-1")
    assert (found.request_summary, found.response_summary) == ("GET /work drone=drone-01", "200 package==dev-libs/a-1")
    assert (found.latency_ms, found.status_code) == (1.5, 200)
    assert entry("GET", "/api/v1/work", said={"package": None}).response_summary == "200 no_work"


def test_heartbeats_reports_queueing_and_control_are_summed_up() -> None:
    beat = entry("POST", "/api/v1/register", {"id": "n", "name": "new", "ip": "1.2.3.4", "capabilities": {"cores": 16}})
    assert (beat.source_node, beat.request_summary) == ("new", "REGISTER n ip=1.2.3.4 cores=16")
    report = {"id": "abc123", "package": "a/b-1", "status": "success", "build_duration_s": 12.34}
    done = entry("POST", "/api/v1/complete", report, {"status": "ok", "accepted": True})
    assert (done.request_summary, done.response_summary) == ("COMPLETE a/b-1 status=success 12.3s", "200 accepted=true")
    queued = entry("POST", "/api/v1/queue", {"packages": ["a", "b"]}, {"queued": 2, "session_id": "session-1"})
    assert (queued.request_summary, queued.session_id) == ("QUEUE 2 packages", "session-1")
    refused = entry("POST", "/api/v1/control", {"action": "x"}, {"error": "no such action"}, status=400)
    assert (refused.request_summary, refused.response_summary) == ("CONTROL action=x", "400 no such action")
    assert entry("POST", "/api/v1/nodes/abc123/pause").request_summary == "POST node_pause node=drone-01"


def test_bodies_are_cut_where_the_log_is_said_to_cut_them() -> None:
    long = entry("POST", "/api/v1/complete", {"error_detail": "x" * 20_000}, {"package": "y" * 20_000})
    assert (len(long.request_body), len(long.response_body)) == (REQUEST_CHARACTERS, ANSWER_CHARACTERS)


def test_compressed_answers_are_kept_as_they_would_be_read() -> None:
    said = json.dumps({"needed": 3, "delegated": 2, "queue_received": 1, "filler": "x" * 9000}).encode()
    found = entry("GET", "/api/v1/status", answer=gzip.compress(said))
    assert found.response_summary == "200 N=3 D=2 R=1"
    assert found.response_body.startswith('{"needed": 3')
    assert entry("GET", "/api/v1/status", answer=b"\x1f\x8bbroken").response_body == ""


SECRET = new_secret("drone")


@pytest.mark.parametrize(
    "body",
    [
        {"token": SECRET},
        {"Admin_Key": "abc"},
        {"deep": [{"x": {"password": 'a"b\\c'}}]},
        {"secrets": ["a", "b"]},
        {"credential": {"a": "secret-in-it"}},
        {"api_key": 12345},
        {"note": f"use {SECRET} to log in"},
        f"#!/bin/sh\nKEY={SECRET}\n",
    ],
)
def test_secrets_are_not_kept(body: Any) -> None:
    text = kept((body if isinstance(body, str) else json.dumps(body)).encode(), 4096)
    assert CUT in text
    for leaked in (SECRET, "abc", 'a"b', "b\\\\c", '"a"', "secret-in-it", "12345"):
        assert leaked not in text.replace('"x"', "").replace('"a": "', "")


def test_secret_at_the_place_of_the_cut_is_not_kept_in_part() -> None:
    text = kept(("x" * 4080 + SECRET).encode(), 4096)
    assert SECRET[:12] not in text


def test_provisioning_keeps_no_bodies_at_all() -> None:
    found = entry("POST", "/api/v1/provision/drone", {"name": "x"}, {"script": "anything"})
    assert (found.msg_type, found.request_body, found.response_body) == ("provisioning", "", "")


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=60), st.text(max_size=60))
@settings(max_examples=60)
def test_anything_at_all_makes_an_entry_that_can_be_stored(body: bytes, answer: bytes, query: bytes, path: str) -> None:
    for method, name in (("POST", "register"), ("GET", "work"), ("POST", "complete"), ("POST", f"nodes/{path}/pause")):
        found = entry(method, f"/api/v1/{name}", body=body, answer=answer, raw_query=query)
        for text in (found.drone_id, found.package, found.request_summary, found.request_body, found.response_body):
            text.encode()
            assert "\0" not in text


@pytest.mark.parametrize("value", [None, 1, [], "x", {"capabilities": 5, "name": ["a"], "id": {}}, {"package": 1e308}])
def test_bodies_of_any_shape_are_no_trouble(value: Any) -> None:
    for method, name in (("POST", "register"), ("POST", "complete"), ("POST", "queue"), ("GET", "status")):
        assert entry(method, f"/api/v1/{name}", value, value).request_summary


def test_text_made_to_be_slow_to_search_is_not() -> None:
    # Quadratic searching would take this many characters times their half; it is bounded by the test's own patience.
    for hostile in ('"' + "key" * 60_000, '"key":"' + "\\" * 100_000, '"a_' * 50_000, ("a" * 40 + "_") * 4000):
        assert len(kept(hostile.encode(), 8192)) <= 8192
