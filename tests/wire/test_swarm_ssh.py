"""Drones that are entered over ssh, on the built file: approval, terminal, self-healing, with a real sshd."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from attrs import define, field
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from tests.product.served import product
from tests.wire.sshd import Sshd, running_sshd
from tests.wire.swarm import KEY, STRANGER, WITH_KEY, Drone, Swarm, atom, until

pytestmark = pytest.mark.zipapp

HEALING = """
[plugins.build_swarm]
healing_probe_seconds = 5
healing_failed_probes = 1
healing_failed_seconds = 0
healing_restart_wait_seconds = 0
healing_silence_seconds = 0
queue_idle_minutes = 1000
terminal_idle_seconds = 3600
"""


@define(eq=False)
class Terminal:
    """A WebSocket to a terminal, as a browser opens it."""

    connection: socket.socket
    protocol: WSConnection = field(factory=lambda: WSConnection(ConnectionType.CLIENT))
    status: int = 0
    refusal: bytes = b""
    closed: CloseConnection | None = None
    messages: list[dict[str, Any]] = field(factory=list)
    _text: str = ""

    def open(self, path: str, port: int, **headers: str) -> "Terminal":
        """Ask for it, and wait for the answer."""
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        asked = Request(host=f"127.0.0.1:{port}", target=path, extra_headers=extra)
        self.connection.sendall(self.protocol.send(asked))
        self.until(lambda: self.status)
        return self

    @property
    def shown(self) -> str:
        """What the terminal has written."""
        return "".join(one["data"] for one in self.messages if one.get("type") == "output")

    def type(self, text: str) -> None:
        """Type."""
        self.say({"type": "input", "data": text})

    def say(self, message: dict[str, Any] | str | bytes) -> None:
        """Send an object as JSON, text and bytes as they are."""
        given = json.dumps(message) if isinstance(message, dict) else message
        event = TextMessage(given) if isinstance(given, str) else BytesMessage(given)
        self.connection.sendall(self.protocol.send(event))

    def until(self, check: Callable[[], Any], seconds: float = 60.0) -> None:
        """Read until a check is true."""
        deadline = time.monotonic() + seconds
        while not check():
            self.connection.settimeout(max(0.01, deadline - time.monotonic()))
            data = self.connection.recv(65_536)
            self.protocol.receive_data(data or None)
            for event in self.protocol.events():
                self._take(event)
            assert data or check(), "the connection has ended"

    def _take(self, event: Event) -> None:
        match event:
            case AcceptConnection():
                self.status = 101
            case RejectConnection():
                self._rejected = event.status_code
                if not event.has_body:
                    self.status = event.status_code
            case RejectData():
                self.refusal += bytes(event.data)
                if event.body_finished:
                    self.status = self._rejected
            case TextMessage():
                self._text += event.data
                if event.message_finished:
                    self.messages.append(json.loads(self._text))
                    self._text = ""
            case CloseConnection():
                self.closed = event
                self.connection.sendall(self.protocol.send(event.response()))
            case Ping():
                self.connection.sendall(self.protocol.send(event.response()))

    _rejected: int = 0


@contextmanager
def terminal(swarm: Swarm, path: str, **headers: str) -> Iterator[Terminal]:
    """Open a terminal, or be refused: not trusted as a local program, unless headers say so."""
    with closing(socket.create_connection(("127.0.0.1", swarm.product.port), timeout=60)) as connection:
        yield Terminal(connection).open(path, swarm.product.port, **headers)


@pytest.fixture(scope="module")
def swarm(shared_swarm: Swarm) -> Swarm:
    return shared_swarm


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory, swarm: Swarm) -> Iterator[Sshd]:
    """A drone's sshd that lets the appliance in, and whose drone program runs."""
    with running_sshd(tmp_path_factory.mktemp("ssh") / "drone") as one:
        one.authorize(swarm.read("/api/appliance/swarm/approvals")["public_key"])
        one.stub("pgrep", 'case "$*" in *-x*) ;; *) echo 77 ;; esac')
        yield one


@pytest.fixture
def drone(swarm: Swarm, sshd: Sshd) -> Iterator[Drone]:
    """A drone that nobody has approved."""
    one = swarm.drone()
    yield one
    swarm.send("POST", f"/api/appliance/swarm/drones/{one.name}/unapprove")
    swarm.send("DELETE", f"/api/v1/nodes/{one.id}")


@pytest.fixture
def approved(swarm: Swarm, sshd: Sshd, drone: Drone) -> Drone:
    """A drone that is approved."""
    told = {"port": sshd.port, "user": sshd.user, "host_key": sshd.host_key, "drone_type": "lxc"}
    swarm.post(f"/api/appliance/swarm/drones/{drone.name}/approve", told)
    return drone


# ------------------------------------------------------------------ approval


def test_drone_is_approved_listed_and_taken_back_from_the_command_line(swarm: Swarm, sshd: Sshd, drone: Drone) -> None:
    options = ("--port", str(sshd.port), "--user", sshd.user, "--type", "lxc")
    unsure = swarm.product.command("swarm", "approve", drone.name, *options)
    assert unsure.returncode == 1
    assert "give --fingerprint SHA256:..., or --yes" in unsure.stderr
    key = swarm.post(f"/api/appliance/swarm/drones/{drone.name}/scan", {"port": sshd.port})["keys"][0]
    assert key["fingerprint"] in unsure.stderr
    assert key["host_key"] == sshd.host_key
    body = {"port": sshd.port, "fingerprint": "SHA256:other"}
    said = swarm.refused("POST", f"/api/appliance/swarm/drones/{drone.name}/approve", body, status=409)
    assert said == f"the host key's fingerprint is {key['fingerprint']}"
    done = swarm.product.command("swarm", "approve", drone.name, *options, "--fingerprint", key["fingerprint"])
    assert done.returncode == 0, done.stderr
    ours = swarm.read("/api/appliance/swarm/approvals")["public_key"]
    assert f"our public key: {ours}" in done.stdout
    assert f"restrict,pty {ours}" in done.stdout
    assert f"{sshd.user}@127.0.0.1 port {sshd.port}, type lxc" in done.stdout
    listed = swarm.product.command("swarm", "approved").stdout
    assert drone.name in listed
    assert key["fingerprint"] in listed
    assert swarm.post(f"/api/v1/nodes/{drone.name}/ping")["status"] == "ok"
    assert swarm.product.command("swarm", "unapprove", drone.name).returncode == 0
    swarm.refused("POST", f"/api/v1/nodes/{drone.name}/ping", status=409)
    swarm.refused("POST", f"/api/appliance/swarm/drones/{drone.name}/unapprove", status=404)


def test_drone_that_shows_its_key_is_approved_without_asking_where_that_is_wanted(
    swarm: Swarm, sshd: Sshd, drone: Drone
) -> None:
    done = swarm.product.command("swarm", "approve", drone.name, "--port", str(sshd.port), "--yes")
    assert done.returncode == 0, done.stderr
    item = next(one for one in swarm.read("/api/appliance/swarm/approvals")["items"] if one["name"] == drone.name)
    assert (item["host_key"], item["user"], item["drone_type"]) == (sshd.host_key, "root", "unknown")


def test_our_key_with_the_options_that_are_printed_lets_us_in(swarm: Swarm, sshd: Sshd, approved: Drone) -> None:
    kept = (sshd.folder / "authorized_keys").read_text()
    try:
        line = swarm.read("/api/appliance/swarm/approvals")["authorized_keys_line"]
        (sshd.folder / "authorized_keys").write_text(line + "\n")
        sshd.drop()
        assert swarm.post(f"/api/v1/nodes/{approved.name}/ping")["status"] == "ok"
        with terminal(swarm, f"/ws/ssh/{approved.name}?key={KEY}") as one:
            one.type("tty; exit\n")
            one.until(lambda: one.closed)
            assert "/dev/pts/" in one.shown
    finally:
        (sshd.folder / "authorized_keys").write_text(kept)


UNAPPROVED = [
    ("POST", "/api/v1/nodes/{}/ping", None),
    ("POST", "/admin/api/drones/{}/ping", None),
    ("GET", "/admin/api/drones/{}/ping", None),
    ("GET", "/admin/api/drones/{}/syslog", None),
    ("GET", "/api/appliance/swarm/drones/{}/syslog", None),
    ("POST", "/api/appliance/swarm/drones/{}/ping", None),
]


@pytest.mark.parametrize(("method", "path", "body"), UNAPPROVED)
def test_drone_that_nobody_approved_is_not_connected_to(
    swarm: Swarm, sshd: Sshd, drone: Drone, method: str, path: str, body: Any
) -> None:
    before = sshd.connections
    answer = swarm.send(method, path.format(drone.name), body)
    assert answer.status_code == 409
    assert answer.json()["hint"] == f"appliance swarm approve {drone.name}"
    assert answer.json()["error"] == f"drone '{drone.name}' is not approved for ssh"
    assert sshd.connections == before


def test_approval_ends_when_the_drone_comes_from_another_address(swarm: Swarm, sshd: Sshd, approved: Drone) -> None:
    assert swarm.post(f"/api/v1/nodes/{approved.name}/ping")["ok"]
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    body = {"id": approved.id, "name": approved.name, "ip": "127.0.0.1", "type": "drone", "capabilities": {}}
    with httpx.Client(base_url=swarm.product.base, transport=transport, timeout=60) as elsewhere:
        answer = elsewhere.post("/api/v1/register", json=body)
        assert answer.status_code == 200, answer.text
    before = sshd.connections
    swarm.refused("POST", f"/api/v1/nodes/{approved.name}/ping", status=409)
    approved.register()  # it comes back, and an approval that has ended does not
    swarm.refused("POST", f"/api/v1/nodes/{approved.name}/ping", status=409)
    assert sshd.connections == before
    until(lambda: approved.name not in str(swarm.read("/api/appliance/swarm/approvals")["items"]))


def test_ip_that_a_drone_claims_is_never_connected_to(swarm: Swarm, sshd: Sshd, drone: Drone) -> None:
    drone.register(ip="192.0.2.66")
    told = {"port": sshd.port, "user": sshd.user, "host_key": sshd.host_key}
    made = swarm.post(f"/api/appliance/swarm/drones/{drone.name}/approve", told)
    assert made["address"] == "127.0.0.1"
    assert swarm.post(f"/api/v1/nodes/{drone.name}/ping")["ok"]


def test_drone_with_another_host_key_is_an_error_and_stays_as_it_said_it_is(
    swarm: Swarm, sshd: Sshd, approved: Drone
) -> None:
    key = (sshd.folder / "host_key").read_bytes(), (sshd.folder / "host_key.pub").read_bytes()
    before = approved.node
    try:
        sshd.change_host_key()
        sshd.drop()
        found = swarm.post(f"/api/v1/nodes/{approved.name}/ping")
    finally:
        (sshd.folder / "host_key").write_bytes(key[0])
        (sshd.folder / "host_key.pub").write_bytes(key[1])
    assert (found["status"], found["ok"], found["latency_ms"]) == ("error", False, None)
    assert "ost key verification failed" in found["error"].lower() or "HOST IDENTIFICATION" in found["error"]
    after = approved.node
    assert (after["last_seen"], after["cpu_percent"]) == (before["last_seen"], before["cpu_percent"])


def test_documented_answers_give_no_page_a_tag_that_a_drone_has_written(
    swarm: Swarm, sshd: Sshd, approved: Drone
) -> None:
    sshd.stub("dmesg", "echo 'login: <svg onload=alert(1)>'")
    sshd.stub("df", "echo; echo a b c d '<b>'")
    try:
        found = swarm.read(f"/admin/api/drones/{approved.name}/syslog?type=dmesg")
        answers = [found, swarm.post(f"/api/v1/nodes/{approved.name}/ping")]
        answers += [swarm.read("/api/v1/ping"), swarm.read(f"/admin/api/drones/{approved.name}/escalation")]
    finally:
        for name in ("dmesg", "df"):
            (sshd.bin / name).unlink()
    assert found["lines"] == ["login: \u2039svg onload=alert(1)>"]
    assert "\u2039b>" in answers[1]["error"]
    assert "<" not in json.dumps(answers, ensure_ascii=False)


def test_everybody_who_asks_at_once_is_given_the_same_round_of_pings(swarm: Swarm, approved: Drone) -> None:
    def round_with_it() -> Any:
        found = swarm.read("/api/v1/ping/all")
        return found if approved.name in found["drones"] else None

    first = until(round_with_it)  # a round of an earlier test may still count
    again = swarm.read("/api/v1/ping/all")
    assert again["results"] == first["results"]


# ------------------------------------------------------------------ the terminal


def test_terminal_over_the_documented_path_follows_its_window(swarm: Swarm, sshd: Sshd, approved: Drone) -> None:
    with terminal(swarm, f"/ws/ssh/{approved.name}", **WITH_KEY) as one:
        one.type("stty size\n")
        one.until(lambda: "24 80" in one.shown)
        assert one.messages[0] == {"type": "connected", "drone": approved.name, "ip": "127.0.0.1", "user": sshd.user}
        one.say({"type": "resize", "cols": 132, "rows": 43})
        one.say(b"stty ")
        one.say("size\n")
        one.until(lambda: "43 132" in one.shown)
        one.type("exit\n")
        one.until(lambda: one.closed)
        assert one.closed is not None
        assert (one.closed.code, one.closed.reason) == (1000, "the shell has ended")
    begun, ended = until(lambda: found if len(found := audited(swarm, approved)) == 2 else [])
    assert [begun["action"], ended["action"]] == ["swarm.terminal_opened", "swarm.terminal_closed"]
    detail = json.loads(ended["detail"]) if isinstance(ended["detail"], str) else ended["detail"]
    assert detail["cause"] == "ended"
    assert detail["typed_bytes"] == len("stty size\nstty size\nexit\n")


def audited(swarm: Swarm, drone: Drone) -> list[dict[str, Any]]:
    """Return what the audit log has of a drone's terminals."""
    items = swarm.product.json("audit", "list", "--limit", "1000")["items"]
    return [one for one in items if one["object"] == drone.name and one["action"].startswith("swarm.terminal")]


@pytest.mark.parametrize("way", ["header", "query", "ticket"])
def test_terminal_takes_the_key_where_a_browser_can_put_it(swarm: Swarm, approved: Drone, way: str) -> None:
    path, headers = f"/ws/ssh/{approved.name}", dict(STRANGER)
    if way == "header":
        headers = WITH_KEY
    elif way == "query":
        path += f"?key={KEY}"
    else:
        with closing(swarm.product.set_up()) as browser:
            made = browser.post("/api/appliance/tickets", json={})
        assert made.status_code < 300, made.text
        path += f"?ticket={made.json()['ticket']}&cols=101&rows=31"
    with terminal(swarm, path, **headers) as one:
        assert one.status == 101, one.refusal
        one.type("stty size; exit\n")
        one.until(lambda: one.closed)
        assert ("31 101" if way == "ticket" else "24 80") in one.shown


@pytest.mark.parametrize(
    ("suffix", "headers", "status"),
    [
        ("", {}, 401),  # trusted as a local program for everything else
        ("", STRANGER, 401),
        ("?key=wrong", STRANGER, 401),
        ("?ticket=wrong", STRANGER, 401),
        ("?cols=0&key=" + KEY, STRANGER, 400),
    ],
)
def test_terminal_is_refused_before_the_upgrade_to_who_has_no_key(
    swarm: Swarm, sshd: Sshd, approved: Drone, suffix: str, headers: dict[str, str], status: int
) -> None:
    before = sshd.connections
    with terminal(swarm, f"/ws/ssh/{approved.name}{suffix}", **headers) as one:
        assert one.status == status
        assert set(json.loads(one.refusal)) >= {"error", "hint"}
    assert sshd.connections == before


def test_terminal_of_an_unknown_or_unapproved_drone_is_refused_before_the_upgrade(
    swarm: Swarm, sshd: Sshd, drone: Drone
) -> None:
    before = sshd.connections
    with terminal(swarm, f"/ws/ssh/nobody?key={KEY}", **STRANGER) as one:
        assert one.status == 404
    with terminal(swarm, f"/ws/ssh/{drone.name}?key={KEY}", **STRANGER) as one:
        assert one.status == 409
        assert json.loads(one.refusal)["hint"] == f"appliance swarm approve {drone.name}"
    assert sshd.connections == before


def test_terminal_of_a_drone_that_is_gone_says_why_and_closes_with_1011(
    swarm: Swarm, sshd: Sshd, approved: Drone
) -> None:
    sshd.down()
    try:
        with terminal(swarm, f"/ws/ssh/{approved.name}?key={KEY}") as one:
            one.until(lambda: one.closed)
            assert one.closed is not None
            assert one.closed.code == 1011
            assert set(one.messages[0]) == {"error", "hint"}
    finally:
        sshd.up()


def test_terminal_ends_when_its_approval_does(swarm: Swarm, approved: Drone) -> None:
    with terminal(swarm, f"/ws/ssh/{approved.name}?key={KEY}") as one:
        one.type("echo rea''dy\n")
        one.until(lambda: "ready" in one.shown)
        swarm.post(f"/api/appliance/swarm/drones/{approved.name}/unapprove")
        one.until(lambda: one.closed)
        assert one.closed is not None
        assert one.closed.code == 1008


# ------------------------------------------------------------------ self-healing


def test_drone_that_is_grounded_is_restarted_at_once(swarm: Swarm, sshd: Sshd, approved: Drone) -> None:
    before = len(sshd.calls)
    packages = [atom("grounding") for _ in range(9)]
    swarm.queue(*packages)
    try:
        for _ in range(8):
            package = approved.work()["package"]
            assert package is not None
            approved.complete(package, "failed", error_detail="no space left on device")
        assert approved.work()["package"] is None
        until(lambda: len(sshd.calls) > before)
        assert sshd.calls[before].strip() == "rc-service swarm-drone restart"
        until(lambda: "restart of its service done" in str(swarm.read("/api/v1/escalation")["drones"][approved.name]))
        found = swarm.read(f"/admin/api/drones/{approved.name}/escalation")
        assert (found["escalation_level"], found["escalation_attempts"]) == (0, 1)
    finally:
        swarm.clear()


@pytest.fixture
def healed(pyz: Path, tmp_path: Path) -> Iterator[tuple[Swarm, Sshd, Drone]]:
    """A product that heals fast, with one drone whose service is down."""
    with running_sshd(tmp_path / "drone") as sshd, product(pyz, tmp_path) as one:
        one.config.write_text(HEALING)
        one.start()
        with httpx.Client(base_url=one.base, timeout=60) as client:
            swarm = Swarm(one, client)
            sshd.authorize(swarm.read("/api/appliance/swarm/approvals")["public_key"])
            sshd.stub("pgrep", "true")
            drone = swarm.drone()
            told = {"port": sshd.port, "user": sshd.user, "host_key": sshd.host_key, "drone_type": "lxc"}
            swarm.post(f"/api/appliance/swarm/drones/{drone.name}/approve", told)
            yield swarm, sshd, drone


def level(swarm: Swarm, drone: Drone) -> int:
    """Return how far the ladder is."""
    return int(swarm.read(f"/admin/api/drones/{drone.name}/escalation")["escalation_level"])


@pytest.mark.long
def test_drone_whose_service_is_down_is_healed_step_by_step_and_levels_outlast_a_restart(
    healed: tuple[Swarm, Sshd, Drone],
) -> None:
    swarm, sshd, drone = healed
    until(lambda: level(swarm, drone) >= 1)
    assert sshd.calls[0].strip() == "rc-service swarm-drone restart"
    assert swarm.read("/admin/api/self-healing/status")["monitor_running"] is True
    assert swarm.read("/api/v1/escalation")["drones"][drone.name]["last_escalation_at"] is not None
    swarm.post(f"/api/v1/nodes/{drone.name}/set-type", {"drone_type": "bare-metal"})
    before = level(swarm, drone)
    swarm.product.restart()
    swarm.client.base_url = swarm.product.base
    assert level(swarm, drone) >= before
    until(lambda: level(swarm, drone) == 4)
    assert "reboot" not in [call.strip() for call in sshd.calls]
    kinds = [event["type"] for event in swarm.events("escalation")]
    assert kinds.count("escalation") == 3
    notices = swarm.product.get("/api/appliance/notices").json()["items"]
    assert any(one["kind"] == "swarm.escalation" and one["subject"] == drone.name for one in notices)
    found = swarm.post(f"/api/v1/nodes/{drone.name}/reset-escalation")
    assert (found["previous_level"], found["current_level"]) == (4, 0)
    sshd.stub("pgrep", "echo 77")
    until(lambda: swarm.read(f"/admin/api/drones/{drone.name}/escalation")["last_probe_result"]["status"] == "ok")
    until(lambda: level(swarm, drone) == 0)
