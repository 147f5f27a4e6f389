"""Bodies that handlers read as they arrive, over real sockets."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from appliance.errors import Conflict
from appliance.http.server import Dispatch
from appliance.http.uploads import CutShort
from appliance.surface import STREAMED, Call, Surface
from tests.appliance.http.edge_kit import request, serving

LIMIT = 1_000_000


@define
class Taken:
    """What the handlers have seen."""

    sizes: list[int] = field(factory=list)
    first: trio.Event = field(factory=trio.Event)
    gone: trio.Event = field(factory=trio.Event)


def uploads() -> Surface:
    api = Surface("uploads", prefixes=("/up",))

    @api.put("/up/all", body=STREAMED, limit_bytes=LIMIT)
    async def take(call: Call[AsyncIterator[bytes]]) -> dict[str, int]:
        total = 0
        try:
            async for chunk in call.body:
                total += len(chunk)
                call.state.sizes.append(len(chunk))
                call.state.first.set()
        except CutShort:
            call.state.gone.set()
            raise
        return {"bytes": total}

    @api.put("/up/none", body=STREAMED, limit_bytes=LIMIT)
    async def refuse(call: Call[Any]) -> None:
        raise Conflict("there is one already")

    return api


async def test_streamed_body_is_read_while_it_arrives(tmp_path: Path, dispatch: Dispatch) -> None:
    taken = Taken()
    async with serving(tmp_path, dispatch=dispatch, surfaces=[uploads().bind(taken)]) as running:
        client = await running.connect()
        await client.send(request("PUT", "/up/all", "Content-Length: 11") + b"hello")
        with trio.fail_after(30):
            await taken.first.wait()
        reply = await client.ask(b" world")
        assert (reply.status, reply.body) == (200, b'{"bytes":11}')
        reply = await client.ask(request("PUT", "/up/all", body=b""))
        assert (reply.status, reply.body) == (200, b'{"bytes":0}')


async def test_connection_is_usable_after_a_streamed_body_was_read_whole(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch, surfaces=[uploads().bind(Taken())]) as running:
        client = await running.connect()
        for size in (1, 500_000, LIMIT):
            reply = await client.ask(request("PUT", "/up/all", body=b"x" * size))
            assert (reply.status, reply.body) == (200, b'{"bytes":%d}' % size)
        assert (await client.ask(request("GET", "/kit/hello"))).status == 200


async def test_streamed_body_over_its_limit_is_413_announced_or_not(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch, surfaces=[uploads().bind(Taken())]) as running:
        client = await running.connect()
        assert (await client.ask(request("PUT", "/up/all", f"Content-Length: {LIMIT + 1}"))).status == 413
        assert await client.is_closed()
        client = await running.connect()
        await client.send(request("PUT", "/up/all", "Transfer-Encoding: chunked"))
        for _ in range(3):
            await client.send(b"%x\r\n%b\r\n" % (400_000, b"x" * 400_000))
        assert (await client.reply()).status == 413
        assert await client.is_closed()


async def test_handler_that_reads_nothing_is_answered_and_the_connection_ends(
    tmp_path: Path, dispatch: Dispatch
) -> None:
    async with serving(tmp_path, dispatch=dispatch, surfaces=[uploads().bind(Taken())]) as running:
        client = await running.connect()
        reply = await client.ask(request("PUT", "/up/none", body=b"x" * 100))
        assert (reply.status, reply.headers["connection"]) == (409, "close")
        assert await client.is_closed()


async def test_reading_fails_when_the_client_is_gone(tmp_path: Path, dispatch: Dispatch) -> None:
    taken = Taken()
    async with serving(tmp_path, dispatch=dispatch, surfaces=[uploads().bind(taken)]) as running:
        client = await running.connect()
        await client.send(request("PUT", "/up/all", "Content-Length: 100") + b"some")
        with trio.fail_after(30):
            await taken.first.wait()
            await client.stream.aclose()
            await taken.gone.wait()
        assert taken.sizes == [4]


async def test_refused_caller_of_an_upload_is_not_read_from(tmp_path: Path, dispatch: Dispatch) -> None:
    taken = Taken()
    async with serving(tmp_path, dispatch=dispatch, surfaces=[uploads().bind(taken)]) as running:
        client = await running.connect()
        reply = await client.ask(request("PUT", "/up/all", "Authorization: Bearer wrong", body=b"x" * 1000))
        assert (reply.status, taken.sizes) == (401, [])
