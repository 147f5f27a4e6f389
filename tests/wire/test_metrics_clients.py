"""What the real dashboards and agents of the metrics API need beyond its document, against the built file."""

import json
from contextlib import closing
from typing import Any

import httpx2 as httpx
import pytest

from tests.product.served import ADMIN, PASSWORD, Product, events
from tests.wire.metrics import AGENT, DOCUMENTED, Server, history, latest, registered, sample

pytestmark = pytest.mark.zipapp

NUMBER = (int, float)
NULLABLE = (int, float, type(None))
ROW: dict[str, Any] = {
    "id": int,
    "slug": str,
    "name": str,
    "hostname": str,
    "description": str,
    "is_active": bool,
    "last_seen_at": (str, type(None)),
    "last_agent_version": str,
    "snapshot_count": (int, type(None)),
    "latest_snapshot_at": (str, type(None)),
    "agent_user": str,
    "agent_info": dict,
}
CPU = "user_percent system_percent iowait_percent load_1 load_5 load_15 frequency_mhz temperature_c count_physical"
SNAPSHOT: dict[str, Any] = {
    "id": int,
    "server": ROW,
    "collected_at": str,
    "age_seconds": NUMBER,
    "interval_seconds": NULLABLE,
    "cpu": {"usage_percent": NUMBER, "count_logical": int, **dict.fromkeys(CPU.split(), NULLABLE)},
    "memory": {
        **dict.fromkeys(("percent", "swap_percent"), NUMBER),
        **dict.fromkeys(["total_bytes", "used_bytes", "available_bytes", "swap_total_bytes", "swap_used_bytes"], int),
    },
    "disk": dict.fromkeys(
        ["read_bps", "write_bps", "read_iops", "write_iops", "util_percent", "avg_util_percent"], NUMBER
    )
    | {
        "devices": [
            {
                "device": str,
                **dict.fromkeys(["read_bps", "write_bps", "read_iops", "write_iops", "util_percent"], NUMBER),
                "read_bytes_total": int,
                "write_bytes_total": int,
            }
        ]
    },
    "network": {"rx_bps": NUMBER, "tx_bps": NUMBER},
    "process_count": int,
    "fans": {
        "count": int,
        "max_rpm": NULLABLE,
        "avg_rpm": NULLABLE,
        "devices": [{"label": str, "speed_rpm": NULLABLE}],
    },
    "gpu": {
        "present": bool,
        "count": int,
        **dict.fromkeys(["top_util_percent", "avg_util_percent", "top_memory_percent", "avg_memory_percent"], NULLABLE),
        "devices": [
            {
                "gpu_index": int,
                "name": str,
                "uuid": str,
                **dict.fromkeys(
                    [
                        "utilization_gpu_percent",
                        "utilization_memory_percent",
                        "memory_percent",
                        "temperature_c",
                        "fan_speed_percent",
                        "power_w",
                        "power_limit_w",
                    ],
                    NULLABLE,
                ),
                "memory_total_bytes": int,
                "memory_used_bytes": int,
            }
        ],
    },
    "bottleneck": {"label": str, "title": str, "confidence": NUMBER, "reason": str},
}
POINT: dict[str, Any] = {
    "collected_at": str,
    **dict.fromkeys(["cpu_usage_percent", "memory_percent", "swap_percent"], NUMBER),
    **dict.fromkeys(["disk_read_bps", "disk_write_bps", "disk_util_percent", "disk_avg_util_percent"], NUMBER),
    **dict.fromkeys(("network_rx_bps", "network_tx_bps"), NUMBER),
    **dict.fromkeys(["cpu_iowait_percent", "gpu_top_util_percent", "gpu_avg_util_percent"], NULLABLE),
    **dict.fromkeys(["gpu_top_memory_percent", "fan_max_rpm", "fan_avg_rpm"], NULLABLE),
    "fan_count": int,
    "bottleneck": str,
    "gpus": [
        {
            "gpu_index": int,
            **dict.fromkeys(
                ["utilization_gpu_percent", "memory_percent", "temperature_c", "fan_speed_percent"], NULLABLE
            ),
        }
    ],
    "disks": [{"device": str, **dict.fromkeys(["read_bps", "write_bps", "util_percent"], NUMBER)}],
    "fans": [{"label": str, "speed_rpm": NULLABLE}],
}


def strictly(found: Any, wanted: Any, path: str = "$") -> None:
    """Check as a strict decoder does: every key is there, and of its type; a bool is no number."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict), path
        for name, each in wanted.items():
            assert name in found, f"{path}.{name} is missing"
            strictly(found[name], each, f"{path}.{name}")
    elif isinstance(wanted, list):
        assert isinstance(found, list), path
        for place, each in enumerate(found):
            strictly(each, wanted[0], f"{path}[{place}]")
    else:
        kinds = wanted if isinstance(wanted, tuple) else (wanted,)
        assert isinstance(found, kinds), f"{path}: {found!r}"
        assert bool in kinds or not isinstance(found, bool), path


FANS = [{"label": "rear", "speed_rpm": 900.0}, {"label": "front", "speed_rpm": None}]


@pytest.mark.parametrize(
    "body", [sample(fans=FANS, cpu_temperature_c=55.0), {}, {"gpus": [{}], "disks": [{"device": "a"}]}]
)
def test_strict_clients_decode_rows_snapshots_and_points_of_any_host(
    browser: httpx.Client, box: Server, body: dict[str, Any]
) -> None:
    assert box.post({"sample": {**body, "collected_at": None}, "agent": AGENT}).status == 200
    found = latest(browser, box)
    strictly(found["servers"], [ROW])
    strictly(found["selected_server"], ROW)
    strictly(found["snapshot"], SNAPSHOT)
    assert (found["backend_version"], found["min_agent_version"]) == ("0.2.0", "0.1.0")
    shown = history(browser, box)
    strictly(shown["points"], [POINT])
    assert len(shown["points"]) == 1
    assert (shown["backend_version"], shown["min_agent_version"]) == ("0.2.0", "0.1.0")
    assert (type(shown["minutes"]), type(shown["stride"]), type(shown["point_count"])) == (int, int, int)


def test_fans_and_temperatures_of_later_agents_are_shown(browser: httpx.Client, box: Server) -> None:
    gpu = {**DOCUMENTED["gpus"][0], "fan_speed_percent": 41.0}
    box.send(fans=FANS, cpu_temperature_c=55.5, gpus=[gpu])
    shown = latest(browser, box)["snapshot"]
    assert shown["cpu"]["temperature_c"] == 55.5
    assert shown["fans"] == {
        "count": 2,
        "max_rpm": 900.0,
        "avg_rpm": 900.0,
        "devices": [{"label": "front", "speed_rpm": None}, {"label": "rear", "speed_rpm": 900.0}],
    }
    assert shown["gpu"]["devices"][0]["fan_speed_percent"] == 41.0
    (point,) = history(browser, box)["points"]
    assert (point["fan_count"], point["fan_max_rpm"], point["gpus"][0]["fan_speed_percent"]) == (2, 900.0, 41.0)


# ---------------------------------------------------------------- enrolment and registration


def enrolment(**changes: Any) -> dict[str, Any]:
    return {
        "username": ADMIN,
        "password": PASSWORD,
        "machine_id": "0123456789abcdef0123456789abcdef",
        "hostname": "Train 01.example",
        "agent_user": "root",
        "platform": "Linux-6.8",
        "agent_version": "0.2.0",
        **changes,
    }


def test_agent_enrols_with_name_and_password_and_again_as_the_same_server(
    shared: Product, browser: httpx.Client
) -> None:
    first = httpx.post(shared.base + "/api/agent/enroll/", json=enrolment(), timeout=30)
    assert first.status_code == 200, first.text
    made = first.json()
    strictly(made["server"], ROW)
    assert (made["ok"], made["server_slug"], len(made["ingest_token"])) == (True, "train-01example", 43)
    assert made["server"]["agent_user"] == "Administrator"
    assert made["server"]["agent_info"] == {"platform": "Linux-6.8"}
    old = Server(shared.base, made["server_slug"], made["ingest_token"])
    with closing(old):
        old.send()
        again = httpx.post(shared.base + "/api/agent/enroll", json=enrolment(), timeout=30).json()
        assert again["server"]["id"] == made["server"]["id"]
        assert old.post(sample()).status == 401, "its token was made anew"
    other = httpx.post(shared.base + "/api/agent/enroll/", json=enrolment(machine_id="other"), timeout=30).json()
    assert other["server_slug"] == "train-01example-1"
    listed = [row["slug"] for row in browser.get("/api/servers/").json()["servers"]]
    assert {"train-01example", "train-01example-1"} <= set(listed)


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"username": "", "machine_id": ""}, 400, "username and password are required."),
        ({"password": None}, 400, "username and password are required."),
        ({"machine_id": "", "hostname": ""}, 400, "machine_id is required."),
        ({"hostname": ""}, 400, "hostname is required."),
        ({"machine_id": "a b"}, 400, "Invalid machine_id format."),
        ({"machine_id": "x" * 129}, 400, "Invalid machine_id format."),
        ({"password": "wrong"}, 401, "Invalid credentials."),
        ({"username": "nobody"}, 401, "Invalid credentials."),
    ],
)
def test_enrolment_is_refused_in_the_documented_words(
    shared: Product, changes: dict[str, Any], status: int, error: str
) -> None:
    answer = httpx.post(shared.base + "/api/agent/enroll/", json=enrolment(**changes), timeout=30)
    assert (answer.status_code, answer.json()["ok"], answer.json()["error"]) == (status, False, error)


def test_viewer_enrols_nothing(shared: Product, browser: httpx.Client) -> None:
    made = browser.post("/api/appliance/users", json={"name": "vera", "role": "viewer", "password": PASSWORD})
    assert made.status_code == 201, made.text
    answer = httpx.post(
        shared.base + "/api/agent/enroll/", json=enrolment(username="vera", machine_id="vera-box"), timeout=30
    )
    assert (answer.status_code, answer.json()["error"]) == (403, "Account not in allowlist.")


def test_person_registers_a_server_by_its_name(browser: httpx.Client, shared: Product) -> None:
    answer = browser.post("/api/servers/register/", json={"name": "Größe a.b/c", "description": "big"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    strictly(made["server"], ROW)
    assert (made["ok"], made["server"]["slug"], made["server"]["description"]) == (True, "groe-abc", "big")
    command = (
        f"ai-dashboard-agent --host {shared.base} --server-slug groe-abc --token '{made['ingest_token']}' --interval 2"
    )
    assert made["agent_command"] == command
    with closing(Server(shared.base, "groe-abc", made["ingest_token"])) as box:
        box.send()
    for body, status, error in (
        ({"name": "Groe abc"}, 409, "Slug already exists. Choose another."),
        ({}, 400, "Name is required."),
        ({"name": "日本"}, 400, "Slug could not be derived from name."),
    ):
        refused = browser.post("/api/servers/register/", json=body)
        assert (refused.status_code, refused.json()["error"]) == (status, error)
    assert httpx.post(shared.base + "/api/servers/register/", json={"name": "x"}, timeout=30).status_code == 401


# ---------------------------------------------------------------- notifications


def test_notifications_are_told_once_and_marked_as_read_without_a_content_type(
    browser: httpx.Client, box: Server
) -> None:
    box.send(-4, cpu_usage_percent=97.4)
    box.send(-2, cpu_usage_percent=98.0)

    def mine() -> list[dict[str, Any]]:
        found = browser.get("/api/notifications/").json()
        assert found["ok"] is True
        return [each for each in found["notifications"] if each["server"] and each["server"]["slug"] == box.slug]

    wanted = {"high_cpu", "high_gpu", "gpu_added", "disk_added"}
    for _ in range(200):
        told = mine()
        if {each["code"] for each in told} >= wanted:
            break
    assert sorted(each["code"] for each in told) == sorted(wanted)
    cpu = next(each for each in told if each["code"] == "high_cpu")
    strictly(
        cpu,
        {"id": int, "level": str, "title": str, "message": str, "code": str, "is_read": bool, "created_at": str}
        | {"server": ROW},
    )
    assert (cpu["level"], cpu["title"], cpu["message"]) == ("warning", "High CPU usage", f"CPU at 97% on {box.slug}")
    assert {each["level"] for each in told} <= {"info", "warning", "critical"}
    answer = browser.post(
        "/api/notifications/mark-read/",
        content=json.dumps({"ids": [cpu["id"], "x", True, 2**70]}),
        headers={"Content-Type": "text/plain"},
    )
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "updated": 1})
    assert next(each for each in mine() if each["id"] == cpu["id"])["is_read"] is True
    assert browser.post("/api/notifications/mark-read/", content=b'{"ids":5}').status_code == 400


# ---------------------------------------------------------------- accounts


def test_apps_log_in_with_json_and_neither_cookie_nor_csrf_token(shared: Product) -> None:
    with httpx.Client(base_url=shared.base, timeout=30) as app:
        answer = app.post("/api/auth/login/", json={"username": ADMIN, "password": PASSWORD})
        assert answer.status_code == 200
        assert (answer.json()["ok"], answer.json()["user"]["username"]) == (True, ADMIN)
        assert type(answer.json()["user"]["email"]) is str
        assert app.get("/api/servers/").status_code == 200
        wrong = httpx.post(shared.base + "/api/auth/login/", json={"username": ADMIN, "password": "wrong"}, timeout=30)
        assert (wrong.status_code, wrong.json()["error"]) == (401, "Invalid username or password.")
        empty = httpx.post(shared.base + "/api/auth/login/", json={"username": ""}, timeout=30)
        assert (empty.status_code, empty.json()["error"]) == (400, "Username and password are required.")
        out = app.get("/accounts/logout/", params={"next": "/login"})
        assert (out.status_code, out.headers["location"]) == (302, "/login")
        assert app.get("/api/servers/").status_code == 401


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", ""])
def test_logout_leads_nowhere_else(shared: Product, target: str) -> None:
    answer = httpx.get(shared.base + "/accounts/logout/", params={"next": target}, timeout=30)
    assert (answer.status_code, answer.headers["location"]) == (302, "/login")


def test_page_of_another_site_logs_nobody_out(shared: Product) -> None:
    answer = httpx.get(shared.base + "/accounts/logout/", headers={"Sec-Fetch-Site": "cross-site"}, timeout=30)
    assert answer.status_code == 403


def test_nobody_claims_an_address_by_typing_it(shared: Product) -> None:
    answer = httpx.post(
        shared.base + "/api/auth/register/",
        json={"username": "eve", "email": "eve@allowed.example", "password": "long enough password"},
        timeout=30,
    )
    assert (answer.status_code, answer.json()["ok"]) == (403, False)
    assert answer.json()["error"] == "Registration is restricted to authorized accounts."
    said = {
        httpx.post(shared.base + "/api/auth/forgot-password/", json={"email": address}, timeout=30).text
        for address in ("eve@allowed.example", ADMIN)
    }
    assert len(said) == 1
    assert json.loads(said.pop())["ok"] is True


def test_login_by_another_provider_leads_to_our_login_page(shared: Product) -> None:
    answer = httpx.get(shared.base + "/accounts/google/login/", params={"next": "/dashboard"}, timeout=30)
    assert (answer.status_code, answer.headers["location"]) == (302, "/login?next=%2Fdashboard")


def test_root_tells_programs_versions_and_routes_with_a_readable_cookie(shared: Product) -> None:
    answer = httpx.get(shared.base + "/", headers={"Accept": "application/json"}, timeout=30)
    found = answer.json()
    assert (found["ok"], found["backend_version"], found["min_agent_version"]) == (True, "0.2.0", "0.1.0")
    assert found["frontend_url"] == shared.base
    assert found["routes"]["latest"] == "/api/metrics/latest/"
    assert len(answer.cookies["csrftoken"]) >= 32
    assert (
        "text/html"
        in httpx.get(shared.base + "/login", headers={"Accept": "text/html"}, timeout=30).headers["content-type"]
    )


def test_dashboards_mutate_with_the_cookie_s_token_or_without_one(shared: Product) -> None:
    with httpx.Client(base_url=shared.base, timeout=30) as page:
        page.post("/api/auth/login/", json={"username": ADMIN, "password": PASSWORD})
        token = page.cookies["csrftoken"]
        body = {"content": b'{"ids":[]}'}
        assert page.post("/api/notifications/mark-read/", headers={"X-CSRFToken": token}, **body).status_code == 200
        assert page.post("/api/notifications/mark-read/", **body).status_code == 200
        assert page.post("/api/notifications/mark-read/", headers={"X-CSRFToken": "x"}, **body).status_code == 403
        foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert page.post("/api/notifications/mark-read/", headers=foreign, **body).status_code == 403


# ---------------------------------------------------------------- ours


def test_latest_is_not_sent_again_while_nothing_is_newer(browser: httpx.Client, shared: Product) -> None:
    assert browser.patch("/api/appliance/servers/local", json={"is_active": False}).status_code == 200
    try:
        with closing(registered(shared, browser, "etag")) as box:
            box.send(-2)
            first = browser.get("/api/metrics/latest/", params={"server": box.slug})
            known = {"If-None-Match": first.headers["etag"]}
            again = browser.get("/api/metrics/latest/", params={"server": box.slug}, headers=known)
            assert (again.status_code, again.content) == (304, b"")
            box.send()
            newer = browser.get("/api/metrics/latest/", params={"server": box.slug}, headers=known)
            assert newer.status_code == 200
            assert newer.headers["etag"] != first.headers["etag"]
    finally:
        browser.patch("/api/appliance/servers/local", json={"is_active": True})


def test_stream_sends_the_present_sample_and_each_newer_one(browser: httpx.Client, box: Server) -> None:
    first = box.send(-2)["snapshot"]["id"]
    with browser.stream("GET", "/api/appliance/metrics/stream", params={"server": box.slug}) as answer:
        assert answer.status_code == 200
        told = events(answer.iter_lines())
        name, shown = next(told)
        assert (name, shown["id"]) == ("snapshot", first)
        strictly(shown, SNAPSHOT)
        second = box.send()["snapshot"]["id"]
        assert next(told)[1]["id"] == second
    assert browser.get("/api/appliance/metrics/stream", params={"server": "no-such"}).status_code == 404
