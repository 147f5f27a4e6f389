"""Hostile, broken and slow peers of a TLS listener: the server goes on, and the deadlines hold there as well."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from attrs import evolve

from appliance.http.limits import Limits
from appliance.http.server import Dispatch, TlsFiles
from appliance.http.tls import Certificate, self_signed
from tests.appliance.http.edge_kit import Raw, Running, request, serving
from tests.appliance.http.test_hostile import QUICK, SEQUENCES

PATIENT = Limits(head_seconds=600, body_seconds=600, keep_alive_seconds=600)
"""Deadlines that end nothing while a test lasts."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def serving_tls(
    folder: Path, certificate: Certificate, dispatch: Dispatch = "front", limits: Limits = QUICK
) -> AsyncIterator[Running]:
    files = TlsFiles(certificate=certificate.certificate, key=certificate.key)
    async with serving(folder, dispatch=dispatch, limits=limits, tls=files) as running:
        yield running


async def connect(
    running: Running, certificate: Certificate, **options: Any
) -> tuple[Raw, "trio.SSLStream[trio.SocketStream]"]:
    """Connect as a browser would; gives the client and its TLS stream."""
    context = ssl.create_default_context(cafile=str(certificate.certificate))
    for name, value in options.items():
        setattr(context, name, value)
    transport = await trio.open_tcp_stream(*running.address)
    running.clients.append(Raw(transport))  # closed with the server, whatever the test leaves
    stream = trio.SSLStream(transport, context, server_hostname="localhost", https_compatible=True)
    with trio.fail_after(30):
        await stream.do_handshake()
    return Raw(cast(Any, stream)), stream


async def still_answers(running: Running, certificate: Certificate) -> None:
    client, stream = await connect(running, certificate)
    reply = await client.ask(request("GET", "/kit/hello"))
    assert (reply.status, reply.body) == (200, b'{"hello":"world"}')
    await trio.aclose_forcefully(stream)
    assert running.edge.metrics.failed_connections == 0


@pytest.mark.parametrize("name", SEQUENCES)
async def test_server_answers_others_after_a_hostile_sequence(
    tmp_path: Path, certificate: Certificate, dispatch: Dispatch, name: str
) -> None:
    async with serving_tls(tmp_path, certificate, dispatch) as running:
        client, stream = await connect(running, certificate)
        for piece in SEQUENCES[name]:
            await client.send(piece)
            await trio.testing.wait_all_tasks_blocked(0.005)
        await trio.aclose_forcefully(stream)
        await still_answers(running, certificate)


PLAIN = {
    "a request": request("GET", "/kit/hello"),
    "a request with a body": request("POST", "/kit/echo", body=b"x" * 100_000),
    "half a head": b"GET / HT",
    "one letter": b"G",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("name", PLAIN)
async def test_plain_http_is_answered_with_a_line_that_names_https(
    tmp_path: Path, certificate: Certificate, name: str
) -> None:
    async with serving_tls(tmp_path, certificate, limits=PATIENT) as running:
        client = await running.connect()
        await client.send(PLAIN[name])
        reply = await client.reply()
        assert (reply.status, reply.headers["content-type"]) == (400, "text/plain; charset=utf-8")
        assert reply.headers["connection"] == "close"
        assert reply.body.count(b"\n") == 1
        assert b"https://" in reply.body
        assert await client.is_closed()
        await trio.aclose_forcefully(client.stream)
        await running.until_connections(0)
        await still_answers(running, certificate)


@pytest.mark.parametrize("stays", [True, False], ids=["says nothing more", "goes on sending"])
async def test_plain_http_holds_its_connection_no_longer_than_a_moment(
    tmp_path: Path, certificate: Certificate, stays: bool
) -> None:
    # What ends it is neither the deadline of a head nor that of a resting connection.
    async with serving_tls(tmp_path, certificate, limits=evolve(PATIENT, linger_seconds=0.3)) as running:
        client = await running.connect()
        await client.send(b"GET / HTTP/1.1\r\n")
        async with trio.open_nursery() as nursery:

            async def goes_on() -> None:
                try:
                    while True:
                        await client.send(b"x" * 1_000)
                        await trio.sleep(0.01)
                except trio.BrokenResourceError:
                    return

            if not stays:
                nursery.start_soon(goes_on)
            await running.until_connections(0)
            nursery.cancel_scope.cancel()
        await still_answers(running, certificate)


HELLO_CUT = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 40


@pytest.mark.parametrize(
    "sent", [b"", HELLO_CUT, HELLO_CUT[:3]], ids=["nothing", "half a ClientHello", "half a record header"]
)
async def test_handshake_that_is_never_finished_ends_at_the_deadline_of_a_head(
    tmp_path: Path, certificate: Certificate, sent: bytes
) -> None:
    async with serving_tls(tmp_path, certificate) as running:
        client = await running.connect()
        before = trio.current_time()
        await client.send(sent)
        assert await client.is_closed()
        assert trio.current_time() - before > 0.2
        await still_answers(running, certificate)


async def test_dripping_handshake_does_not_rearm_its_deadline(tmp_path: Path, certificate: Certificate) -> None:
    async with serving_tls(tmp_path, certificate) as running:
        client = await running.connect()
        async with trio.open_nursery() as nursery:

            async def drops() -> None:
                for piece in HELLO_CUT * 20:  # so slow that what it never finishes outlasts the patience below
                    await trio.sleep(0.1)
                    try:
                        await client.send(bytes([piece]))
                    except trio.BrokenResourceError:
                        return

            nursery.start_soon(drops)
            assert await client.is_closed()
            nursery.cancel_scope.cancel()
        await still_answers(running, certificate)


@pytest.mark.parametrize("junk", [b"\x00" * 100_000, b"\x15GET / HTTP/1.1\r\n\r\n", b"\r\nGET / HTTP/1.1\r\n\r\n"])
async def test_what_is_no_tls_is_turned_away_at_once(tmp_path: Path, certificate: Certificate, junk: bytes) -> None:
    async with serving_tls(tmp_path, certificate, limits=PATIENT) as running:
        client = await running.connect()
        try:
            await client.send(junk)
            assert await client.is_closed()
        except trio.BrokenResourceError:
            pass
        assert b"HTTP/1.1" not in client.buffer
        await running.until_connections(0)
        await still_answers(running, certificate)


@pytest.mark.parametrize(
    "junk",
    [
        HELLO_CUT,
        b"\x16\x03\x03\x00\x05hello",
        b"\x17\x03\x03\x00\x20" + b"x" * 32,
        b"\x17\x03\x03\xff\xff" + b"x" * 70_000,
    ],
    ids=["a second ClientHello", "handshake in the clear", "record that does not verify", "record that is too large"],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_junk_inside_a_session_ends_it_at_once(
    tmp_path: Path, certificate: Certificate, junk: bytes, version: ssl.TLSVersion
) -> None:
    async with serving_tls(tmp_path, certificate, limits=PATIENT) as running:
        client, stream = await connect(running, certificate, maximum_version=version)
        assert (await client.ask(request("GET", "/kit/hello"))).status == 200
        try:
            await stream.transport_stream.send_all(junk)
            if junk == HELLO_CUT:
                await stream.transport_stream.send_all(b"r" * 600)
        except trio.BrokenResourceError:
            pass
        await running.until_connections(0)
        await still_answers(running, certificate)


async def test_versions_before_1_2_are_refused(tmp_path: Path, certificate: Certificate) -> None:
    async with serving_tls(tmp_path, certificate) as running:
        with pytest.warns(DeprecationWarning, match="TLSv1"), pytest.raises(trio.BrokenResourceError):
            await connect(
                running, certificate, minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1
            )
        await still_answers(running, certificate)


async def test_client_that_says_goodbye_before_its_answer_still_gets_it(
    tmp_path: Path, certificate: Certificate, dispatch: Dispatch
) -> None:
    async with serving_tls(tmp_path, certificate, dispatch) as running:
        client, stream = await connect(running, certificate)
        await client.send(request("GET", "/kit/hello"))
        assert (await client.reply()).status == 200
        await stream.transport_stream.send_eof()  # no close_notify: as many real clients do
        assert await client.is_closed()
        await running.until_connections(0)
        await still_answers(running, certificate)


@pytest.mark.parametrize("notified", [True, False])
async def test_body_cut_off_by_the_end_of_the_session_reaches_no_handler(
    tmp_path: Path, certificate: Certificate, dispatch: Dispatch, notified: bool
) -> None:
    async with serving_tls(tmp_path, certificate, dispatch) as running:
        client, stream = await connect(running, certificate)
        await client.send(b'POST /kit/beat HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n{"host":"a"}')
        if notified:
            await stream.aclose()
        else:
            await stream.transport_stream.send_eof()
        await running.until_connections(0)
        assert running.state.beats == []
        await still_answers(running, certificate)


@pytest.mark.parametrize(
    "start",
    [
        b"GET /kit/hello HTTP/1.1\r\nX-Long: ",
        b"POST /kit/beat HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n",
    ],
    ids=["head", "body"],
)
@pytest.mark.parametrize("drips", [True, False])
async def test_deadlines_of_head_and_body_hold(
    tmp_path: Path, certificate: Certificate, dispatch: Dispatch, start: bytes, drips: bool
) -> None:
    async with serving_tls(tmp_path, certificate, dispatch) as running:
        client, _stream = await connect(running, certificate)
        await client.send(start)
        with trio.fail_after(30):
            while running.edge.metrics.connections:
                await trio.sleep(0.03)
                if drips:
                    try:
                        await client.send(b"x")
                    except trio.BrokenResourceError:
                        break
            await running.until_connections(0)
        await still_answers(running, certificate)


async def test_stop_does_not_wait_for_handshakes(tmp_path: Path, certificate: Certificate) -> None:
    async with serving_tls(tmp_path, certificate, limits=PATIENT) as running:
        await running.connect()
        await running.until_connections(1)
        running.nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await running.until_connections(0)
