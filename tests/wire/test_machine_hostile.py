"""Bad input in every field of the machine API: the documented code and message, and nothing has changed."""

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.product.served import exchange
from tests.wire.machines import FLOATS, INTEGERS, KEEPALIVE, METRICS, PREFIX, REGISTER, Registry, new_id

pytestmark = pytest.mark.zipapp

DIGITS = "9" * 5000
NO_NUMBERS = ("Infinity", "-Infinity", "NaN", "nan", "1e400", "-1e999", "0x10", "01", "1_000", "\u0661", "--1", "+1")
"""Words that are no JSON, or no number that JSON's readers agree on."""
WRONG_FOR_NUMBERS = (*NO_NUMBERS, DIGITS, f"-{DIGITS}", "9223372036854775808", "1e19", '"5"', "true", "[]", "{}")
WRONG_FOR_TEXT = ("8000", "-1", "1.5", "1e400", "NaN", DIGITS, "9223372036854775808", "true", "[]", "{}", '["a"]')
UNSHOWABLE = (r'"a\u0000b"', r'"a\nb"', r'"a\u001b[31mb"', r'"a\u202eb"', r'"\u200b"', r'"a\u007f"', r'"\ufeffa"')
NO_TEXT = (r'"\ud800"', r'"a\udc00b"', r'"\x41"', '"a', "'a'", '"a\nb"')
LONG = json.dumps("x" * 2**20)
INVALID = (400, "Invalid payload")
NAMES = ("machine_id", "pool_name", "provider_name")


@pytest.fixture
def steady(registry: Registry) -> Iterator[str]:
    """A ready machine; afterwards every machine is as it was, and the product as well as ever."""
    machine_id = registry.ready()
    before, shown = registry.all(), reported(registry)
    yield machine_id
    assert reported(registry) == shown
    assert registry.all() == before
    assert registry.product.process.poll() is None
    for sign in ("Traceback", "crashed", "connection.failed", "request.failed"):
        assert sign not in registry.product.log, registry.product.log[-3000:]
    assert registry.beat(machine_id).status == 200


def reported(registry: Registry) -> list[Any]:
    """Return the list of ready machines without the appliance's own, which keeps itself alive while we look."""
    return [each for each in registry.listed() if each["state"]["agent_version"] != "appliance"]


def with_value(body: dict[str, Any], name: str, text: str) -> bytes:
    """Return a body as JSON with the raw text of one value; ``metrics.x`` is a value of an object in it."""
    place = "@here@"
    outer, _, inner = name.partition(".")
    changed = {**body, outer: {**body.get(outer, {}), inner: place} if inner else place}
    return json.dumps(changed).replace(f'"{place}"', text).encode("utf-8", "surrogatepass")


def said(registry: Registry, path: str, body: bytes) -> tuple[int, str]:
    """Post a body with a token that serves all pools; return status and message."""
    answer = registry.send("POST", path, body, headers=headers(registry))
    return answer.status, answer.json["message"]


def headers(registry: Registry) -> dict[str, str]:
    return {"Authorization": f"Bearer {registry.worker}", "Content-Type": "application/json"}


# ---------------------------------------------------------------- register


@pytest.mark.parametrize("name", REGISTER)
def test_register_refuses_what_is_no_text_in_each_field(registry: Registry, steady: str, name: str) -> None:
    for machine_id in (steady, new_id()):
        for text in (*WRONG_FOR_TEXT, *NO_TEXT, LONG, "[" * 20_000 + "]" * 20_000, "[" * 20_000):
            body = with_value({**REGISTER, "machine_id": machine_id}, name, text)
            status, message = said(registry, "/register", body)
            assert (status, message) == INVALID or (len(body) > 65_536 and status == 413), text[:40]


@pytest.mark.parametrize("name", ["machine_id", "pool_name", "hostname", "provider_name", "private_ip"])
def test_register_refuses_names_that_cannot_be_shown(registry: Registry, steady: str, name: str) -> None:
    for text in UNSHOWABLE:
        body = with_value({**REGISTER, "machine_id": new_id()}, name, text)
        assert said(registry, "/register", body) == INVALID, text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cpu", "Invalid machine cpu value"),
        ("memory", "Invalid machine memory value"),
        ("gpu_count", "Invalid gpu count"),
        ("pool_name", "Invalid pool name"),
    ],
)
def test_register_refuses_wrong_text_in_the_field_s_own_words(
    registry: Registry, steady: str, name: str, message: str
) -> None:
    wrong = ["inf", "nan", "1e400", "-1", "9223372036854775808", "9" * 60, "²", "8 ", "0x10", "' OR 1=1 --"]
    unshowable = () if name == "pool_name" else UNSHOWABLE
    for machine_id in (steady, new_id()):
        for text in (*map(json.dumps, wrong), *unshowable):
            body = with_value({**REGISTER, "machine_id": machine_id}, name, text)
            assert said(registry, "/register", body) == (500, message), text[:40]


def test_register_refuses_texts_of_a_thousand_characters_but_in_the_token_nobody_reads(
    registry: Registry, steady: str
) -> None:
    for name in REGISTER:
        body = with_value({**REGISTER, "machine_id": new_id()}, name, json.dumps("1" * 1000))
        if name != "token":
            assert said(registry, "/register", body) == INVALID, name


# ---------------------------------------------------------------- keepalive


@pytest.mark.parametrize("name", [*NAMES, "agent_version"])
def test_keepalive_refuses_what_is_no_text_in_each_field(registry: Registry, steady: str, name: str) -> None:
    for text in (*WRONG_FOR_TEXT, *NO_TEXT, "[" * 20_000 + "]" * 20_000):
        body = with_value({**KEEPALIVE, "machine_id": steady}, name, text)
        status, message = said(registry, "/keepalive", body)
        assert (status, message) == INVALID, text[:40]


@pytest.mark.parametrize("name", NAMES)
def test_keepalive_knows_no_machine_by_a_name_that_cannot_be_shown(registry: Registry, steady: str, name: str) -> None:
    for text in (*UNSHOWABLE, json.dumps("x" * 50_000)):
        status, message = said(registry, "/keepalive", with_value({**KEEPALIVE, "machine_id": steady}, name, text))
        assert (status, message) in {(500, "Machine state expired or never registered"), INVALID}, text[:40]


@pytest.mark.parametrize("name", [*INTEGERS, *FLOATS])
def test_keepalive_refuses_what_is_no_figure_in_each_of_the_13(registry: Registry, steady: str, name: str) -> None:
    own = ("1e17", "-1e17") if name in FLOATS else ("9007199254740993", "-1", "1.5", "-9223372036854775808")
    body = {**KEEPALIVE, "machine_id": steady}
    for text in (*WRONG_FOR_NUMBERS, *own, "[" * 20_000 + "]" * 20_000):
        assert said(registry, "/keepalive", with_value(body, f"metrics.{name}", text)) == INVALID, text[:40]


@pytest.mark.parametrize("name", ["metrics", "inference"])
def test_keepalive_refuses_what_is_no_object_where_one_belongs(registry: Registry, steady: str, name: str) -> None:
    body = {**KEEPALIVE, "machine_id": steady}
    for text in ("5", '"x"', "true", "NaN", "[]", "[{}]", DIGITS, "[" * 20_000, '{"a":' * 20_000 + "1" + "}" * 20_000):
        status, message = said(registry, "/keepalive", with_value(body, name, text))
        # An object in an object may be a field of the future, however deep; then it has to be no harm.
        assert (status, message) == INVALID or (status == 413 and len(text) > 60_000), text[:40]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("status", ("5", "[]", "{}", "true")),
        ("ip", ("5", "[]", "{}", "true")),
        ("port", ('"80"', "1.5", "[]", "1e400", "NaN", DIGITS, "9223372036854775808")),
        ("models", ('"llama"', "5", "{}", "[5]", "[null]", "[[]]", '["a", 5]')),
    ],
)
def test_keepalive_refuses_a_wrong_type_in_each_field_of_inference(
    registry: Registry, steady: str, name: str, wrong: tuple[str, ...]
) -> None:
    running = {"status": "running", "ip": "192.0.2.1", "port": 8000, "models": ["a"]}
    for text in wrong:
        body = with_value({**KEEPALIVE, "machine_id": steady, "inference": running}, f"inference.{name}", text)
        assert said(registry, "/keepalive", body) == INVALID, text


def test_model_server_that_says_nonsense_leaves_only_what_can_be_shown(registry: Registry) -> None:
    machine_id = registry.ready()
    models = ["a\u0000b", "<script>alert(1)</script>", "x" * 10_000, "", "\u202e", *map(str, range(1000))]
    for ip, port in (("not an ip \u0000", 65_535), ("192.0.2.1", 65_536), ("192.0.2.1", -1)):
        inference = {"status": "running", "ip": ip, "port": port, "models": models}
        assert registry.beat(machine_id, inference=inference).status == 200
        answer = registry.browser.get("/api/v1/inference/nodes")
        assert answer.status_code == 200
        for node in answer.json()["nodes"]:
            assert node["tailscale_ip"].isprintable()
            assert 0 <= node["port"] <= 65_535
            assert len(node["models"]) <= 100
            assert all(name.isprintable() and len(name) <= 255 for name in node["models"])


def test_version_of_an_agent_is_cut_to_what_can_be_shown(registry: Registry) -> None:
    machine_id = registry.ready()
    for version in ("a\u0000\u001b[31mb", "x" * 20_000, "\u202e" * 50):
        assert registry.beat(machine_id, agent_version=version).status == 200
        shown = registry.item(machine_id)["state"]["agent_version"]
        assert shown.isprintable()
        assert len(shown) <= 64


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize("path", ["/register", "/keepalive"])
def test_body_that_is_no_json_text_is_400_invalid_payload(registry: Registry, steady: str, path: str) -> None:
    whole = json.dumps({**(REGISTER if path == "/register" else KEEPALIVE), "machine_id": steady}).encode()
    bodies = [
        b"",
        b" ",
        b"\x00",
        b"\xff\xfe",
        whole.decode().encode("utf-16"),
        whole.replace(b"generic", b"gen\xe9ric"),
        whole.replace(b"generic", b"\xc0\x80"),
        whole.replace(b"generic", b"\xed\xa0\x80"),
        whole.replace(b'"', b"'"),
        whole[:-1],
        whole[1:],
        whole + b"}",
        whole.replace(b"{", b"{,", 1),
        b"[" + whole + b"]",
        b"[" * 20_000,
        b"[" * 20_000 + b"]" * 20_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        DIGITS.encode(),
        b"machine_id=1165a9b6&pool_name=gpu",
    ]
    for body in bodies:
        status, message = said(registry, path, body)
        # Depth is no error of JSON: where it is read, it is an object without the fields.
        is_empty = path == "/keepalive" and (status, message) == (400, "machine_id and pool_name are required")
        assert (status, message) == INVALID or (is_empty and body.startswith(b'{"a":')), body[:60]


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("path", ["/register", "/keepalive"])
def test_truncated_body_is_400_invalid_payload(registry: Registry, steady: str, path: str, cut: float) -> None:
    whole = json.dumps({**(REGISTER if path == "/register" else KEEPALIVE), "machine_id": steady}).encode()
    assert said(registry, path, whole[: int(len(whole) * cut)]) == INVALID


@pytest.mark.parametrize("path", ["/register", "/keepalive"])
def test_body_of_a_megabyte_is_refused_in_this_api_s_shape(registry: Registry, steady: str, path: str) -> None:
    body = json.dumps({**(REGISTER if path == "/register" else KEEPALIVE), "x": "y" * 2**20}).encode()
    status, message = said(registry, path, body)
    assert status in {400, 413}
    assert message


@pytest.mark.parametrize("path", ["/register", "/keepalive"])
@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data", "application/jsonx", "", ";"])
def test_another_content_type_is_400_invalid_payload(registry: Registry, steady: str, path: str, kind: str) -> None:
    whole = json.dumps({**(REGISTER if path == "/register" else KEEPALIVE), "machine_id": steady}).encode()
    answer = registry.send("POST", path, whole, headers={**headers(registry), "Content-Type": kind})
    assert (answer.status, answer.json["message"]) == INVALID


def test_field_that_nobody_knows_may_be_as_deep_as_it_likes_and_harms_nobody(registry: Registry) -> None:
    machine_id = registry.ready()
    for depth in (100, 900, 5000, 20_000):
        for text in ("[" * depth + "]" * depth, '{"a":' * (depth // 3) + "1" + "}" * (depth // 3)):
            body = with_value({**KEEPALIVE, "machine_id": machine_id}, "x", text)
            answer = registry.send("POST", "/keepalive", body, headers=headers(registry))
            assert answer.status == 200 or (answer.status, answer.json["message"]) == INVALID, depth
    assert registry.beat(machine_id).status == 200


def test_last_of_duplicate_keys_counts(registry: Registry) -> None:
    machine_id = registry.ready()
    text = json.dumps({**REGISTER, "machine_id": machine_id, "cpu": "1000m"})[:-1] + ', "cpu": "2000m"}'
    assert registry.send("POST", "/register", text.encode(), headers=headers(registry)).status == 200
    text = json.dumps({**KEEPALIVE, "machine_id": "other"})[:-1] + f', "machine_id": "{machine_id}"}}'
    assert registry.send("POST", "/keepalive", text.encode(), headers=headers(registry)).status == 200
    assert registry.item(machine_id)["state"]["cpu"] == 2000


def test_duplicate_key_does_not_smuggle_a_machine_past_its_token(registry: Registry, steady: str) -> None:
    other = registry.tokens["plain"]
    for pools in (("plain", "gpu"), ("gpu", "plain")):
        text = json.dumps({**KEEPALIVE, "machine_id": steady, "pool_name": pools[0]})
        body = f'{text[:-1]}, "pool_name": "{pools[1]}"}}'.encode()
        assert registry.send("POST", "/keepalive", body, token=other).status in {403, 500}


def test_two_authorization_headers_are_none(registry: Registry, steady: str) -> None:
    for first, second in ((registry.worker, "wrong"), ("wrong", registry.worker), (registry.worker, registry.worker)):
        with registry.product.connect() as one:
            head = request(registry, "/keepalive", 2, f"Authorization: Bearer {second}\r\n", token=first)
            assert exchange(one, head + b"{}", until_bytes=b"}").startswith(b"HTTP/1.1 403")


# ---------------------------------------------------------------- lists


@pytest.mark.parametrize(
    "query",
    [
        "pool_name=%00",
        "pool_name=%ff%fe",
        "pool_name=gpu%27%20OR%201%3D1",
        "pool_name=" + "x" * 4000,
        "provider_name=%2e%2e%2f",
        "&".join(f"a{number}=1" for number in range(500)),
        "pool_name",
        "%",
        "=&=&&",
    ],
)
def test_query_of_any_kind_is_an_answer_and_no_failure(registry: Registry, steady: str, query: str) -> None:
    answer = registry.send("GET", f"/list?{query}", token=registry.tokens["gpu"])
    assert answer.status == 200
    assert {each["state"]["pool_name"] for each in answer.json} <= {"gpu"}


@pytest.mark.parametrize("name", ["%00", "%ff", "..%2f..", "x" * 2000, "%27%3B--", "%E2%80%AE"])
def test_workspace_of_any_name_is_an_answer_and_no_failure(registry: Registry, steady: str, name: str) -> None:
    assert registry.send("GET", f"/{name}/gpus", token=registry.worker).status in {400, 403, 404}


# ---------------------------------------------------------------- connections


def request(registry: Registry, path: str, length: int, more: str = "", *, token: str | None = None) -> bytes:
    """Return the head of a request."""
    return (
        f"POST {PREFIX}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token or registry.worker}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n"
    ).encode()


@pytest.mark.parametrize("path", ["/register", "/keepalive"])
def test_early_hang_up_changes_nothing(registry: Registry, steady: str, path: str) -> None:
    changed = {"cpu": "1m"} if path == "/register" else {"metrics": {**METRICS, "free_gpu_count": 77}}
    body = json.dumps({**(REGISTER if path == "/register" else KEEPALIVE), "machine_id": steady, **changed}).encode()
    head = request(registry, path, len(body))
    for sent in (head[:20], head[:-2], head, head + body[:1], head + body[:-1]):
        for resets in (False, True):
            with registry.product.connect() as one:
                one.sendall(sent)
                if resets:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    with suppress(OSError):
                        one.shutdown(socket.SHUT_WR)


def test_senders_that_stall_keep_nobody_waiting(registry: Registry, steady: str) -> None:
    body = json.dumps({**KEEPALIVE, "machine_id": steady, "metrics": {"free_gpu_count": 77}}).encode()
    stalled = [registry.product.connect() for _ in range(100)]
    try:
        for one in stalled:
            one.sendall(request(registry, "/keepalive", len(body)) + body[:-1])
        for _ in range(10):
            assert registry.send("GET", "/config", token=registry.worker).status == 200
    finally:
        for one in stalled:
            one.close()


def test_length_that_lies_changes_nothing(registry: Registry, steady: str) -> None:
    body = json.dumps({**REGISTER, "machine_id": steady, "cpu": "1m"}).encode()
    for length in (0, 1, len(body) - 1):
        with registry.product.connect() as one:
            answer = exchange(one, request(registry, "/register", length) + body, until_bytes=b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 400")
