"""How long the built file takes to start, to say its help and its version, and what it costs while idle.

``python -m tests.bench.start [--small]``, after ``sh packaging/build.sh``. Every figure stands beside a reference of
the same run: the same interpreter doing nothing, and importing the web stack alone. Idle means sampling eight scripted
NVIDIA GPUs each second with nobody looking.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.nvml.__main__ import busy
from tests.nvml.scripted import build

ROOT = Path(__file__).resolve().parents[2]
ZIPAPP = ROOT / "dist" / "appliance.pyz"
STACK = "import trio, hypercorn.trio, quart_trio, msgspec, cattrs, structlog, psutil"
GPUS = 8
LINK = re.compile(r"http://127\.0\.0\.1:(\d+)/")


def seconds(run: Callable[[], None], times: int) -> float:
    """Return the median wall-clock time of ``run``."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def quietly(*command: str, environment: dict[str, str] | None = None) -> None:
    """Run a program to its end; a failure ends the benchmark."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


@contextmanager
def served(
    folder: Path, environment: dict[str, str], config: Path | None = None
) -> Iterator[tuple[subprocess.Popen[str], float]]:
    """Start ``serve`` on any port; yield the process and the time from start to the first 200 of ``/healthz``."""
    command = [
        sys.executable,
        "-I",
        str(ZIPAPP),
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        str(folder / "data"),
    ]
    if config is not None:
        command += ["--config", str(config)]
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            found = LINK.search(line)
            if found:
                break
        else:
            raise SystemExit(f"the appliance did not start:\n{said}")
        with urllib.request.urlopen(f"http://127.0.0.1:{found.group(1)}/healthz", timeout=10) as answer:
            assert answer.status == 200
        yield process, time.perf_counter() - start
    finally:
        process.terminate()
        process.wait(timeout=30)


def starts(environment: dict[str, str], times: int) -> list[float]:
    """Return the times to the first 200 of so many starts, each in an empty data directory."""
    taken = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder, served(Path(folder), environment) as (_, first):
            taken.append(first)
    return taken


def idle(environment: dict[str, str], watch_seconds: float) -> dict[str, float]:
    """Return resident memory and the share of one core while sampling each second with nobody looking."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "gpus.txt"
        script.write_text(busy(GPUS))
        library = build(folder)
        config = folder / "appliance.toml"
        config.write_text("[devices]\nsample_seconds = 1.0\n")
        seen = environment | {"NVML_SCRIPT": str(script), "LD_LIBRARY_PATH": str(library.parent)}
        with served(folder, seen, config) as (process, _):
            watched = psutil.Process(process.pid)
            time.sleep(5)  # what a start still has to finish is no idle cost
            before = watched.cpu_times()
            time.sleep(watch_seconds)
            after = watched.cpu_times()
            used = after.user + after.system - before.user - before.system
            children = [child.memory_info().rss for child in watched.children(recursive=True)]
            return {
                "idle_rss_mb": (watched.memory_info().rss + sum(children)) / 1e6,
                "idle_cpu_percent": 100 * used / watch_seconds,
                "idle_gpus_seen": float(gpus_seen(folder / "data")),
            }


def gpus_seen(data_dir: Path) -> int:
    """Return how many GPUs the running appliance shows: an idle figure without its GPUs would be no figure."""
    command = [sys.executable, "-I", str(ZIPAPP), "devices", "--json", "--data-dir", str(data_dir)]
    return len(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["items"])


def main() -> None:
    """Measure and print a table, then one line of JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--small", action="store_true", help="fewer rounds, for CI")
    chosen = options.parse_args()
    times = 3 if chosen.small else 9
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    cache = Path("/var/cache/appliance") if os.geteuid() == 0 else Path.home() / ".cache" / "appliance"

    python = (sys.executable, "-I", "-c")
    figures = {
        "python_s": seconds(lambda: quietly(*python, "pass"), times),
        "stack_imports_s": seconds(lambda: quietly(*python, STACK), times),
    }
    cold = []
    for _ in range(1 if chosen.small else 3):
        shutil.rmtree(cache, ignore_errors=True)
        cold += starts(environment, 1)
    figures["cold_start_s"] = statistics.median(cold)
    figures["warm_start_s"] = statistics.median(starts(environment, times))
    appliance = (sys.executable, "-I", str(ZIPAPP))
    figures["help_s"] = seconds(lambda: quietly(*appliance, "--help", environment=environment), times)
    figures["version_s"] = seconds(lambda: quietly(*appliance, "--version", environment=environment), times)
    figures |= idle(environment, 10 if chosen.small else 60)

    print(f"{'':24}{'figure':>10}{'x python':>10}{'x imports':>11}")
    for name, value in figures.items():
        if name.endswith("_s"):
            ratios = f"{value / figures['python_s']:10.1f}{value / figures['stack_imports_s']:11.2f}"
            print(f"{name:24}{value:10.3f}{ratios}")
        else:
            print(f"{name:24}{value:10.2f}")
    print(json.dumps({"bench": "start", **{name: round(value, 4) for name, value in figures.items()}}))


if __name__ == "__main__":
    main()
