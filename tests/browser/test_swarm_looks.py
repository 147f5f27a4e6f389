"""The pages of the swarm for everybody: what each role is offered, how they look, what they say; and releases."""

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import SCREENS, Screen, SeenBy, Watched, csrf, log_in, shoot
from tests.browser.served import Served
from tests.browser.swarm import (
    HOSTILE,
    PAGES,
    Drone,
    agree,
    atom,
    card_of,
    only_drone,
    open_drone,
    open_page,
    queued,
    region,
    row,
    said,
    sites,
)
from tests.plugins.build_swarm.binhost.packages import gpkg, sha256

CONTRAST = Path(__file__).with_name("contrast.js").read_text()
UNNAMED = """[...document.querySelectorAll('a, button, input, select, textarea, summary, img')]
  .filter((node) => node.checkVisibility())
  .filter((node) => !(node.textContent.trim() || node.ariaLabel || node.labels?.length || node.hasAttribute('alt')))
  .map(node => node.outerHTML)"""
SLOW_MS = 60_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from sites(tmp_path_factory.mktemp("site"))


@pytest.fixture
def drone(site: Served) -> Iterator[Drone]:
    yield from only_drone(site)


# ---------------------------------------------------------------- releases


def staged(page: Page, site: Served, cpv: str) -> None:
    """Send a binary package to the staging area, as a drone of whoever looks at the page."""
    data = gpkg(cpv)
    category, _, name = cpv.partition("/")
    path = f"{category}/{name.rpartition('-')[0]}/{name}-1.gpkg.tar"
    headers = csrf(page) | {"X-Content-SHA256": sha256(data), "Content-Type": "application/octet-stream"}
    answer = page.context.request.put(f"{site.base}/api/appliance/binhost/staging/{path}", data=data, headers=headers)
    assert answer.status == 201, answer.text()


def create(page: Page, version: str, *, promote: bool = False) -> None:
    """Make a release by the form."""
    page.get_by_role("button", name="Create a release").click()
    dialog = page.get_by_role("dialog", name="Create a release")
    dialog.get_by_label("Version").fill(version)
    dialog.get_by_label("Notes").fill(f"notes of {HOSTILE}")
    if promote:
        dialog.get_by_label("Promote it").check()
    dialog.get_by_role("button", name="Create", exact=True).click()
    said(page, f"Release {version} is made")


def test_releases_are_made_compared_promoted_rolled_back_and_deleted(logged_in: Page, site: Served) -> None:
    staged(logged_in, site, "app-test/hello-1.0")
    staged(logged_in, site, "app-test/other-1.0")
    open_page(logged_in, site, "/releases")
    expect(row(region(logged_in, "Staged"), "app-test/hello-1.0")).to_contain_text("operator:ana")
    logged_in.get_by_role("button", name="Create a release").click()
    dialog = logged_in.get_by_role("dialog", name="Create a release")
    expect(dialog).to_contain_text("2 packages")
    dialog.get_by_label("Version").fill("no/version")
    dialog.get_by_role("button", name="Create", exact=True).click()
    expect(dialog.get_by_text("Letters, digits and . _ + -, at most 64.")).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    create(logged_in, "one", promote=True)
    releases = region(logged_in, "Releases")
    expect(row(releases, "one")).to_contain_text(
        re.compile(f"notes of {re.escape(HOSTILE)}.*installed from", re.DOTALL)
    )
    expect(row(releases, "one").get_by_role("button", name="Delete release one")).to_be_hidden()
    staged(logged_in, site, "app-test/third-2.0")
    staged(logged_in, site, "app-test/hello-1.1")
    region(logged_in, "Staged").get_by_role("button", name="Remove app-test/other/").click()
    agree(logged_in, "Remove")
    said(logged_in, "app-test/other-1.0 is not staged any more.")
    create(logged_in, "two")
    expect(row(releases, "two")).to_contain_text("not promoted")
    differs = region(logged_in, "What differs")
    differs.get_by_label("From").select_option("one")
    differs.get_by_label("To").select_option("two")
    differs.get_by_role("button", name="Compare").click()
    expect(region(logged_in, "Added")).to_contain_text("app-test/third")
    expect(region(logged_in, "Removed")).to_contain_text("app-test/other")
    row(releases, "two").get_by_role("button", name="Promote release two").click()
    agree(logged_in, "Promote")
    said(logged_in, "Release two is what is installed from now on.")
    expect(row(releases, "two")).to_contain_text("installed from")
    shoot(logged_in, "swarm-releases-made-1280-light")
    logged_in.get_by_role("button", name="Roll back").click()
    agree(logged_in, "Roll back")
    said(logged_in, "Release one is what is installed from now on.")
    row(releases, "two").get_by_role("button", name="Archive release two").click()
    agree(logged_in, "Archive")
    said(logged_in, "Release two is archived.")
    row(releases, "two").get_by_role("button", name="Delete release two").click()
    agree(logged_in, "Delete", typed="two")
    said(logged_in, "Release two is deleted.")
    expect(row(releases, "two")).to_have_count(0)
    use = logged_in.get_by_role("group", name="binrepos.conf").text_content() or ""
    address = use.partition("sync-uri = ")[2]
    assert b"app-test/hello-1.0" in logged_in.context.request.get(f"{address}/Packages").body()


# ---------------------------------------------------------------- history and events


def test_builds_are_found_by_result_drone_and_package(logged_in: Page, site: Served, drone: Drone) -> None:
    good, bad = atom("good"), atom("bad")
    queued(site, good)
    assert drone.begin() == good
    log_id = secrets.token_hex(16)
    drone.log(log_id, good, "".join(f">>> {number}\n" for number in range(60_000)), outcome="success")
    drone.report(good)
    queued(site, bad)
    assert drone.build("failed", "emake failed") == bad
    open_page(logged_in, site, "/history")
    card = region(logged_in, "Builds")
    card.get_by_label("Drone").select_option(drone.name)
    expect(card.locator("tbody tr")).to_have_count(2)
    card.get_by_label("Result").select_option("failed")
    expect(card.locator("tbody tr")).to_have_count(1)
    expect(card.locator("tbody tr")).to_contain_text(re.compile(f"{re.escape(bad)}.*failed.*emake failed", re.DOTALL))
    assert logged_in.url.endswith(f"/ui/swarm/history?status=failed&drone={drone.name}")
    logged_in.reload()
    expect(card.locator("tbody tr")).to_have_count(1)
    card.get_by_label("Result").select_option("")
    card.get_by_label("Package", exact=True).fill(good)
    expect(row(card, bad)).to_have_count(0)
    expect(row(card, good)).to_contain_text("success")
    row(card, good).get_by_role("button", name=f"Log of {good}").click()
    log = logged_in.get_by_role("region", name=f"Log of {good}")
    expect(log).to_contain_text(">>> 59999")
    expect(log).not_to_contain_text(">>> 0")  # of a long log the end is shown
    expect(card).to_contain_text(f"complete: {good}, success")
    region(logged_in, "Sessions").get_by_label("Sessions").select_option("completed")
    expect(region(logged_in, "Sessions").locator("tbody tr").first).to_contain_text("completed")


def test_events_come_by_themselves_and_are_filtered(logged_in: Page, site: Served, drone: Drone) -> None:
    open_page(logged_in, site, "/events")
    card = region(logged_in, "Events")
    card.get_by_label("Drone").select_option(drone.name)
    one = atom()
    queued(site, one)
    drone.build()
    completed = f"{drone.name} completed {one.removeprefix('=')} in 1m 1s"
    expect(card.get_by_role("listitem").filter(has_text=completed)).to_be_visible()
    card.get_by_label("What").select_option("complete")
    expect(card.get_by_role("listitem")).to_have_count(1)
    card.get_by_label("What").select_option("grounded")
    expect(card).to_contain_text("No such event is here.")


# ---------------------------------------------------------------- who is offered what


def test_viewer_is_offered_nothing_that_would_be_refused(
    logged_in: Page, site: Served, drone: Drone, seen_by: SeenBy
) -> None:
    one = atom()
    queued(site, one)
    drone.build("masked", "masked by package.mask")
    page = seen_by(logged_in, "vera", "viewer")
    for rest in PAGES:
        open_page(page, site, rest)
        names = page.locator("main").get_by_role("button").all_text_contents()
        assert set(names) <= {"Builds", "Log", "Previous", "Next", "Compare", "Copy", "Show 100 more"}, (rest, names)
    open_drone(page, site, drone.name)
    assert set(page.locator("main").get_by_role("button").all_text_contents()) <= {"Log", "Show 20 more"}
    page.goto(f"{site.base}/ui/swarm/drones/{drone.name}/terminal")
    expect(page.get_by_text("A terminal takes an operator; your role only reads.")).to_be_visible()


def test_operator_may_do_what_an_admin_may(logged_in: Page, site: Served, drone: Drone, seen_by: SeenBy) -> None:
    page = seen_by(logged_in, "olga", "operator")
    open_page(page, site, "/drones")
    card_of(page, drone.name).get_by_role("button", name=f"Pause {drone.name}").click()
    said(page, f"{drone.name} gets nothing more")


def in_trouble(route: Route) -> None:
    """Answer with drones to which self-healing has done something."""
    answer = route.fetch()
    body = answer.json()
    body["items"] = [each | {"escalation": HEALING} for each in body["items"]]
    route.fulfill(response=answer, body=json.dumps(body))


def test_what_self_healing_has_done_is_told_and_forgotten_on_demand(
    logged_in: Page, site: Served, drone: Drone
) -> None:
    logged_in.route(re.compile(r"/api/appliance/swarm/drones\?"), in_trouble)
    open_page(logged_in, site, "/drones")
    card = card_of(logged_in, drone.name)
    expect(card).to_contain_text("Self-healing is at level 2: its service was killed and started, 3 times")
    card.get_by_role("button", name=f"Reset level of {drone.name}").click()
    said(logged_in, f"Nothing is noted against {drone.name} any more.")
    logged_in.unroute_all(behavior="wait")
    expect(card.get_by_role("button", name=f"Reset level of {drone.name}")).to_be_hidden()


def test_card_on_the_overview_tells_what_is_built(logged_in: Page, site: Served, drone: Drone) -> None:
    queued(site, atom(), atom(), session_name="carded")
    drone.begin()
    logged_in.goto(site.base)
    card = logged_in.get_by_role("article", name="Build swarm")
    expect(card).to_contain_text(
        re.compile(r"Drones online.*Given out.*Session0 of 2 built", re.DOTALL), timeout=SLOW_MS
    )


# ---------------------------------------------------------------- how it looks


LONG = "=category-with-a-very-long-name-indeed/package-with-a-name-that-does-not-end-for-a-long-time-126.0.6478.61-r12"


def many(route: Route) -> None:
    """Answer with more than there is: every state, hostile and long words, made from what is real."""
    answer = route.fetch()
    body = answer.json()
    path = route.request.url.partition("/api/appliance/swarm")[2].partition("?")[0]
    if not body["items"]:
        pass  # nothing to make more of
    elif path == "/drones":
        real = body["items"][0]
        working = {"package": LONG, "elapsed_seconds": 5000.0, "estimated_seconds": 6000.0, "progress_percent": 83}
        body["items"] += [
            real | {"drone_id": "a", "name": "n" * 63, "assigned": [LONG, f"{LONG}-2"], "progress": [working]},
            real | {"drone_id": "b", "name": "offline", "status": "offline", "version": HOSTILE, "is_paused": True},
            real | {"drone_id": "c", "name": "healing", "escalation": HEALING, "approval": APPROVAL},
        ]
    elif path == "/packages":
        real = body["items"][0]
        states = ("needed", "delegated", "received", "blocked", "failed")
        body["items"] += [
            real | {"package_id": 1_000_000 + number, "state": state, "atom": f"{LONG}{number}", "why": "w " * 100}
            for number, state in enumerate(states * 8)
        ]
        body["total"] = 10_000
    elif path == "/builds":
        real = body["items"][0]
        body["items"] += [
            real | {"build_id": 10**9 + number, "atom": LONG, "status": status, "error": f"{HOSTILE} " * 6}
            for number, status in enumerate(("failed", "masked", "missing_binary", "returned", "odd"))
        ]
    elif path == "/events":
        real = body["items"][0]
        body["items"] += [
            real | {"event_id": -number, "type": kind, "message": f"{HOSTILE} {LONG}"}
            for number, kind in enumerate(("grounded", "fail", "escalation", "register", "odd" * 20))
        ]
    route.fulfill(response=answer, body=json.dumps(body))


HEALING = {"level": 2, "attempts": 3, "last_action": "kill", "last_unix_s": 1_700_000_000.0}
APPROVAL = {
    "address": "2001:db8:85a3:1234:5678:8a2e:370:7334",
    "port": 2222,
    "user": "root",
    "drone_type": "lxc",
    "host_key_fingerprint": "SHA256:5zq7r0nQv2rPq6m7QeXn1dF3T5lJb2bq0o1mJv9Xw8k",
    "approved_by": "ana",
    "approved_unix_s": 1_700_000_000.0,
}


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_pages_fit_their_screen_with_readable_text(
    screen: Screen, site: Served, drone: Drone, width: int, scheme: str
) -> None:
    page = screen(width, scheme)
    watched = Watched(page)
    log_in(page, site)
    queued(site, atom(), atom(), atom(), session_name="World rebuild")
    drone.build("failed", "emake failed")
    drone.begin()
    page.route(re.compile(r"/api/appliance/swarm/(drones|packages|builds|events)(\?|$)"), many)
    for rest in (*PAGES, f"/drones/{drone.name}"):
        open_page(page, site, rest)
        for summary in page.locator("main summary").all():
            summary.click()
        looks_right(page, f"swarm{rest.replace('/', '-').replace(drone.name, 'one')}-{width}-{scheme}", width)
    open_page(page, site)
    page.get_by_role("button", name="Add packages").click()
    page.get_by_role("dialog").locator("summary").click()
    looks_right(page, f"swarm-add-{width}-{scheme}", width)
    page.unroute_all(behavior="wait")
    assert [url for url in watched.requests if not url.startswith((f"{site.base}/", "data:"))] == []
    assert watched.problems == []
    assert page.title() != "broken-into"


def looks_right(page: Page, name: str, width: int) -> None:
    """Require that nothing is wider than the screen, too faint, or without a name."""
    shoot(page, name)
    assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    for each in ("Main", "Build swarm"):
        navigation = page.get_by_role("navigation", name=each)
        assert navigation.evaluate("(one) => one.scrollWidth <= one.clientWidth"), (name, each)
    looked = page.evaluate(CONTRAST)
    assert looked["count"] > 20
    assert looked["poor"] == [], name
    assert page.evaluate(UNNAMED) == []


# ---------------------------------------------------------------- words


def told(page: Page, function: str, *arguments: Any) -> Any:
    code = f"async (given) => (await import('/ui/static/swarm_words.js')).{function}(...given)"
    return page.evaluate(code, list(arguments))


def test_words_for_states_progress_and_paths(page: Page, site: Served) -> None:
    page.goto(f"{site.base}/setup")
    assert told(page, "packageState", {"state": "delegated", "building_since_unix_s": None}) == [
        "warning",
        "given out",
        "",
    ]
    assert told(page, "packageState", {"state": "delegated", "building_since_unix_s": 1.0}) == ["ok", "building", ""]
    blocked = {"state": "blocked", "error": "no", "why": "it is blocked"}
    assert told(page, "packageState", blocked) == ["critical", "blocked", "no"]
    assert told(page, "packageState", {"state": "unheard of", "why": "w"}) == ["", "unheard of", "w"]
    ready: dict[str, Any] = {"status": "online", "grounded_until_unix_s": None, "is_paused": False, "progress": []}
    assert told(page, "droneState", ready) == ["ok", "ready"]
    assert told(page, "droneState", ready | {"is_paused": True}) == ["warning", "paused"]
    assert told(page, "droneState", ready | {"grounded_until_unix_s": 4e9}) == ["critical", "grounded"]
    assert told(page, "droneState", ready | {"grounded_until_unix_s": 1.0}) == ["ok", "ready"]
    assert told(page, "droneState", ready | {"status": "offline", "is_paused": True}) == ["critical", "offline"]
    assert told(page, "outcomeOf", {"status": "missing_binary", "error": None}) == ["critical", "missing binary", ""]
    assert told(page, "outcomeOf", {"status": "success", "error": ""})[0] == "ok"
    assert told(page, "took", None) == "n/a"
    assert told(page, "took", 0.2) == "less than 1 s"
    assert (
        told(page, "progressWords", {"elapsed_seconds": 61, "estimated_seconds": 300}) == "1 min 1 s of about 5 min 0 s"
    )
    assert told(page, "progressWords", {"elapsed_seconds": 61, "estimated_seconds": None}).endswith("how long")
    assert told(page, "sessionProgress", {"total": 0, "completed": 0, "failed": 0}) == [None, "0 of 0 packages built"]
    assert told(page, "sessionProgress", {"total": 4, "completed": 1, "failed": 1}) == [
        50,
        "1 of 4 packages built, 1 failed",
    ]
    assert told(page, "sessionName", {"name": "", "session_id": "session-1"}) == "session-1"
    assert told(page, "atoms", " a/b\n=c/d-1, a/b ") == ["a/b", "=c/d-1"]
    assert told(page, "swarmPath", "/packages", {"state": ["a", "b"], "search": "", "limit": 5}) == (
        "/api/appliance/swarm/packages?state=a&state=b&limit=5"
    )
    assert told(page, "dronePath", "a/b", "/pause") == "/api/appliance/swarm/drones/a%2Fb/pause"
    assert told(page, "mayOperate", {"role": "user"}) is False
