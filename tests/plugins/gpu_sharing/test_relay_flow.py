"""Bytes, ends and resets pass through the relay as they would without it."""

import errno
import os
import random
import socket
from collections.abc import Callable

import pytest
import trio

from appliance.testing import until
from plugins.gpu_sharing.relay.flow import COPY_BYTES
from plugins.gpu_sharing.relay.pipes import PIPES_MAX, Pipes
from tests.plugins.gpu_sharing.relayed import bench, fill, is_reset, read, read_all, reset, send

SOURCE = random.Random(5)
BULK = SOURCE.randbytes(8 << 20)
OTHER = SOURCE.randbytes(7 << 20)
WAYS = pytest.mark.parametrize("copies", [False, True], ids=["splice", "copy"])


@WAYS
async def test_bytes_pass_unchanged_both_ways_at_once(copies: bool) -> None:
    async with bench(pipes=Pipes(is_refused=copies)) as it:
        client, worker = await it.join()
        got: dict[str, bytes] = {}

        async def take(name: str, one: trio.socket.SocketType) -> None:
            got[name] = await read_all(one)

        async def give(one: trio.socket.SocketType, data: bytes) -> None:
            await send(one, data)
            one.shutdown(socket.SHUT_WR)

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take, "client", client)
                nursery.start_soon(take, "worker", worker)
                nursery.start_soon(give, client, BULK)
                nursery.start_soon(give, worker, OTHER)
        assert got["worker"] == BULK
        assert got["client"] == OTHER
        (end,) = await it.gone()
        assert (end.reason, end.bytes_from_peer, end.bytes_to_peer) == ("finished", len(BULK), len(OTHER))


async def test_bytes_in_pieces_of_every_size_arrive_in_order() -> None:
    async with bench() as it:
        client, worker = await it.join()
        cuts = sorted(
            {1, 2, COPY_BYTES - 1, COPY_BYTES, COPY_BYTES + 1, 300_000, *SOURCE.sample(range(len(BULK)), 200)}
        )
        pieces = [BULK[start:end] for start, end in zip([0, *cuts], [*cuts, len(BULK)], strict=True)]

        async def give() -> None:
            for piece in pieces:
                await send(client, piece)
            client.shutdown(socket.SHUT_WR)

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(give)
                assert await read_all(worker) == BULK


@WAYS
async def test_half_close_of_the_client_reaches_the_worker_who_can_still_answer(copies: bool) -> None:
    async with bench(pipes=Pipes(is_refused=copies)) as it:
        client, worker = await it.join()
        with trio.fail_after(30):
            await send(client, b"question")
            client.shutdown(socket.SHUT_WR)
            assert await read_all(worker) == b"question"
            await send(worker, b"answer" * 50_000)
            worker.shutdown(socket.SHUT_WR)
            assert await read_all(client) == b"answer" * 50_000
        (end,) = await it.gone()
        assert end.reason == "finished"


async def test_half_close_of_the_worker_reaches_the_client_who_can_still_send() -> None:
    async with bench() as it:
        client, worker = await it.join()
        with trio.fail_after(30):
            worker.shutdown(socket.SHUT_WR)
            assert await client.recv(1) == b""
            await send(client, b"more")
            client.shutdown(socket.SHUT_WR)
            assert await read_all(worker) == b"more"
        (end,) = await it.gone()
        assert end.reason == "finished"


@WAYS
async def test_slow_reader_stops_the_sender_and_gets_everything_in_the_end(copies: bool) -> None:
    async with bench(pipes=Pipes(is_refused=copies)) as it:
        client, worker = await it.join()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        data = memoryview(OTHER * 5)
        # The windows of four sockets take some, the relay its bounded part; then nothing goes.
        sent = await fill(worker, data)
        assert sent < len(data)
        assert it.report.bytes_to_peer < sent

        async def give() -> None:
            await send(worker, data[sent:])
            worker.shutdown(socket.SHUT_WR)

        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(give)
                assert await read_all(client) == data


async def test_many_slow_readers_hold_all_pipes_and_others_are_served_still() -> None:
    async with bench() as it:
        slow = [await it.join() for _ in range(PIPES_MAX + 4)]
        async with trio.open_nursery() as nursery:
            for _, worker in slow:
                nursery.start_soon(fill, worker, BULK)
        assert it.relay.pipes.take() is None
        client, worker = await it.join()
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, worker, BULK)
                assert await read(client, len(BULK)) == BULK
        for one, _ in slow:
            reset(one)
        await it.gone(len(slow))
        # A pipe that still held somebody's bytes is never lent to another.
        client, worker = await it.join()
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, worker, OTHER)
                assert await read(client, len(OTHER)) == OTHER


def refusing(after_calls: int, code: int) -> Callable[..., int]:
    """Return a splice(2) that is refused after so many calls, as by a filter of system calls."""
    left = after_calls

    def splice(source: int, sink: int, count: int, flags: int) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(code, os.strerror(code))
        return os.splice(source, sink, count, flags=flags)

    return splice


# An odd number of calls ends with bytes in the pipe, which must come out some other way.
@pytest.mark.parametrize("after_calls", [0, 1, 2, 7])
@pytest.mark.parametrize("code", [errno.EINVAL, errno.EPERM, errno.ENOSYS])
async def test_bytes_pass_unchanged_where_the_kernel_refuses_to_splice(after_calls: int, code: int) -> None:
    pipes = Pipes(splice=refusing(after_calls, code))
    async with bench(pipes=pipes) as it:
        client, worker = await it.join()
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, client, BULK)
                assert await read(worker, len(BULK)) == BULK
        assert pipes.is_refused


async def test_reset_of_the_client_is_a_reset_at_the_worker_after_all_bytes_before_it() -> None:
    async with bench() as it:
        client, worker = await it.join()
        await send(client, b"last words")
        await until(lambda: it.report.bytes_from_peer == 10)
        reset(client)
        with trio.fail_after(30):
            assert await read(worker, 10) == b"last words"
        assert await is_reset(worker)
        (end,) = await it.gone()
        assert (end.reason, end.bytes_from_peer) == ("peer_reset", 10)


async def test_reset_of_the_worker_is_a_reset_at_the_client_after_all_bytes_before_it() -> None:
    async with bench() as it:
        client, worker = await it.join()
        await send(worker, b"last words")
        reset(worker)
        with trio.fail_after(30):
            assert await read(client, 10) == b"last words"
        assert await is_reset(client)
        (end,) = await it.gone()
        assert end.reason == "worker_reset"


@WAYS
@pytest.mark.parametrize("who", ["client", "worker"])
async def test_reset_passes_although_the_other_side_reads_nothing(who: str, copies: bool) -> None:
    async with bench(pipes=Pipes(is_refused=copies)) as it:
        client, worker = await it.join()
        sender, reader = (client, worker) if who == "client" else (worker, client)
        await fill(sender, BULK)
        reset(sender)
        (end,) = await it.gone()
        assert end.reason == ("peer_reset" if who == "client" else "worker_reset")
        assert await is_reset(reader)


async def test_answer_that_was_sent_before_the_worker_hung_up_on_an_upload_reaches_the_client() -> None:
    async with bench() as it:
        client, worker = await it.join()
        # Closed with unread bytes, the worker's socket resets: a server that refuses a body does just this.
        await send(client, BULK[:100_000])
        await until(lambda: it.report.bytes_from_peer == 100_000)
        await send(worker, b"413 too large")
        worker.close()
        with trio.fail_after(30):
            assert await read(client, 13) == b"413 too large"
        assert await is_reset(client)


async def test_answer_that_comes_together_with_the_reset_is_handed_on_before_it() -> None:
    async with bench() as it:
        client, worker = await it.join()
        await send(client, b"body")
        await until(lambda: it.report.bytes_from_peer == 4)
        # No await from here on: the relay meets all of it at once, and the upload breaks first.
        with socket.socket(fileno=os.dup(client.fileno())) as body, socket.socket(fileno=worker.detach()) as answer:
            body.send(b"more of the body")
            answer.send(b"413 too large")
        with trio.fail_after(30):
            assert await read(client, 13) == b"413 too large"
        assert await is_reset(client)


async def test_client_that_hangs_up_before_the_worker_speaks_ends_the_session() -> None:
    async with bench() as it:
        client, worker = await it.join()
        client.close()
        with trio.fail_after(30):
            assert await worker.recv(1) == b""
        # The worker speaks to somebody who has left: his kernel resets, as it would without a relay.
        await send(worker, b"hello?")
        (end,) = await it.gone()
        assert end.reason == "peer_reset"
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await fill(worker, b"hello?")


async def test_client_that_hangs_up_at_once_costs_nothing_and_harms_nobody() -> None:
    async with bench() as it:
        kept, kept_worker = await it.join()
        for number in range(50):
            one = await it.dial()
            if number % 2:
                reset(one)
            else:
                one.close()
        async with trio.open_nursery() as nursery:

            async def dismiss() -> None:
                while True:
                    (await it.accept()).close()

            nursery.start_soon(dismiss)
            await until(lambda: it.report.connections_live == 1, seconds=30)
            nursery.cancel_scope.cancel()
        with trio.fail_after(30):
            await send(kept, b"still here")
            assert await read(kept_worker, 10) == b"still here"


async def test_urgent_byte_keeps_its_place_and_what_follows_arrives() -> None:
    async with bench() as it:
        client, worker = await it.join()
        worker.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        with trio.fail_after(30):
            await send(client, b"before")
            await client.send(b"!", socket.MSG_OOB)
            await send(client, b"after" * 100_000)
            client.shutdown(socket.SHUT_WR)
            assert await read_all(worker) == b"before!" + b"after" * 100_000
