"""WebSockets over real sockets."""

from pathlib import Path

import pytest
import trio
from trio_websocket import connect_websocket_url, open_websocket_url

from appliance.credentials.kinds import Caller
from appliance.errors import Conflict
from appliance.frames import text_frames
from appliance.http.limits import Limits
from appliance.http.server import Dispatch, Edge
from appliance.http.sockets import AcceptedSocket
from appliance.surface import Call, Socket, SocketClosed, Surface
from tests.appliance.http.edge_kit import Raw, Running, authenticate, request, serving
from tests.appliance.http.test_hostile import UPGRADE


def url(running: Running, path: str = "/kit/ws") -> str:
    return f"ws://127.0.0.1:{running.address[1]}{path}"


async def close_code(client: Raw) -> int:
    """Read up to the close frame and return its code."""
    await client.until(b"\x88")
    return int.from_bytes((await client.exactly(3))[1:], "big")


async def test_websocket_echoes_text_and_bytes(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running, trio.open_nursery() as nursery:
        client = await connect_websocket_url(nursery, url(running))
        for message in ("hello", b"\x00\xff", "", "x" * 100_000):
            await client.send_message(message)
            assert await client.get_message() == message
        await client.aclose()


async def test_websocket_frame_sent_with_the_upgrade_is_not_lost(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        await client.send(UPGRADE + b"\x81\x82\x00\x00\x00\x00hi")
        assert b" 101 " in await client.until(b"\r\n\r\n")
        await client.until(b"\x81\x02hi")  # a ping may come first


async def test_websocket_closes_with_1011_when_its_handler_fails(
    tmp_path: Path, dispatch: Dispatch, logged: list[dict[str, object]]
) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        await client.send(UPGRADE + b"\x81\x85\x00\x00\x00\x00crash")
        assert await close_code(client) == 1011
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == ["request failed"]


@pytest.mark.parametrize(("path", "status"), [("/kit/nowhere", 404), ("/kit/hello", 404)])
async def test_websocket_is_refused_where_none_is_declared(
    tmp_path: Path, dispatch: Dispatch, path: str, status: int
) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        assert (await client.ask(UPGRADE.replace(b"/kit/ws", path.encode()))).status == status


async def test_websocket_of_a_refused_caller_is_answered_in_the_surfaces_shape(
    tmp_path: Path, dispatch: Dispatch
) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        reply = await client.ask(UPGRADE.replace(b"Host:", b"Authorization: Bearer wrong\r\nHost:"))
        assert (reply.status, reply.body) == (401, b'{"ok":false,"detail":"who are you","field":""}')


async def test_websocket_that_its_endpoint_does_not_admit_is_answered_before_it_is_accepted(
    tmp_path: Path, dispatch: Dispatch
) -> None:
    api = Surface("doors", prefixes=("/doors",))

    def admit(call: Call[None]) -> None:
        if call.path["name"] != "open":
            raise Conflict(f"door {call.path['name']} is closed", hint="knock")

    @api.websocket("/doors/{name}", admit=admit)
    async def doors(call: Call[None], socket: Socket) -> None:
        await socket.send("come in")

    async with serving(tmp_path, dispatch=dispatch, surfaces=[api.bind(None)]) as running:
        client = await running.connect()
        reply = await client.ask(UPGRADE.replace(b"/kit/ws", b"/doors/front"))
        assert reply.status == 409
        assert b"door front is closed" in reply.body
        other = await running.connect()
        await other.send(UPGRADE.replace(b"/kit/ws", b"/doors/open"))
        await other.until(b"\x81\x07come in")


async def test_plain_get_of_a_websocket_path_is_not_found(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        assert (await client.ask(request("GET", "/kit/ws"))).status == 404


async def test_websocket_message_over_the_limit_closes_it(tmp_path: Path, dispatch: Dispatch) -> None:
    limits = Limits(websocket_message_bytes=1000)
    async with serving(tmp_path, dispatch=dispatch, limits=limits) as running:
        client = await running.connect()
        await client.send(UPGRADE + b"\x81\xfe\x07\xd0\x00\x00\x00\x00" + b"x" * 2000)
        assert await close_code(client) == 1009


@pytest.mark.parametrize("is_early", [False, True])
async def test_websocket_closed_for_a_message_over_the_limit_is_sent_nothing_more(
    tmp_path: Path, dispatch: Dispatch, is_early: bool
) -> None:
    api = Surface("ticks", prefixes=("/ticks",))
    ended = trio.Event()

    @api.websocket("/ticks")
    async def ticks(call: Call[None], socket: Socket) -> None:
        try:
            while True:
                await socket.send_frames(text_frames([b"tick"]))
                await trio.sleep(0.01)
        finally:
            ended.set()

    limits = Limits(websocket_message_bytes=1000)
    async with serving(tmp_path, dispatch=dispatch, limits=limits, surfaces=[api.bind(None)]) as running:
        client = await running.connect()
        upgrade = UPGRADE.replace(b"/kit/ws", b"/ticks")
        message = b"\x81\xfe\x07\xd0\x00\x00\x00\x00" + b"x" * 2000
        await client.send(upgrade + message if is_early else upgrade)
        await client.until(b"\r\n\r\n")
        if not is_early:
            await client.send(message)
        assert await close_code(client) == 1009
        with trio.fail_after(30):
            assert await client.is_closed()  # though it never answers the close
            await ended.wait()
        assert client.buffer == b""


async def test_websocket_ends_when_its_credential_is_gone(tmp_path: Path) -> None:
    valid = True

    def still_valid(caller: Caller) -> bool:
        return valid

    edge = Edge(authenticate=authenticate, still_valid=still_valid)
    limits = Limits(stream_recheck_seconds=0.05)
    async with serving(tmp_path, edge=edge, limits=limits) as running:
        client = await running.connect()
        await client.send(UPGRADE)
        await client.until(b"\r\n\r\n")
        valid = False
        assert await close_code(client) == 1008


async def test_websocket_is_told_when_the_server_stops(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        client = await running.connect()
        await client.send(UPGRADE)
        await client.until(b"\r\n\r\n")
        running.nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.fail_after(5):
            assert await close_code(client) == 1001


async def test_prepared_frames_arrive_as_messages_between_others(tmp_path: Path, dispatch: Dispatch) -> None:
    sizes = (0, 1, 125, 126, 65_535, 65_536, 200_000)
    messages = [b"x" * size for size in sizes]
    api = Surface("frames", prefixes=("/frames",))

    @api.websocket("/frames")
    async def frames(call: Call[None], socket: Socket) -> None:
        await socket.send("first")
        await socket.send_frames(text_frames(messages))
        await socket.send("last")
        await socket.receive()

    bound = [api.bind(None)]
    async with serving(tmp_path, dispatch=dispatch, surfaces=bound) as running:
        async with open_websocket_url(url(running, "/frames")) as client:
            found = [await client.get_message() for _ in range(len(messages) + 2)]
        assert found == ["first", *(message.decode() for message in messages), "last"]


async def test_prepared_frames_are_refused_once_the_socket_is_closed() -> None:
    sent: list[dict[str, object]] = []
    written: list[bytes] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def write(frames: bytes) -> bool:
        written.append(frames)
        return True

    _, messages = trio.open_memory_channel[str | bytes](1)
    socket = AcceptedSocket(send, messages, write)
    await socket.send_frames(text_frames([b"one"]))
    await socket.close(1000)
    with pytest.raises(SocketClosed):
        await socket.send_frames(text_frames([b"two"]))
    assert written == [b"\x81\x03one"]
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_prepared_frames_are_refused_while_a_close_frame_is_on_its_way(
    tmp_path: Path, dispatch: Dispatch
) -> None:
    api = Surface("ticks", prefixes=("/ticks",))
    refused = trio.Event()

    @api.websocket("/ticks")
    async def ticks(call: Call[None], socket: Socket) -> None:
        try:
            while True:
                # As soon as others have had a turn: some meet a close frame that is being written.
                await socket.send_frames(text_frames([b"tick"]))
        except SocketClosed:
            refused.set()
            raise

    limits = Limits(websocket_message_bytes=1000)
    async with serving(tmp_path, dispatch=dispatch, limits=limits, surfaces=[api.bind(None)]) as running:
        client = await running.connect()
        await client.send(UPGRADE.replace(b"/kit/ws", b"/ticks"))
        await client.until(b"tick")
        await client.send(b"\x81\xfe\x07\xd0\x00\x00\x00\x00" + b"x" * 2000)
        assert await close_code(client) == 1009
        with trio.fail_after(30):
            assert await client.is_closed()
            await refused.wait()
        assert b"tick" not in client.buffer
