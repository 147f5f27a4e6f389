"""What broke the upstream server of the build swarm, and bad input in every field: a right answer or a clear 400.

After each the next write is as right as before, and the product says nothing of a crash.
"""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import pytest

from tests.product.served import exchange
from tests.wire.swarm import STRANGER, Drone, Swarm, atom, raw, wire, with_text

pytestmark = pytest.mark.zipapp

DIGITS = "9" * 5000
NO_JSON = ("NaN", "Infinity", "-Infinity", "nan", "01", "0x10", "'a'", '"a', r'"\x41"')
NO_OBJECTS = ("[]", "null", '"text"', "7", "true", "{", "", "[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000)
POSTS = (
    "/api/v1/register",
    "/api/v1/complete",
    "/api/v1/report",
    "/api/v1/queue",
    "/api/v1/control",
    "/api/v1/nodes/drone-x/set-type",
    "/api/v1/profiles",
    "/api/v1/profiles/x/world",
    "/api/v1/profile/sync",
    "/api/v1/snapshots",
    "/api/v1/provision/drone",
)
REGISTER: dict[str, Any] = {
    "id": "abc123",
    "name": "drone-hostile",
    "ip": "10.0.0.175",
    "type": "drone",
    "capabilities": {"cores": 16, "ram_gb": 32.0},
    "metrics": {"cpu_percent": 1.5},
    "current_task": None,
    "version": "0.4.0-alpha",
}
COMPLETE: dict[str, Any] = {
    "id": "abc123",
    "package": "dev-libs/openssl-3.2.0",
    "status": "success",
    "build_duration_s": 1.5,
    "error_detail": None,
}
QUEUE: dict[str, Any] = {"packages": ["dev-test/hostile-1"], "session_name": "x", "session_id": None, "priority": 0}
NO_NAMES = (
    '""', "7", "true", "[]", "{}", '"-x"', '".x"', '"a b"', '"a/b"', '"../x"', r'"a\u0000"', r'"a\nb"', '"ä"',
    '"' + "x" * 64 + '"', '"' + "x" * 60_000 + '"', '"$(id)"', "'a'", r'"\ud800"',
)  # fmt: skip
NO_TEXTS = ("7", "true", "[]", "{}", DIGITS, "NaN", '"' + "x" * 60_000 + '"')
NO_AMOUNTS = ('"5"', "true", "[]", "{}", "-1", "NaN", "1e400", "1e300", DIGITS, "-Infinity")
NO_ATOMS = (
    '""', "7", "null", "[]", "{}", '"openssl"', '"/"', '"a/"', '"/b"', '"dev-libs/../../etc"', '"a/b c"',
    r'"a/b\u0000"',
    '"a/b;reboot"', '"--a/b"', '">=dev-libs/openssl"', '"' + "a/" + "b" * 300 + '"',
)  # fmt: skip
FIELDS: tuple[tuple[str, dict[str, Any], str, tuple[str, ...]], ...] = (
    ("/api/v1/register", REGISTER, "id", NO_NAMES),
    ("/api/v1/register", REGISTER, "name", NO_NAMES[1:]),
    ("/api/v1/register", REGISTER, "ip", NO_TEXTS),
    ("/api/v1/register", REGISTER, "type", NO_TEXTS),
    ("/api/v1/register", REGISTER, "current_task", NO_TEXTS),
    ("/api/v1/register", REGISTER, "version", NO_TEXTS),
    ("/api/v1/register", REGISTER, "capabilities", ("7", '"x"', "[]", "NaN", '{"a":1e300}', '{"a":' + DIGITS + "}")),
    ("/api/v1/register", REGISTER, "capabilities.cores", NO_AMOUNTS),
    ("/api/v1/register", REGISTER, "capabilities.ram_gb", NO_AMOUNTS),
    ("/api/v1/register", REGISTER, "metrics", ("7", '"x"', "[]", "[" * 500 + "]" * 500)),
    ("/api/v1/register", REGISTER, "metrics.cpu_percent", NO_AMOUNTS),
    ("/api/v1/register", REGISTER, "metrics.load_1m", NO_AMOUNTS),
    ("/api/v1/complete", COMPLETE, "id", NO_NAMES),
    ("/api/v1/complete", COMPLETE, "package", NO_ATOMS),
    ("/api/v1/complete", COMPLETE, "status", ("7", "null", '""', '"a b"', '"<b>"', '"' + "x" * 33 + '"')),
    ("/api/v1/complete", COMPLETE, "build_duration_s", NO_AMOUNTS),
    ("/api/v1/complete", COMPLETE, "error_detail", ("7", "true", "[]", "{}")),
    ("/api/v1/queue", QUEUE, "packages", ("null", '"dev-libs/openssl"', "7", "{}", "[]", "[7]", "[[]]", "[null]")),
    ("/api/v1/queue", QUEUE, "session_name", ("7", "[]", '"' + "x" * 201 + '"')),
    ("/api/v1/queue", QUEUE, "session_id", ("7", "[]", '"' + "x" * 201 + '"')),
    ("/api/v1/queue", QUEUE, "priority", ('"1"', "1.5", "true", DIGITS, "-1001")),
    ("/api/v1/queue", QUEUE, "cores", ('"1"', "-1", DIGITS, "null")),
    ("/api/v1/queue", QUEUE, "waits_for", ("[]", '{"a/b":"c/d"}', '{"a/b":[7]}', '{"nothing":["a/b"]}')),
    ("/api/v1/control", {"action": "pause"}, "action", ("null", "7", '""', '"fly"', '"' + "x" * 65 + '"')),
    ("/api/v1/control", {"action": "block"}, "package", ("7", "{}", "[]", '"' + "x" * 300 + '"')),
)


@pytest.fixture
def swarm(shared_swarm: Swarm) -> Iterator[Swarm]:
    """A swarm that is at rest, and as well as ever afterwards."""
    yield shared_swarm
    shared_swarm.clear()
    package, drone = atom(), shared_swarm.drone()
    shared_swarm.queue(package)
    assert drone.build(package)["accepted"] is True
    shared_swarm.clear()
    assert shared_swarm.product.process.poll() is None
    for sign in ("Traceback", "crashed", "connection.failed", "request.failed", "request failed"):
        assert sign not in shared_swarm.product.log, shared_swarm.product.log[-3000:]


# ---------------------------------------------------------------- what broke the upstream server


def test_request_of_a_drone_that_nobody_knows_gets_nothing_and_breaks_nothing(swarm: Swarm) -> None:
    package = atom()
    swarm.queue(package)
    assert swarm.read("/api/v1/work?id=nobody-knows-me") == {"package": None}
    assert swarm.read("/api/v1/poll?node=nobody-knows-me") == {"package": None}
    stale = swarm.post("/api/v1/complete", COMPLETE | {"id": "nobody-knows-me", "package": package})
    assert (stale["accepted"], stale["stale"]) == (False, True)
    assert swarm.status_of(package) == "needed"
    assert swarm.read("/api/v1/nodes?all=true") == []
    drone = swarm.drone()
    assert drone.build(package)["accepted"] is True


def test_drone_with_a_history_is_deleted_and_its_history_stays(swarm: Swarm) -> None:
    drone, package, held = swarm.drone(), atom(), atom()
    swarm.queue(package, held)
    drone.build(package)
    drone.take(held)
    assert swarm.send("DELETE", f"/api/v1/nodes/{drone.id}").status_code == 200
    assert swarm.status_of(held) == "needed"
    assert [each["package"] for each in swarm.read(f"/api/v1/history?drone={drone.name}")["builds"]] == [wire(package)]
    swarm.refused("DELETE", f"/api/v1/nodes/{drone.id}", status=404)


def test_drone_that_was_installed_again_takes_its_name_over_with_a_new_id(swarm: Swarm) -> None:
    old, package = swarm.drone(), atom()
    swarm.queue(package)
    old.take(package)
    new = Drone(swarm, old.name, "f" * 32)
    assert new.register()["status"] == "registered"
    (node,) = swarm.read("/api/v1/nodes?all=true")
    assert (node["id"], node["name"]) == (new.id, old.name)
    assert new.build(package)["accepted"] is True


def test_profile_with_a_known_id_is_409_and_the_next_write_goes_on(swarm: Swarm) -> None:
    body = {"id": "twice", "name": "Twice"}
    swarm.post("/api/v1/profiles", body, status=201)
    for _ in range(3):
        swarm.refused("POST", "/api/v1/profiles", body, status=409)
    swarm.control("pause")
    swarm.send("DELETE", "/api/v1/profiles/twice")


def test_report_that_comes_six_times_at_once_counts_once(swarm: Swarm) -> None:
    drone = swarm.drone()
    packages = [atom() for _ in range(10)]
    swarm.queue(*packages)
    accepted = []
    with ThreadPoolExecutor(6) as pool, httpx.Client(base_url=swarm.product.base, timeout=60) as client:
        for package in packages:
            drone.take(package)
            body = COMPLETE | {"id": drone.id, "package": package}
            sent = [pool.submit(client.post, "/api/v1/complete", json=body) for _ in range(6)]
            accepted.append(sum(each.result().json()["accepted"] for each in sent))
    assert accepted == [1] * len(packages)
    builds = [each["package"] for each in swarm.read(f"/api/v1/history?drone={drone.name}")["builds"]]
    assert sorted(builds) == sorted(map(wire, packages))


@pytest.mark.parametrize("path", POSTS)
def test_body_that_is_no_object_is_400(swarm: Swarm, path: str) -> None:
    for body in NO_OBJECTS:
        assert swarm.refused("POST", path, raw(body), status=400), body[:40]


NO_QUERIES = (
    "/api/v1/events?limit=abc",
    "/api/v1/events?limit=-1",
    "/api/v1/events?limit=1.5",
    "/api/v1/events?since=abc",
    "/api/v1/events?since=nan",
    "/api/v1/events?since=1e400",
    "/api/v1/events?since=-5",
    "/api/v1/events/history?limit=abc",
    "/api/v1/events/history?since=inf",
    "/api/v1/history?limit=abc",
    f"/api/v1/history?limit={DIGITS}",
    "/api/v1/history?limit=99999999999999999999",
    "/api/v1/history?before=x",
    "/api/v1/sessions?limit=x",
    "/api/v1/work",
    "/api/v1/work?id=",
    "/api/v1/work?id=../x",
    "/api/v1/work?id=a%00b",
    "/api/v1/work?id=abc&cores=many",
    "/api/v1/work?" + "&".join(f"a{number}=1" for number in range(100)),
    "/api/v1/poll?node=a%20b",
    f"/api/v1/nodes?all={'x' * 100}",
)


def test_query_that_means_nothing_is_400(swarm: Swarm) -> None:
    for path in NO_QUERIES:
        assert swarm.refused("GET", path, status=400), path[:60]


def test_since_with_a_fraction_is_a_time_or_an_id(swarm: Swarm) -> None:
    for since in ("1.5", "0", "1707745234.5", "1e9", "1e3"):
        assert isinstance(swarm.read(f"/api/v1/events?since={since}")["events"], list)


def test_head_is_answered_and_other_methods_are_405_with_what_is_allowed(swarm: Swarm) -> None:
    head = swarm.send("HEAD", "/api/v1/status")
    assert (head.status_code, head.content) == (200, b"")
    for method, path in (("PUT", "/api/v1/status"), ("PATCH", "/api/v1/queue"), ("DELETE", "/api/v1/control")):
        swarm.refused(method, path, status=405)
        assert swarm.send(method, path).headers["allow"]


def test_options_on_a_kept_connection_ends_and_the_next_request_is_answered(swarm: Swarm) -> None:
    with socket.create_connection(("127.0.0.1", swarm.product.port), timeout=30) as plain:
        host = f"Host: 127.0.0.1:{swarm.product.port}\r\n".encode()
        first = exchange(plain, b"OPTIONS /api/v1/control HTTP/1.1\r\n" + host + b"\r\n", until_bytes=b"\r\n\r\n")
        assert first.split()[1] in (b"200", b"204")
        second = exchange(plain, b"GET /api/v1/health HTTP/1.1\r\n" + host + b"\r\n", until_bytes=b"}")
        assert second.split()[1] == b"200"


# ---------------------------------------------------------------- every field


@pytest.mark.parametrize(
    ("path", "body", "name", "texts"), FIELDS, ids=[f"{path.rpartition('/')[2]}-{name}" for path, _, name, _ in FIELDS]
)
def test_wrong_value_of_a_field_is_400_and_changes_nothing(
    swarm: Swarm, path: str, body: dict[str, Any], name: str, texts: tuple[str, ...]
) -> None:
    before = swarm.read("/api/v1/queue"), swarm.read("/api/v1/nodes?all=true"), swarm.latest_event
    for text in texts:
        answer = swarm.send("POST", path, with_text(body, name, text))
        assert answer.status_code == 400, (text[:60], answer.text)
        assert answer.json()["error"]
    assert (swarm.read("/api/v1/queue"), swarm.read("/api/v1/nodes?all=true"), swarm.latest_event) == before


@pytest.mark.parametrize(("path", "body"), [("/api/v1/register", REGISTER), ("/api/v1/complete", COMPLETE)])
def test_text_that_is_no_json_is_400(swarm: Swarm, path: str, body: dict[str, Any]) -> None:
    for text in NO_JSON:
        assert swarm.refused("POST", path, with_text(body, "unknown", text), status=400), text


def test_body_beyond_the_limit_is_413_and_the_connection_goes_on_or_closes(swarm: Swarm) -> None:
    large = {"capabilities": {"x": "y" * 70_000}}
    assert swarm.send("POST", "/api/v1/register", REGISTER | large).status_code == 413
    assert swarm.send("POST", "/api/v1/complete", COMPLETE | {"error_detail": "x" * 2**20}).status_code == 413


def test_object_of_a_drone_that_is_too_large_to_keep_is_400(swarm: Swarm) -> None:
    large = {"metrics": {"x": "y" * 20_000}}
    swarm.refused("POST", "/api/v1/register", REGISTER | large, status=400)


def test_long_error_is_cut_and_not_refused(swarm: Swarm) -> None:
    drone, package = swarm.drone(), atom()
    swarm.queue(package)
    drone.build(package, "failed", error_detail="e" * 100_000)
    (found,) = [each for each in swarm.read("/api/v1/queue") if each["package"] == wire(package)]
    assert 1000 <= len(found["error_message"]) <= 8192


def test_word_of_a_report_that_nobody_knows_is_kept_and_counts_as_failure(swarm: Swarm) -> None:
    drone, package = swarm.drone(), atom()
    swarm.queue(package)
    assert drone.build(package, "exploded")["accepted"] is False
    (build,) = swarm.read(f"/api/v1/history?drone={drone.name}")["builds"]
    assert build["status"] == "exploded"
    (found,) = [each for each in swarm.read("/api/v1/queue") if each["package"] == wire(package)]
    assert (found["status"], found["failures"]) == ("needed", 1)


def test_text_in_other_alphabets_is_shown_and_never_breaks_an_answer(swarm: Swarm) -> None:
    swarm.drone(version='0.4"\\', current_task="päckage/☃")
    (node,) = swarm.read("/api/v1/nodes")
    assert (node["version"], node["current_task"]) == ('0.4"\\', "päckage/☃")
    assert json.dumps(swarm.read("/api/v1/status"))


def test_no_text_of_a_drone_begins_a_tag_in_a_page_that_trusts_it(swarm: Swarm) -> None:
    tag, package = "<img src=x onerror=alert(1)>", atom()
    drone = swarm.drone(
        version=tag, current_task=tag, capabilities={"cores": 4, tag: tag, "portage_timestamp": "2026-02-12"}
    )
    swarm.queue(package, session_name=tag)
    drone.build(package, "failed", error_detail=tag)
    swarm.post("/api/v1/profiles", {"id": "tag", "name": tag, "description": tag}, status=201)
    for path in (
        "status",
        "nodes",
        "queue",
        "events",
        "events/history",
        "history",
        "sessions",
        "versions",
        "drone-health",
        "profiles",
        f"work?id={drone.id}",
    ):
        assert "<" not in swarm.send("GET", f"/api/v1/{path}").text, path
    swarm.send("DELETE", "/api/v1/profiles/tag")


# ---------------------------------------------------------------- whose drone


def test_credential_of_a_drone_acts_only_as_that_drone(swarm: Swarm) -> None:
    made = swarm.product.json("token", "create", "drone", "drone-own")
    headers = STRANGER | {"Authorization": f"Bearer {made['token']}"}
    other = swarm.drone("drone-other")
    mine = REGISTER | {"id": "e" * 32, "name": "drone-own"}
    assert swarm.send("POST", "/api/v1/register", mine, headers=headers).status_code == 200
    for method, path, body in (
        ("POST", "/api/v1/register", REGISTER | {"name": "drone-other"}),
        ("POST", "/api/v1/register", mine | {"id": other.id}),
        ("GET", f"/api/v1/work?id={other.id}", None),
        ("GET", "/api/v1/poll?node=drone-other", None),
        ("POST", "/api/v1/complete", COMPLETE | {"id": other.id}),
        ("POST", "/api/v1/report", COMPLETE | {"id": None, "node": "drone-other"}),
    ):
        swarm.refused(method, path, body, status=403, headers=headers)
    assert swarm.send("GET", f"/api/v1/work?id={'e' * 32}", headers=headers).json() == {"package": None}
    swarm.refused("POST", "/api/v1/control", {"action": "pause"}, status=403, headers=headers)
    assert swarm.send("GET", "/api/v1/status", headers=headers).status_code == 200


def test_claimed_address_is_shown_and_never_taken_for_the_drone_s(swarm: Swarm) -> None:
    drone = swarm.drone(ip="10.9.9.9")
    assert (drone.node["ip"], drone.node["address"]) == ("10.9.9.9", "127.0.0.1")
    drone.register(ip="$(reboot)")
    assert drone.node["ip"] == "127.0.0.1"


def test_stranger_without_a_credential_gets_nothing(swarm: Swarm) -> None:
    drone = swarm.drone()
    for method, path, body in (
        ("POST", "/api/v1/register", REGISTER),
        ("GET", f"/api/v1/work?id={drone.id}", None),
        ("GET", "/api/v1/status", None),
        ("GET", "/api/v1/queue", None),
    ):
        swarm.refused(method, path, body, status=401, headers=STRANGER)
