"""What the build swarm does in a second, beside stock Quart views that answer the same from dicts in the same run.

``python -m tests.bench.swarm [--small]`` queues 10,000 packages (``--small``: 1,000) at an appliance in a process of
its own and registers 50 drones; then, over 8 connections that are kept:

* heartbeats of all drones, each with other figures than the last;
* ``/status``, ``/nodes?all=true`` and the listing of the queue, alone and while heartbeats come;
* cycles: a drone asks for work and reports it built, which is on disk before it is answered.

Server figures are its own processor time, of all its threads. The server that this API was made by was measured at 363
heartbeats, 157 ``/status`` and 59 cycles a second on two cores. The last line is JSON.
"""

import argparse
import http.client
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from attrs import asdict

from tests.bench.beats import Beaten
from tests.bench.drones import cycle, get, heartbeat, queueing, repeating, talk
from tests.bench.machines import appliance, served, settle, thread_seconds

CONNECTIONS = 8
DRONES = 50
GOALS = {
    "heartbeats": 6000.0,
    "status": 2000.0,
    "nodes": 1500.0,
    "cycles": 1500.0,
}
"""A second; recorded beside what was found, never asserted."""
STOCK = """
import time, trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import jsonify, request
from quart_trio import QuartTrio
app = QuartTrio("bench")
drones, needed, held, received = {}, {}, {}, []
@app.post("/api/v1/register")
async def register():
    body = await request.get_json()
    drones[body["id"]] = body | {"last_seen": time.time(), "status": "online", "paused": False}
    return {"status": "registered", "orchestrator": "127.0.0.1", "orchestrator_port": 8100,
            "orchestrator_name": "stock", "paused": False}
@app.post("/api/v1/queue")
async def queue():
    packages = (await request.get_json())["packages"]
    needed.update(dict.fromkeys(packages))
    return {"status": "ok", "queued": len(packages), "session_id": "session-1"}
@app.get("/api/v1/queue")
async def listed():
    return jsonify([{"package": name, "status": "needed", "assigned_to": None, "failures": 0, "error_message": "",
                     "assigned_at": None, "completed_at": None} for name in needed])
@app.get("/api/v1/work")
async def work():
    drone = request.args["id"]
    if drone not in held:
        held[drone] = next(iter(needed))
        del needed[held[drone]]
    return {"package": held[drone], "session_id": "session-1"}
@app.post("/api/v1/complete")
async def complete():
    body = await request.get_json()
    accepted = held.get(body["id"]) == body["package"]
    if accepted:
        received.append(held.pop(body["id"]))
    return {"status": "ok", "package": body["package"], "accepted": accepted}
@app.get("/api/v1/status")
async def status():
    return {"version": "stock", "nodes": len(drones), "nodes_online": len(drones), "needed": len(needed),
            "delegated": len(held), "queue_received": len(received), "total_cores": 16 * len(drones), "paused": False,
            "drones": {each["name"]: {"name": each["name"], "ip": each["ip"], "status": "online", "cores": 16,
                       "current_task": None, "capabilities": each["capabilities"], "metrics": each["metrics"],
                       "last_seen": each["last_seen"], "assigned_packages": []} for each in drones.values()}}
@app.get("/api/v1/nodes")
async def nodes():
    return jsonify([each | {"assigned_packages": [], "build_progress": []} for each in drones.values()])
async def main():
    config = Config(); config.bind = ["127.0.0.1:0"]; config.errorlog = None; config.keep_alive_max_requests = 10**9
    config.h11_max_incomplete_size = 2**24
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(serve, app, config)
        print(f"Open http://{binds[0].removeprefix('http://')}", flush=True)
trio.run(main)
"""


def measured(process: psutil.Process, load: Callable[[], Beaten], count: int) -> dict[str, float]:
    """Return how a load went, and what the server spent on each of its requests."""
    before = thread_seconds(process)
    beaten = load()
    return asdict(beaten) | {"cpu_us": (thread_seconds(process) - before) / count * 1e6}


def reads(process: psutil.Process, port: int, path: str, count: int) -> dict[str, float]:
    """Return how a read goes."""
    each = [get(path)] * (count // CONNECTIONS)
    return measured(process, lambda: talk(port, [repeating(each) for _ in range(CONNECTIONS)]), count)


def beats(process: psutil.Process, port: int, count: int) -> dict[str, float]:
    """Return how heartbeats of all drones go."""
    requests = [heartbeat(number % DRONES, number // DRONES) for number in range(count)]
    nexts = [repeating(requests[first::CONNECTIONS]) for first in range(CONNECTIONS)]
    return measured(process, lambda: talk(port, nexts), count)


def cycles(process: psutil.Process, port: int, count: int) -> dict[str, float]:
    """Return how work and report go, as cycles: each is two requests."""
    each = count // CONNECTIONS
    found = measured(process, lambda: talk(port, [cycle(number, each) for number in range(CONNECTIONS)]), each * 8)
    return found | {"per_s": found["per_s"] / 2}


def listing(process: psutil.Process, port: int, calls: int) -> dict[str, float]:
    """Return what the listing of the queue takes: the first after all has been queued, and when little has changed."""
    walls, size = [], 0
    before = thread_seconds(process)
    for number in range(calls):
        talk(port, [repeating([heartbeat(number % DRONES, number)])])  # so that nothing is answered from memory
        one = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        one.connect()
        begin = time.perf_counter()
        one.request("GET", "/api/v1/queue")
        size = len(one.getresponse().read())
        walls.append((time.perf_counter() - begin) * 1000)
        one.close()
    spent = (thread_seconds(process) - before) / calls * 1000
    ordered = sorted(walls)
    return {
        "first_ms": walls[0],
        "median_ms": ordered[len(ordered) // 2],
        "most_ms": ordered[-1],
        "cpu_ms": spent,
        "bytes": float(size),
    }


def while_beating(process: psutil.Process, port: int, path: str, count: int) -> dict[str, float]:
    """Return how a read goes while every drone beats ten times a second."""
    over = threading.Event()

    def beat() -> None:
        number = 0
        while not over.is_set():
            begin = time.perf_counter()
            talk(port, [repeating([heartbeat(each, number) for each in range(DRONES)])])
            number += 1
            over.wait(max(0.0, 0.1 - (time.perf_counter() - begin)))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        return reads(process, port, path, count)
    finally:
        over.set()
        thread.join()


def of_one(process: psutil.Process, port: int, *, packages: int, count: int, calls: int) -> dict[str, dict[str, float]]:
    """Return every figure of one server."""
    found: dict[str, dict[str, float]] = {}
    request = queueing(packages)
    found["queueing"] = {"ms": talk(port, [repeating([request])]).most_ms}
    beats(process, port, DRONES)
    found["listing"] = listing(process, port, calls)
    found["heartbeats"] = beats(process, port, count)
    found["status"] = reads(process, port, "/api/v1/status", count // 2)
    found["nodes"] = reads(process, port, "/api/v1/nodes?all=true", count // 2)
    found["status while drones beat"] = while_beating(process, port, "/api/v1/status", count // 2)
    found["cycles"] = cycles(process, port, min(count // 4, packages * 3 // 4))
    found["memory"] = {"rss_mb": process.memory_info().rss / 1e6}
    return found


def main() -> None:
    """Measure, print a figure a line, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="1,000 packages, and fewer requests")
    small = parser.parse_args().small
    sizes = (
        {"packages": 1_000, "count": 1_600, "calls": 2} if small else {"packages": 10_000, "count": 24_000, "calls": 9}
    )
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        with served(appliance(folder), folder) as (process, port):
            settle(process)
            ours = of_one(process, port, **sizes)
        with served([sys.executable, "-c", STOCK], folder) as (process, port):
            stock = of_one(process, port, **sizes)
    for what, figures in ours.items():
        results[f"{what}, ours"] = figures
        results[f"{what}, stock"] = stock[what]
    results["ours as a multiple of stock"] = {
        **{f"{what}, per_s": ours[what]["per_s"] / stock[what]["per_s"] for what in GOALS},
        **{f"{what}, cpu_us": ours[what]["cpu_us"] / stock[what]["cpu_us"] for what in GOALS},
    }
    results["goals, per_s"] = GOALS
    for title, figures in results.items():
        print(title)
        for label, figure in figures.items():
            print(f"  {label:<32}{figure:>14,.3f}")
    rounded = {title: {label: round(value, 4) for label, value in each.items()} for title, each in results.items()}
    print(json.dumps({"bench": "swarm", "small": small, "load_average": os.getloadavg()[0], **rounded}))


if __name__ == "__main__":
    main()
