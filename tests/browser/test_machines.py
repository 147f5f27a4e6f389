"""Registered machines and their pools by their pages: made, joined, marked, gone, deleted."""

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.conftest import ARTIFACTS, SCREENS, SeenBy, Watched, log_in, shoot
from tests.browser.machine_agent import HOSTILE, Agent
from tests.browser.served import Served

CONTRAST = Path(__file__).with_name("contrast.js").read_text()
UNNAMED = """[...document.querySelectorAll('a, button, input, select, summary')]
  .filter((node) => node.checkVisibility())
  .filter((node) => !(node.textContent.trim() || node.ariaLabel || node.labels?.length))
  .map(node => node.outerHTML)"""
OFF = "[plugins.machine_registry]\nenabled = false\n"
EXPIRE = "UPDATE machine_registry_machine SET deadline_us = (SELECT written_us FROM machine_registry_clock) - 1"
SLOW_MS = 45_000
"""A list whose answer took long is asked for again after ten times as long."""


def open_list(page: Page, site: Served, query: str = "") -> None:
    page.goto(f"{site.base}/ui/machines{query}")
    expect(page.get_by_role("region", name="Machines", exact=True)).to_be_visible()


def make(page: Page, site: Served, machine_id: str = "", **agent: Any) -> Agent:
    """Make a machine through the page and read what its agent is started with there."""
    open_list(page, site)
    page.get_by_role("button", name="Add machine").click()
    dialog = page.get_by_role("dialog", name="Add a machine")
    if "pool" in agent:
        dialog.get_by_label("Pool").select_option(agent["pool"])
    if machine_id:
        dialog.get_by_label("Machine id").fill(machine_id)
    dialog.get_by_role("button", name="Add machine").click()
    shown = page.get_by_role("status").filter(has_text="may join pool")
    expect(shown).to_be_focused()
    token = shown.get_by_role("group", name="Token").text_content() or ""
    made = shown.get_by_role("group", name="Machine id").text_content() or ""
    assert len(token) == 88
    assert re.fullmatch(r"[0-9a-f]{8}", made)
    return Agent(base=site.base, token=token, machine_id=made, **agent)


def joined(page: Page, site: Served, machine_id: str = "", **agent: Any) -> Agent:
    """Make a machine and let its agent register and beat."""
    made = make(page, site, machine_id, **agent)
    assert (made.register(), made.beat()) == (200, 200)
    return made


def row(page: Page, agent: Agent) -> Locator:
    """Return a machine's row of the list."""
    address = f"/ui/machines/{agent.machine_id}?pool={agent.pool}&provider=generic"
    return page.get_by_role("row").filter(has=page.locator(f'a[href="{address}"]'))


def pool_row(page: Page, name: str) -> Locator:
    """Return a pool's row of the card of pools."""
    return page.get_by_role("region", name="Pools").get_by_role("row").filter(has=page.get_by_role("link", name=name))


def open_machine(page: Page, agent: Agent, fragment: str = "") -> None:
    """Open a machine's page and wait for its past."""
    page.goto("about:blank")
    with page.expect_response(lambda answer: "/api/appliance/series" in answer.url):
        page.goto(f"{agent.base}/ui/machines/{agent.machine_id}?pool={agent.pool}&provider=generic{fragment}")
    expect(page.get_by_role("article", name="CPU")).to_be_visible()


def add_pool(page: Page, name: str, gpu: str = "") -> None:
    page.get_by_role("button", name="Add a pool").click()
    dialog = page.get_by_role("dialog", name="Add a pool")
    dialog.get_by_label("Name", exact=True).fill(name)
    dialog.get_by_label("GPU name").fill(gpu)
    dialog.get_by_role("button", name="Add pool").click()
    expect(dialog).to_have_count(0)


@pytest.fixture(scope="module")
def box(browser: Browser, site: Served) -> Agent:
    """A machine of four GPUs in a pool of its own, which has beaten once."""
    context = browser.new_context()
    page = context.new_page()
    log_in(page, site)
    open_list(page, site)
    add_pool(page, "training", "H100")
    expect(pool_row(page, "training")).to_be_visible()
    made = joined(page, site, "1165a9b6", pool="training", hostname=f"box {HOSTILE}")
    context.close()
    return made


def test_first_visit_explains_how_to_add_a_machine_and_lists_this_host(page: Page, fresh: Served) -> None:
    fresh.set_up()
    log_in(page, fresh)
    page.get_by_role("link", name="Machines").click()
    how = page.get_by_role("region", name="Add another machine")
    expect(how).to_contain_text("appliance machine create --pool default")
    local = page.get_by_role("row").filter(has_text="this host")
    expect(local).to_contain_text(re.compile(r"ready.*of 3 free.*\d %.*s ago", re.DOTALL))
    expect(local.get_by_role("button")).to_have_text(["Cordon", "Drain"])  # it cannot be deleted
    shoot(page, "machines-first-1280-light")
    make(page, fresh)
    expect(how).to_be_hidden()


def test_made_machine_shows_its_token_once_and_is_ready_with_its_first_beat(logged_in: Page, site: Served) -> None:
    made = make(logged_in, site, hostname="Größe 7")
    shown = logged_in.get_by_role("status").filter(has_text="may join pool")
    expect(shown).to_contain_text("Restart=always")
    for agent, program in {"Python agent": "beta9_agent", "Go agent": "b9agent"}.items():
        line = shown.get_by_role("group", name=agent).text_content() or ""
        assert program in line
        assert made.token in line
        assert made.machine_id in line
    shoot(logged_in, "machines-made-1280-light")
    expect(row(logged_in, made)).to_contain_text(re.compile("pending.*never", re.DOTALL))
    expect(row(logged_in, made).get_by_role("button")).to_have_text(["Delete"])  # there is no host to mark yet
    assert made.register() == 200
    expect(row(logged_in, made)).to_contain_text(re.compile("Größe 7.*registered", re.DOTALL), timeout=SLOW_MS)
    assert made.beat(cpu=41.5, free=3) == 200
    figures = re.compile(r"ready.*3 of 4 free.*42 %.*62 %.*\d s ago", re.DOTALL)
    expect(row(logged_in, made)).to_contain_text(figures, timeout=SLOW_MS)
    logged_in.get_by_role("button", name="I have kept it").click()
    assert made.token not in logged_in.content()
    logged_in.reload()
    expect(row(logged_in, made)).to_contain_text("ready")
    assert made.token not in logged_in.content()


def test_copy_button_puts_the_agents_line_on_the_clipboard(logged_in: Page, site: Served) -> None:
    logged_in.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.base)
    made = make(logged_in, site)
    for agent, program in {"Python agent": "beta9_agent", "Go agent": "b9agent"}.items():
        logged_in.get_by_role("button", name=f"Copy: {agent}").click()
        expect(logged_in.get_by_role("button", name=f"Copy: {agent}")).to_have_text("Copied")
        copied = logged_in.evaluate("navigator.clipboard.readText()")
        assert program in copied
        assert made.token in copied


def test_machine_is_made_as_asked_and_a_wrong_entry_says_why_at_its_field(logged_in: Page, site: Served) -> None:
    open_list(logged_in, site)
    opener = logged_in.get_by_role("button", name="Add machine")
    opener.click()
    dialog = logged_in.get_by_role("dialog")
    go = dialog.get_by_role("button", name="Add machine")
    dialog.get_by_label("Machine id").fill("box-1")
    dialog.get_by_label("Machines that may register").fill("0")
    go.click()
    expect(dialog.get_by_role("alert")).to_have_text([re.compile("8 hexadecimal"), re.compile("1 to 20000")])
    expect(dialog.get_by_label("Machine id")).to_be_focused()
    logged_in.keyboard.press("Escape")
    expect(opener).to_be_focused()
    opener.click()
    dialog.get_by_label("Machine id").fill("ABCDEF01")
    dialog.get_by_label("Token valid").select_option("30 days")
    dialog.get_by_label("Machines that may register").fill("1")
    with logged_in.expect_request(lambda asked: asked.method == "POST") as asked:
        go.click()
    body = {"pool": "default", "machine_id": "ABCDEF01", "expires_in_days": 30, "machines_max": 1}
    assert asked.value.post_data_json == body
    expect(logged_in.get_by_role("status").filter(has_text="Machine ABCDEF01 may join")).to_be_visible()


def test_list_is_narrowed_by_pool_and_state_and_keeps_that_in_the_address(
    logged_in: Page, site: Served, box: Agent
) -> None:
    other = make(logged_in, site)
    box.beat()
    open_list(logged_in, site)
    expect(row(logged_in, box)).to_contain_text("training")
    expect(row(logged_in, box)).to_contain_text("H100")
    region = logged_in.get_by_role("region", name="Machines", exact=True)
    region.get_by_label("Pool").select_option("training")
    expect(row(logged_in, other)).to_have_count(0)
    expect(logged_in.get_by_text("1 machine, 1 ready · 3 of 4 GPUs free")).to_be_visible()
    region.get_by_label("State").select_option("pending")
    expect(logged_in.get_by_text("No such machine here.")).to_be_visible()
    assert logged_in.url.endswith("?pool=training&state=pending")
    region.get_by_label("Pool").select_option("all pools")
    expect(row(logged_in, other)).to_be_visible()
    expect(row(logged_in, box)).to_have_count(0)
    logged_in.reload()
    expect(row(logged_in, other)).to_be_visible()
    expect(region.get_by_label("State")).to_have_value("pending")
    pool_row(logged_in, "training").get_by_role("link").click()
    expect(row(logged_in, box)).to_be_visible()
    expect(row(logged_in, other)).to_have_count(0)


def test_machine_is_cordoned_with_its_reason_drained_and_uncordoned(logged_in: Page, site: Served) -> None:
    made = joined(logged_in, site)
    one = row(logged_in, made)
    one.get_by_role("button", name="Cordon").click()
    dialog = logged_in.get_by_role("dialog", name=f"Cordon machine {made.machine_id}?")
    expect(dialog.get_by_label("Reason")).to_be_focused()
    logged_in.keyboard.press("Escape")
    expect(one.get_by_role("button", name="Cordon")).to_be_focused()
    one.get_by_role("button", name="Cordon").click()
    dialog.get_by_label("Reason").fill("new power supply <b>")
    logged_in.keyboard.press("Enter")
    expect(one).to_contain_text("cordoned")
    expect(one).to_contain_text("new power supply <b>")
    expect(one.get_by_role("button", name="Uncordon")).to_be_focused()
    one.get_by_role("button", name=f"Drain {made.machine_id}").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Drain").click()
    expect(one).to_contain_text("cordoned and draining")
    expect(one.get_by_role("button", name="Drain")).to_have_count(0)
    expect(one.get_by_role("button", name="Uncordon")).to_be_focused()
    shoot(logged_in, "machines-marked-1280-light")
    open_machine(logged_in, made)
    expect(logged_in.get_by_text("This machine is cordoned and draining: it gets no new work.")).to_be_visible()
    logged_in.get_by_role("button", name="Uncordon").click()
    expect(logged_in.get_by_text("it gets no new work")).to_be_hidden()
    open_list(logged_in, site)
    expect(one).not_to_contain_text("cordoned")


def test_deletion_asks_first_and_ends_the_token_only_when_told_to(logged_in: Page, site: Served) -> None:
    kept, ended = joined(logged_in, site), joined(logged_in, site)
    row(logged_in, kept).get_by_role("button", name="Delete").click()
    dialog = logged_in.get_by_role("dialog", name=f"Delete machine {kept.machine_id}?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(row(logged_in, kept).get_by_role("button", name="Delete")).to_be_focused()
    row(logged_in, kept).get_by_role("button", name="Delete").click()
    expect(dialog.get_by_role("checkbox")).not_to_be_checked()
    dialog.get_by_role("button", name="Delete").click()
    said = logged_in.get_by_role("status").filter(has_text=f"Machine {kept.machine_id} is deleted.")
    expect(said).to_be_focused()
    expect(row(logged_in, kept)).to_have_count(0)
    assert kept.beat() == 500
    assert kept.register() == 200
    open_machine(logged_in, ended)
    logged_in.get_by_role("button", name="Delete").click()
    logged_in.get_by_role("checkbox", name="Revoke the token that it registered with").check()
    logged_in.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(logged_in.get_by_role("heading", level=1)).to_have_text("Machines")
    expect(row(logged_in, kept)).to_be_visible()
    expect(row(logged_in, ended)).to_have_count(0)
    assert ended.register() == 403
    logged_in.goto(f"{site.base}/ui/machines/{ended.machine_id}")
    expect(logged_in.get_by_text("There is no machine of this id here.")).to_be_visible()


def test_pools_are_added_and_deleted_unless_they_have_machines_or_are_configured(
    logged_in: Page, site: Served, box: Agent
) -> None:
    open_list(logged_in, site)
    expect(pool_row(logged_in, "default")).to_contain_text("in the configuration")
    expect(pool_row(logged_in, "default").get_by_role("button")).to_have_count(0)
    expect(pool_row(logged_in, "training")).to_contain_text(re.compile("1 ready of 1.*3 free of 4.*H100", re.DOTALL))
    logged_in.get_by_role("button", name="Add a pool").click()
    dialog = logged_in.get_by_role("dialog", name="Add a pool")
    go = dialog.get_by_role("button", name="Add pool")
    go.click()
    expect(dialog.get_by_label("Name", exact=True)).to_be_focused()
    dialog.get_by_label("Name", exact=True).fill("training")
    go.click()
    expect(dialog.get_by_role("alert").first).to_contain_text("already")
    dialog.get_by_label("Name", exact=True).fill("short-lived")
    go.click()
    expect(pool_row(logged_in, "short-lived")).to_contain_text("none")
    pool_row(logged_in, "short-lived").get_by_role("button", name="Delete pool short-lived").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(logged_in.get_by_role("status").filter(has_text="Pool short-lived is deleted.")).to_be_focused()
    expect(pool_row(logged_in, "short-lived")).to_have_count(0)
    pool_row(logged_in, "training").get_by_role("button").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(logged_in.get_by_role("alert").filter(has_text="has 1 machine")).to_be_focused()
    expect(pool_row(logged_in, "training")).to_be_visible()


def test_viewer_is_offered_nothing_that_would_be_refused(
    logged_in: Page, site: Served, box: Agent, seen_by: SeenBy
) -> None:
    for name, role in (("vera", "viewer"), ("uwe", "user")):
        page = seen_by(logged_in, name, role)
        open_list(page, site)
        expect(row(page, box)).to_be_visible()
        expect(pool_row(page, "training")).to_be_visible()
        expect(page.locator("main").get_by_role("button")).to_have_count(0)
        open_machine(page, box)
        expect(page.locator("main").get_by_role("button")).to_have_count(0)


def test_operator_is_offered_what_an_admin_is(logged_in: Page, site: Served, box: Agent, seen_by: SeenBy) -> None:
    page = seen_by(logged_in, "olga", "operator")
    open_list(page, site)
    expect(row(page, box).get_by_role("button")).to_have_text(["Cordon", "Drain", "Delete"])
    make(page, site)


def test_page_of_a_machine_shows_what_it_told_and_charts_it(logged_in: Page, box: Agent) -> None:
    assert box.beat(cpu=37.0, memory=55.0, free=1) == 200
    open_machine(logged_in, box)
    expect(logged_in.get_by_role("heading", level=1)).to_have_text(box.machine_id)
    for card, words in {
        "CPU": ["37 %", "64 cores"],
        "Memory": ["55 %", "256 GiB"],
        "GPUs and work": ["1 of 4", "GPUs free", "H100", "600 of 900 GiB used", "Workers2", "Containers5", "13 %"],
        "Life": ["ready", "until it is unlisted", "s ago", "192.0.2.7", "0.1.0-python"],
    }.items():
        for each in words:
            expect(logged_in.get_by_role("article", name=card, exact=True)).to_contain_text(each)
    expect(logged_in.get_by_role("img", name=re.compile(r"CPU: busy peak \d+ %"))).to_be_visible()
    expect(logged_in.get_by_role("img", name=re.compile(r"Memory: memory used peak \d+ %"))).to_be_visible()
    # What a beat told is written behind.
    stored = f"/api/appliance/machines/{box.machine_id}/series?metrics=free_gpu_count"
    logged_in.wait_for_function(
        "async (path) => (await (await fetch(path)).json()).series.length", arg=stored, timeout=SLOW_MS
    )
    logged_in.reload()
    expect(logged_in.get_by_role("img", name=re.compile(r"Free GPUs: free peak \d"))).to_be_visible(timeout=SLOW_MS)
    expect(logged_in.get_by_role("img", name=re.compile(r"Free disk: free peak \d+ GiB"))).to_be_visible()
    events = logged_in.get_by_role("region", name="Events")
    ready = f"machine {box.machine_id} in pool training is ready"
    expect(events).to_contain_text(ready, timeout=SLOW_MS)
    assert box.beat(cpu=93.0) == 200
    expect(logged_in.get_by_role("article", name="CPU")).to_contain_text("93 %", timeout=SLOW_MS)
    expect(logged_in.get_by_role("img", name="CPU: busy peak 93 %")).to_be_visible()


def test_names_from_an_agent_stay_text(logged_in: Page, site: Served, box: Agent) -> None:
    open_list(logged_in, site)
    expect(row(logged_in, box)).to_contain_text(HOSTILE)
    open_machine(logged_in, box)
    expect(logged_in.locator(".facts")).to_contain_text(HOSTILE)
    assert "broken-into" not in logged_in.title()
    assert logged_in.locator("main script, main b, main img[src]").count() == 0


def test_charts_of_this_host_follow_the_chosen_span(logged_in: Page, site: Served) -> None:
    open_list(logged_in, site)
    with logged_in.expect_response(lambda answer: "/api/appliance/series" in answer.url) as asked:
        logged_in.get_by_role("row").filter(has_text="this host").get_by_role("link").click()
    host = re.search(r"host=([^&]+)", asked.value.url)
    assert host is not None
    assert {one["metric"] for one in logged_in.request.get(asked.value.url).json()["series"]} == {
        "cpu_percent",
        "memory_percent",
    }
    expect(logged_in.get_by_role("radio", name="1 h", exact=True)).to_be_checked()
    logged_in.get_by_role("radio", name="1 h", exact=True).focus()
    with logged_in.expect_response(lambda answer: "/api/appliance/series" in answer.url) as asked:
        logged_in.keyboard.press("ArrowRight")
    answer = logged_in.request.get(asked.value.url).json()
    assert answer["host_id"] == host[1]
    assert answer["to_unix_s"] - answer["from_unix_s"] == pytest.approx(6 * 3600, abs=2)
    assert logged_in.url.endswith("#21600")
    with logged_in.expect_response(lambda answer: "/api/appliance/series" in answer.url):
        logged_in.evaluate("location.hash = '#86400'")
    expect(logged_in.get_by_role("radio", name="24 h")).to_be_checked()
    shoot(logged_in, "machine-local-1280-light")


def test_id_in_two_pools_asks_which_one_is_meant(logged_in: Page, site: Served, box: Agent) -> None:
    twin = joined(logged_in, site, box.machine_id, hostname="the other")
    logged_in.goto(f"{site.base}/ui/machines/{box.machine_id}")
    expect(logged_in.get_by_text("Several machines have this id.")).to_be_visible()
    logged_in.get_by_role("link", name="in pool default of provider generic").click()
    expect(logged_in.locator(".facts")).to_contain_text("the other")
    open_list(logged_in, site)
    row(logged_in, twin).get_by_role("button", name="Delete").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row(logged_in, twin)).to_have_count(0)
    expect(row(logged_in, box)).to_be_visible()


@pytest.mark.long
def test_expired_machine_shows_no_old_figures_and_a_lost_connection_is_told_and_ends(page: Page, fresh: Served) -> None:
    fresh.set_up()
    log_in(page, fresh)
    made = joined(page, fresh)
    expect(row(page, made)).to_contain_text("ready", timeout=SLOW_MS)
    fresh.stop()
    expect(page.get_by_text("not connected")).to_be_visible(timeout=SLOW_MS)
    (database,) = (fresh.folder / "data").rglob("appliance.db")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(EXPIRE)
    fresh.start()
    expect(row(page, made)).to_contain_text("expired", timeout=SLOW_MS)
    cells = row(page, made).locator("td")
    expect(cells.nth(3)).to_have_text("4")
    expect(cells.nth(4)).to_have_text("n/a")
    open_machine(page, made)
    expect(page.get_by_text("This machine has sent no keepalive since")).to_be_visible()
    expect(page.get_by_role("article", name="CPU").locator(".big")).to_have_text("n/a")
    expect(page.get_by_role("region", name="Events")).to_contain_text(
        "has sent no keepalive for five minutes", timeout=SLOW_MS
    )
    shoot(page, "machine-expired-1280-light")
    assert (made.register(), made.beat()) == (200, 200)
    expect(page.get_by_text("This machine has sent no keepalive since")).to_be_hidden(timeout=SLOW_MS)


def test_link_and_page_are_gone_while_the_plugin_is_off(page: Page, fresh: Served) -> None:
    fresh.set_up()
    log_in(page, fresh)
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Machines")).to_be_visible()
    fresh.stop()
    fresh.config += OFF
    fresh.start()
    page.goto(fresh.base)
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Machines")).to_be_hidden()
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Servers")).to_be_visible()
    page.goto(f"{fresh.base}/ui/machines")
    expect(
        page.get_by_text("The plugin machine_registry, which machines register with, is not running")
    ).to_be_visible()
    page.goto(f"{fresh.base}/ui/machines/1165a9b6")
    expect(
        page.get_by_text("The plugin machine_registry, which machines register with, is not running")
    ).to_be_visible()


def many(route: Route) -> None:
    """Answer with a machine of every state and mark, and a long list of others, made from a real one."""
    answer = route.fetch()
    said = answer.json()
    if "items" not in said:
        route.fulfill(response=answer)
        return
    real = next(one for one in said["items"] if not one["is_local"])
    states = ["pending", "registered", "ready", "late", "expired"]
    marks = {"is_cordoned": True, "is_draining": True, "mark_reason": f"a long reason {'with many words ' * 10}"}
    said["items"] += [real | {"id": f"state-{state}", "state": state} for state in states]
    said["items"] += [real | {"id": "marked", "pool": "p" * 64, "provider": "q" * 64, "hostname": "h" * 200} | marks]
    said["items"] += [real | {"id": f"{number:08x}"} for number in range(400)]
    route.fulfill(response=answer, body=json.dumps(said))


def test_long_list_is_shown_in_parts(logged_in: Page, site: Served, box: Agent) -> None:
    logged_in.route("**/api/appliance/machines*", many)
    open_list(logged_in, site)
    rows = logged_in.get_by_role("region", name="Machines", exact=True).locator("tbody tr")
    expect(rows).to_have_count(200)
    logged_in.get_by_role("button", name="Show 200 more").click()
    expect(rows).to_have_count(400)
    logged_in.get_by_role("button", name="Show 200 more").click()
    expect(logged_in.get_by_role("button", name="Show 200 more")).to_be_hidden()
    expect(logged_in.locator('a[href^="/ui/machines/0000018f?"]')).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_pages_fit_their_screen_with_readable_text(
    browser: Browser, site: Served, box: Agent, scheme: str, width: int
) -> None:
    box.beat()
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    watched = Watched(page)
    log_in(page, site)
    page.route("**/api/appliance/machines*", many)
    open_list(page, site)
    expect(page.get_by_role("link", name="state-late")).to_be_visible()
    page.screenshot(path=ARTIFACTS / f"machines-many-{width}-{scheme}.png")
    for name in ("machines", "machine"):
        if name == "machine":
            page.unroute_all(behavior="wait")
            open_machine(page, box)
            expect(page.get_by_role("region", name="Events")).to_contain_text("is ready", timeout=SLOW_MS)
            shoot(page, f"machine-{width}-{scheme}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        navigation = page.get_by_role("navigation", name="Main")
        assert navigation.evaluate("(one) => one.scrollWidth <= one.clientWidth")
        looked = page.evaluate(CONTRAST)
        assert looked["count"] > 30
        assert looked["poor"] == []
        assert page.evaluate(UNNAMED) == []
    open_list(page, site)
    expect(row(page, box)).to_be_visible()
    shoot(page, f"machines-{width}-{scheme}")
    assert [url for url in watched.requests if not url.startswith((f"{site.base}/", "data:"))] == []
    assert watched.problems == []
    context.close()


def told(page: Page, module: str, function: str, *arguments: Any) -> Any:
    code = f"async (given) => (await import('/ui/static/{module}.js')).{function}(...given)"
    return page.evaluate(code, list(arguments))


def test_value_without_neighbours_is_drawn_as_a_dot(logged_in: Page) -> None:
    def places(*values: float | None) -> Any:
        return told(logged_in, "chart", "alone", values)

    assert places(4) == [0]
    assert places(None, 0, None, 5, 6, None, 7) == [1, 6]
    assert places(1, 2) == places(None) == places() == []
    drawn = logged_in.evaluate("""async () => {
      const { Chart } = await import('/ui/static/chart.js');
      const chart = new Chart('Test', 'percent', [{ label: 'one', colour: 'c1' }]);
      chart.root.style.width = '400px';
      document.body.append(chart.root);
      const value = [50];
      const copy = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
      const inked = () => {
        const drawn = chart.plot.querySelector('canvas');
        const { width, height } = Object.assign(copy.canvas, { width: drawn.width, height: drawn.height });
        copy.drawImage(drawn, 0, 0);
        const { data } = copy.getImageData(0, 0, width, height);
        const isBlue = (at) => data[at] < 60 && data[at + 2] > 150 && data[at + 3] > 200;
        return data.reduce((sum, _, at) => sum + (at % 4 === 0 && isBlue(at) ? 1 : 0), 0);
      };
      const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      chart.setData([], [{ mean: [], min: [], max: [] }], 60, [0, 60]);
      while (!chart.uplot) await frame();
      await frame();
      const before = inked();
      chart.setData([30], [{ mean: value, min: value, max: value }], 60, [0, 60]);
      await frame();
      return [before, inked()];
    }""")
    assert drawn[1] > drawn[0]


def test_words_for_states_marks_gpus_and_deadlines(page: Page, site: Served) -> None:
    page.goto(f"{site.base}/setup")

    def said(function: str, **machine: Any) -> Any:
        return told(page, "machine_words", function, machine)

    assert said("stateOf", state="late") == ["warning", "late"]
    assert said("stateOf", state="unheard of") == ["", "unheard of"]
    assert said("isLive", state="late") is True
    assert said("isLive", state="expired") is False
    assert said("markWords", is_cordoned=True, is_draining=True) == "cordoned and draining"
    assert said("gpuWords", state="ready", gpu_count=8, free_gpu_count=0, gpu="H100") == "0 of 8 free, H100"
    assert said("gpuWords", state="expired", gpu_count=8, free_gpu_count=8, gpu="") == "8"
    assert said("gpuWords", state="ready", gpu_count=0, free_gpu_count=0, gpu="") == "none"
    assert said("deadlineOf", state="late", deadline_in_seconds=120) == ["until it is unlisted", 120]
    assert said("deadlineOf", state="ready", deadline_in_seconds=None) is None
    assert said("cores", cpu_millicores=1500) == "1.5 cores"
    assert said("cores", cpu_millicores=0) == "n/a"
    assert said("machinePage", id="a/b c", pool="p", provider="q") == "/ui/machines/a%2Fb%20c?pool=p&provider=q"
    assert told(page, "machine_words", "ago", None) == "never"
