"""Every way a request can come in gives the same bytes."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.http.limits import Limits
from appliance.http.server import Edge
from tests.appliance.http.edge_kit import WAYS, authenticate, request, serving

GZIP = "Accept-Encoding: gzip"
FORM = b'{"host":"a","gpus":[{"name":"x","vram_mb":1}]}'
MATRIX: dict[str, bytes] = {
    "get": request("GET", "/kit/hello"),
    "head": request("HEAD", "/kit/hello"),
    "head of a large answer": request("HEAD", "/kit/big"),
    "close": request("GET", "/kit/hello", "Connection: close"),
    "keep-alive": request("GET", "/kit/hello", "Connection: Keep-Alive"),
    "odd connection": request("GET", "/kit/hello", "Connection: keep-alive, X-Odd"),
    "http/1.0": request("GET", "/kit/hello", version="1.0"),
    "http/1.2": request("GET", "/kit/hello", version="1.2"),
    "http/3.0": request("GET", "/kit/hello", version="3.0"),
    "query": request("GET", "/kit/page?limit=5&verbose=true&name=a%20b+c"),
    "wrong query": request("GET", "/kit/page?limit=five"),
    "query over a limit": request("GET", "/kit/page?limit=0"),
    "query that is not utf-8": request("GET", "/kit/page?name=%ff"),
    "post": request("POST", "/kit/beat", body=FORM),
    "post without a body": request("POST", "/kit/beat"),
    "post of an empty body": request("POST", "/kit/beat", body=b""),
    "wrong field": request("POST", "/kit/beat", body=b'{"host":1}'),
    "deep": request("POST", "/kit/beat", body=b"[" * 4000),
    "chunked": request("POST", "/kit/beat", "Transfer-Encoding: chunked")
    + b"%x\r\n%s\r\n0\r\n\r\n" % (len(FORM), FORM),
    "chunked with a trailer": request("POST", "/kit/echo", "Transfer-Encoding: chunked")
    + b"2;a=b\r\nab\r\n0\r\nX-T: 1\r\n\r\n",
    "chunked over the limit": request("POST", "/kit/beat", "Transfer-Encoding: chunked")
    + b"1000\r\n"
    + b"x" * 4096
    + b"\r\n1\r\nx\r\n0\r\n\r\n",
    "body at the limit": request("POST", "/kit/beat", body=FORM + b" " * (4096 - len(FORM))),
    "body one byte over the limit": request("POST", "/kit/beat", body=FORM + b" " * (4097 - len(FORM))),
    "both lengths": request("POST", "/kit/echo", "Transfer-Encoding: chunked", body=b"abcd"),
    "two equal lengths": b"POST /kit/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "two different lengths": b"POST /kit/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab",
    "gzip transfer encoding": request("POST", "/kit/echo", "Transfer-Encoding: gzip"),
    "get with a body": request("GET", "/kit/hello", body=b"abc"),
    "not found": request("GET", "/kit/nowhere"),
    "not found, nobody's": request("GET", "/other"),
    "not allowed": request("PUT", "/kit/hello", body=b"x"),
    "unknown method": request("BREW", "/kit/hello"),
    "lower-case method": request("get", "/kit/hello"),
    "connect": request("CONNECT", "/kit/hello"),
    "options": request("OPTIONS", "/kit/beat"),
    "options of everything": request("OPTIONS", "*"),
    "double slash": request("GET", "//kit/hello"),
    "many slashes": request("GET", "////kit/hello?x=1"),
    "inner double slash": request("GET", "/kit//hello"),
    "trailing slash": request("GET", "/kit/hello/"),
    "absolute target": request("GET", "http://localhost/kit/hello"),
    "encoded path": request("GET", "/kit/%68ello"),
    "name": request("GET", "/kit/items/a%20b%C3%A9"),
    "name encoded twice": request("GET", "/kit/items/a%2520b"),
    "name with a slash": request("GET", "/kit/items/a%2Fb"),
    "name that is not utf-8": request("GET", "/kit/items/%ff"),
    "name with a nul": request("GET", "/kit/items/a%00b"),
    "path": request("GET", "/kit/tree/a/b/c"),
    "path that climbs": request("GET", "/kit/tree/a/../b"),
    "path that climbs in disguise": request("GET", "/kit/tree/a/%2e%2e/b"),
    "path with a hidden slash": request("GET", "/kit/tree/a%2f..%2fb"),
    "refused caller": request("GET", "/kit/who", "Authorization: Bearer wrong"),
    "refused caller with a body": request("POST", "/kit/beat", "Authorization: Bearer weak", body=FORM),
    "crash": request("GET", "/kit/crash"),
    "conflict": request("POST", "/kit/conflict", body=b"x"),
    "nothing": request("DELETE", "/kit/nothing"),
    "cookie": request("GET", "/kit/cookie"),
    "split header": request("GET", "/kit/split"),
    "redirect": request("GET", "/kit/away"),
    "large": request("GET", "/kit/big"),
    "large, gzip": request("GET", "/kit/big", GZIP),
    "large, gzip refused": request("GET", "/kit/big", "Accept-Encoding: gzip;q=0, br"),
    "stream": request("GET", "/kit/stream"),
    "stream to http/1.0": request("GET", "/kit/stream", version="1.0"),
    "head of a stream": request("HEAD", "/kit/stream"),
    "file": request("GET", "/kit/file/small"),
    "head of a file": request("HEAD", "/kit/file/small"),
    "large file": request("GET", "/kit/file/large"),
    "head of a large file": request("HEAD", "/kit/file/large"),
    "large file then close": request("GET", "/kit/file/large", "Connection: close"),
    "range": request("GET", "/kit/file/small", "Range: bytes=2-4"),
    "range to the end": request("GET", "/kit/file/small", "Range: bytes=-3"),
    "range past the end": request("GET", "/kit/file/small", "Range: bytes=100-"),
    "several ranges": request("GET", "/kit/file/small", "Range: bytes=0-1,3-4"),
    "no such file": request("GET", "/kit/file/none"),
    "folded header": request("GET", "/kit/hello", "X: a\r\n b"),
    "latin-1 header": b"GET /kit/hello HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n",
    "bad header": b"GET /kit/hello HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n",
    "no host": b"GET /kit/hello HTTP/1.1\r\n\r\n",
    "garbage": b"\x00\x01\x02\r\n\r\n",
    "expect": request("POST", "/kit/beat", "Expect: 100-continue", body=FORM),
    "upgrade to something": request("GET", "/kit/hello", "Upgrade: h2c", "Connection: Upgrade"),
}
_DATE = re.compile(rb"date: [^\r]+\r\n")
_REQUEST_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]+")


async def bytes_of(address: tuple[str, int], pieces: list[bytes]) -> bytes:
    """Send, say that no more comes, and return all the server says: an answer, then the end."""
    stream = await trio.open_tcp_stream(*address)
    found = b""
    async with stream:
        try:
            for piece in pieces:
                await stream.send_all(piece)
            # One more request ends the connection where the first one did not.
            await stream.send_all(request("GET", "/kit/hello", "Connection: close"))
        except trio.BrokenResourceError:
            pass
        with trio.fail_after(30):
            try:
                while data := bytes(await stream.receive_some(65536)):
                    found += data
            except trio.BrokenResourceError:
                found += b"<reset>"
    return _REQUEST_ID.sub(b"ID", _DATE.sub(b"", found))


def make_folder(folder: Path) -> Path:
    for name, data in (("small", b"0123456789"), ("large", bytes(range(256)) * 800)):
        path = folder / name
        path.write_bytes(data)
    return folder


async def answers(folder: Path, way: str, requests: dict[str, list[bytes]]) -> dict[str, bytes]:
    edge = Edge(authenticate=authenticate)
    limits = Limits(head_seconds=1, body_seconds=1, linger_seconds=0.3)
    async with serving(folder, dispatch=way, edge=edge, limits=limits) as running:  # type: ignore[arg-type]
        return {name: await bytes_of(running.address, pieces) for name, pieces in requests.items()}


async def test_all_ways_give_the_same_bytes(tmp_path: Path) -> None:
    make_folder(tmp_path)
    requests = {name: [data] for name, data in MATRIX.items()}
    found = [await answers(tmp_path, way, requests) for way in WAYS]
    for name in MATRIX:
        for way, other in zip(WAYS[1:], found[1:], strict=True):
            assert other[name] == found[0][name], f"{name}: {way} differs from {WAYS[0]}"


@pytest.mark.parametrize("way", WAYS)
async def test_bytes_do_not_depend_on_how_they_arrive(tmp_path: Path, way: str) -> None:
    make_folder(tmp_path)
    whole = await answers(tmp_path, way, {name: [data] for name, data in MATRIX.items()})
    names = ["post", "chunked", "head", "get", "wrong field", "not allowed"]
    split = {name: [MATRIX[name][i : i + 1] for i in range(len(MATRIX[name]))] for name in names}
    for name, data in (await answers(tmp_path, way, split)).items():
        assert data == whole[name]


JUNK = st.sampled_from(
    [
        b"X-Junk: a",
        b"X-Junk:",
        b"X-Junk : a",
        b"x-junk:\ta\t",
        b"Content-Length: 0",
        b"Content-Length: 1",
        b"Content-Length: +1",
        b"Content-Length: 1, 1",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: upgrade",
        b"Expect: 100-continue",
        b"Upgrade: websocket",
        b"Host: other",
        b"Accept-Encoding: gzip",
        b"X: \x7f",
        b"X: \xff",
        b"X: a\nY: b",
        b"\tfolded",
        b": nameless",
        b"no colon",
        b"Range: bytes=0-1",
        b"TE: trailers",
    ]
)
TARGETS = st.sampled_from(
    [b"/kit/hello", b"/kit/echo", b"/kit/page?limit=3", b"//kit/hello", b"/kit/items/%41", b"/kit/none", b"/kit/%zz"]
)
METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"get", b"G T"])
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.1 ", b"http/1.1"])
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n"])


@st.composite
def hostile_requests(draw: st.DrawFn) -> list[bytes]:
    """One or two requests with random junk, cut at random places."""
    data = b""
    for _ in range(draw(st.integers(1, 2))):
        lines = [draw(METHODS) + b" " + draw(TARGETS) + b" " + draw(VERSIONS), b"Host: localhost"]
        lines += draw(st.lists(JUNK, max_size=3))
        data += b"".join(line + draw(ENDS) for line in lines) + b"\r\n" + draw(st.binary(max_size=6))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    edges = [0, *cuts, len(data)]
    return [data[a:b] for a, b in pairwise(edges) if b > a]


def compare_front_with_direct(folder: Path, cases: list[list[bytes]]) -> None:
    requests = {str(number): pieces for number, pieces in enumerate(cases)}

    async def both() -> list[dict[str, bytes]]:
        return [await answers(folder, way, requests) for way in ("direct", "front")]

    direct, front = trio.run(both)
    for name, pieces in requests.items():
        assert front[name] == direct[name], pieces


@given(cases=st.lists(hostile_requests(), min_size=8, max_size=8))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_front_gives_the_bytes_of_direct_whatever_arrives(tmp_path: Path, cases: list[list[bytes]]) -> None:
    compare_front_with_direct(tmp_path, cases)


@pytest.mark.long
@given(cases=st.lists(hostile_requests(), min_size=10, max_size=10))
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
def test_front_gives_the_bytes_of_direct_for_thousands_of_requests(tmp_path: Path, cases: list[list[bytes]]) -> None:
    compare_front_with_direct(tmp_path, cases)
