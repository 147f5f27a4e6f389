"""How fast the newest samples become the Prometheus text format, beside a plain writer of the same lines.

``python -m tests.bench.prometheus [--small] [--reference-python PATH]`` writes the figures of as many hosts with 8
GPUs, 4 disks, 2 interfaces and 6 fans as make 10,000 series (1,000 with ``--small``), by our names and dcgm-exporter's.
The plain writer formats each line by itself, labels included. Where the reference interpreter has prometheus_client, a
collector of its own makes the same families there. The last line is JSON; of many rounds the median counts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from appliance.prometheus import ScrapedHost, hosts_text
from appliance.prometheus.families import COUNTERS, GAUGES
from appliance.prometheus.text import escaped
from appliance.series.fields import HOST, KINDS
from appliance.series.flatten import read, sample_of
from tests.bench.series import START, Box

DEVICE_LABELS = {"disk": "device", "network": "interface", "fan": "fan"}

CLIENT = """
import json, statistics, sys, time
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
families = json.load(sys.stdin)
class Hosts:
    def collect(self):
        for name, kind, labels, lines in families:
            family = (GaugeMetricFamily if kind == "gauge" else CounterMetricFamily)(name, name, labels=labels)
            for values, figure in lines:
                family.add_metric(values, figure)
            yield family
registry = CollectorRegistry(auto_describe=False)
registry.register(Hosts())
took = []
for _ in range(ROUNDS + 1):
    begun = time.perf_counter()
    text = generate_latest(registry)
    took.append((time.perf_counter() - begun) * 1000)
series = sum(not line.startswith(b"#") for line in text.splitlines())
print(json.dumps({"series": series, "ms": statistics.median(took[1:])}))
"""


def scraped(number: int) -> ScrapedHost:
    """Return a busy host."""
    row = read(Box(number).sample(START + 100_000_000))[1]
    return ScrapedHost(host_id=f"host-{number}", server=f"server-{number}", hostname=f"box-{number}.example", row=row)


def series_of(text: str) -> int:
    """Count the lines that are figures."""
    return sum(not line.startswith("#") for line in text.splitlines())


def enough(wanted: int) -> list[ScrapedHost]:
    """Return as many hosts as have so many figures."""
    each = series_of(hosts_text([scraped(0), scraped(1)])) // 2
    return [scraped(number) for number in range(-(-wanted // each))]


Family = tuple[str, str, list[str], list[tuple[list[str], float]]]


def families_of(hosts: Sequence[ScrapedHost]) -> list[Family]:
    """Return the same figures one by one: name, kind, names of labels, and each line's labels and value."""
    found: list[Family] = []
    samples = [(host, sample_of(host.host_id, host.row)) for host in hosts if host.row is not None]
    for kind in (HOST, *KINDS):
        names = ["server", "host"]
        if kind.prefix:
            names += ["gpu", "uuid", "model"] if kind.prefix == "gpu" else [DEVICE_LABELS[kind.prefix]]
        for family in (*GAUGES[kind.prefix], *COUNTERS[kind.prefix]):
            lines: list[tuple[list[str], float]] = []
            for host, sample in samples:
                for device in getattr(sample, kind.attribute) if kind.attribute else (sample,):
                    labels = [host.server, host.hostname]
                    if kind.prefix == "gpu":
                        labels += [str(device.gpu_index), device.gpu_id, device.model]
                    elif kind.prefix:
                        labels.append(getattr(device, kind.key))
                    value = getattr(device, family.field)
                    if value is not None:
                        lines.append((labels, value))
            if lines:
                found.append((family.name, family.kind, names, lines))
    return found


def plain(families: Sequence[Family]) -> str:
    """Write each line by itself."""
    lines = []
    for name, kind, labels, figures in families:
        lines.append(f"# HELP {name} {name}")
        lines.append(f"# TYPE {name} {kind}")
        for values, figure in figures:
            shown = ",".join(f'{label}="{escaped(text)}"' for label, text in zip(labels, values, strict=True))
            lines.append(f"{name}{{{shown}}} {float(figure)!r}")
    return "\n".join(lines) + "\n"


def milliseconds(write: Callable[[], str], rounds: int) -> float:
    """Return the median time of a rendering; the first, which makes the labels, does not count."""
    took = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        write()
        took.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took[1:])


def client(python: str, families: Sequence[Family], rounds: int) -> dict[str, float]:
    """Return what prometheus_client needs in the reference interpreter; nothing where it is not installed."""
    look = subprocess.run([python, "-c", "import prometheus_client"], stderr=subprocess.DEVNULL, check=False)
    if look.returncode != 0:
        return {}
    done = subprocess.run(
        [python, "-c", CLIENT.replace("ROUNDS", str(rounds))],
        input=json.dumps(families),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="1,000 series and few rounds")
    parser.add_argument(
        "--reference-python",
        default=sys.executable,
        metavar="PATH",
        help="an interpreter with requirements-bench.txt installed: prometheus_client is measured where it has it",
    )
    options = parser.parse_args()
    rounds = 5 if options.small else 50
    hosts = enough(1_000 if options.small else 10_000)
    families = families_of(hosts)
    results: dict[str, dict[str, float]] = {}
    begun = time.perf_counter()
    text = hosts_text(hosts)
    first = (time.perf_counter() - begun) * 1000
    results["ours"] = {
        "series": series_of(text),
        "ms": milliseconds(lambda: hosts_text(hosts), rounds),
        "first_ms": first,
    }
    dcgm = hosts_text(hosts, names="dcgm")
    results["ours, dcgm"] = {
        "series": series_of(dcgm),
        "ms": milliseconds(lambda: hosts_text(hosts, names="dcgm"), rounds),
    }
    results["plain writer"] = {
        "series": series_of(plain(families)),
        "ms": milliseconds(lambda: plain(families), rounds),
    }
    found = client(options.reference_python, families, max(5, rounds // 5))
    if found:
        results["prometheus_client"] = found
    print(f"{len(hosts)} hosts, {len(text):,} bytes")
    for name, figures in results.items():
        figures["us_per_series"] = figures["ms"] * 1000 / figures["series"]
        figures["of_plain"] = (
            figures["us_per_series"] * results["plain writer"]["series"] / (results["plain writer"]["ms"] * 1000)
        )
        print(
            f"{name:18} {figures['series']:7,.0f} series {figures['ms']:8.2f} ms "
            f"{figures['us_per_series']:6.3f} us each, {figures['of_plain']:5.2f} of the plain writer"
        )
    rounded = {name: {key: round(value, 3) for key, value in found.items()} for name, found in results.items()}
    print(
        json.dumps(
            {"bench": "prometheus", "small": options.small, "load_average": os.getloadavg()[0], "results": rounded}
        )
    )


if __name__ == "__main__":
    main()
