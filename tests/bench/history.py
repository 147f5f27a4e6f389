"""How fast the history of the metrics API answers: raw, 24 h and 30 days of a host with 8 GPUs, 4 disks, 6 fans.

``python -m tests.bench.history`` stores a day at 2 s and 30 days at 60 s (points and bytes are those of 30 days at 2 s)
and asks the endpoint for each, from the request to the packed bytes: the median and the worst of the repetitions, what
is sent, and for how long the event loop was kept from others meanwhile. ``--small`` does so with a twentieth of the
samples. Readings are noise, so nothing packs better than real ones. The last line is JSON.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import trio
from attrs import evolve

from appliance.database import Database
from appliance.http.answers import render
from appliance.plugin import Call
from appliance.series.limits import Retention
from appliance.series.schema import MIGRATIONS as SERIES_MIGRATIONS
from appliance.series.schema import OWNER
from appliance.series.service import Series
from plugins.metrics_ingest.history_routes import history
from plugins.metrics_ingest.schema import MIGRATIONS
from tests.bench.series import START, Box
from tests.plugins.metrics_ingest.parts import Parts, head_of

SECOND = 1_000_000
BATCH = 120
CASES = (("raw, 48 min", 48, 2), ("24 h", 1440, 2), ("30 days", 43_200, 60))
"""Name, minutes, and the seconds between two samples."""


async def stored(path: Path, count: int, step_us: int) -> Parts:
    """Fill a database with samples of one server."""
    end = START + count * step_us
    migrations = {OWNER: SERIES_MIGRATIONS, "metrics_ingest": MIGRATIONS}
    async with Database.open(path, migrations=migrations, now=lambda: end) as database:
        parts = Parts(database, lambda: end, Series(database, lambda: end, Retention(raw_hours=100_000)))
        server, box = await parts.add("box", []), Box(0)
        for begin in range(0, count, BATCH):
            moments = range(begin, min(begin + BATCH, count))
            samples = [box.sample(START + number * step_us) for number in moments]
            await parts.series.append_all([evolve(each, host_id=server.series_id, networks=()) for each in samples])
            if begin % (BATCH * 20) == 0:  # as the service does
                await parts.series.keep()
        await parts.series.keep()
    return parts


async def asked(path: Path, end: int, minutes: int, times: int) -> dict[str, float]:
    """Ask the endpoint again and again."""
    async with Database.open(path, now=lambda: end) as database:
        parts = Parts(database, lambda: end, Series(database, lambda: end, Retention(raw_hours=100_000)))
        await parts.series.recover()
        head = head_of(f"minutes={minutes}", accept_encoding="gzip")
        took: list[float] = []
        stalls: list[float] = []
        for _ in range(times + 1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch, stalls)
                begun = time.perf_counter()
                answer = await history(Call(head=head, body=None, state=parts))
                reply = await render(answer, head, status=200)
                took.append((time.perf_counter() - begun) * 1000)
                nursery.cancel_scope.cancel()
        said = answer.model
        return {
            "ms": statistics.median(took[1:]),
            "worst_ms": max(took[1:]),
            "loop_held_ms": max(stalls),
            "points": said["point_count"],
            "stride": said["stride"],
            "kB": len(bytes(said["points"])) / 1000,
            "kB_sent": len(reply.body) / 1000,
        }


async def watch(stalls: list[float]) -> None:
    """Note for how many milliseconds this task was kept waiting longer than it asked for."""
    while True:
        begun = time.perf_counter()
        await trio.sleep(0.001)
        stalls.append((time.perf_counter() - begun) * 1000 - 1)


async def measure(folder: Path, share: int, times: int) -> dict[str, dict[str, float]]:
    """Fill two databases and ask for each case."""
    count = 43_200 // share
    for step in (2, 60):
        await stored(folder / f"{step}.db", count, step * SECOND)
    return {
        name: await asked(folder / f"{step}.db", START + count * step * SECOND, minutes, times)
        for name, minutes, step in CASES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a twentieth of the samples")
    parser.add_argument("--times", type=int, default=15, help="repetitions of each request")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = trio.run(measure, Path(folder), 20 if options.small else 1, 3 if options.small else options.times)
    titles = list(next(iter(found.values())))
    print(f"{'':12}" + "".join(f"{title:>14}" for title in titles))
    for name, figures in found.items():
        print(f"{name:12}" + "".join(f"{figures[title]:14,.1f}" for title in titles))
    print(json.dumps({"bench": "history", "history": found}))


if __name__ == "__main__":
    main()
