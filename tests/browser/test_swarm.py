"""The build swarm by its pages: packages queued, built, blocked and watched, drones approved and entered."""

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import SCREENS, Screen, SeenBy, Watched, log_in, serving, shoot
from tests.browser.served import Served
from tests.browser.swarm import (
    HOSTILE,
    PAGES,
    Drone,
    agree,
    card_of,
    control,
    deleted,
    emptied,
    found,
    open_drone,
    open_page,
    queued,
    region,
    row,
    said,
)

CONTRAST = Path(__file__).with_name("contrast.js").read_text()
UNNAMED = """[...document.querySelectorAll('a, button, input, select, textarea, summary, img')]
  .filter((node) => node.checkVisibility())
  .filter((node) => !(node.textContent.trim() || node.ariaLabel || node.labels?.length || node.hasAttribute('alt')))
  .map(node => node.outerHTML)"""
OFF = "[plugins.build_swarm]\nenabled = false\n"
CONFIG = """
[plugins.build_swarm]
queue_idle_minutes = 1000
"""
SLOW_MS = 60_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An appliance with one admin, to which drones may come."""
    for served in serving(tmp_path_factory.mktemp("site"), CONFIG):
        served.set_up()
        yield served


@pytest.fixture
def drone(site: Served) -> Iterator[Drone]:
    """The only drone that is there; nothing is left for it of what tests before have queued."""
    emptied(site)
    one = Drone(site.base, f"drone-{secrets.token_hex(3)}")
    one.beat()
    yield one
    deleted(site, one.name)


def atom(name: str = "lib") -> str:
    """Return a package that no other test has."""
    return f"=dev-libs/{name}-{secrets.token_hex(3)}-1.0"


# ---------------------------------------------------------------- the queue


def test_first_visit_says_how_a_drone_joins(page: Page, fresh: Served) -> None:
    fresh.set_up()
    log_in(page, fresh)
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Swarm").click()
    expect(page.locator("main")).to_contain_text(f"appliance drone --server {fresh.base}")
    expect(region(page, "Session")).to_contain_text("No session is open")
    expect(region(page, "Queue")).to_contain_text("The queue is empty. Press “Add packages” to have something built.")
    expect(region(page, "Building now")).to_contain_text("No drone has registered yet.")
    expect(region(page, "Blocked")).to_be_hidden()
    for rest, words in (
        ("/drones", "No drone has registered yet."),
        ("/history", "Nothing was ever queued."),
        ("/payloads", "There is none."),
        ("/releases", "There is none."),
        ("/events", "Events"),
    ):
        open_page(page, fresh, rest)
        expect(page.locator("main")).to_contain_text(words)
    fresh.stop()
    fresh.config += OFF
    fresh.start()
    page.goto(fresh.base)
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Swarm")).to_be_hidden()
    for rest in (*PAGES, "/drones/one", "/drones/one/terminal"):
        page.goto(f"{fresh.base}/ui/swarm{rest}")
        expect(
            page.get_by_text("The plugin build_swarm, which gives packages to drones, is not running")
        ).to_be_visible()


def test_packages_are_added_by_the_form_and_built_until_their_session_ends(
    logged_in: Page, site: Served, drone: Drone
) -> None:
    one, two = atom(), atom()
    open_page(logged_in, site)
    logged_in.get_by_role("button", name="Add packages").click()
    dialog = logged_in.get_by_role("dialog", name="Add packages")
    expect(dialog.get_by_label("Packages", exact=True)).to_be_focused()
    dialog.get_by_role("button", name="Queue them").click()
    expect(dialog.get_by_text("Name at least one package.")).to_be_visible()
    dialog.get_by_label("Packages", exact=True).fill(f"{one}\n{two} {one}")
    dialog.get_by_label("Name of the session").fill("Security <b>updates</b>")
    dialog.get_by_text("Order and what they need").click()
    dialog.get_by_label("Priority").fill("500")
    dialog.get_by_role("button", name="Queue them").click()
    expect(dialog.get_by_text("Enter a whole number from -100 to 100.")).to_be_visible()
    dialog.get_by_label("Priority").fill("5")
    dialog.get_by_role("button", name="Queue them").click()
    said(logged_in, "2 packages queued in Security <b>updates</b>.")
    session = region(logged_in, "Session")
    expect(session).to_contain_text("Security <b>updates</b>")
    expect(session).to_contain_text("0 of 2 packages built")
    expect(row(region(logged_in, "Queue"), one)).to_contain_text("priority 5")
    first = drone.begin()
    expect(row(region(logged_in, "Queue"), first)).to_contain_text("building")
    expect(region(logged_in, "Building now")).to_contain_text(
        re.compile(f"{drone.name}.*{re.escape(first)}", re.DOTALL)
    )
    shoot(logged_in, "swarm-building-1280-light")
    drone.report(first)
    expect(session).to_contain_text("1 of 2 packages built")
    assert drone.build() in {one, two}
    expect(session).to_contain_text("No session is open")
    logged_in.get_by_role("navigation", name="Build swarm").get_by_role("link", name="History").click()
    ended = row(region(logged_in, "Sessions"), "Security <b>updates</b>")
    expect(ended).to_contain_text(re.compile("completed.*2 of 2 packages built", re.DOTALL))
    ended.get_by_role("button", name="Builds of Security <b>updates</b>").click()
    expect(region(logged_in, "Builds").locator("tbody tr")).to_have_count(2)
    expect(row(region(logged_in, "Builds"), one)).to_contain_text(
        re.compile(rf"success.*{drone.name}.*1 min 1 s", re.DOTALL)
    )


def test_packages_that_are_queued_already_are_told_and_not_queued_twice(
    logged_in: Page, site: Served, drone: Drone
) -> None:
    one = atom()
    queued(site, one, session_name="before")
    open_page(logged_in, site)
    logged_in.get_by_role("button", name="Add packages").click()
    dialog = logged_in.get_by_role("dialog", name="Add packages")
    expect(dialog.get_by_label("Session", exact=True).locator("option:checked")).to_have_text("before")
    expect(dialog.get_by_label("Name of the session")).to_be_hidden()
    dialog.get_by_label("Packages", exact=True).fill(f"{one} {HOSTILE.replace(' ', '')}")
    dialog.get_by_role("button", name="Queue them").click()
    expect(
        logged_in.locator("main, dialog").get_by_text(re.compile(f"{re.escape(one)}|dev|script")).first
    ).to_be_visible()
    assert [each["atom"] for each in found(site, "/packages?limit=1000")["items"]].count(one) == 1
    assert logged_in.title() != "broken-into"


def test_queue_is_paused_and_resumed_by_keyboard(logged_in: Page, site: Served, drone: Drone) -> None:
    queued(site, atom())
    open_page(logged_in, site)
    pause = logged_in.get_by_role("button", name="Pause", exact=True)
    pause.focus()
    logged_in.keyboard.press("Enter")
    said(logged_in, "Nothing is given out until you resume")
    expect(logged_in.get_by_text("paused", exact=True)).to_be_visible()
    assert drone.work() is None
    logged_in.get_by_role("button", name="Resume").click()
    said(logged_in, "Packages are given out again.")
    assert drone.work() is not None


def test_queue_is_searched_filtered_and_turned_in_pages_that_the_address_keeps(
    logged_in: Page, site: Served, drone: Drone
) -> None:
    name = f"many{secrets.token_hex(3)}"
    queued(site, *(f"=dev-libs/{name}-{number}.0" for number in range(1, 53)), session_name="many")
    drone.begin()
    open_page(logged_in, site)
    card = region(logged_in, "Queue")
    expect(card.locator("tbody tr")).to_have_count(50)
    expect(card).to_contain_text("1 to 50 of 52")
    previous, following = card.get_by_role("button", name="Previous"), card.get_by_role("button", name="Next")
    expect(previous).to_have_attribute("aria-disabled", "true")
    following.click()
    expect(card).to_contain_text("51 to 52 of 52")
    expect(card.locator("tbody tr")).to_have_count(2)
    expect(following).to_be_focused()  # and stays there, whoever goes on pressing it
    logged_in.keyboard.press("Enter")
    expect(card).to_contain_text("51 to 52 of 52")
    previous.click()
    expect(card).to_contain_text("1 to 50 of 52")
    card.get_by_label("Search packages").fill(f"{name.upper()}-37.0")
    expect(card.locator("tbody tr")).to_have_count(1)
    expect(row(card, f"{name}-37.0")).to_be_visible()
    card.get_by_label("Search packages").fill("")
    card.get_by_label("State").select_option("delegated")
    given_out = found(site, "/overview")["counts"]["delegated"]
    expect(card.locator("tbody tr")).to_have_count(given_out)
    expect(card.locator("tbody tr").first).to_contain_text(drone.name)
    assert logged_in.url.endswith("/ui/swarm?state=delegated")
    logged_in.reload()
    expect(card.get_by_label("State").locator("option:checked")).to_have_text(f"delegated ({given_out})")
    expect(card.locator("tbody tr")).to_have_count(given_out)
    card.get_by_label("State").select_option("failed")
    expect(card).to_contain_text("No such package is here.")


def test_blocked_package_shows_what_it_failed_of_and_is_unblocked(logged_in: Page, site: Served, drone: Drone) -> None:
    one = atom()
    queued(site, one)
    drone.build("masked", f"masked by: {HOSTILE}")
    open_page(logged_in, site)
    card = region(logged_in, "Blocked")
    expect(row(card, one)).to_contain_text(f"masked by: {HOSTILE}")
    expect(row(card, one)).to_contain_text(drone.name)
    shoot(logged_in, "swarm-blocked-1280-light")
    card.get_by_role("button", name=f"Unblock: {one}").click()
    said(logged_in, f"{one} is needed again.")
    expect(row(region(logged_in, "Queue"), one)).to_contain_text("needed")
    expect(row(card, one)).to_have_count(0)
    region(logged_in, "Queue").get_by_role("button", name=f"Block: {one}").click()
    said(logged_in, f"{one} is blocked: nobody builds it.")
    expect(row(region(logged_in, "Queue"), one)).to_contain_text("blocked")
    assert logged_in.title() != "broken-into"


def test_package_is_taken_back_from_a_drone(logged_in: Page, site: Served, drone: Drone) -> None:
    one = atom()
    queued(site, one)
    assert drone.work() == one
    open_page(logged_in, site)
    region(logged_in, "Queue").get_by_role("button", name=f"Take back: {one}").click()
    said(logged_in, f"{one} is taken back")
    expect(row(region(logged_in, "Queue"), one)).to_contain_text("needed")
    assert [each["state"] for each in found(site, "/packages?limit=1000")["items"] if each["atom"] == one] == ["needed"]


def test_whole_queue_is_reset_only_after_the_word_was_typed(logged_in: Page, site: Served, drone: Drone) -> None:
    one = atom()
    queued(site, one)
    drone.build("masked", "no")
    open_page(logged_in, site)
    logged_in.get_by_text("Control the whole queue").click()
    card = region(logged_in, "Whole queue")
    card.get_by_role("button", name="Reset", exact=True).click()
    logged_in.get_by_role("dialog", name="Reset?").get_by_role("button", name="Cancel").click()
    expect(card.get_by_role("button", name="Reset", exact=True)).to_be_focused()
    assert found(site, "/overview")["counts"]["blocked"] == 1
    card.get_by_role("button", name="Reset", exact=True).click()
    agree(logged_in, "Reset", typed="reset")
    expect(region(logged_in, "Blocked")).to_be_hidden()
    expect(row(region(logged_in, "Queue"), one)).to_contain_text("needed")
    for label in ("Unblock all", "Retry failures", "Unground drones"):
        card.get_by_role("button", name=label, exact=True).click()
        expect(logged_in.locator("main [aria-live] > .notice.ok")).to_be_focused()
    card.get_by_role("button", name="Rebalance", exact=True).click()
    agree(logged_in, "Rebalance")
    expect(logged_in.locator("main [aria-live] > .notice.ok")).to_be_focused()


# ---------------------------------------------------------------- drones


def test_card_of_a_drone_shows_its_load_and_work_and_the_command_that_approves_it(
    logged_in: Page, site: Served, drone: Drone
) -> None:
    one = atom()
    queued(site, one)
    drone.begin()
    open_page(logged_in, site, "/drones")
    card = card_of(logged_in, drone.name)
    expect(card).to_contain_text("building")
    expect(card).to_contain_text(re.compile(r"16 cores.*32 GB.*127\.0\.0\.1.*version 0\.4\.0-alpha", re.DOTALL))
    expect(card).to_contain_text(re.compile(r"CPU.*45 %, load 2\.4.*Memory.*62 %", re.DOTALL))
    expect(card).to_contain_text(one)
    expect(card.locator("code")).to_have_text(f"appliance swarm approve {drone.name}")
    expect(card.get_by_role("link", name=f"Terminal of {drone.name}")).to_be_hidden()
    expect(card.get_by_role("button", name=f"Ping {drone.name}")).to_be_hidden()


def test_drone_is_paused_and_resumed_and_told_what_it_is(logged_in: Page, site: Served, drone: Drone) -> None:
    open_page(logged_in, site, "/drones")
    card = card_of(logged_in, drone.name)
    card.get_by_role("button", name=f"Pause {drone.name}").click()
    said(logged_in, f"{drone.name} gets nothing more")
    expect(card.get_by_text("paused", exact=True)).to_be_visible()
    assert drone.beat()["paused"] is True
    logged_in.get_by_label("Show").select_option("paused")
    expect(card).to_be_visible()
    logged_in.get_by_label("Show").select_option("offline")
    expect(card).to_have_count(0)
    logged_in.get_by_label("Show").select_option("")
    logged_in.get_by_label("Search drones").fill(drone.name.upper())
    expect(logged_in.get_by_role("article")).to_have_count(1)
    card.get_by_role("button", name=f"Resume {drone.name}").click()
    said(logged_in, f"{drone.name} gets packages again.")
    card.get_by_role("button", name=f"Type of {drone.name}").click()
    logged_in.get_by_role("dialog").get_by_label("It is").select_option("bare-metal")
    logged_in.get_by_role("dialog").get_by_role("button", name="Save").click()
    said(logged_in, f"{drone.name} is noted as bare metal.")
    assert found(site, f"/drones/{drone.name}")["drone_type"] == "bare-metal"


def test_drone_that_failed_too_often_is_shown_as_grounded_until_it_is_let_go(
    logged_in: Page, site: Served, drone: Drone
) -> None:
    queued(site, *(atom("failing") for _ in range(9)), session_name="failing")
    for _ in range(8):
        drone.build("failed", "emake failed")
    drone.work()
    open_page(logged_in, site, "/drones")
    card = card_of(logged_in, drone.name)
    expect(card.get_by_text("grounded", exact=True)).to_be_visible()
    expect(card).to_contain_text("grounded until")
    open_page(logged_in, site)
    logged_in.get_by_text("Control the whole queue").click()
    logged_in.get_by_role("button", name="Unground drones").click()
    expect(logged_in.locator("main [aria-live] > .notice.ok")).to_be_focused()
    open_page(logged_in, site, "/drones")
    expect(card.get_by_text("grounded", exact=True)).to_have_count(0)
    control(site, "clear_history")


def test_drone_is_deleted_after_a_question(logged_in: Page, site: Served, drone: Drone) -> None:
    queued(site, atom())
    drone.build()
    open_drone(logged_in, site, drone.name)
    logged_in.get_by_role("button", name=f"Delete {drone.name}").click()
    expect(logged_in.get_by_role("dialog")).to_contain_text("stay in the history")
    agree(logged_in, "Delete")
    expect(logged_in).to_have_url(f"{site.base}/ui/swarm/drones")
    expect(card_of(logged_in, drone.name)).to_have_count(0)
    logged_in.goto(f"{site.base}/ui/swarm/drones/{drone.name}")
    expect(logged_in.get_by_text("There is no drone of this name.")).to_be_visible()


def test_page_of_a_drone_shows_its_builds_events_and_a_log_as_it_is_written(
    logged_in: Page, site: Served, drone: Drone
) -> None:
    one, two = atom(), atom()
    queued(site, one, two, session_name="logged")
    built = drone.build("failed", f"die: {HOSTILE}")
    log_id = secrets.token_hex(16)
    now = drone.begin()
    at = drone.log(log_id, now, f">>> Emerging {HOSTILE}\n\x1b[32m * one\x1b[0m\n")
    open_drone(logged_in, site, drone.name)
    expect(row(region(logged_in, "History"), built)).to_contain_text(f"die: {HOSTILE}")
    expect(region(logged_in, "Events")).to_contain_text(built.removeprefix("="))
    log = logged_in.get_by_role("region", name=f"Log of {now}")
    expect(log).to_contain_text(f">>> Emerging {HOSTILE}")
    expect(log.get_by_text("* one", exact=True)).to_be_visible()
    drone.log(log_id, now, ">>> two\n", at)
    expect(log.get_by_text(">>> two")).to_be_visible()
    shoot(logged_in, "swarm-drone-1280-light")
    at = drone.log(log_id, now, "", at + len(">>> two\n"), outcome="success")
    drone.report(now)
    expect(region(logged_in, "Build logs").get_by_text(f"complete: {now}, success")).to_be_visible()
    with logged_in.expect_download() as download:
        region(logged_in, "Build logs").get_by_role("link", name="Download").click()
    assert download.value.path().read_text().endswith("* one\x1b[0m\n>>> two\n")
    expect(row(region(logged_in, "History"), now)).to_contain_text("success")
    assert logged_in.title() == f"{drone.name}: drone"


# ---------------------------------------------------------------- history and events


def test_builds_are_found_by_result_drone_and_package(logged_in: Page, site: Served, drone: Drone) -> None:
    good, bad = atom("good"), atom("bad")
    queued(site, good)
    assert drone.build() == good
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


# ---------------------------------------------------------------- who may do what, and how it looks


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


def test_card_on_the_overview_tells_what_is_built(logged_in: Page, site: Served, drone: Drone) -> None:
    queued(site, atom(), atom(), session_name="carded")
    drone.begin()
    logged_in.goto(site.base)
    card = logged_in.get_by_role("article", name="Build swarm")
    expect(card).to_contain_text(
        re.compile(r"Drones online.*Given out.*Session0 of 2 built", re.DOTALL), timeout=SLOW_MS
    )


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
