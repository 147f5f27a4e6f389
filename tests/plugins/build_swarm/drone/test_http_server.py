"""The drone's requests over a real socket, to a server that says one thing and to some that do not behave."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field

from appliance.http.tls import Certificate, self_signed
from plugins.build_swarm.drone.http_server import HttpServer, read_address
from plugins.build_swarm.drone.models import Refused, Unreachable

TOKEN = "drone-secret-of-this-test"


@define(eq=False)
class Told:
    """What one request said."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@define(eq=False)
class Listening:
    """A server of the standard library."""

    base: str
    told: list[Told] = field(factory=list)


@contextmanager
def listening(status: int, answer: Any, *, certificate: Certificate | None = None) -> Iterator[Listening]:
    """Answer every request in the same way."""
    payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            one.told.append(Told(self.command, self.path, dict(self.headers), body))
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    for method in ("GET", "POST", "PUT"):
        setattr(Handler, f"do_{method}", Handler.answer)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            server.socket, scheme = context.wrap_socket(server.socket, server_side=True), "https"
        one = Listening(f"{scheme}://127.0.0.1:{server.server_port}/swarm")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield one
        finally:
            server.shutdown()
            thread.join()


def client(base: str, **changed: Any) -> HttpServer:
    return HttpServer(address=read_address(base), drone_id="id-1", name="drone-1", cores=4, token=TOKEN, **changed)


async def test_requests_are_those_of_the_document_with_the_token_in_a_header() -> None:
    answer = {"status": "ok", "package": "=a/b-1", "session_id": "s", "paused": False, "accepted": True}
    with listening(200, answer) as one:
        server = client(one.base)
        assert (await server.register({"id": "id-1", "name": "drone-1"})).paused is False
        assert (await server.work()).package == "=a/b-1"
        assert (await server.complete({"id": "id-1", "package": "=a/b-1", "status": "success"})).accepted is True
    assert [(told.method, told.path) for told in one.told] == [
        ("POST", "/swarm/api/v1/register"),
        ("GET", "/swarm/api/v1/work?id=id-1&cores=4"),
        ("POST", "/swarm/api/v1/complete"),
    ]
    assert all(told.headers["Authorization"] == f"Bearer {TOKEN}" for told in one.told)
    assert json.loads(one.told[0].body) == {"id": "id-1", "name": "drone-1"}
    assert TOKEN not in repr(server)


async def test_binary_is_sent_as_it_is_with_its_hash(tmp_path: Path) -> None:
    file = tmp_path / "one-1.0-1.gpkg.tar"
    file.write_bytes(b"x" * 3_000_000)
    with listening(201, {"is_new": True}) as one:
        await client(one.base).upload("app/one/one+x-1.0-1.gpkg.tar", file, "ab" * 32)
    (told,) = one.told
    assert (told.method, told.path) == ("PUT", "/swarm/api/appliance/binhost/staging/app/one/one%2Bx-1.0-1.gpkg.tar")
    assert told.headers["X-Content-SHA256"] == "ab" * 32
    assert told.body == b"x" * 3_000_000


async def test_log_goes_on_where_the_server_says() -> None:
    with listening(200, {"next_offset": 17}) as one:
        assert await client(one.base).log("ab" * 16, "=a/b-1", 5, b"a line\n", "success") == 17
    (told,) = one.told
    path, _, query = told.path.partition("?")
    assert path == "/swarm/api/appliance/swarm/logs/" + "ab" * 16
    assert set(query.split("&")) == {
        "drone_id=id-1", "drone=drone-1", "package=%3Da%2Fb-1", "offset=5", "outcome=success",
    }  # fmt: skip
    assert told.body == b"a line\n"


@pytest.mark.parametrize("after", [None, "7", -1, True, 1.5])
async def test_log_server_that_makes_no_sense_is_refused(after: Any) -> None:
    with listening(200, {"next_offset": after}) as one, pytest.raises(Refused):
        await client(one.base).log("ab" * 16, "=a/b-1", 0, b"", "")


async def _hangs_up(stream: trio.SocketStream) -> None:
    await stream.receive_some(10)


async def _says_nothing(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def _drips(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while True:
        await stream.send_all(b" ")
        await trio.sleep(0.01)


async def _is_no_http(stream: trio.SocketStream) -> None:
    await stream.receive_some(10)
    await stream.send_all(b"SSH-2.0-OpenSSH_9.9\r\n")


async def _says_too_much(stream: trio.SocketStream) -> None:
    await stream.receive_some(10)
    await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await stream.send_all(b"[" * 1_000_000)


@pytest.mark.parametrize("behaviour", [_hangs_up, _says_nothing, _drips, _is_no_http, _says_too_much])
async def test_server_that_does_not_behave_is_unreachable_within_bounds(behaviour: Callable[..., Any]) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            async def serve(stream: trio.SocketStream) -> None:
                try:
                    await behaviour(stream)
                except trio.BrokenResourceError:
                    pass
                finally:
                    await trio.aclose_forcefully(stream)

            listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
            seconds = 0.3 if behaviour in (_says_nothing, _drips) else 30.0
            with pytest.raises(Unreachable):
                await client(f"http://127.0.0.1:{port}", request_seconds=seconds).work()
            nursery.cancel_scope.cancel()


async def test_server_is_talked_to_by_tls_only_where_its_certificate_is_trusted(tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    with listening(200, {"package": None}, certificate=made) as one:
        assert (await client(one.base, ca_file=str(made.certificate)).work()).package is None
        with pytest.raises(Unreachable, match=r"(?i)certificate"):
            await client(one.base).work()
    assert [told.path for told in one.told] == ["/swarm/api/v1/work?id=id-1&cores=4"]
