"""What a dashboard waits for, over HTTP from the running appliance: ``latest`` and histories of a host with 8 GPUs.

``python -m tests.bench.wire`` posts a day of samples 2 s apart and then, to a second appliance, 30 days 60 s apart, as
arrays and like an agent that was cut off, and asks for each length that clients offer over one kept connection: the
median and the worst of the repetitions from the request to the last packed byte, and what is sent. ``--small`` does so
with a fortieth of the samples. Readings are noise, so nothing packs better than real ones. The last line is JSON.
"""

import argparse
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from tests.bench.agents import sample
from tests.bench.ingest import Control, appliance

ARRAY = 300
HISTORIES = (("15 min", 15), ("1 h", 60), ("6 h", 360), ("24 h", 1440), ("30 days", 43_200))
DAY_SECONDS = 86_400


def busy(samples: int, step_seconds: float) -> Iterator[dict[str, Any]]:
    """Yield samples up to now whose every reading is noise, as agents round them."""
    random, moved, now = Random(20261121), [0] * 5, datetime.now(UTC)
    for number in range(samples):
        one = sample()
        at = now - timedelta(seconds=(samples - number) * step_seconds)
        one["collected_at"] = at.isoformat(timespec="microseconds")
        for name in ("cpu_usage_percent", "cpu_iowait_percent", "memory_percent", "swap_percent"):
            one[name] = round(random.uniform(0, 100), 1)
        moved = [total + random.randrange(10**8) for total in moved]
        one["network_rx_bytes_total"], one["network_tx_bytes_total"] = moved[4], moved[4] // 3
        for disk, total in zip(one["disks"], moved, strict=False):
            disk["read_bytes_total"], disk["write_bytes_total"] = total, total // 2
            disk["busy_time_ms_total"] = total // 10**5
        for gpu in one["gpus"]:
            for name in ("utilization_gpu_percent", "temperature_c", "fan_speed_percent"):
                gpu[name] = float(random.randrange(101))
            gpu["memory_percent"] = round(random.uniform(0, 100), 2)
        for fan in one["fans"]:
            fan["speed_rpm"] = float(random.randrange(800, 9000))
        yield one


def fill(one: http.client.HTTPConnection, token: str, samples: int, step_seconds: float) -> float:
    """Post everything; return how many were taken in a second."""
    took, sent, batch = 0.0, busy(samples, step_seconds), list[dict[str, Any]]()
    while batch := [each for _, each in zip(range(ARRAY), sent, strict=False)]:
        body = json.dumps(batch)
        begin = time.perf_counter()
        one.request("POST", "/api/ingest/servers/full/metrics/", body, {"X-Monitoring-Token": token})
        answer = one.getresponse()
        said = json.loads(answer.read())
        took += time.perf_counter() - begin
        if answer.status != 200 or said["accepted"] != len(batch):
            raise RuntimeError(said)
    return samples / took


def reader(control: Control) -> dict[str, str]:
    """Return the headers of a person's program."""
    person = {"name": "ana", "role": "viewer", "password": "long enough password"}
    control.ask("POST", "/api/appliance/users", person)
    token = control.ask("POST", "/api/appliance/tokens", {"kind": "pat", "user": "ana"})["token"]
    return {"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip"}


def ask(one: http.client.HTTPConnection, path: str, headers: dict[str, str], times: int) -> dict[str, float]:
    """Ask for one thing again and again, but for the first time counted."""
    took: list[float] = []
    size = 0
    for _ in range(times + 1):
        begin = time.perf_counter()
        one.request("GET", path, headers=headers)
        answer = one.getresponse()
        size = len(answer.read())
        took.append((time.perf_counter() - begin) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}")
    return {"p50_ms": statistics.median(took[1:]), "worst_ms": max(took[1:]), "kB": size / 1000}


def measure(folder: Path, samples: int, step_seconds: float, times: int) -> dict[str, dict[str, float]]:
    """Fill an appliance and ask it for everything."""
    folder.mkdir()
    with appliance(folder) as (port, control, _):
        token = control.ask("POST", "/api/appliance/servers", {"slug": "full"})["token"]
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as one:
            found = {"taken in": {"per_s": fill(one, token, samples, step_seconds)}}
            headers = reader(control)
            time.sleep(6)  # rolled up and written, as it is for whoever comes later
            found["latest"] = ask(one, "/api/metrics/latest/?server=full", headers, times * 20)
            for name, minutes in HISTORIES:
                path = f"/api/metrics/history/?server=full&minutes={minutes}"
                found[name] = ask(one, path, headers, times)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a fortieth of the samples, few repetitions")
    small = parser.parse_args().small
    share, times = (40, 3) if small else (1, 25)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        found = {
            title: measure(Path(name) / str(step), days * DAY_SECONDS // step // share, step, times)
            for title, days, step in (("a day at 2 s", 1, 2), ("30 days at 60 s", 30, 60))
        }
    for title, asked in found.items():
        print(title)
        for label, figures in asked.items():
            print(f"  {label:<10}" + "".join(f"  {unit} {figure:>9,.2f}" for unit, figure in figures.items()))
    print(json.dumps({"bench": "wire", "small": small, "found": found}))


if __name__ == "__main__":
    main()
