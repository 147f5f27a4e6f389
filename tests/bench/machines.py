"""What the machine registry costs, beside stock Quart views that answer the same from dicts in the same run.

``python -m tests.bench.machines [--small]`` registers 10,000 machines (``--small``: 1,000) at an appliance in a process
of its own, over its documented API, with bodies as the Python and the Go agent send them. Then

* keepalives over 32 connections that are kept: as fast as they are answered, and 6,000 a second;
* all machines beat in 60 s, each on a new connection, while their figures are stored;
* all machines are listed: after each has beaten (everything is rendered anew), and again at once;
* the appliance is started again: seconds to the first 200 of ``/healthz`` and ``/readyz``, beside an empty one.

Server figures are its own processor time, of all its threads and children. The last line is JSON.
"""

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from attrs import asdict, define, field

from tests.bench.beats import Beaten, drip, hammer, keepalive, machine_id, metrics, registration
from tests.bench.ingest import Control

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 32
PER_SECOND = 6000
BEAT_SECONDS = 60.0
QUIET_PERCENT = 8.0
"""Of one core: below it, what the machines' registration still had to do is done."""
LINK = re.compile(r"Open +http://[^:]+:(\d+)")
STOCK_TOKEN = "bench"
STOCK = """
import sys, time, trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import jsonify, request
from quart_trio import QuartTrio
app = QuartTrio("bench")
tokens, machines = {"bench": "default"}, {}
def token_pool():
    return tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
@app.post("/api/v1/machine/register")
async def register():
    body = await request.get_json()
    if token_pool() != body["pool_name"]:
        return {"message": "Invalid token"}, 403
    machine = {key: body[key] for key in ("machine_id", "pool_name", "hostname", "cpu", "memory", "private_ip")}
    machine |= {"status": "registered", "provider_name": body["provider_name"], "gpu": "",
                "gpu_count": body["gpu_count"], "created": str(int(time.time())),
                "last_worker_seen": "", "last_keepalive": "",
                "auto_consolidate": False, "agent_version": ""}
    machines[body["provider_name"], body["pool_name"], body["machine_id"]] = {"state": machine, "metrics": None}
    return {"config": None, "machine_state": {"machine_id": body["machine_id"], "status": "registered",
            "pool_name": body["pool_name"], "ttl_seconds": 300}}
@app.post("/api/v1/machine/keepalive")
async def keepalive():
    body = await request.get_json()
    if token_pool() != body["pool_name"]:
        return {"message": "Invalid token"}, 403
    machine = machines[body["provider_name"], body["pool_name"], body["machine_id"]]
    machine["metrics"], state = body["metrics"], machine["state"]
    state |= {"status": "ready", "last_keepalive": str(int(time.time())), "agent_version": body["agent_version"]}
    return {"status": "ok", "machine_state": {"machine_id": body["machine_id"], "status": "ready",
            "pool_name": body["pool_name"], "ttl_seconds": 300, "agent_version": state["agent_version"],
            "last_keepalive": state["last_keepalive"], "last_worker_seen": state["last_worker_seen"]}}
@app.get("/api/v1/machine/list")
async def listed():
    pool = token_pool()
    return jsonify([each for each in machines.values() if each["state"]["pool_name"] == pool])
async def main():
    config = Config(); config.bind = ["127.0.0.1:0"]; config.errorlog = None; config.keep_alive_max_requests = 10**9
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(serve, app, config)
        print(f"Open http://{binds[0].removeprefix('http://')}", flush=True)
trio.run(main)
"""


@contextmanager
def served(command: list[str], folder: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Run a server until it says where it listens; yield its process and port."""
    environment = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=environment | {"HOME": str(folder)}
        )
    try:
        assert process.stdout is not None
        port = next((int(found[1]) for line in process.stdout if (found := LINK.search(line))), 0)
        if not port:
            raise SystemExit(f"the server did not start:\n{(folder / 'log').read_text()[-2000:]}")
        yield psutil.Process(process.pid), port
    finally:
        process.terminate()
        process.communicate(timeout=60)


def appliance(folder: Path) -> list[str]:
    """Return the command that runs the appliance."""
    words = ["-m", "appliance", "serve", "--data-dir", str(folder / "data"), "--listen", "127.0.0.1:0"]
    return [sys.executable, *words]


def cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time of a process and its children; counted in hundredths of a second."""
    every = [process, *process.children(recursive=True)]
    return float(sum(times.user + times.system for times in (each.cpu_times() for each in every)))


def thread_seconds(process: psutil.Process) -> float:
    """Return the processor time of the threads that a process has now, to the microsecond."""
    folders = Path(f"/proc/{process.pid}/task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[0]) for each in folders) / 1e9


def settle(process: psutil.Process, patience_seconds: float = 180.0) -> float:
    """Wait until a server has no more work of its own; return how long that took."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < patience_seconds:
        before = cpu_seconds(process)
        time.sleep(2)
        if (cpu_seconds(process) - before) / 2 * 100 < QUIET_PERCENT:
            return time.perf_counter() - begin
    raise SystemExit("the server does not come to rest")


@define(eq=False)
class Server:
    """A running server, and the requests of its machines."""

    process: psutil.Process
    port: int
    token: str
    joins: list[bytes] = field(init=False)
    beats: list[bytes] = field(init=False)

    def build(self, machines: int) -> None:
        """Build the requests of so many machines."""
        self.joins = [registration(number, self.token) for number in range(machines)]
        self.beats = [keepalive(number, self.token) for number in range(machines)]

    def hammered(self, requests: Sequence[bytes], per_s: float | None = None) -> dict[str, float]:
        """Return how requests over kept connections went, and what the server spent on them."""
        return self._while(lambda: hammer(self.port, requests, connections=CONNECTIONS, per_s=per_s), len(requests))

    def dripped(self, seconds: float) -> dict[str, float]:
        """Return the same of one beat of every machine within a time, each on a new connection."""
        return self._while(lambda: drip(self.port, self.beats, seconds=seconds), len(self.beats))

    def _while(self, load: Callable[[], Beaten], count: int) -> dict[str, float]:
        before, begin = cpu_seconds(self.process), time.perf_counter()
        beaten = load()
        spent, took = cpu_seconds(self.process) - before, time.perf_counter() - begin
        return {**asdict(beaten), "cpu_us": spent / count * 1e6, "cpu_percent": spent / took * 100}


def listing(server: Server, calls: int) -> dict[str, float]:
    """Return what a list of all machines costs: after all have beaten, and again when none has."""
    found: dict[str, list[float]] = {"cpu_ms": [], "wall_ms": [], "again_cpu_ms": [], "again_wall_ms": []}
    size = 0
    for _ in range(calls):
        hammer(server.port, server.beats, connections=CONNECTIONS)
        settle(server.process)  # what the beats changed is written behind: no part of a list
        for way in ("", "again_"):
            one = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            one.connect()
            before, begin = thread_seconds(server.process), time.perf_counter()
            one.request("GET", "/api/v1/machine/list", headers={"Authorization": f"Bearer {server.token}"})
            answer = one.getresponse()
            body = answer.read()
            found[f"{way}wall_ms"].append((time.perf_counter() - begin) * 1000)
            found[f"{way}cpu_ms"].append((thread_seconds(server.process) - before) * 1000)
            one.close()
            size = len(body)
        count = sum(each["metrics"] is not None for each in json.loads(body))
        if answer.status != 200 or count < len(server.beats):
            raise SystemExit(f"{answer.status}: {count} of {len(server.beats)} machines are listed")
    return {name: statistics.median(values) for name, values in found.items()} | {"bytes": float(size)}


def starts(folder: Path, times: int) -> dict[str, float]:
    """Return the median seconds from a start to the first 200 of each."""
    found: dict[str, list[float]] = {"healthz_s": [], "readyz_s": []}
    for _ in range(times):
        begin = time.perf_counter()
        with served(appliance(folder), folder) as (_, port):
            for path, taken in (("/healthz", found["healthz_s"]), ("/readyz", found["readyz_s"])):
                while not _is_ok(port, path):
                    if time.perf_counter() - begin > 60:
                        raise SystemExit(f"{path} does not come to 200")
                    time.sleep(0.005)
                taken.append(time.perf_counter() - begin)
    return {name: statistics.median(taken) for name, taken in found.items()}


def _is_ok(port: int, path: str) -> bool:
    one = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    one.request("GET", path)
    status = one.getresponse().status
    one.close()
    return status == 200


def _check_stored(control: Control, count: int) -> None:
    """Make sure that the figures of some machines are in the series: a beat whose figures are lost is no figure."""
    for number in (0, count // 2, count - 1):
        host = control.ask("GET", f"/api/appliance/machines/{machine_id(number)}")["host_id"]
        read = json.dumps(control.ask("GET", f"/api/appliance/series?host={host}&metrics=memory_percent"))
        if str(metrics(number)["memory_utilization_pct"]) not in read:
            raise SystemExit(f"machine {number} has no figures: {read[:400]}")


def measure(folder: Path, *, machines: int, beats: int, rounds: int, calls: int) -> dict[str, dict[str, float]]:
    """Return every figure, by what was measured."""
    found: dict[str, dict[str, float]] = {}
    seconds = BEAT_SECONDS * machines / 10_000
    empty = folder / "empty"
    empty.mkdir()
    with (
        served(appliance(folder), folder) as (process, port),
        served([sys.executable, "-c", STOCK], empty) as (stock_process, stock_port),
    ):
        control = Control(folder / "data" / "run" / "control.sock")
        token = control.ask("POST", "/api/appliance/machines", {"pool": "default"})["token"]
        control.close()  # it connects again: an idle connection is not kept for so long
        ours = Server(process, port, token)
        servers = {"ours": ours, "stock": Server(stock_process, stock_port, STOCK_TOKEN)}
        for name, server in servers.items():
            server.build(machines)
            found[f"register, {name}"] = server.hammered(server.joins)
            found[f"become ready, {name}"] = server.hammered(server.beats)
        found["register, ours"]["settled_s"] = settle(process)
        every: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for _ in range(rounds):  # in turns, so that a change in what else the machine does meets both
            for name, server in servers.items():
                count = beats if name == "ours" else beats // 3
                every[name].append(server.hammered((server.beats * (beats // machines + 1))[:count]))
        for name, each in every.items():
            found[f"keepalives, {name}"] = min(each, key=lambda one: one["cpu_us"])
        paced = (ours.beats * (beats // machines + 1))[:beats]
        found[f"{PER_SECOND} keepalives a second, ours"] = ours.hammered(paced, PER_SECOND)
        for name, server in servers.items():
            settle(process)
            found[f"new connections, {name}"] = server.dripped(seconds)
        settle(process)
        _check_stored(control, machines)
        for name, server in servers.items():
            found[f"list, {name}"] = listing(server, calls)
        settle(process)
        control.close()
    found["start, all machines"] = starts(folder, rounds)
    found["start, empty"] = starts(empty, rounds)
    return found


def ratios(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return ours as a multiple of the stock views, and of an empty start."""
    made = {
        f"{what}, {name}": found[f"{what}, ours"][name] / found[f"{what}, stock"][name]
        for what, name in (
            ("keepalives", "cpu_us"),
            ("keepalives", "per_s"),
            ("new connections", "cpu_us"),
            ("list", "cpu_ms"),
            ("list", "again_cpu_ms"),
        )
    }
    return made | {"start": found["start, all machines"]["readyz_s"] / found["start, empty"]["readyz_s"]}


def main() -> None:
    """Measure, print a figure a line, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="1,000 machines, and fewer rounds")
    small = parser.parse_args().small
    results: dict[str, Any]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        results = measure(
            Path(name),
            machines=1_000 if small else 10_000,
            beats=2_000 if small else 30_000,
            rounds=1 if small else 3,
            calls=2 if small else 5,
        )
    results["ours as a multiple of stock"] = ratios(results)
    for title, figures in results.items():
        print(title)
        for label, figure in figures.items():
            print(f"  {label:<32}{figure:>14,.3f}")
    rounded = {title: {label: round(value, 4) for label, value in each.items()} for title, each in results.items()}
    print(json.dumps({"bench": "machines", "small": small, "load_average": os.getloadavg()[0], **rounded}))


if __name__ == "__main__":
    main()
