"""Mixed load for minutes: memory and open files stay where they were, and the log has nothing to tell."""

import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from threading import Event, Thread

import httpx2 as httpx
import psutil
import pytest

from tests.product.served import ADMIN, PASSWORD, Product, built_file, product

pytestmark = [pytest.mark.zipapp]
SECONDS = float(os.environ.get("APPLIANCE_TEST_SOAK_SECONDS", "180"))
GROWTH_BYTES_PER_MINUTE = 3 * 2**20
"""What the resident memory may grow after the first third: history in memory has its bounds, and is reached slowly."""
GROWTH_BYTES = 12 * 2**20


@pytest.fixture
def soaked(tmp_path: Path) -> Iterator[Product]:
    """A product that samples ten times a second."""
    with product(built_file(tmp_path), tmp_path) as one:
        one.config.write_text("[devices]\nsample_seconds = 0.1\n")
        one.start()
        yield one


def reads_a_stream(one: Product, over: Event) -> None:
    """Read the overview's stream for a while, leave, and come again."""
    while not over.is_set():
        with httpx.stream("GET", f"{one.base}/api/appliance/overview/stream", timeout=30) as stream:
            for number, line in enumerate(stream.iter_lines()):
                assert not line.startswith("event: error")
                if number > 200 or over.is_set():
                    break


def polls(one: Product, over: Event) -> None:
    """Ask for pages of everything over one connection."""
    paths = ("overview", "devices", "processes", "plugins", "events/history", "series?metrics=cpu_percent")
    with httpx.Client(base_url=one.base, timeout=30) as client:
        while not over.wait(0.02):
            for path in paths:
                assert client.get(f"/api/appliance/{path}").status_code == 200, path
            assert client.get("/metrics").status_code == 200


def logs_in(one: Product, over: Event) -> None:
    """Open a session and end it."""
    while not over.wait(0.6):  # below the 120 public requests a minute of one address
        with httpx.Client(base_url=one.base, timeout=30) as client:
            entered = client.post("/api/auth/login", json={"username": ADMIN, "password": PASSWORD})
            assert entered.status_code == 200, entered.text
            assert client.post("/api/auth/logout").status_code == 200


def is_slow(one: Product, over: Event) -> None:
    """Begin requests and leave in the middle, with and without a word."""
    while not over.wait(0.05):
        with one.connect() as broken, suppress(OSError):
            broken.sendall(b"POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 500\r\n\r\n{")
            over.wait(0.1)
            broken.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))


class Load(Thread):
    """One kind of client, until the end; keeps what went wrong."""

    def __init__(self, work: Callable[[Product, Event], None], one: Product, over: Event) -> None:
        super().__init__(daemon=True, name=work.__name__)
        self._work, self._one, self._over = work, one, over
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Work until it is over."""
        try:
            self._work(self._one, self._over)
        except BaseException as failure:
            self.failure = failure
            self._over.set()


def soak(one: Product, seconds: float) -> None:
    one.set_up().close()
    over = Event()
    kinds = [reads_a_stream] * 3 + [polls] * 2 + [logs_in] + [is_slow] * 2
    loads = [Load(kind, one, over) for kind in kinds]
    process = psutil.Process(one.process.pid)
    idle_files = process.num_fds()
    for load in loads:
        load.start()
    memory: list[tuple[float, int]] = []
    began = time.monotonic()
    while not over.wait(0.5) and time.monotonic() - began < seconds:
        memory.append((time.monotonic() - began, process.memory_info().rss))
    over.set()
    for load in loads:
        load.join(60)
        assert not load.is_alive(), load.name
        assert load.failure is None, (load.name, load.failure)

    deadline = time.monotonic() + 60
    while process.num_fds() > idle_files + 4 and time.monotonic() < deadline:
        Event().wait(0.1)  # the last connections are being closed
    assert process.num_fds() <= idle_files + 4

    # The least of each third: a login borrows 64 MiB for a moment, a leak raises the floor.
    third = len(memory) // 3
    early = min(size for _, size in memory[third : 2 * third])
    late = min(size for _, size in memory[2 * third :])
    assert late - early < GROWTH_BYTES + GROWTH_BYTES_PER_MINUTE * seconds / 60, memory[:: max(1, third // 5)]

    assert one.get("/readyz").json()["ready"] is True
    assert one.json("audit", "verify")["ok"] is True
    assert one.stop() == 0
    for sign in ("Traceback", '"level":"error"', '"level": "error"', "[error"):
        assert sign not in one.log, one.log[-4000:]


def test_seconds_of_mixed_load_leave_nothing_behind(soaked: Product) -> None:
    soak(soaked, 4.0)


@pytest.mark.long
def test_minutes_of_mixed_load_leave_nothing_behind(soaked: Product) -> None:
    soak(soaked, SECONDS)
