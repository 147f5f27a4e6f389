"""What GPU sharing costs, beside stock Quart views that answer the same from dicts in the same run.

``python -m tests.bench.sharing [--small]`` puts 2,000 agents (``--small``: 200), each with 8 GPUs, 16 running workers,
32 connections and a share, into the database of an appliance in a process of its own, over which then go

* status reports of 12 kB with 25 lines of line protocol, over 32 connections that are kept; that all were stored is
  looked up in the series;
* one report of every agent in 30 s (``--small``: at the same rate), each on a new connection, and as long without any:
  a server that sleeps in between costs several times what it does under load, on machines whose caches others use
  meanwhile, and so does the stock one;
* polls of the configuration, each with a fresh licence, and followed short links, each counted durably;
* the list of all agents: after each has reported, and again at once.

The stock views sign no licence and write nothing to disk. Server figures are its own processor time, of all its threads
and children. The last line is JSON.
"""

import argparse
import http.client
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
from attrs import asdict, define

from appliance.plugin import insert_credential
from plugins.gpu_sharing import store
from tests.bench.beats import Beaten, drip, hammer
from tests.bench.ingest import Control
from tests.bench.machines import appliance, cpu_seconds, served, settle, thread_seconds
from tests.bench.reports import GPUS, WORKERS, FleetAgent, made

CONNECTIONS = 32
GUESTS = 64
"""Addresses that links are followed from: without a credential each may ask 120 times a minute."""
REPORT_SECONDS = 30.0
FLEET = 2_000
STOCK = """
import json, sys, time, trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import jsonify, request
from quart_trio import QuartTrio
app = QuartTrio("bench")
fleet = json.load(open(sys.argv[1]))
agents = {one["agent_id"]: one for one in fleet["agents"]}
tokens, shares = fleet["secrets"], fleet["shares"]
codes = {one["worker_id"]: [code] for code, one in shares.items()}
used, figures, seen = dict.fromkeys(shares, 0), {}, {}
license = {"plain": "x" * 300, "encrypted": "x" * 88}
def is_agent(agent_id):
    return tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer ")) == agent_id
def value(text):
    return float(text.rstrip("i"))
@app.post("/api/v1/agents/<agent_id>/status")
async def status(agent_id):
    if not is_agent(agent_id):
        return {"error": "unknown", "hint": ""}, 401
    body, agent = await request.get_json(), agents[agent_id]
    gpus = {gpu["gpu_id"]: gpu for gpu in body["gpus"]}
    for gpu in agent["gpus"]:
        gpu |= {name: gpus[gpu["gpu_id"]][name] for name in ("model", "vram_mb", "driver_version", "cuda_version")}
    workers = {worker["worker_id"]: worker for worker in agent["workers"]}
    for said in body["workers"]:
        worker = workers[said["worker_id"]]
        worker |= {"status": said["status"], "pid": said["pid"]}
        for one in said["connections"]:
            seen.setdefault((one["client_ip"], one["client_port"], one["client_pid"]), one["connected_at"])
        worker["connections"] = said["connections"]
    for line in body["metrics"].split("\\n"):
        head, fields, at = line.replace("\\\\ ", "\\0").split(" ")
        measurement, *tags = head.split(",")
        found = dict(tag.split("=") for tag in tags)
        read = {name: value(text) for name, text in (one.split("=") for one in fields.split(","))}
        figures[measurement, found.get("gpu_id") or found.get("worker_id") or agent_id] = int(at), read
    agent["last_seen_at"] = body["timestamp"]
    return {"success": True, "config_version": 1, "license": None,
            "worker_share_codes": {worker_id: codes.get(worker_id, ["0"]) for worker_id in workers}}
@app.get("/api/v1/agents/<agent_id>/config")
async def config(agent_id):
    if not is_agent(agent_id):
        return {"error": "unknown", "hint": ""}, 401
    names = ("worker_id", "gpu_ids", "gpu_indices", "vram_mb", "compute_percent", "listen_port", "enabled")
    return {"config_version": 1, "license": license, "workers": [
        {name: each[name] for name in names} | {"share_codes": codes.get(each["worker_id"], ["0"])}
        for each in agents[agent_id]["workers"]]}
@app.get("/s/<code>")
async def follow(code):
    used[code] += 1
    return shares[code]
@app.get("/api/v1/agents")
async def listed():
    if request.headers.get("Authorization") != "Bearer " + fleet["token"]:
        return {"error": "unknown", "hint": ""}, 401
    return jsonify(agents=list(agents.values()))
async def main():
    config = Config(); config.bind = ["127.0.0.1:0"]; config.errorlog = None; config.keep_alive_max_requests = 10**9
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(serve, app, config)
        print(f"Open http://{binds[0].removeprefix('http://')}", flush=True)
trio.run(main)
"""


@define(eq=False)
class Server:
    """A running server, and the requests that go to it."""

    process: psutil.Process
    port: int
    token: str
    """A person's."""
    guests: int = 0
    """How many have followed links; each round others do."""

    def hammered(self, requests: Sequence[bytes]) -> dict[str, float]:
        """Return how requests over kept connections went, and what the server spent on them."""
        return self._while(lambda: hammer(self.port, requests, connections=CONNECTIONS), len(requests))

    def followed(self, requests: Sequence[bytes]) -> dict[str, float]:
        """Return the same of links that are followed from many addresses."""
        sources = [f"127.1.{number >> 8}.{number & 255}" for number in range(self.guests, self.guests + GUESTS)]
        self.guests += GUESTS
        load = lambda: hammer(self.port, requests, connections=GUESTS, sources=sources)  # noqa: E731
        return self._while(load, len(requests))

    def dripped(self, requests: Sequence[bytes], seconds: float) -> dict[str, float]:
        """Return the same of requests spread over a time, each on a new connection."""
        return self._while(lambda: drip(self.port, requests, seconds=seconds), len(requests))

    def _while(self, load: Callable[[], Beaten], count: int) -> dict[str, float]:
        before, begin = cpu_seconds(self.process), time.perf_counter()
        beaten = load()
        spent, took = cpu_seconds(self.process) - before, time.perf_counter() - begin
        return {**asdict(beaten), "cpu_us": spent / count * 1e6, "cpu_percent": spent / took * 100}

    def at_rest(self, seconds: float) -> dict[str, float]:
        """Return what the server does when nobody asks it anything."""
        before = cpu_seconds(self.process)
        time.sleep(seconds)
        return {"cpu_percent": (cpu_seconds(self.process) - before) / seconds * 100}

    def read(self, path: str) -> bytes:
        """GET what must be there, as a person."""
        one = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        one.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        answer = one.getresponse()
        body = answer.read()
        one.close()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:400]!r}")
        return body


def fill(folder: Path, agents: int) -> tuple[list[FleetAgent], str]:
    """Put agents into the database of an appliance that does not run; return them and their owner's token."""
    with served(appliance(folder), folder):
        with closing(_control(folder)) as control:
            person = {"name": "ana", "role": "user", "password": "long enough password"}
            control.ask("POST", "/api/appliance/users", person)
            token = control.ask("POST", "/api/appliance/tokens", {"kind": "pat", "user": "ana"})["token"]
        with closing(sqlite3.connect(folder / "data" / "appliance.db")) as connection:
            (owner,) = connection.execute("SELECT subject FROM credentials_credential WHERE kind = 'pat'").fetchone()
    fleet = [made(number, owner) for number in range(agents)]
    with closing(sqlite3.connect(folder / "data" / "appliance.db")) as connection, connection:
        for each in fleet:
            store.put_agent(connection, each.agent)
            for worker in each.agent.workers.values():
                store.put_worker(connection, worker)
            store.put_share(connection, each.share)
            insert_credential(connection, each.minted)
    return fleet, token


def listing(server: Server, requests: Callable[[], list[bytes]], calls: int) -> dict[str, float]:
    """Return what a list of all agents costs: after all have reported, and again when none has."""
    found: dict[str, list[float]] = {"cpu_ms": [], "wall_ms": [], "again_cpu_ms": [], "again_wall_ms": []}
    size = 0
    for _ in range(calls):
        server.hammered(requests())
        settle(server.process)  # what the reports changed is written behind: no part of a list
        for way in ("", "again_"):
            before, begin = thread_seconds(server.process), time.perf_counter()
            body = server.read("/api/v1/agents")
            found[f"{way}wall_ms"].append((time.perf_counter() - begin) * 1000)
            found[f"{way}cpu_ms"].append((thread_seconds(server.process) - before) * 1000)
            size = len(body)
    return {name: statistics.median(values) for name, values in found.items()} | {"bytes": float(size)}


def _check_stored(control: Control, server: Server, fleet: list[FleetAgent]) -> None:
    """Make sure that reports are where they belong: one that is lost is no figure."""
    for each in (fleet[0], fleet[len(fleet) // 2], fleet[-1]):
        host, until = each.agent.host_id, each.last_unix_ms / 1000
        names = "cpu_percent,memory_used_bytes"
        # Of 900 seconds 1,000 points are all samples: no two reports of an agent are closer than a second.
        span = f"from_unix_s={until - 900}&to_unix_s={until + 1}&max_points=1000"
        window = control.ask("GET", f"/api/appliance/series?host={host}&metrics={names}&{span}")
        for column in window["series"]:
            count = sum(value is not None for value in column["mean"])
            if count != each.reports:
                raise SystemExit(f"{count} of {each.reports} reports of {each.agent.hostname} are in the series")
        shown = json.loads(server.read(f"/api/v1/agents/{each.agent.agent_id}"))
        states = {(worker["status"], len(worker["connections"])) for worker in shown["workers"]}
        if shown["status"] != "online" or states != {("running", 2)} or len(shown["gpus"]) != GPUS:
            raise SystemExit(f"{each.agent.hostname} is not as it reports: {states}")


def _check_counted(server: Server, uses: int) -> None:
    shares = json.loads(server.read("/api/v1/shares"))["shares"]
    counted = sum(share["used_count"] for share in shares)
    if counted != uses:
        raise SystemExit(f"{counted} of {uses} uses of links are counted")


def _shown(folder: Path, server: Server, fleet: list[FleetAgent]) -> Path:
    """Write down what the stock views answer from; return the file."""
    known = {
        "agents": json.loads(server.read("/api/v1/agents"))["agents"],
        "secrets": {each.secret: each.agent.agent_id for each in fleet},
        "shares": {
            each.share.short_code: {
                "worker_id": each.share.worker_id,
                "hardware_vendor": "nvidia",
                "connection_url": f"tcp://{each.share.connection_ip}:9001",
                "agent_arch": "amd64",
            }
            for each in fleet
        },
        "token": server.token,
    }
    path = folder / "fleet.json"
    path.write_text(json.dumps(known))
    return path


def measure(folder: Path, *, agents: int, reports: int, rounds: int, calls: int) -> dict[str, dict[str, float]]:
    """Return every figure, by what was measured."""
    found: dict[str, dict[str, float]] = {}
    fleet, token = fill(folder, agents)
    seconds = REPORT_SECONDS * agents / FLEET
    reported = [fleet[number % agents] for number in range(reports)]
    with served(appliance(folder), folder) as (process, port):
        ours = Server(process, port, token)
        found["start, ours"] = {"settled_s": settle(process)}
        ours.hammered([each.report() for each in fleet])
        stock_folder = folder / "stock"
        stock_folder.mkdir()
        stock_command = [sys.executable, "-c", STOCK, str(_shown(folder, ours, fleet))]
        with served(stock_command, stock_folder) as (stock_process, stock_port):
            servers = {"ours": ours, "stock": Server(stock_process, stock_port, token)}
            kinds: dict[str, Callable[[], list[bytes]]] = {
                "reports": lambda: [each.report() for each in reported],
                "config": lambda: [each.poll() for each in reported],
                "links": lambda: [each.redemption() for each in reported],
            }
            for what, requests in kinds.items():
                settle(process)
                every: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
                for _ in range(rounds):  # in turns, so that a change in what else the machine does meets both
                    for name, server in servers.items():
                        load = server.followed if what == "links" else server.hammered
                        every[name].append(load(requests()))
                        if what == "reports" and name == "stock":
                            for each in reported:
                                each.reports -= 1
                for name, each_round in every.items():
                    found[f"{what}, {name}"] = min(each_round, key=lambda one: one["cpu_us"])
            _check_counted(ours, reports * rounds)
            settle(process)
            found["at rest, ours"] = ours.at_rest(max(seconds, 10.0))
            for number in range(rounds):
                found[f"new connections {number + 1}, ours"] = ours.dripped([each.report() for each in fleet], seconds)
            with closing(_control(folder)) as control:
                _check_stored(control, ours, fleet)
            found["new connections, stock"] = servers["stock"].dripped([each.report() for each in fleet], seconds)
            for name, server in servers.items():
                found[f"list, {name}"] = listing(server, lambda: [each.report() for each in fleet], calls)
            found["memory"] = {f"{name}_mb": one.process.memory_info().rss / 2**20 for name, one in servers.items()}
    return found


def _control(folder: Path) -> Control:
    return Control(folder / "data" / "run" / "control.sock")


def ratios(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return ours as a multiple of the stock views."""
    pairs = [(what, name) for what in ("reports", "config", "links") for name in ("cpu_us", "per_s")]
    pairs += [("list", "cpu_ms"), ("list", "again_cpu_ms")]
    compared = {f"{what}, {name}": found[f"{what}, ours"][name] / found[f"{what}, stock"][name] for what, name in pairs}
    dripped = min(
        each["cpu_us"] for title, each in found.items() if title.startswith("new connections ") and "ours" in title
    )
    return compared | {"new connections, cpu_us": dripped / found["new connections, stock"]["cpu_us"]}


def main() -> None:
    """Measure, print a figure a line, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="200 agents, and fewer rounds")
    small = parser.parse_args().small
    results: dict[str, Any]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        results = measure(
            Path(name),
            agents=200 if small else FLEET,
            reports=600 if small else 4_000,
            rounds=1 if small else 3,
            calls=1 if small else 3,
        )
    results["ours as a multiple of stock"] = ratios(results)
    print(f"{GPUS} GPUs and {WORKERS} workers an agent")
    for title, figures in results.items():
        print(title)
        for label, figure in figures.items():
            print(f"  {label:<32}{figure:>14,.3f}")
    rounded = {title: {label: round(value, 4) for label, value in each.items()} for title, each in results.items()}
    print(json.dumps({"bench": "sharing", "small": small, "load_average": os.getloadavg()[0], **rounded}))


if __name__ == "__main__":
    main()
