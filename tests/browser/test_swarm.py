"""The build swarm by its pages: packages queued, built, blocked and watched, drones approved and entered."""

import re
import secrets
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import log_in, shoot
from tests.browser.served import Served
from tests.browser.swarm import (
    HOSTILE,
    PAGES,
    Drone,
    agree,
    atom,
    card_of,
    control,
    found,
    only_drone,
    open_drone,
    open_page,
    queued,
    region,
    row,
    said,
    sites,
)

OFF = "[plugins.build_swarm]\nenabled = false\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    yield from sites(tmp_path_factory.mktemp("site"))


@pytest.fixture
def drone(site: Served) -> Iterator[Drone]:
    yield from only_drone(site)


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
    other = row(region(logged_in, "Queue"), two if first == one else one)
    expect(other).to_contain_text(re.compile("given out.*waits", re.DOTALL))
    expect(region(logged_in, "Building now").get_by_role("link", name=drone.name)).to_have_count(1)
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
    dialog.get_by_label("Packages", exact=True).fill(HOSTILE.replace(" ", ""))
    dialog.get_by_role("button", name="Queue them").click()
    expect(dialog.get_by_label("Packages", exact=True)).to_be_focused()
    expect(dialog.get_by_label("Packages", exact=True)).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("Packages", exact=True).fill(one)
    dialog.get_by_role("button", name="Queue them").click()
    told = said(logged_in, "0 packages queued in before.")
    expect(told).to_contain_text(f"{one}: waits or is being built already")
    assert [each["atom"] for each in found(site, "/packages?limit=1000")["items"]] == [one]


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
