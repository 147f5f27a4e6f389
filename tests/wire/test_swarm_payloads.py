"""Document 003, payloads: the eight endpoints and their command line, on drones behind a real sshd.

All drones here share this host, and each has a home of its own that its sessions hold open: so ``/proc/self/fd/9``
leads to another place on each, as one path does on different machines.
"""

import base64
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from attrs import define, field

from tests.product.served import product
from tests.wire.sshd import Sshd, running_sshd
from tests.wire.swarm import KEY as SWARM_KEY
from tests.wire.swarm import STRANGER, WITH_KEY, Drone, Swarm, until

pytestmark = pytest.mark.zipapp

PAYLOADS = "/admin/api/payloads"
PROGRAM = "/proc/self/fd/9/opt/bin/swarm-drone"
CONFIG = f"""
[plugins.build_swarm]
healing_enabled = false
payload_folder = "/proc/self/fd/9/payloads"
[plugins.build_swarm.payload_destinations]
drone_binary = {{ path = "{PROGRAM}" }}
config = {{ path = "/proc/self/fd/9/etc/config.json" }}
"""
MIB = 2**20
HASH = re.compile(r"[0-9a-f]{64}")
VERSION_KEYS = {
    "id", "payload_type", "version", "hash", "content_path", "description", "notes", "created_at", "created_by",
}  # fmt: skip
LOG_KEYS = {
    "id", "drone_id", "drone_name", "payload_type", "version", "action", "status", "duration_ms", "error_message",
    "deployed_at", "deployed_by",
}  # fmt: skip


@define(eq=False)
class Farm:
    """A product, and two approved drones that go on registering."""

    swarm: Swarm
    sshd: dict[str, Sshd]
    drones: dict[str, Drone] = field(factory=dict)
    numbers: Iterator[int] = field(factory=lambda: iter(range(1, 1000)))

    def version(self) -> str:
        """Return a version that no other test has."""
        return f"0.{next(self.numbers)}.0"

    def add(self, content: bytes | str, kind: str = "drone_binary", version: str = "", **more: Any) -> Any:
        """Add a version, and return it as the server renders it."""
        data = content.encode() if isinstance(content, str) else content
        body = {"type": kind, "version": version or self.version(), "content": base64.b64encode(data).decode(), **more}
        answer = self.swarm.post(PAYLOADS, body, 201)
        assert answer["status"] == "ok"
        return answer["version"]

    def deploy(self, version: str, drone: str = "drone-a", kind: str = "drone_binary", **more: Any) -> httpx.Response:
        return self.swarm.send("POST", f"{PAYLOADS}/{kind}/{version}/deploy", {"drone": drone, **more})

    def home(self, drone: str) -> Path:
        return self.sshd[drone].folder / "home"

    def program(self, drone: str) -> Path:
        return self.home(drone) / "opt" / "bin" / "swarm-drone"

    def log(self, drone: str = "", kind: str = "drone_binary", limit: int = 100) -> list[Any]:
        query = f"?limit={limit}" + (f"&drone={drone}" if drone else "")
        return list(self.swarm.read(f"{PAYLOADS}/{kind}/deploy-log{query}")["history"])

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Have the drones send heartbeats meanwhile."""
        over = threading.Event()

        def beat() -> None:
            with httpx.Client(base_url=self.swarm.product.base, timeout=60) as client:
                mine = Swarm(self.swarm.product, client)
                while not over.wait(0.1):
                    for drone in self.drones.values():
                        Drone(mine, drone.name, drone.id).register()

        thread = threading.Thread(target=beat)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.fixture(scope="module")
def farm(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    folder = tmp_path_factory.mktemp("payloads")
    with ExitStack() as stack:
        sshd = {name: stack.enter_context(running_sshd(folder / name)) for name in ("drone-a", "drone-b")}
        one = stack.enter_context(product(pyz, folder, environment={"ADMIN_SECRET": SWARM_KEY}))
        one.config.write_text(CONFIG)
        one.start()
        client = stack.enter_context(httpx.Client(base_url=one.base, timeout=60))
        made = Farm(Swarm(one, client), sshd)
        public_key = made.swarm.read("/api/appliance/swarm/approvals")["public_key"]
        for name, drone in sshd.items():
            drone.authorize(public_key)
            drone.stub("pgrep", "exit 1")
            session = drone.folder / "session"
            session.write_text(session.read_text().replace("\ncd\n", '\ncd\nexec 9< "$HOME"\n'))
            made.drones[name] = made.swarm.drone(name)
            told = {"address": "127.0.0.1", "port": drone.port, "user": drone.user, "host_key": drone.host_key}
            made.swarm.post(f"/api/appliance/swarm/drones/{name}/approve", told)
        made.swarm.drone("drone-unapproved")
        yield made
        assert "Traceback" not in one.log


# ---------------------------------------------------------------- versions


def test_version_is_added_and_listed_with_every_documented_field(farm: Farm) -> None:
    content = b"program"
    digest = hashlib.sha256(content).hexdigest()
    version = farm.version()
    more = {"description": "Swarm drone", "notes": "Self-healing support", "created_by": "admin"}
    made = farm.add(content, version=version, **more)
    assert made["payload_type"] == "drone_binary"
    assert made["version"] == version
    assert made["hash"] == f"sha256:{digest}"
    assert made["hash_hex"] == digest
    listed = farm.swarm.read(PAYLOADS)["versions"]
    (found,) = [one for one in listed if one["version"] == version]
    assert found == made
    assert set(found) >= VERSION_KEYS
    assert {name: found[name] for name in more} == more
    assert isinstance(found["id"], int)
    assert isinstance(found["created_at"], int)
    assert abs(found["created_at"] - time.time()) < 600
    assert Path(found["content_path"]).read_bytes() == content
    assert Path(found["content_path"]).name.startswith(f"drone_binary-{version}.")
    of_type = farm.swarm.read(f"{PAYLOADS}/drone_binary/versions")
    assert set(of_type) == {"payload_type", "versions", "latest"}
    assert of_type["versions"] == [one for one in listed if one["payload_type"] == "drone_binary"]
    assert of_type["latest"]["version"] == version
    assert of_type["latest"]["hash"] == of_type["latest"]["hash_hex"] == digest


def test_same_again_is_201_with_the_version_that_is_there_and_other_content_409(farm: Farm) -> None:
    made = farm.add("one", notes="first")
    assert farm.add("one", version=made["version"], notes="second") == made
    body = {"type": "drone_binary", "version": made["version"], "content": base64.b64encode(b"two").decode()}
    assert "other content" in farm.swarm.refused("POST", PAYLOADS, body, status=409)
    assert Path(made["content_path"]).read_bytes() == b"one"


def test_newest_is_the_last_one_made_also_when_two_are_made_within_a_second(farm: Farm) -> None:
    for version in ("9.0", "10.0", "8.0"):
        farm.add(version, kind="ordered", version=version)
    assert farm.swarm.read(f"{PAYLOADS}/ordered/versions")["latest"]["version"] == "8.0"
    assert farm.swarm.read(f"{PAYLOADS}/status")["latest_versions"]["ordered"]["version"] == "8.0"


def test_types_without_versions_have_empty_lists(farm: Farm) -> None:
    assert farm.swarm.read(f"{PAYLOADS}/init_script/versions") == {
        "payload_type": "init_script",
        "versions": [],
        "latest": None,
    }
    assert farm.swarm.read(f"{PAYLOADS}/init_script/deploy-log") == {"payload_type": "init_script", "history": []}


def test_largest_content_is_taken_while_memory_stays_as_it_was(farm: Farm) -> None:
    content = bytes(range(256)) * (64 * MIB // 256)
    before = resident_bytes(farm)
    made = farm.add(content, kind="large")
    assert made["hash_hex"] == hashlib.sha256(content).hexdigest()
    assert made["content_size"] == 64 * MIB
    assert resident_bytes(farm) - before < 24 * MIB
    body = {"type": "large", "version": farm.version(), "content": base64.b64encode(content + b"x").decode()}
    answer = too_large(farm, json.dumps(body).encode())
    assert answer is None or answer.startswith(b"HTTP/1.1 413")
    folder = Path(made["content_path"]).parent
    until(lambda: not [one for one in folder.iterdir() if one.name.startswith(".")])


def resident_bytes(farm: Farm) -> int:
    status = Path(f"/proc/{farm.swarm.product.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def too_large(farm: Farm, body: bytes) -> bytes | None:
    """Send a body, and return the beginning of the answer; ``None`` where the connection was ended over it."""
    head = f"POST {PAYLOADS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", farm.swarm.product.port), timeout=60) as plain:
        try:
            plain.sendall(head + body)
            return plain.recv(64)
        except OSError:
            return None


def test_upload_that_ends_in_the_middle_leaves_nothing(farm: Farm) -> None:
    made = farm.add("x", kind="cut")
    folder = Path(made["content_path"]).parent
    head = f"POST {PAYLOADS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", farm.swarm.product.port), timeout=60) as plain:
        plain.sendall(head + b'{"type": "cut", "version": "2", "content": "' + b"QUJD" * 1_000_000)
        until(lambda: [one for one in folder.iterdir() if one.name.startswith(".")])
    until(lambda: not [one for one in folder.iterdir() if one.name.startswith(".")])
    assert [one["version"] for one in farm.swarm.read(f"{PAYLOADS}/cut/versions")["versions"]] == [made["version"]]


GOOD = {"type": "hostile", "version": "1", "content": "QUJD"}


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"content": "QUJ"}, "content"),
        ({"content": "!!!!"}, "content"),
        ({"content": ""}, "content"),
        ({"content": None}, "content"),
        ({"content": 7}, "content"),
        ({"content": ["QUJD"]}, "content"),
        ({"type": ""}, "type"),
        ({"type": "Drone"}, "type"),
        ({"type": "../etc"}, "type"),
        ({"type": "x" * 33}, "type"),
        ({"type": None}, "type"),
        ({"version": ""}, "version"),
        ({"version": "a/b"}, "version"),
        ({"version": "x" * 65}, "version"),
        ({"version": 1.0}, "version"),
        ({"version": "1\n"}, "version"),
        ({"description": 7}, "description"),
        ({"notes": "x" * 2001}, "notes"),
        ({"created_by": {}}, "created_by"),
    ],
)
def test_bad_field_of_a_version_is_400_and_named(farm: Farm, changes: dict[str, Any], place: str) -> None:
    answer = farm.swarm.send("POST", PAYLOADS, GOOD | changes)
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == place
    assert set(answer.json()) == {"error", "hint", "field"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff",
        b'{"content": "QUJD',
        b'{"content": "QUJD", "content": "QUJD", "type": "a", "version": "1"}',
        b'{"type": "a", "version": "1"}',
        b'{"type": "a", "content": "QUJD"}',
        b'{"version": "1", "content": "QUJD"}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"type": "a", "version": "1", "content": "QUJD"} x',
    ],
)
def test_body_that_is_no_version_is_400(farm: Farm, body: bytes) -> None:
    farm.swarm.refused("POST", PAYLOADS, body, status=400)
    assert not [one for one in farm.swarm.read(PAYLOADS)["versions"] if one["payload_type"] in ("a", "hostile")]


def test_endless_field_beside_the_content_is_refused_early(farm: Farm) -> None:
    body = b'{"notes": "' + b"x" * 200_000 + b'", "type": "a", "version": "1", "content": "QUJD"}'
    assert "65536 bytes" in farm.swarm.refused("POST", PAYLOADS, body, status=413)


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PAYLOADS),
        ("POST", PAYLOADS),
        ("GET", f"{PAYLOADS}/status"),
        ("GET", f"{PAYLOADS}/drone_binary/versions"),
        ("GET", f"{PAYLOADS}/drone_binary/deploy-log"),
        ("POST", f"{PAYLOADS}/drone_binary/1/deploy"),
        ("POST", f"{PAYLOADS}/drone_binary/1/rolling-deploy"),
        ("POST", f"{PAYLOADS}/drone_binary/verify"),
        ("POST", "/api/appliance/swarm/payload-rolls"),
        ("GET", "/api/appliance/swarm/payload-rolls/x"),
        ("DELETE", "/api/appliance/swarm/payloads/drone_binary/1"),
    ],
)
def test_every_endpoint_needs_the_key(farm: Farm, method: str, path: str) -> None:
    assert farm.swarm.send(method, path, None if method == "GET" else {}, headers=STRANGER).status_code == 401
    wrong = STRANGER | {"X-Admin-Key": "wrong"}
    assert farm.swarm.send(method, path, None if method == "GET" else {}, headers=wrong).status_code == 401
    with_key = farm.swarm.send(method, path, None if method == "GET" else {}, headers=WITH_KEY)
    assert with_key.status_code in (200, 400, 404)


# ---------------------------------------------------------------- deploying


def test_deploy_puts_the_file_there_and_answers_as_documented(farm: Farm) -> None:
    made = farm.add("#!/bin/sh\n")
    answer = farm.deploy(made["version"], verify=True, deployed_by="admin")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "status": "ok",
        "drone": "drone-a",
        "payload_type": "drone_binary",
        "version": made["version"],
        "message": f"Deployed drone_binary v{made['version']} to drone-a",
    }
    assert farm.program("drone-a").read_text() == "#!/bin/sh\n"
    assert farm.program("drone-a").stat().st_mode & 0o777 == 0o755
    entry = farm.log("drone-a")[0]
    assert set(entry) == LOG_KEYS
    assert (entry["drone_id"], entry["drone_name"]) == (farm.drones["drone-a"].id, "drone-a")
    assert (entry["action"], entry["status"], entry["deployed_by"]) == ("deploy", "success", "admin")
    assert entry["error_message"] is None
    assert entry["duration_ms"] > 0
    assert isinstance(entry["deployed_at"], int)
    has = farm.swarm.read(f"{PAYLOADS}/status")["drones"]["drone-a"]["drone_binary"]
    assert (has["version"], has["status"], has["is_current"]) == (made["version"], "deployed", True)
    assert any(event["message"] == answer.json()["message"] for event in farm.swarm.events("payload"))


def test_status_has_every_drone_and_counts_those_that_are_behind(farm: Farm) -> None:
    old = farm.add("{}", kind="config")
    for drone in farm.drones:
        assert farm.deploy(old["version"], drone, "config").status_code == 200
    before = farm.swarm.read(f"{PAYLOADS}/status")
    documented = {"payload_types", "latest_versions", "drones", "outdated_count"}
    assert set(before) == documented | {"destinations", "payload_folder"}
    assert before["destinations"]["drone_binary"] == PROGRAM
    assert before["destinations"]["init_script"] == "/etc/init.d/swarm-drone"
    assert "config" in before["payload_types"]
    assert before["drones"]["drone-unapproved"] == {}
    new = farm.add("{ }", kind="config")
    assert farm.deploy(new["version"], "drone-b", "config").status_code == 200
    after = farm.swarm.read(f"{PAYLOADS}/status")
    latest = after["latest_versions"]["config"]
    assert (latest["version"], latest["hash"]) == (new["version"], new["hash_hex"])
    assert HASH.fullmatch(latest["hash"])
    assert after["drones"]["drone-a"]["config"]["is_current"] is False
    assert after["drones"]["drone-b"]["config"]["is_current"] is True
    assert after["outdated_count"] >= 1
    assert (farm.home("drone-a") / "etc" / "config.json").read_text() == "{}"


def test_unknown_drones_and_versions_are_404_and_bad_bodies_400(farm: Farm) -> None:
    version = farm.add("x")["version"]
    known = {"drone": "drone-a"}
    for path, body in (
        (f"{PAYLOADS}/drone_binary/{version}/deploy", {"drone": "nobody"}),
        (f"{PAYLOADS}/drone_binary/99/deploy", known),
        (f"{PAYLOADS}/nothing/{version}/deploy", known),
        (f"{PAYLOADS}/Bad/{version}/deploy", known),
        (f"{PAYLOADS}/drone_binary/99/rolling-deploy", {}),
        (f"{PAYLOADS}/nothing/verify", known),
        (f"{PAYLOADS}/drone_binary/verify", {"drone": "nobody"}),
    ):
        farm.swarm.refused("POST", path, body, status=404)
    for name in ("deploy", "rolling-deploy"):
        path = f"{PAYLOADS}/drone_binary/{version}/{name}"
        for bad in (b"[]", b"null", b"{", b'"drone-a"', b"\xff"):
            farm.swarm.refused("POST", path, bad, status=400)
    for bad_body in (
        {},
        {"drone": ""},
        {"drone": None},
        {"drone": 7},
        {"drone": "x" * 300},
        {"drone": "a", "verify": 1},
    ):
        farm.swarm.refused("POST", f"{PAYLOADS}/drone_binary/{version}/deploy", bad_body, status=400)
    for bad_roll in ({"drones": "drone-a"}, {"drones": [7]}, {"drones": [""]}, {"health_check": "yes"}):
        farm.swarm.refused("POST", f"{PAYLOADS}/drone_binary/{version}/rolling-deploy", bad_roll, status=400)
    for query in ("limit=abc", "limit=0", "limit=-1", "limit=1.5", "limit=" + "9" * 40, "drone=" + "x" * 300):
        farm.swarm.refused("GET", f"{PAYLOADS}/drone_binary/deploy-log?{query}", status=400)


def test_unapproved_drone_is_409_with_the_way_to_approve_it_and_nobody_connects(farm: Farm) -> None:
    version = farm.add("x")["version"]
    before = {name: drone.connections for name, drone in farm.sshd.items()}
    one, some = {"drone": "drone-unapproved"}, {"drones": ["drone-a", "drone-unapproved", "nobody"]}
    for path, body in (
        (f"{PAYLOADS}/drone_binary/{version}/deploy", one),
        (f"{PAYLOADS}/drone_binary/verify", one),
        (f"{PAYLOADS}/drone_binary/{version}/rolling-deploy", some),
    ):
        answer = farm.swarm.send("POST", path, body)
        assert answer.status_code == 409, answer.text
        assert answer.json()["hint"] == "appliance swarm approve drone-unapproved"
    roll = farm.swarm.post(f"{PAYLOADS}/drone_binary/{version}/rolling-deploy", {"drones": ["nobody"]})
    assert (roll["status"], roll["success_count"], roll["fail_count"]) == ("partial", 0, 1)
    assert roll["results"]["nobody"]["success"] is False
    assert {name: drone.connections for name, drone in farm.sshd.items()} == before
    assert farm.log("drone-unapproved") == []


def test_deploy_that_fails_is_500_with_both_error_shapes_and_changes_nothing(farm: Farm) -> None:
    old, new = farm.add("old"), farm.add("new")
    assert farm.deploy(old["version"], "drone-b").status_code == 200
    farm.sshd["drone-b"].stub("install", 'echo "no space left on device" >&2; exit 1')
    try:
        answer = farm.deploy(new["version"], "drone-b")
    finally:
        (farm.sshd["drone-b"].bin / "install").unlink()
    assert answer.status_code == 500
    found = answer.json()
    assert (found["status"], found["drone"], found["version"]) == ("error", "drone-b", new["version"])
    assert found["error"] == found["message"]
    assert "no space left on device" in found["error"]
    assert found["hint"]
    assert farm.program("drone-b").read_text() == "old"
    assert farm.log("drone-b")[0]["status"] == "failed"
    has = farm.swarm.read(f"{PAYLOADS}/status")["drones"]["drone-b"]["drone_binary"]
    assert (has["version"], has["status"], has["is_current"]) == (old["version"], "failed", False)
    assert "no space left" in has["error_message"]


def test_verify_compares_what_is_on_the_drone(farm: Farm) -> None:
    made = farm.add("verified")
    assert farm.deploy(made["version"]).status_code == 200
    path = f"{PAYLOADS}/drone_binary/verify"
    found = farm.swarm.post(path, {"drone": "drone-a"})
    assert {name: found[name] for name in ("drone", "payload_type", "matches", "remote_hash", "message")} == {
        "drone": "drone-a",
        "payload_type": "drone_binary",
        "matches": True,
        "remote_hash": made["hash_hex"],
        "message": "Hash matches",
    }
    farm.program("drone-a").write_text("changed")
    found = farm.swarm.post(path, {"drone": farm.drones["drone-a"].id})
    changed = hashlib.sha256(b"changed").hexdigest()
    assert (found["matches"], found["remote_hash"]) == (False, changed)
    assert changed in found["message"]
    farm.program("drone-a").unlink()
    found = farm.swarm.post(path, {"drone": "drone-a"})
    assert (found["matches"], found["remote_hash"]) == (False, None)
    assert "No such file" in found["message"]


def test_deploy_goes_on_when_the_client_hangs_up(farm: Farm) -> None:
    made = farm.add("goes on")
    gate = farm.sshd["drone-a"].folder / "gate"
    real = "PATH=${PATH#*:}; export PATH"
    farm.sshd["drone-a"].stub(
        "install", f'{real}; touch "{gate}"; while [ -e "{gate}" ]; do sleep 0.05; done; exec install "$@"'
    )
    try:
        body = json.dumps({"drone": "drone-a"}).encode()
        head = f"POST {PAYLOADS}/drone_binary/{made['version']}/deploy HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        with socket.create_connection(("127.0.0.1", farm.swarm.product.port), timeout=60) as plain:
            plain.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            until(gate.exists)
            assert farm.deploy(made["version"]).status_code == 409
    finally:
        gate.unlink(missing_ok=True)
        (farm.sshd["drone-a"].bin / "install").unlink()
    until(lambda: farm.log("drone-a")[0]["status"] != "deploying")
    entry = farm.log("drone-a")[0]
    assert (entry["version"], entry["status"]) == (made["version"], "success")
    assert farm.program("drone-a").read_text() == "goes on"
    until(lambda: farm.deploy(made["version"]).status_code == 200)  # the drone is free a moment after that


# ---------------------------------------------------------------- rolling


def roll(farm: Farm, version: str, **body: Any) -> Any:
    with farm.beating():
        return farm.swarm.post(f"{PAYLOADS}/drone_binary/{version}/rolling-deploy", body)


def test_roll_restarts_each_drone_and_answers_as_documented(farm: Farm) -> None:
    made = farm.add("rolled out")
    calls = {name: len(drone.calls) for name, drone in farm.sshd.items()}
    wanted = {"drones": ["drone-a", "drone-b"], "health_check": True, "rollback_on_fail": True, "deployed_by": "admin"}
    assert roll(farm, made["version"], **wanted) == {
        "status": "ok",
        "payload_type": "drone_binary",
        "version": made["version"],
        "success_count": 2,
        "fail_count": 0,
        "results": {
            name: {"success": True, "message": f"Deployed drone_binary v{made['version']} to {name}"}
            for name in ("drone-a", "drone-b")
        },
    }
    for name, drone in farm.sshd.items():
        assert farm.program(name).read_text() == "rolled out"
        assert drone.calls[calls[name] :] == ["rc-service swarm-drone restart"]
    # Nobody lacks it now, the drone that nobody approved aside.
    again = roll(farm, made["version"], drones=None)
    assert (again["status"], again["results"]) == ("ok", {})


def test_roll_that_fails_brings_back_what_every_drone_had(farm: Farm) -> None:
    old = farm.add("works")
    assert roll(farm, old["version"])["fail_count"] == 0
    new = farm.add("does not")
    farm.sshd["drone-b"].stub("rc-service", 'grep -q "does not" "$HOME/opt/bin/swarm-drone" && exit 1; exit 0')
    found = roll(farm, new["version"])
    assert (found["status"], found["success_count"], found["fail_count"]) == ("partial", 0, 2)
    assert found["results"]["drone-a"] == {
        "success": False,
        "message": f"rolled back to drone_binary v{old['version']} (drone-b failed)",
    }
    assert "did not restart" in found["results"]["drone-b"]["message"]
    for name in farm.sshd:
        assert farm.program(name).read_text() == "works"
        assert farm.swarm.post(f"{PAYLOADS}/drone_binary/verify", {"drone": name})["matches"]
        assert [(one["action"], one["version"]) for one in farm.log(name)[:2]] == [
            ("rollback", old["version"]),
            ("deploy", new["version"]),
        ]
        assert not list(farm.program(name).parent.glob(".*"))
    farm.sshd["drone-b"].stub("rc-service", "exit 0")


def test_roll_goes_on_past_a_failure_without_rollback(farm: Farm) -> None:
    made = farm.add("goes on past")
    farm.sshd["drone-a"].stub("rc-service", "exit 1")
    found = roll(farm, made["version"], rollback_on_fail=False)
    farm.sshd["drone-a"].stub("rc-service", "exit 0")
    assert (found["status"], found["success_count"], found["fail_count"]) == ("partial", 1, 1)
    assert "not healthy" in found["results"]["drone-a"]["message"]
    assert [farm.program(name).read_text() for name in farm.sshd] == ["goes on past"] * 2


# ---------------------------------------------------------------- the command line


def test_command_rolls_a_file_out_and_finds_it_on_the_drones(farm: Farm, tmp_path: Path) -> None:
    command = farm.swarm.product.command
    file = tmp_path / "drone"
    file.write_text("by command")
    version = farm.version()
    done = command("swarm", "payload", "add", "drone_binary", version, str(file))
    assert done.returncode == 0, done.stderr
    with farm.beating():
        done = command("swarm", "payload", "rolling-deploy", "drone_binary", version)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(line.split()[:2] for line in done.stdout.splitlines()) == [["ok", "drone-a:"], ["ok", "drone-b:"]]
    assert [farm.program(name).read_text() for name in farm.sshd] == ["by command"] * 2
