"""kill -9 while a fleet of agents reports: every acknowledged sample is there after the next start, and none failed."""

import json
import random
import selectors
import signal
import socket
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import httpx2 as httpx
import pytest
from attrs import define, field

from tests.bench.agents import PLACE, agent, sample
from tests.product.served import ADMIN, PASSWORD, Product

pytestmark = pytest.mark.zipapp
INTERVAL_SECONDS = 2.0


@define(eq=False)
class Reporter:
    """One agent: its server, its connection, and what was acknowledged to it."""

    slug: str
    token: str
    number: int
    due_at: float = 0.0
    acknowledged: set[str] = field(factory=set)
    """Times of the samples that were answered with 200."""
    unanswered: set[str] = field(factory=set)
    """Those that the kill left without an answer: they may be there or not."""
    refused: list[bytes] = field(factory=list)
    _socket: socket.socket | None = None
    _waiting: str = ""
    _received: bytes = b""

    def connect(self, port: int) -> socket.socket:
        """Open a connection for the next load."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received, self._waiting = b"", ""
        return self._socket

    def send(self) -> None:
        """Send a sample taken now, unless the last one is still without an answer."""
        if self._waiting:
            return
        assert self._socket is not None
        # A time of its own for each sample, and always with microseconds: they are how samples are told apart.
        self._waiting = datetime.now(UTC).isoformat(timespec="microseconds")
        body = BODIES[self.number % len(BODIES)].replace(PLACE, self._waiting).encode()
        head = (
            f"POST /api/ingest/servers/{self.slug}/metrics/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Content-Type: application/json\r\nX-Monitoring-Token: {self.token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)

    def receive(self) -> bool:
        """Take what has come; return whether the connection goes on."""
        assert self._socket is not None
        try:
            data = self._socket.recv(65_536)
        except ConnectionError:
            data = b""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if found:
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            if len(body) >= int(length[15:]):
                if head.startswith(b"HTTP/1.1 200"):
                    self.acknowledged.add(self._waiting)
                else:
                    self.refused.append(self._received[:300])
                self._received, self._waiting = b"", ""
        return bool(data)

    def close(self) -> None:
        """End the connection; what is still without an answer will never have one."""
        if self._waiting:
            self.unanswered.add(self._waiting)
        if self._socket is not None:
            self._socket.close()


BODIES = [json.dumps({"sample": sample(number), "agent": agent()}) for number in range(16)]


def report_until_killed(one: Product, fleet: list[Reporter], seconds: float) -> None:
    """Let every agent report each interval for so long, kill the product amid that, and read what it still said."""
    with selectors.DefaultSelector() as selector:
        begun = time.monotonic()
        for place, each in enumerate(fleet):
            selector.register(each.connect(one.port), selectors.EVENT_READ, each)
            each.due_at = begun + INTERVAL_SECONDS * place / len(fleet)
        kills_at, is_dead = begun + seconds, False
        while selector.get_map():
            now = time.monotonic()
            assert now < kills_at + 30, "a connection outlived the product"
            if not is_dead and now >= kills_at:
                one.process.send_signal(signal.SIGKILL)
                is_dead = True
            for each in () if is_dead else fleet:
                if each.due_at <= now:
                    each.due_at += INTERVAL_SECONDS
                    each.send()
            for key, _ in selector.select(0.005):
                if not key.data.receive():
                    assert is_dead, f"the product closed a connection: {one.log[-2000:]}"
                    selector.unregister(key.fileobj)
                    key.data.close()
    one.end()


def entered(one: Product) -> httpx.Client:
    """Return a browser's client that has logged in."""
    browser = httpx.Client(base_url=one.base, timeout=30)
    answer = browser.post("/api/auth/login", json={"username": ADMIN, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return browser


def micros(text: str) -> int:
    """Return the microseconds since 1970 of a time on the wire."""
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def missing(browser: httpx.Client, fleet: list[Reporter]) -> list[str]:
    """Return everything acknowledged that the appliance does not show, in words."""
    rows = {row["slug"]: row for row in browser.get("/api/servers/").json()["servers"]}
    found: list[str] = []
    for each in fleet:
        row = rows[each.slug]
        possible = each.acknowledged | each.unanswered
        if not len(each.acknowledged) <= row["snapshot_count"] <= len(possible):
            found.append(f"{each.slug}: {row['snapshot_count']} counted, {len(each.acknowledged)} acknowledged")
        newest = row["latest_snapshot_at"]
        if each.acknowledged and (newest is None or micros(newest) < max(map(micros, each.acknowledged))):
            found.append(f"{each.slug}: the newest is of {newest}")
        answer = browser.get("/api/metrics/history/", params={"server": each.slug, "minutes": 60}).json()
        shown = {micros(point["collected_at"]) for point in answer["points"]}
        lost = set(map(micros, each.acknowledged)) - shown
        if lost or not shown <= set(map(micros, possible)) or len(shown) != row["snapshot_count"]:
            found.append(f"{each.slug}: {len(lost)} acknowledged are lost, {len(shown)} shown, {row['snapshot_count']}")
    return found


def lose_nothing(one: Product, servers: int, kills: int, seconds: float) -> None:
    """Kill the product so often under the load of so many servers; nothing acknowledged may be missing afterwards."""
    one.start()
    with closing(one.set_up()) as browser:
        made = [browser.post("/api/appliance/servers", json={"slug": f"box-{number}"}) for number in range(servers)]
    fleet = [Reporter(answer.json()["slug"], answer.json()["token"], number) for number, answer in enumerate(made)]
    chance = random.Random(20261121)
    for kill in range(1, kills + 1):
        # The kill falls anywhere in a group commit.
        report_until_killed(one, fleet, seconds + chance.uniform(0, 0.5))
        assert [each.refused for each in fleet if each.refused] == []
        acknowledged = sum(len(each.acknowledged) for each in fleet)
        assert acknowledged >= 0.2 * servers * kill * seconds / INTERVAL_SECONDS
        one.start()
        with closing(entered(one)) as browser:
            assert missing(browser, fleet) == []
    assert "Traceback" not in one.log


def test_kill_under_the_load_of_40_servers_loses_nothing_acknowledged(fresh: Product) -> None:
    lose_nothing(fresh, servers=40, kills=1, seconds=3.0)


@pytest.mark.long
def test_kills_under_the_load_of_500_servers_lose_nothing_acknowledged(fresh: Product) -> None:
    lose_nothing(fresh, servers=500, kills=4, seconds=10.0)
