"""What hostile, broken and slow peers send: the server goes on, and the next request is answered."""

from pathlib import Path

import pytest
import trio

from appliance.http.connection import QUICK_WRITES
from appliance.http.limits import Limits
from appliance.http.server import Dispatch
from tests.appliance.http.edge_kit import PATIENCE_SECONDS, Raw, Running, request, serving

QUICK = Limits(
    head_seconds=0.3, body_seconds=0.3, body_bytes_per_second=10_000_000, linger_seconds=0.3, keep_alive_seconds=600
)
UPGRADE = (
    b"GET /kit/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
H2C = (
    b"GET /kit/hello HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
)
SEQUENCES = {
    "trailing bytes on an upgrade": [UPGRADE + b"\x00"],
    "client gone mid-answer": [request("GET", "/kit/big")],
    "websocket close and a late frame": [UPGRADE, b"\x88\x80\x00\x00\x00\x00", b"\x81\x80\x00\x00\x00\x00"],
    "upgrade without a key": [b"GET /kit/ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"],
    "truncated frame": [UPGRADE, b"\x81\xfe\x00"],
    "garbage request line": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 nonsense\r\n\r\n"],
    "body shorter than announced": [b"POST /kit/beat HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nshort"],
    "h2c upgrade": [H2C],
    "half a head": [b"GET /kit/hello HT"],
    "h2 preface": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    "bare line feeds": [b"GET /kit/hello HTTP/1.1\nHost: a\n\n"],
    "no host": [b"GET /kit/hello HTTP/1.1\r\n\r\n"],
    "two hosts": [b"GET /kit/hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"],
    "chunk size of a thousand digits": [
        b"POST /kit/beat HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 1000 + b"\r\n"
    ],
    "negative length": [b"POST /kit/beat HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"],
    "length of a thousand digits": [
        b"POST /kit/beat HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 1000 + b"\r\n\r\n"
    ],
    "endless header": [b"GET /kit/hello HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40_000],
    "nul in a header": [b"GET /kit/hello HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"],
    "space before the colon": [b"GET /kit/hello HTTP/1.1\r\nHost : a\r\n\r\n"],
}


async def still_answers(running: Running) -> None:
    client = await running.connect()
    reply = await client.ask(request("GET", "/kit/hello"))
    assert (reply.status, reply.body) == (200, b'{"hello":"world"}')


@pytest.mark.parametrize("name", SEQUENCES)
async def test_server_answers_others_after_a_hostile_sequence(tmp_path: Path, dispatch: Dispatch, name: str) -> None:
    async with serving(tmp_path, dispatch=dispatch, limits=QUICK) as running:
        for gone in (True, False):
            client = await running.connect()
            for piece in SEQUENCES[name]:
                await client.send(piece)
                await trio.testing.wait_all_tasks_blocked(0.005)
            if gone:
                await trio.aclose_forcefully(client.stream)
            await still_answers(running)
        assert running.edge.metrics.failed_connections == 0


async def test_early_answer_never_leaves_a_dead_connection_when_the_body_is_late(
    tmp_path: Path, dispatch: Dispatch
) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        body = b"x" * 3000
        for target in ("/kit/hello", "/kit/nowhere", "/kit/conflict") * 34:
            client = await running.connect()
            await client.send(f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            await trio.testing.wait_all_tasks_blocked()
            await client.send(body)
            reply = await client.reply()
            assert reply.status in {404, 405, 409}
            again = await client.ask(request("GET", "/kit/hello"))
            assert again.status == 200
            await trio.aclose_forcefully(client.stream)


async def test_early_answer_closes_when_the_body_is_too_large_to_wait_for(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch, limits=QUICK) as running:
        client = await running.connect()
        await client.send(b"POST /kit/beat HTTP/1.1\r\nHost: a\r\nContent-Length: 900000000\r\n\r\n" + b"x" * 100_000)
        reply = await client.reply()
        assert reply.status == 413
        assert reply.headers["connection"] == "close"
        assert await client.is_closed()
        await still_answers(running)


async def test_half_a_head_ends_at_its_own_deadline(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch, limits=QUICK) as running:
        client = await running.connect()
        await client.send(b"GET /kit/hello HTTP/1.1\r\nHo")
        assert await client.is_closed()
        await still_answers(running)


async def test_dripping_head_does_not_rearm_its_deadline(tmp_path: Path, dispatch: Dispatch) -> None:
    await drip(tmp_path, dispatch, b"GET /kit/hello HTTP/1.1\r\nX-Long: ")


async def test_dripping_body_does_not_rearm_its_deadline(tmp_path: Path, dispatch: Dispatch) -> None:
    await drip(tmp_path, dispatch, b"POST /kit/beat HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n")


async def test_dripping_chunks_do_not_rearm_the_deadline(tmp_path: Path, dispatch: Dispatch) -> None:
    start = b"POST /kit/beat HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    await drip(tmp_path, dispatch, start, b"1\r\nx\r\n")


async def drip(folder: Path, dispatch: Dispatch, start: bytes, drop: bytes = b"x") -> None:
    async with serving(folder, dispatch=dispatch, limits=QUICK) as running:
        client = await running.connect()
        await client.send(start)
        ended = False
        async with trio.open_nursery() as nursery:

            async def drops() -> None:
                while True:
                    await trio.sleep(0.05)
                    try:
                        await client.send(drop)
                    except trio.BrokenResourceError:
                        return

            nursery.start_soon(drops)
            ended = await client.is_closed()
            nursery.cancel_scope.cancel()
        assert ended
        await still_answers(running)


async def test_silent_body_ends_at_its_deadline(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch, limits=QUICK) as running:
        client = await running.connect()
        await client.send(b"POST /kit/beat HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n")
        assert await client.is_closed()


async def test_resting_connection_ends_after_the_keep_alive_time(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch, limits=Limits(keep_alive_seconds=0.2)) as running:
        client = await running.connect()
        assert (await client.ask(request("GET", "/kit/hello"))).status == 200
        assert await client.is_closed()


def test_keep_alive_outlasts_agents_that_post_every_75_seconds() -> None:
    assert Limits().keep_alive_seconds >= 75


async def test_idle_connections_cost_nobody_an_answer(tmp_path: Path, dispatch: Dispatch) -> None:
    await many_idle(tmp_path, dispatch, 250)


@pytest.mark.long
async def test_five_thousand_idle_connections_cost_nobody_an_answer(tmp_path: Path, dispatch: Dispatch) -> None:
    await many_idle(tmp_path, dispatch, 5000)


async def many_idle(folder: Path, dispatch: Dispatch, count: int) -> None:
    async with serving(folder, dispatch=dispatch) as running:
        for _ in range(count):
            await running.connect()
        await still_answers(running)
        assert running.edge.metrics.connections == count + 1
    assert running.edge.metrics.connections == 0


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        many = b"".join(request("POST", "/kit/echo", body=b"%d" % number) for number in range(50))
        await client.send(many + request("GET", "/kit/nowhere") + request("GET", "/kit/hello"))
        for number in range(50):
            assert (await client.reply()).body == b"%d" % number
        assert (await client.reply()).status == 404
        assert (await client.reply()).body == b'{"hello":"world"}'


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_http_version_decides_whether_the_connection_stays(
    tmp_path: Path, dispatch: Dispatch, version: str
) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        reply = await client.ask(request("GET", "/kit/hello", version=version))
        assert reply.status == 200
        if version == "1.0":
            assert await client.is_closed()
        else:
            assert (await client.ask(request("GET", "/kit/hello"))).status == 200


async def test_content_length_beside_transfer_encoding_is_refused(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        for first, second in (("Content-Length: 4", "Transfer-Encoding: chunked"),) * 2:
            client = await running.connect()
            head = f"POST /kit/echo HTTP/1.1\r\nHost: a\r\n{first}\r\n{second}\r\n\r\n".encode()
            reply = await client.ask(head + b"0\r\n\r\nGET /kit/crash HTTP/1.1\r\n\r\n")
            assert reply.status == 400
            assert b'"error":"Bad Request"' in reply.body
            assert await client.is_closed()
        assert running.state.order == []


async def test_h2c_upgrade_is_ignored(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        assert (await client.ask(H2C)).status == 200
        assert (await client.ask(request("GET", "/kit/hello"))).status == 200


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ("", "1.1"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "1.1"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n", "1.1"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n", "1.0"),
    ],
)
async def test_refused_websocket_handshake_says_why_and_ends_its_connection(
    tmp_path: Path, dispatch: Dispatch, headers: str, version: str
) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        for target, owner in (("/kit/ws", b'"detail":'), ("/kit/none", b'"detail":'), ("/none", b'"error":')):
            client = await running.connect()
            head = (
                f"GET {target} HTTP/{version}\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n{headers}\r\n"
            )
            reply = await client.ask(head.encode())
            assert reply.status == (400 if target == "/kit/ws" else 404)
            assert owner in reply.body
            assert target != "/kit/ws" or reply.headers["sec-websocket-version"] == "13"
            assert reply.headers["connection"] == "close"
            assert await client.is_closed()


class Fail:
    """Raises in the read task or the send path, once armed."""

    def __init__(self, *, on_read: bool) -> None:
        self._reads = on_read
        self.armed = False

    def on_read(self, data: bytes) -> None:
        if self.armed and self._reads and data:
            self.armed = False
            raise RuntimeError("injected in the read task")

    def on_send(self, data: bytes) -> None:
        if self.armed and not self._reads:
            self.armed = False
            raise RuntimeError("injected in the send path")


@pytest.mark.parametrize("on_read", [True, False])
@pytest.mark.parametrize("target", ["/kit/hello", "/kit/nowhere", "/kit/events"])
async def test_exception_inside_a_connection_ends_only_that_connection(
    tmp_path: Path, dispatch: Dispatch, target: str, on_read: bool
) -> None:
    faults = Fail(on_read=on_read)
    async with serving(tmp_path, dispatch=dispatch, faults=faults) as running:
        other = await running.connect()
        assert (await other.ask(request("GET", "/kit/hello"))).status == 200
        client = await running.connect()
        faults.armed = True
        await client.send(request("GET", target))
        assert await client.is_closed()
        assert not faults.armed
        assert (await other.ask(request("GET", "/kit/hello"))).status == 200
        await still_answers(running)


async def test_peer_over_its_limit_is_refused_and_others_are_not(tmp_path: Path, dispatch: Dispatch) -> None:
    limits = Limits(connections_per_peer=3, exempt=())
    async with serving(tmp_path, dispatch=dispatch, limits=limits) as running:
        clients = [await running.connect() for _ in range(3)]
        for client in clients:
            assert (await client.ask(request("GET", "/kit/hello"))).status == 200
        assert await (await running.connect()).is_closed()
        assert running.edge.metrics.refused_connections == 1
        await trio.aclose_forcefully(clients[0].stream)
        await running.until_connections(2)
        await still_answers(running)


async def test_loopback_is_exempt_from_the_limit_of_one_peer(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(connections_per_peer=1)) as running:
        for _ in range(3):
            await still_answers(running)


async def test_stop_ends_resting_connections_at_once_and_lets_answers_finish(
    tmp_path: Path, dispatch: Dispatch
) -> None:
    async with serving(tmp_path, dispatch=dispatch, limits=Limits(drain_seconds=600)) as running:
        idle = await running.connect()
        assert (await idle.ask(request("GET", "/kit/hello"))).status == 200
        busy = await running.connect()
        await busy.send(request("GET", "/kit/slow"))
        await running.state.entered.wait()
        running.nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(PATIENCE_SECONDS):
            assert await idle.is_closed()
            with pytest.raises(OSError, match="all attempts to connect"):
                await trio.open_tcp_stream(*running.address)
            running.state.release.set()
            reply = await busy.reply()
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            assert await busy.is_closed()


async def test_drain_is_bounded_when_an_answer_never_comes(tmp_path: Path, dispatch: Dispatch) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        async with serving(tmp_path, dispatch=dispatch, limits=Limits(drain_seconds=0.2)) as running:
            busy = await running.connect()
            await busy.send(request("GET", "/kit/slow"))
            await running.state.entered.wait()


async def test_client_that_goes_away_cancels_a_waiting_handler(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        await client.send(request("GET", "/kit/wait"))
        await running.state.entered.wait()
        await trio.aclose_forcefully(client.stream)
        with trio.fail_after(PATIENCE_SECONDS):
            await running.state.cancelled.wait()


async def test_client_that_goes_away_closes_a_stream(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        await client.send(request("GET", "/kit/endless"))
        await client.until(b"xxx")
        await trio.aclose_forcefully(client.stream)
        with trio.fail_after(PATIENCE_SECONDS):
            await running.state.stream_closed.wait()


async def test_client_that_reads_nothing_is_dropped_after_the_send_deadline(tmp_path: Path, dispatch: Dispatch) -> None:
    (tmp_path / "large").write_bytes(b"x" * 30_000_000)
    async with serving(tmp_path, dispatch=dispatch, limits=Limits(send_seconds=0.2)) as running:
        client: Raw = await running.connect()
        await client.send(request("GET", "/kit/file/large"))
        await running.until_connections(1)
        await running.until_connections(0)
        await still_answers(running)


async def test_pipelined_requests_leave_turns_to_everybody_else(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        busy = await running.connect()
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        running.nursery.start_soon(others)
        await busy.send(request("GET", "/kit/hello") * 160)
        for _ in range(160):
            assert (await busy.reply()).status == 200
        assert turns >= 160 // (QUICK_WRITES + 1)
