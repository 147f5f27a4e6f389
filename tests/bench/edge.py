"""What a declared endpoint costs beside a plain Quart view: CPU per request of the server process.

``python tests/bench/edge.py [--small]`` starts each server in a process of its own on port 0, loads it from here with
32 keep-alive connections (8 with ``--small``), and reads the process's own CPU time before and after. The last line is
JSON. Ratios are against the stock view in the same run; differences under 25 % are noise on a shared machine.
"""

import argparse
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

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
sock = socket.socket(); sock.bind(("127.0.0.1", 0)); sock.listen(512)
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


def programs() -> dict[str, str]:
    """Return the servers that this machine can run, by name; the stock view comes first."""
    found = {"stock": MODELS + STOCK}
    for way in ("front", "direct", "quart-asgi"):
        found[way] = MODELS + OURS.replace("DISPATCH", repr(way))
    if find_spec("uvicorn") and find_spec("starlette"):
        found["starlette"] = MODELS + STARLETTE + UVICORN
    if find_spec("uvicorn") and find_spec("fastapi"):
        found["fastapi"] = MODELS + FASTAPI + UVICORN
    return found


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process so far."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rsplit(b") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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


def measure(program: str, *, connections: int, seconds: float) -> dict[str, float]:
    """Run one server; return CPU microseconds per GET and POST, and requests per second."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        port = int(process.stdout.readline())
        found: dict[str, float] = {}
        for name, message in (("get", GET), ("post", POST)):
            load(port, message, connections, seconds / 4)
            before, started = cpu_seconds(process.pid), time.perf_counter()
            answered = load(port, message, connections, seconds)
            found[f"{name}_us"] = (cpu_seconds(process.pid) - before) / answered * 1e6
            found[f"{name}_per_s"] = answered / (time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
    return found


def main() -> None:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a quick sample: 8 connections, under a second each")
    small = parser.parse_args().small
    results = {
        name: measure(program, connections=8 if small else 32, seconds=0.8 if small else 3.0)
        for name, program in programs().items()
    }
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
    print(json.dumps({"bench": "edge", "small": small, "results": rounded}))


if __name__ == "__main__":
    main()
