"""What live streams of the task API cost: many watchers of telemetry, and many of one log.

``python -m tests.bench.task_streams [--small]`` starts an appliance in a process of its own, with an engine dropped in
whose tasks write numbered lines at a steady rate, and measures the processor time of the appliance, of one core, while

* nobody watches and nothing runs;
* 500 WebSockets watch telemetry: with nothing changing, and while tasks are submitted and cancelled all the time;
* one task writes 1,000 lines a second of 80 bytes: for nobody, for one, and for 200 WebSockets that follow its log.

Every follower must have got every line in its order. ``--small`` is a tenth of it. The last line is JSON.
"""

import argparse
import http.client
import json
import selectors
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from tests.bench.machines import appliance, cpu_seconds, served, settle

LINE_BYTES: Final = 80
CONFIG: Final = "[plugins.engine_docker]\nenabled = false\n[plugins.engine_sandbox]\nenabled = false\n"
ENGINE: Final = '''
from collections import namedtuple
import trio
from appliance.plugin import EndReason, EngineStatus, Exit, LogChunk, hookimpl
appliance_api = 1
class Steady:
    """Runs nothing: ``lines RATE COUNT`` writes so many numbered lines, so many a second; all else runs for ever."""
    name = "steady"
    status = EngineStatus(name="steady", state="ok", message="for measurements")
    def __init__(self):
        self.here, self.over = {}, {}
    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        await trio.sleep_forever()
    async def start(self, launch, tell):
        self.here.setdefault(launch.attempt_id, launch)
        self.over.setdefault(launch.attempt_id, trio.Event())
    async def wait(self, attempt_id):
        if attempt_id in self.over:
            await self.over[attempt_id].wait()
        return Exit(exit_code=0, reason=EndReason.EXIT)
    async def logs(self, attempt_id, *, skip):
        words = self.here[attempt_id].command.split()
        if words[:1] != ["lines"]:
            await self.over[attempt_id].wait()
            return
        rate, count, began, written = float(words[1]), int(words[2]), trio.current_time(), 0
        while written < count:
            await trio.sleep(0.01)
            due = min(count, int((trio.current_time() - began) * rate))
            if due > written:
                yield LogChunk(stream="stdout", data=b"".join(b"%079d\\n" % number for number in range(written, due)))
                written = due
        self.over[attempt_id].set()
    async def stop(self, attempt_id, *, grace_seconds):
        self.over[attempt_id].set()
    async def found(self):
        return []
    async def usage(self, attempt_id):
        return None
    async def collect(self, attempt_id, sink):
        pass
    async def remove(self, attempt_id):
        self.here.pop(attempt_id, None)
        self.over.pop(attempt_id, None)
@hookimpl
def appliance_task_engines():
    return [Steady()]
'''
SMALL_TASK: Final = {
    "docker_image": "bench",
    "cpu_required": 0.01,
    "memory_required": 0.01,
    "storage_required": 0.01,
}


@define(eq=False)
class Watchers:
    """Many WebSockets, read by one thread that does next to nothing with what comes."""

    port: int
    path: str
    count: int
    sockets: list[socket.socket] = field(factory=list)
    streams: dict[int, bytearray] = field(factory=dict)
    """All that came to each."""
    closed: int = 0
    _stop: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Watchers":
        asked = (
            f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        for _ in range(self.count):
            one = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            one.sendall(asked)
            head = b""
            while b"\r\n\r\n" not in head:
                head += one.recv(1)
            if b" 101 " not in head:
                raise SystemExit(f"not a WebSocket: {head!r}")
            self.sockets.append(one)
            self.streams[one.fileno()] = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join(30)
        for one in self.sockets:
            one.close()

    def _read(self) -> None:
        with selectors.DefaultSelector() as selector:
            for one in self.sockets:
                selector.register(one, selectors.EVENT_READ)
            while not self._stop.is_set() and self.closed < self.count:
                for key, _ in selector.select(0.1):
                    one = key.fileobj
                    assert isinstance(one, socket.socket)
                    data = one.recv(262_144)
                    if not data:
                        selector.unregister(one)
                        self.closed += 1
                        continue
                    self.streams[one.fileno()] += data


def texts(stream: bytes) -> list[bytes]:
    """Return the text messages of a stream of unmasked frames."""
    found, at = [], 0
    while at + 2 <= len(stream):
        kind, length, at = stream[at] & 0x0F, stream[at + 1], at + 2
        if length == 126:
            (length,), at = struct.unpack_from("!H", stream, at), at + 2
        elif length == 127:
            (length,), at = struct.unpack_from("!Q", stream, at), at + 8
        if kind == 1:
            found.append(stream[at : at + length])
        at += length
    return found


@define(eq=False)
class Bench:
    """The appliance under test."""

    process: Any
    port: int

    def call(self, method: str, path: str, body: Any = None) -> Any:
        one = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            one.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            return json.loads(one.getresponse().read())
        finally:
            one.close()

    def share(self, seconds: float) -> float:
        """Return the percentage of one core that the appliance uses over some time."""
        before, begin = cpu_seconds(self.process), time.perf_counter()
        time.sleep(seconds)
        return (cpu_seconds(self.process) - before) / (time.perf_counter() - begin) * 100

    def churned(self, seconds: float) -> float:
        """Return the same while tasks are submitted and cancelled, ten a second."""
        over = threading.Event()

        def churn() -> None:
            while not over.wait(0.1):
                made = self.call("POST", "/api/tasks", SMALL_TASK)
                self.call("DELETE", f"/api/tasks/{made['task_id']}")

        thread = threading.Thread(target=churn, daemon=True)
        thread.start()
        try:
            return self.share(seconds)
        finally:
            over.set()
            thread.join(30)

    def followed(self, followers: int, rate: int, seconds: float) -> tuple[float, int]:
        """Return the share of a core that a log of so many lines a second takes, and how many lines were lost."""
        count = int(rate * seconds)
        made = self.call("POST", "/api/tasks", SMALL_TASK | {"command": f"lines {rate} {count}"})
        path = f"/ws/tasks/{made['task_id']}/logs"
        with Watchers(self.port, path, followers) as watchers:
            used = self.share(seconds - 2)
            deadline = time.monotonic() + 120
            while watchers.closed < followers and time.monotonic() < deadline:
                time.sleep(0.05)
        if not followers:
            time.sleep(3)
            return used, 0
        return used, sum(_lost(stream, count) for stream in watchers.streams.values())


def _lost(stream: bytearray, count: int) -> int:
    """Return how many of so many numbered lines a follower did not get in their order."""
    messages = [json.loads(text) for text in texts(bytes(stream))]
    got = [int(message["line"]) for message in messages if message["type"] == "log"]
    if got == list(range(count)) and messages[-1]["type"] == "complete":
        return 0
    return max(1, count - len(got))


def measure(folder: Path, *, small: bool) -> dict[str, float]:
    """Run everything."""
    dropped = folder / "data" / "plugins"
    dropped.mkdir(mode=0o700, parents=True)
    (folder / "data").chmod(0o700)
    (dropped / "steady.py").write_text(ENGINE)
    (dropped / "steady.py").chmod(0o600)
    (folder / "appliance.toml").write_text(CONFIG)
    watchers, followers, rate = (50, 20, 100) if small else (500, 200, 1000)
    seconds = 5.0 if small else 20.0
    found: dict[str, float] = {"watchers": watchers, "followers": followers, "lines_per_s": rate}
    with served([*appliance(folder), "--config", str(folder / "appliance.toml")], folder) as (process, port):
        settle(process)
        bench = Bench(process, port)
        found["idle_percent"] = bench.share(seconds)
        found["churn_percent"] = bench.churned(seconds)
        with Watchers(port, "/ws/telemetry", watchers) as watching:
            time.sleep(1)
            found["telemetry_percent"] = bench.share(seconds)
            found["telemetry_churn_percent"] = bench.churned(seconds)
            found["telemetry_messages_each"] = len(texts(bytes(next(iter(watching.streams.values())))))
        for count, name in ((0, "log_unwatched"), (1, "log_one"), (followers, "log_all")):
            used, lost = bench.followed(count, rate, seconds / 2 if not small else seconds)
            found[f"{name}_percent"], found[f"{name}_lost"] = used, lost
    return found


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of it, in half a minute")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), small=asked.small)
    for name, value in found.items():
        print(f"{name:28} {value:10.1f}", file=sys.stderr)
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()
