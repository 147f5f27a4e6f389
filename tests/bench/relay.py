"""What the relay of shares costs, beside `socat` in the same run.

``python -m tests.bench.relay [--small]`` starts a relay and ``socat TCP-LISTEN TCP`` (as it comes, and with
``-b 262144``) in processes of their own, sends the same bytes over loopback through each in turns, and counts the
processor time of the one in the middle. Then: resident memory that 1,000 idle connections add to the relay (100 with
``--small``), and how long a connect and the first byte back take, directly and through the relay. The last line is
JSON. Without socat on the machine its ratios are null.
"""

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from tests.bench.edge import cpu_seconds

RELAY: Final = """
import sys, trio
from plugins.gpu_sharing.relay import Anyone, Relay, Terms
from plugins.gpu_sharing.relay.pipes import Pipes
async def main():
    relay = Relay(ports=[0], hosts=["127.0.0.1"], pipes=Pipes(is_refused=sys.argv[2] == "copy"))
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.run)
        print(relay.put(Terms(share_id="bench", target=("127.0.0.1", int(sys.argv[1])), access=Anyone())), flush=True)
trio.run(main)
"""
BLOCK: Final = 64 << 20


def serve(listener: socket.socket, answer: Callable[[socket.socket], None]) -> None:
    """Answer each connection in a thread of its own until the listener is closed."""

    def accept() -> None:
        while True:
            try:
                one, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(one,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def swallow(one: socket.socket) -> None:
    """Take bytes until the end without copying them (tcp(7): MSG_TRUNC), then say one byte."""
    space = bytearray(1 << 20)
    with one:
        while one.recv_into(space, len(space), socket.MSG_TRUNC):
            pass
        one.sendall(b"!")


def greet(one: socket.socket) -> None:
    """Say one byte, and wait for the end."""
    with one:
        one.sendall(b"!")
        one.recv(1)


@contextmanager
def relay(target: int, way: str) -> Iterator[tuple[int, int]]:
    """Run a relay in front of a port; gives its process id and its port."""
    command = [sys.executable, "-c", RELAY, str(target), way]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def socat(target: int, *options: str) -> Iterator[tuple[int, int]]:
    """Run socat for one connection; gives its process id and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["socat", *options, f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr", f"TCP:127.0.0.1:{target}"]
    with subprocess.Popen(command) as process:
        try:
            yield process.pid, port
        finally:
            process.kill()


def connect(port: int) -> socket.socket:
    """Connect as soon as somebody listens there."""
    ends_at = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.005)


def transfer(pid: int, port: int, blocks: int, memory: int) -> tuple[float, float]:
    """Send blocks and wait until they have arrived; return GiB/s, and processor seconds per GiB of the one between."""
    with connect(port) as one:
        before, began = cpu_seconds(pid), time.perf_counter()
        for _ in range(blocks):
            offset = 0
            while offset < BLOCK:
                offset += os.sendfile(one.fileno(), memory, offset, BLOCK - offset)
        used = cpu_seconds(pid) - before
        one.shutdown(socket.SHUT_WR)
        assert one.recv(1) == b"!"
        took = time.perf_counter() - began
    gib = blocks * BLOCK / 2**30
    return gib / took, used / gib


def throughput(blocks: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the best GiB/s, and the least processor seconds per GiB, of each way."""
    memory = os.memfd_create("bench")
    os.truncate(memory, BLOCK)
    os.pwrite(memory, os.urandom(1 << 20) * (BLOCK >> 20), 0)
    found: dict[str, list[tuple[float, float]]] = {}
    with socket.create_server(("127.0.0.1", 0)) as sink:
        serve(sink, swallow)
        target = sink.getsockname()[1]
        ways: dict[str, Callable[[], object]] = {
            "relay": lambda: relay(target, "splice"),
            "relay_copying": lambda: relay(target, "copy"),
        }
        if shutil.which("socat"):
            ways["socat"] = lambda: socat(target)
            ways["socat_256k"] = lambda: socat(target, "-b", "262144")
        for _ in range(rounds):
            for name, start in ways.items():
                with start() as (pid, port):  # type: ignore[attr-defined]
                    found.setdefault(name, []).append(transfer(pid, port, blocks, memory))
    os.close(memory)
    return {name: (max(rate for rate, _ in all_), min(cpu for _, cpu in all_)) for name, all_ in found.items()}


def rss_bytes(pid: int) -> int:
    """Return what a process has in memory."""
    with open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def idle(connections: int) -> int:
    """Return how much memory so many connections add, each of which has passed a byte and then says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener, ExitStack() as stack:
        serve(listener, greet)
        pid, port = stack.enter_context(relay(listener.getsockname()[1], "splice"))
        with connect(port) as one:
            assert one.recv(1) == b"!"
        before = rss_bytes(pid)
        for _ in range(connections):
            one = stack.enter_context(connect(port))
            assert one.recv(1) == b"!"
        return rss_bytes(pid) - before


def latency(connections: int) -> tuple[float, float]:
    """Return the median seconds of a connect and the first byte, directly and through the relay."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        serve(listener, greet)
        target = listener.getsockname()[1]
        with relay(target, "splice") as (_, port):
            taken: dict[int, list[float]] = {target: [], port: []}
            for _ in range(connections):
                for place, times in taken.items():
                    began = time.perf_counter()
                    with connect(place) as one:
                        assert one.recv(1) == b"!"
                        times.append(time.perf_counter() - began)
    return statistics.median(taken[target]), statistics.median(taken[port])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="A few seconds, for a test.")
    small = parser.parse_args().small
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rates = throughput(blocks=4 if small else 32, rounds=1 if small else 3)
    for name, (rate, cpu) in rates.items():
        print(f"{name:14} {rate:6.2f} GiB/s  {cpu * 1000:6.0f} ms of processor per GiB")
    connections = 100 if small else 1000
    added = idle(connections)
    print(f"{connections} idle connections: {added / 2**20:.1f} MiB more resident memory")
    direct, through = latency(100 if small else 1000)
    print(f"connect and first byte: {direct * 1e6:.0f} us directly, {through * 1e6:.0f} us through the relay (median)")
    plain, wide = rates.get("socat"), rates.get("socat_256k")
    print(
        json.dumps(
            {
                "relay_gib_per_s": rates["relay"][0],
                "relay_to_socat": rates["relay"][0] / plain[0] if plain else None,
                "relay_to_socat_256k": rates["relay"][0] / wide[0] if wide else None,
                "copying_to_socat": rates["relay_copying"][0] / plain[0] if plain else None,
                "relay_cpu_to_socat": rates["relay"][1] / plain[1] if plain else None,
                "idle_connections": connections,
                "idle_added_bytes": added,
                "first_byte_direct_us": direct * 1e6,
                "first_byte_through_us": through * 1e6,
            }
        )
    )


if __name__ == "__main__":
    main()
