"""How fast samples are taken in and shown, over HTTP, beside a Django application that does the same durable work.

``python -m tests.bench.ingest [--small] [--reference-python PATH]`` posts the 5.9 kB sample of a host with 8 GPUs,
4 disks and 6 fans over 8 keep-alive connections to the appliance and, when PATH has django and gunicorn
(packaging/requirements-bench.txt), to `reference_django` on gunicorn (2 workers, 4 threads each) in the same run; then
fills the appliance to 100,000 snapshots and asks for ``latest``; then lets 500 agents report every 2 s for a minute.
``--million`` stores a million such samples and tells their bytes on disk instead. The last line is JSON.
"""

import argparse
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import trio
from attrs import asdict

from appliance.database import Database
from appliance.series.limits import Retention
from appliance.series.schema import MIGRATIONS, OWNER
from appliance.series.service import Series
from plugins.metrics_ingest.sample import read_batch
from tests.bench.agents import PLACE, Load, Sender, agent, fleet, hammer, sample

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 8
FLEET = 500
STEP_US = 2_000_000


class Control(http.client.HTTPConnection):
    """The appliance's control socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request and return the answer's JSON."""
        self.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        answer = self.getresponse()
        found = json.loads(answer.read())
        if answer.status >= 400:
            raise RuntimeError(found)
        return found


@contextmanager
def appliance(folder: Path) -> Iterator[tuple[int, Control, psutil.Process]]:
    """Run the appliance; yield its port, its control socket and its process."""
    command = [
        sys.executable,
        "-m",
        "appliance",
        "serve",
        "--data-dir",
        str(folder / "data"),
        "--listen",
        "127.0.0.1:0",
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env={**os.environ, "HOME": str(folder)}
        )
    try:
        assert process.stdout is not None
        port = next(int(found[1]) for line in process.stdout if (found := re.search(r"Open +http://[^:]+:(\d+)", line)))
        control = Control(folder / "data" / "run" / "control.sock")
        yield port, control, psutil.Process(process.pid)
        control.close()
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextmanager
def reference(folder: Path, python: str, slugs: Sequence[str]) -> Iterator[tuple[int, dict[str, str], psutil.Process]]:
    """Run the Django application under gunicorn; yield its port, the tokens and its first process."""
    script = Path(__file__).with_name("reference_django.py")
    made = subprocess.run(
        [python, str(script), "make", str(folder), *slugs], check=True, capture_output=True, text=True
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["-w", "2", "-k", "gthread", "--threads", "4", "--keep-alive", "75", "--no-control-socket"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [python, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", *options, "reference_django:application"],
            cwd=script.parent,
            env={**os.environ, "BENCH_FOLDER": str(folder), "PYTHONPATH": str(script.parent)},
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError((folder / "log").read_text()) from None
                time.sleep(0.1)
        yield port, json.loads(made.stdout), psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time of a process and its children."""
    every = [process, *process.children(recursive=True)]
    return sum(times.user + times.system for times in (each.cpu_times() for each in every))


def measured(process: psutil.Process, senders: Sequence[Sender], count: int) -> dict[str, float]:
    """Load a server, a little first, and return the figures."""
    hammer(senders, max(len(senders), count // 10))
    before = cpu_seconds(process)
    load = hammer(senders, count)
    return shown(load) | {"cpu_us": (cpu_seconds(process) - before) / count * 1e6}


def shown(load: Load) -> dict[str, float]:
    """Return a load's figures for the table."""
    return {name: float(value) for name, value in asdict(load).items()}


def ingest(folder: Path, count: int, python: str | None) -> dict[str, dict[str, float]]:
    """Measure ours and, where there is a Python for it, the reference."""
    slugs = [f"bench-{number}" for number in range(CONNECTIONS)]
    found: dict[str, dict[str, float]] = {}
    (folder / "ours").mkdir()
    with appliance(folder / "ours") as (port, control, process), ExitStack() as stack:
        tokens = {slug: control.ask("POST", "/api/appliance/servers", {"slug": slug})["token"] for slug in slugs}
        senders = [Sender.connect(port, slug, tokens[slug], number) for number, slug in enumerate(slugs)]
        for sender in senders:
            stack.callback(sender.sock.close)
        found["appliance"] = measured(process, senders, count)
    if python is not None:
        (folder / "reference").mkdir()
        with reference(folder / "reference", python, slugs) as (port, known, process), ExitStack() as stack:
            senders = [Sender.connect(port, slug, known[slug], number) for number, slug in enumerate(slugs)]
            for sender in senders:
                stack.callback(sender.sock.close)
            found["django"] = measured(process, senders, max(count // 20, 40))
    return found


def reading(folder: Path, count: int, asked: int) -> dict[str, float]:
    """Fill one server with backdated samples, as arrays, and ask for ``latest``."""
    folder.mkdir()
    with appliance(folder) as (port, control, _):
        token = control.ask("POST", "/api/appliance/servers", {"slug": "full"})["token"]
        one = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        step, text = 46 * 3600 / count, json.dumps(sample())
        newest = datetime.now(UTC)
        for start in range(0, count, 500):
            times = [
                newest - timedelta(seconds=(count - number) * step) for number in range(start, min(start + 500, count))
            ]
            body = "[" + ",".join(text.replace(PLACE, at.isoformat(timespec="microseconds")) for at in times) + "]"
            one.request("POST", "/api/ingest/servers/full/metrics/", body, {"X-Monitoring-Token": token})
            answer = one.getresponse()
            said = answer.read()
            if answer.status != 200:
                raise RuntimeError(said)
        control.ask(
            "POST", "/api/appliance/users", {"name": "ana", "role": "viewer", "password": "long enough password"}
        )
        pat = control.ask("POST", "/api/appliance/tokens", {"kind": "pat", "user": "ana"})["token"]
        headers = {"Authorization": f"Bearer {pat}", "Accept-Encoding": "gzip"}
        took: list[float] = []
        for _ in range(asked):
            begin = time.perf_counter()
            one.request("GET", "/api/metrics/latest/?server=full", headers=headers)
            one.getresponse().read()
            took.append((time.perf_counter() - begin) * 1000)
        one.close()
    return {"snapshots": count, "p50_ms": statistics.median(took), "p99_ms": sorted(took)[len(took) * 99 // 100]}


def reporting(folder: Path, servers: int, seconds: float) -> dict[str, float]:
    """Let many agents report every 2 s; count what was acknowledged and is not there."""
    folder.mkdir()
    with appliance(folder) as (port, control, process), ExitStack() as stack:
        senders = {}
        for number in range(servers):
            made = control.ask("POST", "/api/appliance/servers", {"slug": f"fleet-{number}"})
            senders[made["slug"]] = Sender.connect(port, made["slug"], made["token"], number)
            stack.callback(senders[made["slug"]].sock.close)
        load, late = fleet(list(senders.values()), seconds)
        items = control.ask("GET", "/api/appliance/servers")["items"]
        counts = {item["slug"]: item["snapshot_count"] for item in items}
        lost = sum(sender.acknowledged - counts[slug] for slug, sender in senders.items())
        rss = process.memory_info().rss / 2**20
    return {"servers": servers, "lost": lost, "late": late, "rss_mb": rss} | shown(load)


async def million(folder: Path, count: int) -> dict[str, float]:
    """Store samples of eight servers, all tiers, and tell how large they are."""
    start = 1_790_000_000_000_000
    each = count // 8
    now = start + each * STEP_US
    kept = Retention(raw_hours=24 * 400, ten_seconds_days=400, disk_budget_bytes=2**40)
    bodies = [json.dumps({"sample": sample(number), "agent": agent()}).encode() for number in range(8)]
    noise = [0.37 * number % 100 for number in range(997)]
    begin = time.perf_counter()
    async with Database.open(folder / "a.db", migrations={OWNER: MIGRATIONS}) as database:
        series = Series(database, lambda: now, kept)
        for first in range(0, each, 250):
            for number, body in enumerate(bodies):
                batch = []
                for place in range(first, min(first + 250, each)):
                    (one,) = read_batch(body, series_id=f"host-{number}", now_unix_us=start).incoming
                    one.sent.taken_at_unix_us = start + place * STEP_US
                    _stir(one.sent, noise, place)
                    batch.append(one.sent)
                await series.append_all(batch)
            if first % 5000 == 0:
                await series.keep()
        await series.keep()
        used = series.usage().used_bytes
    return {
        "samples": each * 8,
        "bytes_per_sample": used / (each * 8),
        "per_s": each * 8 / (time.perf_counter() - begin),
    }


def _stir(sent: Any, noise: Sequence[float], place: int) -> None:
    """Let every reading move as real ones do, so that nothing packs better than they would."""
    value = noise[place % len(noise)]
    sent.cpu_percent = sent.cpu_user_percent = value
    sent.memory_used_bytes += int(value * 1e6)
    sent.network_rx_bytes_total += place * 1_000_003
    for number, disk in enumerate(sent.disks):
        disk.read_bytes_total += place * (1_000_003 + number)
        disk.busy_time_ms_total += place * 700
    for number, gpu in enumerate(sent.gpus):
        other = noise[(place * 7 + number * 13) % len(noise)]
        gpu.utilization_percent, gpu.temperature_celsius, gpu.power_watts = other, 40 + other / 3, 100 + 3 * other
        gpu.vram_used_bytes += int(other * 1e6)
        gpu.vram_used_percent = 60 + other / 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--reference-python")
    arguments = parser.parse_args()
    small = arguments.small
    found: dict[str, Any]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        if arguments.million:
            found = {"million": trio.run(million, folder, 1_000_000)}
        else:
            found = dict(ingest(folder, 400 if small else 20_000, arguments.reference_python))
            found["latest"] = reading(folder / "latest", 2_000 if small else 100_000, 50 if small else 500)
            found["fleet"] = reporting(folder / "fleet", 20 if small else FLEET, 4 if small else 60)
            if small:
                found["million"] = trio.run(million, folder, 4_000)
    for title, figures in found.items():
        print(title)
        for label, figure in figures.items():
            print(f"  {label:<20}{figure:>14,.2f}")
    if "django" in found:
        print(f"  {'times as many':<20}{found['appliance']['per_s'] / found['django']['per_s']:>14,.1f}")
    print(json.dumps({"bench": "ingest", **found}))


if __name__ == "__main__":
    main()
