"""The admin server of the build swarm over the built file: what the document says of it, and what its page and its
command line call besides. It has a port of its own, as the page expects."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2 as httpx
import pytest
from attrs import frozen

from tests.product.served import product
from tests.wire.shapes import Only, differences, optional
from tests.wire.swarm import KEY, STRANGER, VERSION, WITH_KEY, Swarm, atom, until

pytestmark = pytest.mark.zipapp

CONFIG = """
[plugins.build_swarm]
healing_enabled = false
queue_idle_minutes = 1000

[[listeners]]
address = "127.0.0.1:0"
surfaces = ["build_swarm"]

[[listeners]]
address = "127.0.0.1:0"
surfaces = ["build_swarm_admin"]
site = "{site}"
"""
INDEX = "<!doctype html><title>Build Swarm Admin</title>"
NUMBER = Only("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool))
CONFIGURED = {
    "ssh_user": str,
    "ssh_port": int,
    "ssh_key_path": optional(str),
    "ssh_password": optional(str),
    "cores_limit": optional(int),
    "emerge_jobs": int,
    "ram_limit_gb": optional(NUMBER),
    "auto_reboot": int,
    "protected": int,
    "max_failures": optional(int),
    "binhost_upload_url": optional(str),
    "display_name": optional(str),
    "v2_name": optional(str),
    "control_plane": str,
    "locked": int,
    "notes": optional(str),
}


@frozen
class Ports:
    """One product with its two documented ports."""

    public: Swarm
    admin: Swarm

    @property
    def page(self) -> dict[str, str]:
        """What a browser sends for the admin page, which came from the admin port."""
        return {"Origin": str(self.admin.client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-site"}


@pytest.fixture(scope="module")
def ports(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    folder = tmp_path_factory.mktemp("admin")
    (folder / "site").mkdir()
    (folder / "site" / "index.html").write_text(INDEX)
    (folder / "site" / "app.js").write_text("let adminKey;")
    with product(pyz, folder, environment={"ADMIN_KEY": KEY}) as one:
        one.config.write_text(CONFIG.format(site=folder / "site"))
        one.start()
        assert one.process.stdout is not None
        also = one.process.stdout.readline().split()
        assert also[0] == "Also"
        with (
            closing(httpx.Client(base_url=one.base, timeout=60)) as first,
            closing(httpx.Client(base_url=also[1], timeout=60)) as second,
        ):
            yield Ports(Swarm(one, first), Swarm(one, second))
        assert "Traceback" not in one.log


@pytest.fixture(autouse=True)
def rest(ports: Ports) -> Iterator[None]:
    yield
    for config in ports.admin.read("/admin/api/drone-configs"):
        ports.admin.send("DELETE", f"/admin/api/drone-config/{config['node_name']}")
    ports.public.clear()


def key_of(path: str, **query: str) -> str:
    return f"{path}?" + "&".join(f"{name}={quote(value)}" for name, value in query.items())


# ---------------------------------------------------------------- the key


CHECKED = "/admin/api/auth/check"


def test_key_is_taken_from_header_and_query(ports: Ports) -> None:
    admin = ports.admin
    for path, headers in (
        (CHECKED, WITH_KEY),
        (key_of(CHECKED, key=KEY), STRANGER),
        (key_of(CHECKED, other="1", key=KEY), STRANGER),
        (CHECKED, {}),  # a process of the owner on this host
    ):
        answer = admin.send("GET", path, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {"authenticated": True, "version": VERSION})


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (CHECKED, STRANGER),
        (CHECKED, STRANGER | {"X-Admin-Key": "wrong-key-of-the-same-size!"}),
        (CHECKED, {"X-Admin-Key": "wrong"}),
        (CHECKED, {"X-Admin-Key": ""}),
        (CHECKED, STRANGER | {"Authorization": f"Bearer {KEY}"}),
        (f"{CHECKED}?key=wrong", {}),
        (f"{CHECKED}?KEY={KEY}", STRANGER),
        (f"{CHECKED}?key={KEY}x", STRANGER),
        (f"/v2/api/nodes?key={KEY}", STRANGER),
    ],
)
def test_request_without_the_key_is_refused(ports: Ports, path: str, headers: dict[str, str]) -> None:
    assert ports.admin.refused("GET", path, status=401, headers=headers) == "Admin authentication required"


def test_key_in_a_query_counts_on_the_admin_surface_alone(ports: Ports) -> None:
    for path in ("/api/v1/drone-health", "/api/v1/sql/tables"):
        assert ports.public.send("GET", path, headers=WITH_KEY).status_code == 200
        ports.public.refused("GET", f"{path}?key={KEY}", status=401, headers=STRANGER)


EVERY = (
    "GET /admin/api/system/info",
    "GET /admin/api/auth/check",
    "GET /admin/api/config",
    "POST /admin/api/config",
    "GET /admin/api/logs/control-plane",
    "GET /admin/api/self-healing/status",
    "GET /admin/api/drone-configs",
    "GET /admin/api/drone-config/a",
    "POST /admin/api/drone-config/a",
    "DELETE /admin/api/drone-config/a",
    "POST /admin/api/drone/a/lock",
    "POST /admin/api/drone/a/unlock",
    "POST /admin/api/drone/a/reset-upload",
    "GET /admin/api/drones/allowlist",
    "POST /admin/api/drones/allowlist",
    "DELETE /admin/api/drones/allowlist/1",
    "GET /admin/api/drones/versions",
    "GET /admin/api/drones/payload",
    "GET /admin/api/drones/a/packages",
    "GET /admin/api/drones/a/audit",
    "GET /admin/api/drones/a/log",
    "GET /admin/api/drones/a/syslog",
    "GET /admin/api/drones/a/escalation",
    "POST /admin/api/drones/a/ping",
    "POST /admin/api/drones/a/clean",
    "POST /admin/api/drones/a/clean/preflight",
    "POST /admin/api/drones/a/clean/execute",
    "GET /admin/api/payloads",
    "POST /admin/api/payloads",
    "GET /admin/api/payloads/status",
    "GET /admin/api/releases",
    "POST /admin/api/releases",
    "GET /admin/api/releases/diff",
    "POST /admin/api/releases/rollback",
    "POST /admin/api/binhost/flip",
    "POST /admin/api/binhost/rsync",
    "GET /admin/api/v2/nodes",
    "GET /admin/api/v2/status",
    "GET /v2/api/status",
)


@pytest.mark.parametrize("endpoint", EVERY)
def test_every_endpoint_needs_the_key(ports: Ports, endpoint: str) -> None:
    method, path = endpoint.split()
    body: Any = {} if method == "POST" else None
    ports.admin.refused(method, path, body, status=401, headers=STRANGER)
    assert ports.admin.send(method, path, body, headers=WITH_KEY).status_code not in (401, 405, 500)


# ---------------------------------------------------------------- what the document has


INFO = {
    "version": str,
    "uptime_s": int,
    "uptime_human": Only("hours and minutes", lambda value: re.fullmatch(r"\d+h \d+m", value) is not None),
    "db_path": str,
    "db_size_mb": NUMBER,
    "control_plane_port": int,
    "admin_port": int,
    "v2_gateway_url": str,
    "binhost_primary_ip": str,
    "binhost_secondary_ip": str,
}


def test_system_info_has_the_documented_fields(ports: Ports) -> None:
    ports.public.read("/api/v1/status")
    found = ports.admin.read("/admin/api/system/info")
    assert not differences(INFO, found)
    assert found["control_plane_port"] == ports.public.client.base_url.port
    assert found["admin_port"] == ports.admin.client.base_url.port
    assert Path(found["db_path"]).is_file()


def test_control_plane_log_has_lines_and_a_path(ports: Ports) -> None:
    drone = ports.public.drone()
    until(lambda: any(drone.name in line for line in ports.admin.read("/admin/api/logs/control-plane")["lines"]))
    found = ports.admin.read("/admin/api/logs/control-plane?lines=2")
    assert not differences({"path": str, "lines": [str], "log_file": str, "line_count": int, "content": str}, found)
    assert len(found["lines"]) <= 2
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ \[\w+\] ", line) for line in found["lines"])
    ports.admin.refused("GET", "/admin/api/logs/control-plane?lines=abc", status=400)
    ports.admin.refused("GET", "/admin/api/logs/control-plane?lines=0", status=400)


# ---------------------------------------------------------------- what its clients call besides


def test_configuration_by_key_is_set_and_read(ports: Ports) -> None:
    for value in ("text", 5, True, None):
        answer = ports.admin.post("/admin/api/config", {"key": "theme", "value": value})
        assert answer == {"status": "ok", "key": "theme", "value": value}
    found = ports.admin.read("/admin/api/config")["theme"]
    assert not differences({"value": str, "updated_at": NUMBER}, found)
    assert ports.admin.refused("POST", "/admin/api/config", {}, status=400) == 'Missing "key"'


def test_configuration_of_a_drone_is_made_changed_and_deleted(ports: Ports) -> None:
    path = "/admin/api/drone-config/drone-cfg"
    fresh = ports.admin.read(path)
    assert fresh.pop("_unconfigured") is True
    assert not differences({"node_name": str, **CONFIGURED}, fresh)
    made = ports.admin.post(path, {"ssh_user": "root", "ssh_port": 22, "locked": 1})
    assert not differences({"node_name": str, **CONFIGURED, "created_at": NUMBER, "updated_at": NUMBER}, made)
    # What the page's form sends: every field, numbers as text, empty text for nothing.
    form: dict[str, Any] = dict.fromkeys(CONFIGURED, "") | {"cores_limit": "12", "auto_reboot": True}
    changed = ports.admin.post(path, form)
    assert (changed["cores_limit"], changed["auto_reboot"], changed["emerge_jobs"]) == (12, 1, 2)
    assert changed in ports.admin.read("/admin/api/drone-configs")
    ports.admin.refused("POST", path, {"nothing": 1}, status=400)
    ports.admin.refused("POST", path, ["nothing"], status=400)
    ports.admin.refused("POST", path, {"ssh_password": "hunter2"}, status=400)
    assert ports.admin.send("DELETE", path).json() == {"status": "ok", "deleted": "drone-cfg"}


def test_limits_that_are_set_hold_on_the_public_port(ports: Ports) -> None:
    drone = ports.public.drone(cores=16, capabilities={"cores": 16})
    ports.admin.post(f"/admin/api/drone-config/{drone.name}", {"cores_limit": 4, "protected": 1, "max_failures": 1})
    first, second = atom(), atom()
    ports.public.queue(first, second)
    drone.work()
    assert len(drone.node["assigned_packages"]) == 1
    ports.public.refused("DELETE", f"/api/v1/nodes/{drone.id}", status=409)
    drone.complete(drone.node["assigned_packages"][0], "failed")
    assert any(each["details"]["drone"] == drone.name for each in ports.public.events("grounded"))
    ports.public.control("unground", drone=drone.name)


def test_allowlist_is_as_its_page_reads_it(ports: Ports) -> None:
    path = "/admin/api/drones/allowlist"
    entry = {
        "id": int,
        "drone_id": optional(str),
        "package": str,
        "reason": optional(str),
        "protected": int,
        "added_at": optional(NUMBER),
        "added_by": str,
    }
    found = ports.admin.read(path)["allowlist"]
    assert not differences([entry], found)
    assert (len(found), sum(each["protected"] for each in found)) == (17, 7)
    made = ports.admin.post(path, {"package": "app-misc/tmux", "reason": "people", "added_by": "ana"})
    assert not differences({"status": str, "id": int, "package": str}, made)
    ports.admin.refused("DELETE", f"{path}/{found[3]['id'] if found[3]['protected'] else 1}", status=403)
    assert ports.admin.send("DELETE", f"{path}/{made['id']}").json() == {"status": "ok", "deleted": made["id"]}
    ports.admin.refused("DELETE", f"{path}/{made['id']}", status=404)
    ports.admin.refused("POST", path, {}, status=400)


def test_log_of_a_drone_has_events_builds_and_connections(ports: Ports) -> None:
    drone = ports.public.drone()
    package = atom()
    ports.public.queue(package)
    drone.build(package)
    found = ports.admin.read(f"/admin/api/drones/{drone.name}/log?hours=1&limit=20")
    assert set(found) == {"drone", "drone_id", "since", "events", "builds", "connections"}
    assert found["builds"][0]["package"] == f"={package}"
    assert found["connections"][0]["type"] == "register"
    ports.admin.refused("GET", "/admin/api/drones/none/log", status=404)


def test_versions_of_drones_are_listed(ports: Ports) -> None:
    drone = ports.public.drone(version="0.3.9")
    found = ports.admin.read("/admin/api/drones/versions")
    mine = next(each for each in found["drones"] if each["name"] == drone.name)
    shape = {"name": str, "id": str, "ip": str, "version": str, "status": str, "last_seen_ago_s": int}
    assert not differences(shape, mine)
    assert found["payload"]["available"] is False
    assert ports.admin.read("/admin/api/drones/payload")["available"] is False


@pytest.mark.parametrize(
    "endpoint",
    [
        "GET /admin/api/drones/{name}/packages",
        "GET /admin/api/drones/{name}/audit",
        "POST /admin/api/drones/{name}/clean/preflight",
        "POST /admin/api/drones/{name}/clean/execute",
        "POST /admin/api/drone/{name}/lock",
        "POST /admin/api/drone/{name}/unlock",
        "GET /admin/api/drones/{name}/syslog",
        "POST /admin/api/drones/{name}/ping",
    ],
)
def test_drone_that_is_not_approved_is_never_entered(ports: Ports, endpoint: str) -> None:
    drone = ports.public.drone(ip="192.0.2.1")
    method, path = endpoint.format(name=drone.name).split()
    body: Any = {} if method == "POST" else None
    answer = ports.admin.send(method, path, body)
    assert (answer.status_code, answer.json()["hint"]) == (409, f"appliance swarm approve {drone.name}")
    ports.admin.refused(method, endpoint.format(name="none").split()[1], body, status=404)


def test_failed_uploads_can_be_forgotten(ports: Ports) -> None:
    drone = ports.public.drone()
    packages = [atom() for _ in range(4)]
    ports.public.queue(*packages)
    for package in packages[:3]:
        drone.build(package, "upload_failed")
    assert drone.work()["package"] is None
    assert ports.admin.post(f"/admin/api/drone/{drone.name}/reset-upload")["status"] == "ok"
    assert drone.work()["package"] is not None


@pytest.mark.parametrize(
    "endpoint",
    [
        "GET /admin/api/v2/nodes",
        "GET /admin/api/v2/status",
        "GET /v2/api/nodes",
        "GET /v2/api/status/more",
        "POST /v2/api/register",
        "POST /admin/api/drones/any/clean",
        "POST /admin/api/binhost/flip",
        "POST /admin/api/binhost/rsync",
    ],
)
def test_what_was_another_server_s_is_gone(ports: Ports, endpoint: str) -> None:
    method, path = endpoint.split()
    ports.admin.refused(method, path, {} if method == "POST" else None, status=410)


def test_unknown_paths_of_the_api_answer_json(ports: Ports) -> None:
    for path in ("/admin/api/nothing", "/admin/api/", "/admin/api/drones/a/b/c/d"):
        ports.admin.refused("GET", path, status=404)
    ports.admin.refused("PUT", CHECKED, {}, status=405)


# ---------------------------------------------------------------- the page


def test_page_is_served_without_a_key_and_for_every_other_path(ports: Ports) -> None:
    for path, text in (("/", INDEX), ("/app.js", "let adminKey;"), ("/drones/drone-01", INDEX)):
        answer = ports.admin.send("GET", path, headers=STRANGER | {"Accept": "text/html"})
        assert (path, answer.status_code, answer.text) == (path, 200, text)
    assert ports.admin.send("POST", "/anything", {}, headers=STRANGER).status_code in (404, 405)


def test_page_reads_and_changes_over_the_public_port(ports: Ports) -> None:
    page = ports.page
    for path in ("/api/v1/status", "/api/v1/nodes?all=true", "/api/v1/health", "/api/v1/sql/tables"):
        answer = ports.public.send("GET", path, headers=page)
        assert (path, answer.status_code) == (path, 200)
        assert answer.headers["access-control-allow-origin"] == page["Origin"]
    for action in ("pause", "resume"):
        answer = ports.public.send("POST", "/api/v1/control", {"action": action}, headers=page)
        assert answer.status_code == 200
    refused = ports.public.send("POST", "/api/v1/control", {"action": "fly"}, headers=page)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, page["Origin"])
    missing = ports.public.send("GET", "/api/v1/nodes/none/at/all", headers=page)
    assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (404, page["Origin"])


@pytest.mark.parametrize("path", ["control", "nodes/drone-01/pause", "status", "events/none"])
def test_preflights_of_the_page_are_answered(ports: Ports, path: str) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-admin-key"}
    answer = ports.public.send("OPTIONS", f"/api/v1/{path}", headers=ports.page | asked)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == ports.page["Origin"]
    assert answer.headers["access-control-allow-headers"] == "Content-Type, Accept, X-Admin-Key"
    assert {"OPTIONS"} < set(answer.headers["access-control-allow-methods"].split(", "))


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost:8093"])
def test_page_of_somebody_else_reads_and_changes_nothing(ports: Ports, origin: str) -> None:
    headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
    for method, path, body in (("GET", "/api/v1/status", None), ("POST", "/api/v1/control", {"action": "pause"})):
        answer = ports.public.send(method, path, body, headers=headers)
        assert answer.status_code in (401, 403)
        assert "access-control-allow-origin" not in answer.headers
    assert ports.public.read("/api/v1/status")["paused"] is False


# ---------------------------------------------------------------- what is kept


def test_sql_reads_the_swarm_and_nothing_else(ports: Ports) -> None:
    package = atom()
    ports.public.queue(package)
    found = ports.public.read(
        "/api/v1/sql/query?q=" + quote("SELECT package, status FROM queue ORDER BY id DESC LIMIT 1")
    )
    assert found["columns"] == ["package", "status"]
    assert (found["rows"], found["count"]) == ([{"package": f"={package}", "status": "needed"}], 1)
    for text in (
        "SELECT * FROM credentials_credential",
        "SELECT * FROM people_person",
        "SELECT name FROM sqlite_master",
        "WITH queue AS (SELECT * FROM credentials_credential) SELECT * FROM queue",
        "DELETE FROM queue",
        "ATTACH DATABASE '/etc/passwd' AS x",
        "PRAGMA table_list",
        "SELECT load_extension('x')",
    ):
        ports.public.refused("GET", f"/api/v1/sql/query?q={quote(text)}", status=403)
    ports.public.refused("GET", "/api/v1/sql/query?q=SELECT", status=400)
    ports.public.refused("GET", "/api/v1/sql/query?q=SELECT%201", status=401, headers=STRANGER)


def test_protocol_log_tells_what_was_asked_and_no_secret(ports: Ports) -> None:
    drone = ports.public.drone()
    ports.public.send("GET", f"/api/v1/drone-health?key={KEY}&token={KEY}", headers=WITH_KEY)
    found = until(lambda: ports.public.read(f"/api/v1/protocol?drone={drone.name}&type=register")["entries"])
    detail = ports.public.read(f"/api/v1/protocol/detail?id={found[-1]['id']}")
    assert drone.id in detail["request_body"]
    assert detail["latency_ms"] > 0
    everything = until(lambda: ports.public.read("/api/v1/protocol?type=unknown&limit=2000")["entries"])
    assert KEY not in str(everything) + str(detail)
    stats = ports.public.read("/api/v1/protocol/stats")
    assert stats["total"] >= len(stats["by_type"]) > 0
    assert len(ports.public.read("/api/v1/protocol/density?buckets=10")["density"]) == 10
    assert set(ports.public.read("/api/v1/protocol/snapshot")) == {"timestamp", "status", "nodes"}


def test_figures_have_the_shape_that_charts_read(ports: Ports) -> None:
    drone = ports.public.drone()
    found = ports.public.read("/api/v1/metrics?since=0")
    assert set(found) == {"timestamp", "history", "current_queue", "drones"}
    assert drone.name in found["drones"]
    row = {
        "timestamp": NUMBER,
        "node_id": optional(str),
        "queue_needed": optional(int),
        "cpu_percent": optional(NUMBER),
    }
    for each in found["history"]:
        assert not differences(row, {name: each[name] for name in row})
