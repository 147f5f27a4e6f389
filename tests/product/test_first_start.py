"""The first minutes: a file, an empty folder, a link, a person, figures that move, and all of it after a restart."""

import json
import re
import shutil
import subprocess
import time

import httpx2 as httpx
import psutil
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.product.served import ADMIN, PASSWORD, Product, events, until

pytestmark = pytest.mark.zipapp
QUICK = "[devices]\nsample_seconds = 0.2\n"


def curl(*arguments: str) -> str:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed here")
    done = subprocess.run([program, "-sS", "--max-time", "10", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_first_start_says_what_runs_and_where_to_click(served: Product) -> None:
    lines = "\n".join(served.said)
    assert re.match(r" appliance \d+\.\d+\.\d+  data \S+  config: ", lines)
    assert "no telemetry, no outbound calls" in lines
    assert re.search(r"/setup#t=\S{20,} +\(one-time, valid until used; appliance setup-link makes another\)", lines)
    assert curl(f"{served.base}/healthz") == '{"status":"ok"}'
    assert json.loads(curl(f"{served.base}/readyz"))["ready"] is True
    page = curl("-H", "Accept: text/html", f"{served.base}/setup")
    assert "<form" in page or "<script" in page
    assert "Traceback" not in served.log


def test_setup_login_overview_stream_and_history_work_and_outlive_a_restart(fresh: Product) -> None:
    fresh.config.write_text(QUICK)
    began = time.time()
    fresh.start()
    link = fresh.token
    browser = fresh.set_up()
    session = dict(browser.cookies)
    with httpx.Client(base_url=fresh.base, timeout=30) as other:
        entered = other.post("/api/auth/login", json={"username": ADMIN, "password": PASSWORD})
        assert entered.json()["user"]["username"] == ADMIN
        refused = other.post("/api/auth/login", json={"username": ADMIN, "password": PASSWORD + "x"})
        assert refused.status_code == 401

    with browser.stream("GET", "/api/appliance/overview/stream") as stream:
        seen = []
        for name, document in events(stream.iter_lines()):
            if name in ("overview", "sample") and document["host"]["latest"] is not None:
                seen.append(document["host"]["latest"]["taken_at_unix_s"])
            if len(set(seen)) >= 4:
                break
    assert seen == sorted(seen)

    host = browser.get("/api/appliance/overview").json()["host"]["latest"]
    assert host["memory_total_bytes"] == psutil.virtual_memory().total
    assert host["cpu_count_logical"] == psutil.cpu_count()
    assert 0 <= host["cpu_percent"] <= 100

    def points() -> list[float]:
        # A window short enough to be answered with every sample.
        window: dict[str, str | float] = {
            "metrics": "cpu_percent,memory_percent",
            "from_unix_s": began,
            "max_points": 5000,
        }
        answer = browser.get("/api/appliance/series", params=window)
        found: list[float] = answer.json()["at_unix_s"]
        return found

    before = points()
    until(lambda: len(points()) > len(before) + 2)
    first = points()[0]
    browser.close()

    fresh.restart()
    assert fresh.token == ""
    with httpx.Client(base_url=fresh.base, timeout=30, cookies=session) as again:
        assert again.get("/api/auth/me").json()["user"]["username"] == ADMIN
        kept_window: dict[str, str | float] = {"metrics": "cpu_percent", "from_unix_s": began, "max_points": 5000}
        kept = again.get("/api/appliance/series", params=kept_window).json()
        assert kept["at_unix_s"][0] == first
        stale = {"token": link, "name": "eve", "password": PASSWORD}
        late = httpx.post(fresh.base + "/api/appliance/setup", json=stale, timeout=30)
        assert late.status_code in (401, 403, 404, 409, 410)
        names = [one["name"] for one in again.get("/api/appliance/users").json()["items"]]
        assert names == [ADMIN]
    assert "Traceback" not in fresh.log


def test_root_answers_by_what_the_client_accepts(shared: Product) -> None:
    page = shared.get("/", headers={"Accept": "text/html"}, follow_redirects=True)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    program = shared.get("/", headers={"Accept": "application/json"})
    assert program.headers["content-type"].startswith("application/json")
    for accept in ("text/html", "application/json"):
        got = shared.get("/", headers={"Accept": accept})
        head = httpx.head(shared.base + "/", headers={"Accept": accept}, timeout=30)
        assert (head.status_code, head.content) == (got.status_code, b"")
        for name in ("content-type", "content-length", "location"):
            assert head.headers.get(name) == got.headers.get(name)


def test_documents_are_valid_openapi_and_refer_to_no_other_origin(shared: Product) -> None:
    document = shared.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()
    assert "/api/appliance/overview" in document["paths"]
    page = shared.get("/docs")
    assert page.status_code == 200
    assets = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert assets
    for asset in assets:
        assert not re.match(r"(?:\w+:)?//", asset), asset
        assert shared.get(asset if asset.startswith("/") else f"/docs/{asset}").status_code == 200


def test_pages_of_a_browser_load_nothing_from_elsewhere(shared: Product) -> None:
    for path in ("/login", "/setup", "/"):
        page = shared.get(path, headers={"Accept": "text/html"}, follow_redirects=True)
        assert not re.search(r"""(?:src|href|action)=["'](?:\w+:)?//""", page.text)


def test_unknown_path_and_method_are_told_in_words(shared: Product) -> None:
    missing = shared.get("/nothing")
    assert missing.status_code == 404
    assert missing.json()["message"] == "Not Found"
    wrong = httpx.delete(shared.base + "/healthz", timeout=30)
    assert wrong.status_code == 405
    assert "GET" in wrong.headers["allow"]
