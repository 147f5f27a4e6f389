"""Hostile values in every field of the sharing API: a clear refusal, nothing has changed, and nothing has crashed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.product.served import exchange
from tests.wire.sharing import GPU, METRICS, REGISTER, STATUS, WORKER, Client, Host, Sharing

pytestmark = pytest.mark.zipapp

DIGITS = "9" * 5000
NO_NUMBERS = ("Infinity", "-Infinity", "NaN", "nan", "1e400", "-1e999", "0x10", "01", "1_000", "--1", "+1")
BIG = (DIGITS, f"-{DIGITS}", "9223372036854775808", "-9223372036854775809", "1e19", "18446744073709551616")
WRONG_FOR_NUMBERS = (*NO_NUMBERS, *BIG, '"5"', "true", "[]", "{}", "-1", "1.5")
WRONG_FOR_TEXT = ("8000", "1.5", "1e400", "NaN", DIGITS, "true", "[]", "{}", '["a"]')
WRONG_FOR_LISTS = ("5", '"GPU-0"', "true", "{}", '["GPU-0"', "[[]]", "[5]", "[null]", "NaN")
UNSHOWABLE = (r'"a\u0000b"', r'"a\nb"', r'"a\u001b[31mb"', r'"a\u202eb"', r'"\u200b"', r'"a\u007f"', r'"\ufeffa"')
NO_TEXT = (r'"\ud800"', r'"a\udc00b"', r'"\x41"', '"a', "'a'", '"a\nb"')
LONG = json.dumps("x" * 60_000)
DEEP = ("[" * 20_000 + "]" * 20_000, '{"a":' * 10_000 + "1" + "}" * 10_000, "[" * 30_000)
SHELL = ("$(reboot)", "`id`", "a;b", "a&b", "a|b", "a>b", "'", '"', "a b", "a\tb", "\\", "${X}", "a\nb", "!x", "#", "*")
REPORTED: dict[str, Any] = {"worker_id": "", "status": "running", "pid": 1, "restarts": 1, "gpu_ids": ["GPU-0"]}
CONNECTION: dict[str, Any] = {
    "client_ip": "10.0.0.9",
    "client_port": 5,
    "client_pid": 6,
    "connected_at": "2026-11-21T02:07:28Z",
}
SHARE: dict[str, Any] = {
    "worker_id": "",
    "connection_ip": "10.0.0.4",
    "expires_at": "2099-01-01T00:00:00Z",
    "max_uses": 3,
}


@pytest.fixture(scope="module")
def host(sharing: Sharing) -> Host:
    made = sharing.host()
    made.report(made.says())
    return made


@pytest.fixture
def steady(sharing: Sharing, host: Host) -> Iterator[Host]:
    """Afterwards everything is as it was, and the product as well as ever."""
    before = unmoved(sharing)
    yield host
    assert unmoved(sharing) == before
    assert sharing.product.process.poll() is None
    for sign in ("Traceback", "crashed", "connection.failed", "request.failed"):
        assert sign not in sharing.product.log, sharing.product.log[-3000:]
    assert host.report(host.says())["success"] is True


def unmoved(sharing: Sharing) -> Any:
    """Return all that the user sees, without when agents were heard of and tokens used."""
    found = sharing.user.state()
    found["tokens/pat"].pop("last_used_at")
    for agent in found["agents"]["agents"]:
        agent.pop("last_seen_at")
    return found


def with_value(body: dict[str, Any], path: str, text: str) -> bytes:
    """Return a body as JSON with the raw text of one value; ``gpus.0.x`` is a value inside of it."""
    place = "@here@"
    changed = json.loads(json.dumps(body))
    at = changed
    *steps, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
    for step in steps:
        at = at[step]
    at[last] = place
    return json.dumps(changed).replace(f'"{place}"', text).encode("utf-8", "surrogatepass")


def refused(who: Client, method: str, url: str, body: bytes | None, what: str) -> None:
    answer = who.send(method, url, body)
    assert answer.status in (400, 413), (what[:60], answer.status, answer.body[:300])
    assert set(answer.json) == {"error", "hint"}
    assert answer.json["error"]
    assert len(answer.body) < 2000, "what is wrong is not sent back whole"


def texts(*more: str) -> tuple[str, ...]:
    return (*WRONG_FOR_TEXT, *NO_TEXT, *UNSHOWABLE, LONG, *DEEP, *more)


# ---------------------------------------------------------------- registration


@pytest.mark.parametrize("path", ["hostname", "os", "arch", "gpus.0.gpu_id", "gpus.0.vendor", "gpus.0.model"])
def test_registration_refuses_what_is_no_text(sharing: Sharing, steady: Host, path: str) -> None:
    joining = Client(sharing.product, sharing.install_token())
    for text in texts("null"):
        refused(joining, "POST", "/api/v1/agents/register", with_value(REGISTER, path, text), text)


@pytest.mark.parametrize("path", ["gpus.0.vram_mb", "gpus.0.gpu_index"])
def test_registration_refuses_what_is_no_number(sharing: Sharing, steady: Host, path: str) -> None:
    joining = Client(sharing.product, sharing.install_token())
    for text in (*WRONG_FOR_NUMBERS, *DEEP):
        body = REGISTER | {"gpus": [GPU | {"gpu_index": 0}]}
        refused(joining, "POST", "/api/v1/agents/register", with_value(body, path, text), text)


@pytest.mark.parametrize("path", ["gpus", "network_ips"])
def test_registration_refuses_what_is_no_list(sharing: Sharing, steady: Host, path: str) -> None:
    joining = Client(sharing.product, sharing.install_token())
    for text in (*WRONG_FOR_LISTS, *DEEP, json.dumps([GPU] * 300)):
        refused(joining, "POST", "/api/v1/agents/register", with_value(REGISTER, path, text), text)


def test_registration_refuses_one_gpu_twice_in_any_case(sharing: Sharing, steady: Host) -> None:
    joining = Client(sharing.product, sharing.install_token())
    body = json.dumps(REGISTER | {"gpus": [GPU, GPU | {"gpu_id": "gpu-0"}]}).encode()
    refused(joining, "POST", "/api/v1/agents/register", body, "twice")


# ---------------------------------------------------------------- reports


def reported(host: Host) -> dict[str, Any]:
    worker = REPORTED | {"worker_id": host.worker_id, "connections": [CONNECTION]}
    return STATUS | {"workers": [worker], "license_expiration": 1, "metrics": "", "event": ""}


@pytest.mark.parametrize("path", ["timestamp", "workers.0.connections.0.connected_at"])
def test_report_refuses_what_is_no_time(steady: Host, path: str) -> None:
    wrong = ("", "now", "2026-11-21", "2026-11-21T00:00:00", "2026-13-01T00:00:00Z", "0000-00-00T00:00:00Z", "9" * 64)
    for text in texts("null", *(json.dumps(each) for each in wrong)):
        refused(steady, "POST", f"{steady.path}/status", with_value(reported(steady), path, text), text)


@pytest.mark.parametrize("path", ["workers.0.worker_id", "workers.0.status", "gpus.0.gpu_id"])
def test_report_refuses_what_is_no_text(steady: Host, path: str) -> None:
    for text in texts("null"):
        refused(steady, "POST", f"{steady.path}/status", with_value(reported(steady), path, text), text)


@pytest.mark.parametrize("path", ["workers.0.pid", "workers.0.restarts", "workers.0.connections.0.client_port"])
def test_report_refuses_what_is_no_number(steady: Host, path: str) -> None:
    for text in (*WRONG_FOR_NUMBERS, *DEEP):
        refused(steady, "POST", f"{steady.path}/status", with_value(reported(steady), path, text), text)


@pytest.mark.parametrize("path", ["gpus", "workers", "workers.0.gpu_ids", "workers.0.connections"])
def test_report_refuses_what_is_no_list(steady: Host, path: str) -> None:
    for text in (*WRONG_FOR_LISTS, *DEEP):
        refused(steady, "POST", f"{steady.path}/status", with_value(reported(steady), path, text), text)


def test_report_that_is_too_long_is_refused(steady: Host) -> None:
    many = [REPORTED | {"worker_id": "w"}] * 1025
    body = json.dumps(STATUS | {"workers": many}).encode()
    refused(steady, "POST", f"{steady.path}/status", body, "workers")
    head = f"POST {steady.path}/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {steady.token}\r\n"
    with steady.product.connect() as one:
        # Refused for what it announces: nobody has to take five megabytes in first.
        said = exchange(one, f"{head}Content-Length: {5 * 2**20}\r\n\r\n".encode(), until_bytes=b"\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413 ")


def test_lines_of_figures_that_are_hostile_cost_themselves_alone(steady: Host) -> None:
    for line in (
        "gpu_metrics,gpu_id=GPU-0 utilization=inf",
        "gpu_metrics,gpu_id=GPU-0 utilization=nan,temperature=1e400",
        f"gpu_metrics,gpu_id=GPU-0 vram_used_mb={DIGITS}i {DIGITS}",
        "gpu_metrics,gpu_id=GPU-0 utilization=1 99999999999999999999",
        "," * 10_000,
        "\x00\x1b[31m",
        "a" * 60_000,
        "gpu_metrics,gpu_id=GPU-0" + ",t=1" * 5000 + " x=1",
    ):
        assert steady.report(steady.says(), metrics=line)["success"] is True


@pytest.mark.parametrize(
    "path", ["system.cpu_usage", "gpus.0.utilization", "gpus.0.power_usage_w", "gpus.0.temperature"]
)
def test_metrics_refuse_what_is_no_finite_number(steady: Host, path: str) -> None:
    for text in (*NO_NUMBERS, *BIG, '"5"', "true", "[]", "{}", "null", "-300", "1e9", *DEEP):
        refused(steady, "POST", f"{steady.path}/metrics", with_value(METRICS, path, text), text)


@pytest.mark.parametrize("path", ["system.memory_used_mb", "gpus.0.vram_used_mb", "gpus.0.vram_total_mb"])
def test_metrics_refuse_what_is_no_integer(steady: Host, path: str) -> None:
    for text in WRONG_FOR_NUMBERS:
        refused(steady, "POST", f"{steady.path}/metrics", with_value(METRICS, path, text), text)


# ---------------------------------------------------------------- workers


@pytest.mark.parametrize("path", ["agent_id", "name"])
def test_worker_refuses_what_is_no_text(sharing: Sharing, steady: Host, path: str) -> None:
    body = WORKER | {"agent_id": steady.agent_id}
    for text in texts("null"):
        refused(sharing.user, "POST", "/api/v1/workers", with_value(body, path, text), text)
        if path == "name" and text != "null":
            url = f"/api/v1/workers/{steady.worker_id}"
            refused(sharing.user, "PATCH", url, with_value({"name": ""}, path, text), text)


@pytest.mark.parametrize("path", ["listen_port", "vram_mb", "compute_percent"])
def test_worker_refuses_what_is_no_number_in_its_bounds(sharing: Sharing, steady: Host, path: str) -> None:
    body = WORKER | {"agent_id": steady.agent_id, "vram_mb": 1, "compute_percent": 1}
    for text in (*WRONG_FOR_NUMBERS, "0", *DEEP):
        refused(sharing.user, "POST", "/api/v1/workers", with_value(body, path, text), text)
        refused(sharing.user, "PATCH", f"/api/v1/workers/{steady.worker_id}", with_value({}, path, text), text)


def test_worker_refuses_what_is_no_list_or_no_flag(sharing: Sharing, steady: Host) -> None:
    body = WORKER | {"agent_id": steady.agent_id}
    wrongs = [("gpu_ids", text) for text in (*WRONG_FOR_LISTS, *DEEP, '["GPU-0","GPU-0"]', '["a b"]', '["../x"]')]
    wrongs += [("enabled", text) for text in ("0", "1", '"true"', "[]", "{}", "NaN", *DEEP)]
    wrongs += [("isolation_mode", text) for text in ("1", '"none"', "[]", '"SOFT"')]
    for path, text in wrongs:
        refused(sharing.user, "POST", "/api/v1/workers", with_value(body, path, text), text)
        refused(sharing.user, "PATCH", f"/api/v1/workers/{steady.worker_id}", with_value({}, path, text), text)


# ---------------------------------------------------------------- shares, links and tokens


def test_share_refuses_a_host_that_a_shell_would_look_at(sharing: Sharing, steady: Host) -> None:
    body = SHARE | {"worker_id": steady.worker_id}
    hosts = [f"{before}{each}{after}" for each in SHELL for before, after in (("", ""), ("10.0.0.4", ""), ("a", "b"))]
    hosts += [
        "http://x",
        "x:1",
        "[::1]:5",
        "fe80::1%eth0",
        "0x7f.1",
        "1.2.3",
        "256.1.1.1",
        "-x",
        "x..y",
        "é",
        "ⓐ",
        "x/y",
    ]
    for text in (*(json.dumps(each) for each in hosts), *WRONG_FOR_TEXT, *NO_TEXT, *UNSHOWABLE, LONG, *DEEP, "null"):
        refused(sharing.user, "POST", "/api/v1/shares", with_value(body, "connection_ip", text), text)


def test_share_refuses_terms_that_are_none(sharing: Sharing, steady: Host) -> None:
    body = SHARE | {"worker_id": steady.worker_id, "networks": [], "max_connections": 1}
    times = ("", "now", "2099-01-01", "2099-01-01T00:00:00", "1999-01-01T00:00:00Z", "99999-01-01T00:00:00Z")
    wrongs = [("expires_at", text) for text in texts(*(json.dumps(each) for each in times))]
    wrongs += [(name, text) for name in ("max_uses", "max_connections") for text in (*WRONG_FOR_NUMBERS, "0", *DEEP)]
    wrongs += [("networks", text) for text in (*WRONG_FOR_LISTS, '["10.0.0.1/8"]', '["x"]', '["::/129"]', '["1e400"]')]
    wrongs += [("worker_id", text) for text in texts("null")]
    for path, text in wrongs:
        refused(sharing.user, "POST", "/api/v1/shares", with_value(body, path, text), text)


def test_tokens_refuse_what_is_none_of_theirs(sharing: Sharing, steady: Host) -> None:
    for text in texts("null", '"AGENT_INSTALL"'):
        refused(sharing.user, "POST", "/api/v1/tokens/generate", with_value({}, "type", text), text)
    for text in (*WRONG_FOR_NUMBERS, "0", *DEEP):
        refused(sharing.user, "POST", "/api/v1/tokens/pat", with_value({}, "expires_in_days", text), text)
    assert sharing.user.read("/api/v1/tokens/pat")["exists"] is True


def test_path_tricks_lead_nowhere(sharing: Sharing, steady: Host) -> None:
    tricks = (
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "a%00b",
        "%ff%fe",
        "a%0d%0aX:1",
        "*",
        "x" * 3000,
        "%e2%80%ae",
        "'%20OR%201=1",
    )
    for trick in tricks:
        for url in ("/api/v1/agents/{}", "/api/v1/workers/{}", "/api/v1/tokens/{}/status"):
            answer = sharing.user.get(url.format(trick))
            assert answer.status in (400, 404, 414), (url, trick, answer.status)
        for url in ("/s/{}", "/api/ecosystem/releases/files/{}"):
            answer = sharing.guest.get(url.format(trick))
            assert answer.status in (400, 404, 414), (url, trick, answer.status)
            assert b"root:" not in answer.body
            assert b"\r\nX:1" not in answer.body


def test_query_that_is_hostile_is_refused_or_finds_nothing(sharing: Sharing, steady: Host) -> None:
    for query in ("agent_id=%00", "hostname=" + "x" * 300, "agent_id=%ff", "hostname=a%0ab"):
        assert sharing.user.get(f"/api/v1/workers?{query}").status == 400, query
    for query in ("size=inf", f"size={DIGITS}", "size=-1", "size=1.5", "size=", "vendor=%00"):
        answer = sharing.guest.get(f"/api/ecosystem/releases?{query}")
        assert answer.status in (400, 414), query
