"""Heads of requests: what is plain is read, and nothing else."""

import pytest
import trio
from trio.testing import memory_stream_pair

from plugins.gpu_sharing.push_head import HEAD_BYTES_MAX, PushRefused, parse_head, read_head, refusal


def test_plain_head_is_read() -> None:
    head = parse_head(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nX-A: \t b c \t")
    assert (head.method, head.target) == ("CONNECT", "a:443")
    assert not head.is_old
    assert parse_head(b"CONNECT a:443 HTTP/1.0").is_old
    assert (head.value("host"), head.value("x-a"), head.value("x-b")) == ("a:443", "b c", None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"CONNECT a:443",
        b"CONNECT a:443 HTTP/0.9",
        b"CONNECT a:443 HTTP/1.2",
        b"CONNECT a:443 HTTP/2.0",
        b"CONNECT  a:443 HTTP/1.1",
        b"CONNECT a:443 HTTP/1.1 ",
        b"connect a:443 HTTP/1.1",
        b"CONNECT a\xff:443 HTTP/1.1",
        b"CONNECT a\x00:443 HTTP/1.1",
        b"CONNECT " + b"a" * 2049 + b" HTTP/1.1",
        b"CONNECT a:443 HTTP/1.1\nHost: a",
        b"CONNECT a:443 HTTP/1.1\r\nHost : a",
        b"CONNECT a:443 HTTP/1.1\r\n folded: a",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\rb",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\nb: c",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a\x00",
        b"CONNECT a:443 HTTP/1.1\r\nno colon",
        b"CONNECT a:443 HTTP/1.1\r\nContent-Length: 1",
        b"CONNECT a:443 HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0",
        b"CONNECT a:443 HTTP/1.1\r\nTransfer-Encoding: chunked",
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(PushRefused) as refused:
        parse_head(data)
    assert refused.value.status == 400


def test_too_many_headers_are_refused() -> None:
    with pytest.raises(PushRefused) as refused:
        parse_head(b"GET / HTTP/1.1" + b"\r\na: b" * 65)
    assert refused.value.status == 431


def test_header_that_is_there_twice_is_refused_when_asked_for() -> None:
    head = parse_head(b"GET / HTTP/1.1\r\nx-sse-topic: a\r\nX-SSE-Topic: b")
    with pytest.raises(PushRefused, match="one x-sse-topic header"):
        head.value("x-sse-topic")


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
async def test_head_is_found_however_it_is_cut(size: int) -> None:
    near, far = memory_stream_pair()
    data = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"
    async with trio.open_nursery() as nursery:

        async def dribble() -> None:
            for at in range(0, len(data), size):
                await far.send_all(data[at : at + size])
            await far.aclose()

        nursery.start_soon(dribble)
        found = await read_head(near, seconds=5)
        assert found is not None
        rest = found[1]
        while more := await near.receive_some():
            rest += more
    assert (found[0].target, rest) == ("/", b"rest")


async def test_peer_that_leaves_amid_its_head_is_let_go() -> None:
    near, far = memory_stream_pair()
    await far.send_all(b"GET / HT")
    await far.aclose()
    assert await read_head(near, seconds=5) is None


async def test_endless_head_is_refused_before_it_is_kept() -> None:
    near, far = memory_stream_pair()
    await far.send_all(b"GET / HTTP/1.1\r\na: " + b"b" * HEAD_BYTES_MAX)
    with pytest.raises(PushRefused) as refused:
        await read_head(near, seconds=5)
    assert refused.value.status == 431


async def test_dribbled_head_ends_at_its_deadline(autojump_clock: trio.testing.MockClock) -> None:
    near, far = memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def dribble() -> None:
            while True:
                await far.send_all(b"a")
                await trio.sleep(1)

        nursery.start_soon(dribble)
        with pytest.raises(PushRefused) as refused:
            await read_head(near, seconds=10)
        nursery.cancel_scope.cancel()
    assert refused.value.status == 408
    assert trio.current_time() < 20


def test_refusal_says_in_its_first_line_what_go_clients_show() -> None:
    data = refusal(PushRefused(403, "not here", hint="there", headers=(("a", "b"),)))
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 403 not here"
    assert {b"content-length: 15", b"connection: close", b"a: b"} < set(lines)
    assert body == b"not here\nthere\n"


def test_refusal_never_carries_what_would_end_its_first_line() -> None:
    assert refusal(PushRefused(400, "a\r\nset-cookie: b")).startswith(b"HTTP/1.1 400 Bad Request\r\n")
