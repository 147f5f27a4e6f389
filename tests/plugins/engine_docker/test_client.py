"""Requests to an engine that answers as it likes: slowly, wrongly, too much, or not at all."""

import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from appliance.engines import EngineLost
from plugins.engine_docker.address import Address
from plugins.engine_docker.client import Client, Refused, Silent, Upload, message_of
from tests.plugins.engine_docker.certificates import authority, issue

Served = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def serving(path: Path, serve: Served) -> AsyncIterator[Client]:
    """Give a client of a server on a unix socket that treats each connection with ``serve``."""
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(path))
    listener.listen(16)

    async def treat(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await serve(stream)
        except trio.BrokenResourceError:
            pass  # the client has gone

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, treat, [trio.SocketListener(listener)])
        yield Client(address=Address(socket=path), prefix="/v1.41")
        nursery.cancel_scope.cancel()


def answering(data: bytes) -> Served:
    """Read a request's head, answer these bytes and hang up."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(65_536)
        await stream.send_all(data)

    return serve


def answer(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def test_request_has_the_version_before_its_path_and_a_body_of_json(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith(b"}"):
            data += await stream.receive_some(65_536)
        heads.append(data)
        await stream.send_all(answer("201 Created", b'{"Id":"a"}'))

    async with serving(tmp_path / "s", serve) as client:
        found = await client.call("POST", "/containers/create", query={"name": "a b"}, body={"é": 1})
    assert found == (201, b'{"Id":"a"}')
    assert heads[0].startswith(b"POST /v1.41/containers/create?name=a+b HTTP/1.1\r\n")
    assert heads[0].endswith(b'\r\n\r\n{"\\u00e9": 1}')


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"message":"No such image: x"}\n', "No such image: x"),
        (b'{"cause":"image not known","message":"no such image","response":404}', "no such image"),
        (b"404 page not found\n", "404 page not found"),
        (b'{"message":7}', '{"message":7}'),
        (b"\x1b[31m\xff" + b"x" * 5_000, " [31m\ufffd".strip() + "x" * 5_000),
        (b"[" * 60_000, "[" * 60_000),
        (b"", ""),
    ],
)
async def test_refusal_has_the_words_of_docker_podman_and_others(tmp_path: Path, body: bytes, words: str) -> None:
    async with serving(tmp_path / "s", answering(answer("404 Not Found", body))) as client:
        with pytest.raises(Refused) as caught:
            await client.call("GET", "/x")
    assert caught.value.status == 404
    assert caught.value.message == words[:2_000]
    assert message_of(body) == caught.value.message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "half a head", "cut", "cut chunk", "no chunk", "negative", "TLS", "endless head"],
)
async def test_answer_that_breaks_off_or_is_no_http_counts_as_lost(tmp_path: Path, data: bytes) -> None:
    async with serving(tmp_path / "s", answering(data)) as client:
        with pytest.raises(EngineLost):
            await client.call("GET", "/x")


async def test_answer_larger_than_asked_for_is_not_read_to_its_end(tmp_path: Path) -> None:
    sent = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal sent
        await stream.receive_some(65_536)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        while True:
            await stream.send_all(bytes(65_536))
            sent += 65_536

    async with serving(tmp_path / "s", serve) as client:
        with pytest.raises(EngineLost, match="larger than 1000 bytes"):
            await client.call("GET", "/x", limit_bytes=1_000)
    assert sent < 100 * 2**20


async def test_body_comes_as_it_is_sent(tmp_path: Path) -> None:
    more = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(65_536)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await more.wait()
        await stream.send_all(b"3\r\ntwo\r\n0\r\n\r\n")

    async with serving(tmp_path / "s", serve) as client, client.open("GET", "/logs", idle_seconds=math.inf) as found:
        assert await found.receive() == b"one"
        more.set()
        assert [await found.receive(), await found.receive(), await found.receive()] == [b"two", b"", b""]


async def test_engine_that_says_nothing_is_given_up(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with serving(tmp_path / "s", serve) as client:
        with pytest.raises(Silent, match="silent for 120 s"):
            await client.call("GET", "/x")


async def test_early_refusal_of_an_upload_is_heard(tmp_path: Path) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some(100)
        await stream.send_all(answer("404 Not Found", b'{"message":"No such container"}'))

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield bytes(65_536)

    async with serving(tmp_path / "s", serve) as client:
        with pytest.raises((Refused, EngineLost)) as caught:
            await client.call("PUT", "/x", body=Upload(chunks=endless()))
    # Whoever hangs up with our bytes unread takes its answer with it, on some systems.
    assert "No such container" in caught.value.message or "broke off" in caught.value.message


async def test_nobody_listening_is_said_with_the_place_and_the_reason(tmp_path: Path) -> None:
    client = Client(address=Address(socket=tmp_path / "nobody.sock"))
    with pytest.raises(EngineLost, match=r"nobody\.sock: No such file"):
        await client.call("GET", "/_ping")


async def test_tls_speaks_to_an_engine_with_the_right_name_only(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*issue(ca, tmp_path / "server", "localhost"))
    server.load_verify_locations(tmp_path / "ca.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    trusting.load_cert_chain(*issue(ca, tmp_path / "client", "appliance"))

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            async with stream:
                await stream.receive_some(65_536)
                await stream.send_all(answer("200 OK", b"OK"))
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        secure = [trio.SSLListener(one, server, https_compatible=True) for one in listeners]
        nursery.start_soon(trio.serve_listeners, serve, secure)
        right = Client(address=Address(host="localhost", port=port, tls=trusting))
        assert await right.call("GET", "/_ping") == (200, b"OK")
        wrong = Client(address=Address(host="127.0.0.1", port=port, tls=trusting))
        with pytest.raises(EngineLost, match="no connection"):
            await wrong.call("GET", "/_ping")
        stranger = Client(address=Address(host="localhost", port=port, tls=ssl.create_default_context()))
        with pytest.raises(EngineLost, match="no connection"):
            await stranger.call("GET", "/_ping")
        nursery.cancel_scope.cancel()
