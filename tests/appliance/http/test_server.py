"""What every answer of the edge has, against real sockets, over each way of dispatch."""

import gzip
import json
import os
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from quart import Blueprint, websocket
from quart import request as quart_request

from appliance.credentials.kinds import Caller
from appliance.http.pipeline import Exchange
from appliance.http.requestlog import safe_query, write_access_log
from appliance.http.routing import ClaimConflict
from appliance.http.server import Dispatch, Edge, Listener, TlsFiles, serve
from appliance.surface import BoundSurface, Call, Endpoint, Head, Surface
from tests.appliance.http.edge_kit import Raw, State, authenticate, bound_socket, make_surface, request, serving
from tests.appliance.http.test_hostile import UPGRADE


async def test_declared_endpoints_answer_and_keep_the_connection(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        for _ in range(3):
            reply = await client.ask(request("GET", "/kit/hello"))
            assert (reply.status, reply.body) == (200, b'{"hello":"world"}')
            beat = b'{"host":"a","gpus":[{"name":"x","vram_mb":1}]}'
            reply = await client.ask(request("POST", "/kit/beat", body=beat))
            assert (reply.status, reply.body) == (201, b'{"gpus":1,"host":"a"}')


async def test_caller_is_refused_before_the_body_is_read(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        await client.send(
            b"POST /kit/echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer wrong\r\nContent-Length: 9\r\n\r\n"
        )
        while not running.state.order:
            await trio.lowlevel.checkpoint()
        await client.send(b"123456789")
        reply = await client.reply()
        assert (reply.status, reply.body) == (401, b'{"ok":false,"detail":"who are you","field":""}')
        assert running.state.order == ["authenticate"]


async def test_body_one_byte_over_its_limit_is_refused_in_the_surfaces_shape(
    tmp_path: Path, dispatch: Dispatch
) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        chunked = b"POST /kit/beat HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked += b"1001\r\n" + b" " * 4097 + b"\r\n0\r\n\r\n"
        for data in (request("POST", "/kit/beat", body=b" " * 4097), chunked):
            reply = await client.ask(data)
            assert reply.status == 413
            assert json.loads(reply.body)["detail"] == "the body is larger than 4096 bytes"
        assert (await client.ask(request("GET", "/kit/hello"))).status == 200


async def test_crash_tells_its_request_id_and_nothing_else(
    tmp_path: Path, dispatch: Dispatch, logged: list[dict[str, Any]]
) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        reply = await client.ask(request("GET", "/kit/crash"))
        assert reply.status == 500
        assert b"secret" not in reply.raw
        failures = [entry for entry in logged if entry["event"] == "request failed"]
        assert [entry["request_id"] for entry in failures] == [reply.headers["x-request-id"]]


async def test_handler_that_calls_exit_ends_its_request_and_not_the_process(
    tmp_path: Path, dispatch: Dispatch, logged: list[dict[str, Any]]
) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        assert (await client.ask(request("GET", "/kit/exit"))).status == 500
        assert (await client.ask(request("GET", "/kit/hello"))).status == 200
        assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == ["request failed"]


async def test_header_that_would_split_an_answer_is_a_crash(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        reply = await client.ask(request("GET", "/kit/split"))
        assert reply.status == 500
        assert b"evil" not in reply.raw


async def test_unclaimed_path_is_answered_for_every_clients_error_reader(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        reply = await client.ask(request("GET", "/nowhere"))
        assert reply.status == 404
        assert json.loads(reply.body) == {
            "error": "Not Found",
            "message": "Not Found",
            "hint": "the endpoints are listed at /docs",
        }


async def test_wrong_method_is_told_which_are_right(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        reply = await client.ask(request("BREW", "/kit/hello"))
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        reply = await client.ask(request("OPTIONS", "/kit/hello"))
        assert (reply.status, reply.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


async def test_head_has_the_headers_of_get_and_no_body(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        head = await client.ask(request("HEAD", "/kit/hello"), head_only=True)
        get = await client.ask(request("GET", "/kit/hello"))
        assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


async def test_large_answer_is_compressed_when_asked(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        plain = await client.ask(request("GET", "/kit/big"))
        packed = await client.ask(request("GET", "/kit/big", "Accept-Encoding: br, gzip"))
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip"
        assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
        assert gzip.decompress(packed.body) == plain.body
        small = await client.ask(request("GET", "/kit/hello", "Accept-Encoding: gzip"))
        assert "content-encoding" not in small.headers


async def test_file_answers_conditions_and_ranges(tmp_path: Path, dispatch: Dispatch) -> None:
    (tmp_path / "small").write_bytes(b"0123456789")
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        whole = await client.ask(request("GET", "/kit/file/small"))
        assert (whole.status, whole.body) == (200, b"0123456789")
        etag, modified = whole.headers["etag"], whole.headers["last-modified"]
        for condition in (f"If-None-Match: {etag}", f"If-None-Match: W/{etag}, x", f"If-Modified-Since: {modified}"):
            assert (await client.ask(request("GET", "/kit/file/small", condition))).status == 304
        for condition in (
            'If-None-Match: "other"',
            "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
            "If-Modified-Since: x",
        ):
            assert (await client.ask(request("GET", "/kit/file/small", condition))).status == 200
        part = await client.ask(request("GET", "/kit/file/small", "Range: bytes=2-4"))
        assert (part.status, part.body, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
        stale = await client.ask(request("GET", "/kit/file/small", "Range: bytes=2-4", 'If-Range: "old"'))
        assert (stale.status, stale.body) == (200, b"0123456789")
        past = await client.ask(request("GET", "/kit/file/small", "Range: bytes=10-"))
        assert (past.status, past.headers["content-range"]) == (416, "bytes */10")


async def test_file_that_is_no_plain_file_is_not_found(tmp_path: Path, dispatch: Dispatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        for name in ("pipe", "none", "."):
            reply = await client.ask(request("GET", f"/kit/file/{name}"))
            assert reply.status == 404


async def test_folder_gives_its_files_and_nothing_outside(tmp_path: Path, dispatch: Dispatch) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "page.js").write_text("1")
    (tmp_path / "secret").write_text("secret")
    (inside / "link").symlink_to(tmp_path / "secret")
    pages = Surface("pages")
    pages.mount("/static", inside, access="public")
    async with serving(tmp_path, dispatch=dispatch, surfaces=[pages.bind(None)]) as running:
        client = await running.connect()
        found = await client.ask(request("GET", "/static/page.js"))
        assert (found.body, found.headers["content-type"]) == (b"1", "text/javascript; charset=utf-8")
        for target in ("/static/../secret", "/static/%2e%2e/secret", "/static/..%2fsecret", "/static/link", "/static/"):
            reply = await client.ask(request("GET", target))
            assert reply.status in {400, 404}
            assert b"secret" not in reply.body


async def test_cors_is_answered_for_allowed_origins_only(tmp_path: Path, dispatch: Dispatch) -> None:
    shared = Surface("shared", cors=True, prefixes=("/shared",))

    @shared.post("/shared/x")
    async def handler(call: Call[None]) -> dict[str, bool]:
        return {"ok": True}

    edge = Edge(authenticate=authenticate, allowed_origins=lambda head, surface: ("https://ui.example",))
    async with serving(tmp_path, dispatch=dispatch, edge=edge, surfaces=[shared.bind(None)]) as running:
        client = await running.connect()
        ask = ("Origin: https://ui.example", "Access-Control-Request-Method: POST")
        flight = await client.ask(
            request("OPTIONS", "/shared/x", *ask, "Access-Control-Request-Headers: x-a, bad header")
        )
        assert flight.status == 204
        assert flight.headers["access-control-allow-origin"] == "https://ui.example"
        assert flight.headers["access-control-allow-headers"] == "x-a"
        for reply in (
            await client.ask(request("POST", "/shared/x", ask[0])),
            await client.ask(request("GET", "/shared/none", ask[0])),
        ):
            assert reply.headers["access-control-allow-origin"] == "https://ui.example"
        foreign = await client.ask(request("POST", "/shared/x", "Origin: https://evil.example"))
        assert "access-control-allow-origin" not in foreign.headers
        assert foreign.headers["vary"] == "origin"
        elsewhere = await client.ask(request("GET", "/kit/hello", ask[0]))
        assert "access-control-allow-origin" not in elsewhere.headers


async def test_unavailable_plugin_answers_503_in_its_own_shape(tmp_path: Path, dispatch: Dispatch) -> None:
    edge = Edge(authenticate=authenticate)
    down = Surface("down", prefixes=("/down",))
    edge.add_unavailable(down, "the plugin did not start: no such table")
    async with serving(tmp_path, dispatch=dispatch, edge=edge) as running:
        client = await running.connect()
        reply = await client.ask(request("POST", "/down/some/path", body=b"x"))
        assert reply.status == 503
        assert json.loads(reply.body)["error"] == "the plugin did not start: no such table"


async def test_two_claims_on_one_path_refuse_to_start(tmp_path: Path) -> None:
    edge = Edge(authenticate=authenticate)
    state = State(folder=tmp_path)
    with bound_socket() as sock:
        twice = Listener(name="x", sockets=(sock,), surfaces=(make_surface().bind(state), make_surface().bind(state)))
        with pytest.raises(ClaimConflict, match="/kit/hello is claimed twice"):
            await serve(edge, [twice])


async def test_answers_are_audited_and_logged_once_with_secrets_cut(
    tmp_path: Path, dispatch: Dispatch, logged: list[dict[str, Any]]
) -> None:
    audited: list[Exchange] = []
    edge = Edge(authenticate=authenticate, audit=audited.append, access_log=write_access_log)
    async with serving(tmp_path, dispatch=dispatch, edge=edge) as running:
        client = await running.connect()
        await client.ask(request("GET", "/kit/hello?token=hush&a=1", "Authorization: Bearer x"))
        await client.ask(request("POST", "/kit/echo", "Authorization: Bearer x", body=b"1"))
        await client.ask(request("POST", "/kit/conflict", "Authorization: Bearer x", body=b"1"))
        await client.ask(request("POST", "/kit/echo", body=b"by nobody"))
    assert [exchange.head.path for exchange in audited] == ["/kit/echo"]
    written = [entry for entry in logged if entry["event"] == "request"]
    assert [entry["status"] for entry in written] == [200, 200, 409, 200]
    assert written[0]["query"] == "token=[cut]&a=1"
    assert "hush" not in str(logged)
    text = edge.metrics.prometheus()
    assert 'path="/kit/conflict",status="409"} 1' in text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"a=1&key=s", "a=1&key=[cut]"),
        (b"KEY=s&Auth_Token=t&code=c&ticket=u", "KEY=[cut]&Auth_Token=[cut]&code=[cut]&ticket=[cut]"),
        (b"%74oken=s", "%74oken=[cut]"),
        (b"", ""),
    ],
)
def test_secrets_in_query_strings_are_cut_however_they_are_spelled(raw: bytes, shown: str) -> None:
    assert safe_query(raw) == shown


async def test_surface_may_take_over_who_calls(tmp_path: Path, dispatch: Dispatch) -> None:
    def own(head: Head, state: Any) -> Caller | None:
        return Caller(kind="ingest", subject=state) if head.header(b"x-monitoring-token") else None  # type: ignore[arg-type]

    def nobody(head: Head, endpoint: Endpoint, bound: BoundSurface) -> Caller:
        return authenticate(head, endpoint, bound)

    metrics = Surface("metrics", authenticate=own)

    @metrics.get("/metrics/who", hot=True)
    async def who(call: Call[None]) -> dict[str, str]:
        return {"subject": call.caller.subject}

    async with serving(
        tmp_path, dispatch=dispatch, edge=Edge(authenticate=nobody), surfaces=[metrics.bind("gpu-1")]
    ) as running:
        client = await running.connect()
        assert (
            await client.ask(request("GET", "/metrics/who", "X-Monitoring-Token: t"))
        ).body == b'{"subject":"gpu-1"}'
        assert (await client.ask(request("GET", "/metrics/who"))).body == b'{"subject":""}'


async def test_unix_socket_knows_its_peers_uid(tmp_path: Path, dispatch: Dispatch) -> None:
    seen: list[Head] = []

    def look(head: Head, endpoint: Endpoint, bound: BoundSurface) -> Caller:
        seen.append(head)
        return authenticate(head, endpoint, bound)

    path = str(tmp_path / "socket")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    surfaces = (make_surface().bind(State(folder=tmp_path)),)
    async with trio.open_nursery() as nursery:
        listener = Listener(name="control", sockets=(sock,), surfaces=surfaces)
        await nursery.start(partial(serve, Edge(authenticate=look), [listener], dispatch=dispatch))
        async with await trio.open_unix_socket(path) as stream:
            assert (await Raw(stream).ask(request("GET", "/kit/hello"))).status == 200
        nursery.cancel_scope.cancel()
    assert (seen[0].peer, seen[0].peer_uid, seen[0].listener) == (None, os.getuid(), "control")


async def test_blueprint_is_served_below_its_prefix(tmp_path: Path, dispatch: Dispatch) -> None:
    pages = Blueprint("pages", __name__)

    @pages.route("/hello", methods=["GET", "POST"])
    async def hello() -> str:
        return f"{quart_request.method} {quart_request.scope['state']['caller'].kind.value}"

    @pages.websocket("/ws")
    async def echo() -> None:
        await websocket.send(await websocket.receive())

    surface = Surface("pages", prefixes=("/pages",))
    surface.mount("/pages", pages)
    async with serving(tmp_path, dispatch=dispatch, surfaces=[surface.bind(None)]) as running:
        client = await running.connect()
        assert (await client.ask(request("GET", "/pages/hello"))).body == b"GET anonymous"
        assert (
            await client.ask(request("POST", "/pages/hello", "Authorization: Bearer x", body=b""))
        ).body == b"POST pat"
        socket_client = await running.connect()
        await socket_client.send(UPGRADE.replace(b"/kit/ws", b"/pages/ws") + b"\x81\x82\x00\x00\x00\x00hi")
        await socket_client.until(b"\x81\x02hi")
        refused = await client.ask(request("GET", "/pages/hello", "Authorization: Bearer wrong"))
        assert refused.status == 401
        assert (await client.ask(request("GET", "/kit/hello"))).status == 200


async def test_tls_answers_and_a_plain_client_costs_nobody(tmp_path: Path, dispatch: Dispatch) -> None:
    certificate, key = make_certificate(tmp_path)
    async with serving(tmp_path, dispatch=dispatch, tls=TlsFiles(certificate=certificate, key=key)) as running:
        plain = await running.connect()
        await plain.send(request("GET", "/kit/hello"))
        assert await plain.is_closed()
        context = ssl.create_default_context(cafile=str(certificate))
        stream = await trio.open_ssl_over_tcp_stream(*running.address, ssl_context=context, https_compatible=True)
        client = Raw(stream)  # type: ignore[arg-type]
        for _ in range(2):
            assert (await client.ask(request("GET", "/kit/hello"))).status == 200
        reply = await client.ask(request("GET", "/kit/cookie", "Connection: close"))
        assert "Secure" in reply.headers["set-cookie"]
        assert await client.is_closed()
        await trio.aclose_forcefully(stream)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that signs itself."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files[1].write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return files
