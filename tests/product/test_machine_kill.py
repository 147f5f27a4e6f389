"""kill -9 amid 1,000 machines that beat: after the next start each is ready and listed; none has to register again."""

import json
import random
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import closing

import httpx2 as httpx
import pytest
from attrs import define, field

from tests.product.served import Product

pytestmark = pytest.mark.zipapp

POOLS = ("default", "gpu")
CONFIG = '[plugins.machine_registry.pools.gpu]\ngpu = "A100-80"\n'
AT_ONCE = 64
"""Connections that are open at the same time."""
BEHIND_SECONDS = 5.0
"""By how much the file may be behind what was acknowledged."""
REGISTER = "/api/v1/machine/register"
KEEPALIVE = "/api/v1/machine/keepalive"


@define(eq=False)
class Machine:
    """One machine with its agent."""

    machine_id: str
    pool: str
    due_at: float = 0.0
    beats: int = 0
    """How many were sent; each says its number, as what is reported."""
    acknowledged: dict[int, int] = field(factory=dict)
    """The second of each beat that was answered with 200, as the answer says it."""
    refused: list[bytes] = field(factory=list)

    def request(self, path: str, token: str) -> bytes:
        """Return a request on a connection of its own, as agents send them."""
        body = {"machine_id": self.machine_id, "provider_name": "generic", "pool_name": self.pool}
        if path == REGISTER:
            body |= {"token": "", "hostname": "box", "cpu": "8000m", "memory": "16Gi"}
            body |= {"gpu_count": "1", "private_ip": "127.0.0.1"}
            text = json.dumps(body)
        else:
            self.beats += 1
            metrics = {"free_gpu_count": self.beats, "total_memory_available": 25_276_514_304}
            text = json.dumps({**body, "agent_version": "0.1.0-python", "metrics": metrics})
        return (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}"
        ).encode()


@define(eq=False)
class Exchange:
    """One request under way."""

    machine: Machine
    number: int
    sends: bytes
    received: bytes = b""


@define(eq=False)
class Line:
    """Sends requests, so many at once, each on a new connection."""

    port: int
    token: str
    selector: selectors.BaseSelector = field(factory=selectors.DefaultSelector)

    def __len__(self) -> int:
        return len(self.selector.get_map())

    def send(self, machine: Machine, path: str) -> None:
        """Begin a request."""
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", self.port))
        request = machine.request(path, self.token)
        self.selector.register(one, selectors.EVENT_WRITE, Exchange(machine, machine.beats, request))

    def step(self, seconds: float, *, may_fail: bool = False) -> list[Machine]:
        """Go on with what is ready; return the machines that were answered with 200."""
        done: list[Machine] = []
        for key, mask in self.selector.select(seconds):
            one, exchange = key.fileobj, key.data
            assert isinstance(one, socket.socket)
            try:
                if mask & selectors.EVENT_WRITE:
                    one.sendall(exchange.sends)
                    self.selector.modify(one, selectors.EVENT_READ, exchange)
                    continue
                data = one.recv(65_536)
            except OSError:
                assert may_fail, "the product refused a connection"
                data = b""
            exchange.received += data
            if not data:
                self.selector.unregister(one)
                one.close()
                if self._take(exchange, may_fail=may_fail):
                    done.append(exchange.machine)
        return done

    def _take(self, exchange: Exchange, *, may_fail: bool) -> bool:
        head, _, body = exchange.received.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            assert head or may_fail, "the product closed a connection"
            if head:
                exchange.machine.refused.append(exchange.received[:300])
            return False
        try:
            state = json.loads(body)["machine_state"]
        except ValueError:  # cut off by the kill
            assert may_fail
            return False
        if state["status"] == "ready":
            exchange.machine.acknowledged[exchange.number] = int(state["last_keepalive"])
        return True

    def close(self) -> None:
        """End every connection."""
        for key in list(self.selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self.selector.close()


def send_all(line: Line, machines: Iterable[Machine], path: str) -> None:
    """Send one request for each machine and wait for all answers."""
    waiting = list(machines)
    deadline = time.monotonic() + 60
    while waiting or len(line):
        assert time.monotonic() < deadline, "not all were answered within 60 s"
        while waiting and len(line) < AT_ONCE:
            line.send(waiting.pop(), path)
        line.step(0.05)


def beat_until_killed(
    line: Line,
    fleet: list[Machine],
    newcomers: list[Machine],
    *,
    kill: Callable[[], object],
    seconds: float,
    every: float,
) -> list[Machine]:
    """Let every machine beat each ``every`` seconds, and new ones come, until the product is killed amid that.

    :return: the newcomers that were told they are ready.
    """
    begun = time.monotonic()
    for place, machine in enumerate(fleet):
        machine.due_at = begun + every * place / len(fleet)
    kills_at, coming, registered = begun + seconds, list(newcomers), set[Machine]()
    # They come one after the other, so that some are amid it when the kill falls.
    comes_every, comes_at = seconds / max(1, len(coming)), begun
    turn = 0
    while time.monotonic() < kills_at:
        now = time.monotonic()
        if coming and comes_at <= now:
            comes_at += comes_every
            line.send(coming.pop(), REGISTER)
        while len(line) < AT_ONCE and fleet[turn].due_at <= now:
            fleet[turn].due_at += every
            line.send(fleet[turn], KEEPALIVE)
            turn = (turn + 1) % len(fleet)
        for machine in line.step(0.002):
            if machine in newcomers and machine not in registered:
                registered.add(machine)
                line.send(machine, KEEPALIVE)
    kill()
    deadline = time.monotonic() + 30
    while len(line):
        assert time.monotonic() < deadline, "a connection outlived the product"
        line.step(0.05, may_fail=True)
    return [machine for machine in newcomers if machine.acknowledged]


def wrong(one: Product, token: str, fleet: list[Machine], killed_at: float) -> list[str]:
    """Return, in words, which machines the list lacks, or shows with less than it was told in time."""
    answer = httpx.get(f"{one.base}/api/v1/machine/list", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert answer.status_code == 200
    shown = {(item["state"]["pool_name"], item["state"]["machine_id"]): item for item in answer.json()}
    found: list[str] = []
    for machine in fleet:
        item = shown.get((machine.pool, machine.machine_id))
        if item is None:
            found.append(f"{machine.machine_id} is not listed")
            continue
        # What was acknowledged longer ago than the file may be behind is there; a second more for whole seconds.
        on_disk = [number for number, at in machine.acknowledged.items() if at < killed_at - BEHIND_SECONDS - 1.0]
        reported = item["metrics"]["free_gpu_count"]
        if reported < max(on_disk, default=0) or reported > machine.beats:
            found.append(f"{machine.machine_id}: beat {reported} is shown of {machine.beats}")
    return found


def keep_all_ready(one: Product, *, machines: int, kills: int, seconds: float, every: float) -> None:
    """Kill the product so often amid the beats; every machine is ready afterwards, and beats without registering."""
    one.config.write_text(CONFIG)
    one.start()
    with closing(one.set_up()) as browser:
        made = browser.post("/api/appliance/tokens", json={"kind": "worker"})
        assert made.status_code == 201, made.text
        token = made.json()["token"]
    fleet = [Machine(f"{number:08x}", POOLS[number % 2]) for number in range(machines)]
    with closing(Line(one.port, token)) as line:
        for path in (REGISTER, KEEPALIVE):
            send_all(line, fleet, path)
    chance = random.Random(20261122)
    for kill in range(1, kills + 1):
        newcomers = [Machine(f"new{kill}-{number}", "gpu") for number in range(40)]
        before = sum(len(machine.acknowledged) for machine in fleet)
        with closing(Line(one.port, token)) as line:
            came = beat_until_killed(
                line,
                fleet,
                newcomers,
                kill=lambda: one.process.send_signal(signal.SIGKILL),
                # The kill falls anywhere between two writes.
                seconds=seconds + chance.uniform(0, 1.5),
                every=every,
            )
        killed_at = time.time()
        one.end()
        assert came, "no newcomer was told that it is ready"
        fleet += came
        acknowledged = sum(len(machine.acknowledged) for machine in fleet) - before
        assert acknowledged >= 0.2 * machines * seconds / every, "there was no load worth the name"
        one.start()
        assert wrong(one, token, fleet, killed_at) == []
        with closing(Line(one.port, token)) as line:
            send_all(line, fleet, KEEPALIVE)
        assert [machine.refused for machine in fleet if machine.refused] == []
    assert "Traceback" not in one.log


def test_kill_amid_300_machines_that_beat_keeps_every_one_ready(fresh: Product) -> None:
    keep_all_ready(fresh, machines=300, kills=1, seconds=6.5, every=2.0)


@pytest.mark.long
def test_kills_amid_1000_machines_that_beat_keep_every_one_ready(fresh: Product) -> None:
    keep_all_ready(fresh, machines=1000, kills=2, seconds=6.0, every=4.0)


@pytest.mark.long
def test_many_kills_amid_5000_machines_that_beat_keep_every_one_ready(fresh: Product) -> None:
    keep_all_ready(fresh, machines=5000, kills=6, seconds=20.0, every=20.0)
