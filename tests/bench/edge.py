"""What a declared endpoint costs beside a plain Quart view: CPU per request of the server process.

``python -m tests.bench.edge [--small] [--reference-python PATH]`` starts each server in a process of its own on port 0,
loads it from here with 32 keep-alive connections (8 with ``--small``), and reads the process's own CPU time before and
after. The last line is JSON. Ratios are against the stock view in the same run; differences under 25 % are noise on a
shared machine.
"""

import argparse
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from math import inf

from attrs import frozen

SAMPLE = json.dumps(
    {
        "host": "gpu-box-01",
        "gpus": [
            {"name": f"NVIDIA H200 {index}", "vram_mb": 143771 + index, "power_watts": 512.25} for index in range(24)
        ],
    }
).encode()
GET = b"GET /kit/hello HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
POST = (
    b"POST /kit/beat HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(SAMPLE)
) + SAMPLE

MODELS = """
import sys, attrs, msgspec
from attrs.validators import ge
@attrs.frozen(kw_only=True)
class Gpu:
    name: str
    vram_mb: int = attrs.field(validator=ge(0))
    power_watts: float | None = None
@attrs.frozen(kw_only=True)
class Beat:
    host: str
    gpus: list[Gpu] = attrs.Factory(list)
def announce(port):
    print(port, flush=True)
"""
OURS = """
import socket, trio
from functools import partial
from appliance.credentials.kinds import ANONYMOUS
from appliance.http.server import Edge, Listener, serve
from appliance.surface import Surface
import structlog, logging
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
api = Surface("bench", prefixes=("/kit",))
@api.get("/kit/hello", hot=True, access="public")
async def hello(call):
    return {"hello": "world"}
@api.post("/kit/beat", body=Beat, hot=True)
async def beat(call):
    return {"gpus": len(call.body.gpus)}
async def main():
    sock = socket.socket(); sock.bind(("127.0.0.1", 0))
    edge = Edge(authenticate=lambda head, endpoint, bound: ANONYMOUS)
    async with trio.open_nursery() as nursery:
        listener = Listener(name="bench", sockets=(sock,), surfaces=(api.bind(None),))
        addresses = await nursery.start(partial(serve, edge, [listener], dispatch=DISPATCH))
        announce(addresses[0][1])
trio.run(main)
"""
STOCK = """
import trio, cattrs, json
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import request
from quart_trio import QuartTrio
app = QuartTrio("bench")
@app.get("/kit/hello")
async def hello():
    return {"hello": "world"}
@app.post("/kit/beat")
async def beat():
    body = cattrs.structure(await request.get_json(), Beat)
    return {"gpus": len(body.gpus)}
async def main():
    config = Config(); config.bind = ["127.0.0.1:0"]; config.errorlog = None; config.keep_alive_max_requests = 10**9
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(serve, app, config)
        announce(int(binds[0].rsplit(":", 1)[1]))
trio.run(main)
"""
UVICORN = """
import socket, uvicorn
# asyncio turns Nagle off only where it is told that this is TCP.
sock = socket.socket(proto=socket.IPPROTO_TCP); sock.bind(("127.0.0.1", 0)); sock.listen(512)
announce(sock.getsockname()[1])
uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[sock])
"""
STARLETTE = """
import cattrs
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
async def hello(request): return JSONResponse({"hello": "world"})
async def beat(request): return JSONResponse({"gpus": len(cattrs.structure(await request.json(), Beat).gpus)})
app = Starlette(routes=[Route("/kit/hello", hello), Route("/kit/beat", beat, methods=["POST"])])
"""
FASTAPI = """
from fastapi import FastAPI
from pydantic import BaseModel, Field
class PGpu(BaseModel):
    name: str
    vram_mb: int = Field(ge=0)
    power_watts: float | None = None
class PBeat(BaseModel):
    host: str
    gpus: list[PGpu] = []
app = FastAPI()
@app.get("/kit/hello")
async def hello(): return {"hello": "world"}
@app.post("/kit/beat")
async def beat(body: PBeat): return {"gpus": len(body.gpus)}
"""


@frozen
class Program:
    """A server to measure, and the interpreter that has what it imports."""

    source: str
    python: str = sys.executable


def programs(reference_python: str) -> dict[str, Program]:
    """Return the servers that this machine can run, by name; the stock view comes first."""
    found = {"stock": Program(MODELS + STOCK)}
    for way in ("front", "direct", "quart-asgi"):
        found[way] = Program(MODELS + OURS.replace("DISPATCH", repr(way)))
    for name, source in (("starlette", STARLETTE), ("fastapi", FASTAPI)):
        look = f"import attrs, cattrs, msgspec, uvicorn, {name}"
        if subprocess.run([reference_python, "-c", look], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            found[name] = Program(MODELS + source + UVICORN, reference_python)
    return found


def cpu_seconds(pid: int) -> float:
    """Return the time that the only thread of a process has had on a processor so far."""
    with open(f"/proc/{pid}/schedstat", "rb") as file:
        return int(file.read().split()[0]) / 1e9


def load(port: int, message: bytes, connections: int, seconds: float) -> int:
    """Ask over and over on each connection; return the number of answers, all of which were 200."""
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(client, selectors.EVENT_READ)
        client.sendall(message)
    answered = 0
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        for key, _ in selector.select(1):
            ready = key.fileobj
            assert isinstance(ready, socket.socket)
            data = ready.recv(65536)
            if not data.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"not a 200: {data[:200]!r}")
            while not data.rstrip().endswith(b"}"):
                data += ready.recv(65536)
            answered += 1
            ready.sendall(message)
    for key in list(selector.get_map().values()):
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()
    return answered


@contextmanager
def started(program: Program) -> Iterator[tuple[int, int]]:
    """Run one server; gives its process id and port."""
    with subprocess.Popen([program.python, "-c", program.source], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.terminate()


def measure(
    wanted: Mapping[str, Program], *, connections: int, seconds: float, rounds: int
) -> dict[str, dict[str, float]]:
    """Return CPU microseconds per GET and POST, and requests per second, of each server.

    All run at once and take turns, so that a change in what else the machine does meets all; of each the round that was
    disturbed least counts.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in wanted}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(started(program)) for name, program in wanted.items()}
        for turn in range(rounds + 1):
            for name, (pid, port) in servers.items():
                for method, message in (("get", GET), ("post", POST)):
                    before, begun = cpu_seconds(pid), time.perf_counter()
                    answered = load(port, message, connections, seconds)
                    if turn == 0:  # warming up
                        continue
                    best = found[name]
                    cost = (cpu_seconds(pid) - before) / answered * 1e6
                    best[f"{method}_us"] = min(best.get(f"{method}_us", inf), cost)
                    rate = answered / (time.perf_counter() - begun)
                    best[f"{method}_per_s"] = max(best.get(f"{method}_per_s", 0.0), rate)
    return found


def main() -> None:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a quick sample: 8 connections, under a second each")
    parser.add_argument(
        "--reference-python",
        default=sys.executable,
        metavar="PATH",
        help="an interpreter with requirements-bench.txt installed: other frameworks are measured where it has them",
    )
    options = parser.parse_args()
    small = options.small
    results = measure(
        programs(options.reference_python),
        connections=8 if small else 32,
        seconds=0.3 if small else 0.6,
        rounds=2 if small else 5,
    )
    stock = results["stock"]
    print(
        f"{'server':12} {'GET us':>8} {'ratio':>6} {'/s':>7} {'POST us':>8} {'ratio':>6} {'/s':>7}   body {len(SAMPLE)}"
    )
    for name, found in results.items():
        found["get_ratio"] = found["get_us"] / stock["get_us"]
        found["post_ratio"] = found["post_us"] / stock["post_us"]
        print(
            f"{name:12} {found['get_us']:8.1f} {found['get_ratio']:6.3f} {found['get_per_s']:7.0f} "
            f"{found['post_us']:8.1f} {found['post_ratio']:6.3f} {found['post_per_s']:7.0f}"
        )
    rounded = {name: {key: round(value, 3) for key, value in found.items()} for name, found in results.items()}
    print(json.dumps({"bench": "edge", "small": small, "load_average": os.getloadavg()[0], "results": rounded}))


if __name__ == "__main__":
    main()
