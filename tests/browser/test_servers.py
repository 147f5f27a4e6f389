"""Monitored servers by their pages: registered, reporting, charted, silent, disabled, deleted."""

import re
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser import agent
from tests.browser.conftest import SCREENS, SeenBy, Watched, log_in, shoot
from tests.browser.served import Served

HOUR = 3600
RANGES = {
    "15m": ("15 min", 15),
    "1h": ("1 h", 60),
    "6h": ("6 h", 360),
    "24h": ("24 h", 1440),
    "30d": ("30 days", 43200),
}
HISTORY_HOURS = 47
CONTRAST = Path(__file__).with_name("contrast.js").read_text()
SLACK_SECONDS = 120


@frozen
class Box:
    """A registered server with its token."""

    slug: str
    token: str
    base: str

    def report(self, *ages_seconds: float, gpus: int = 4) -> None:
        """Post samples of so many seconds ago, oldest first."""
        now = time.time()
        agent.post(self.base, self.slug, self.token, [agent.sample(now - age, gpus=gpus) for age in ages_seconds])


def register(page: Page, site: Served, name: str, slug: str = "") -> Box:
    """Register a server through the page and read its token there."""
    page.goto(f"{site.base}/ui/servers")
    page.get_by_role("button", name="Register a server").click()
    dialog = page.get_by_role("dialog", name="Register a server")
    expect(dialog.get_by_label("Name")).to_be_focused()
    dialog.get_by_label("Name").fill(name)
    if slug:
        dialog.get_by_label("Slug").fill(slug)
    dialog.get_by_role("button", name="Register").click()
    shown = page.get_by_role("status").filter(has_text=f"{name} is registered")
    expect(shown).to_be_focused()
    token = shown.get_by_role("group", name="Token").text_content() or ""
    command = shown.get_by_role("group", name="Agent command").text_content() or ""
    assert len(token) > 20
    assert token in command
    made = re.search(r"--server-slug (\S+)", command)
    assert made is not None
    return Box(made[1], token, site.base)


def row(page: Page, box: Box) -> Locator:
    """Return a server's row of the list."""
    return page.get_by_role("row").filter(has=page.locator(f'a[href="/ui/servers/{box.slug}"]'))


def refusal(box: Box) -> int:
    """Return the status with which a sample is refused."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        box.report(0)
    with refused.value:
        return refused.value.code


def open_box(page: Page, box: Box, fragment: str = "") -> None:
    """Open a server's page and wait for its figures and its past."""
    page.goto("about:blank")
    with page.expect_response(lambda answer: "/api/metrics/history/" in answer.url):
        page.goto(f"{box.base}/ui/servers/{box.slug}{fragment}")
    expect(page.get_by_role("img", name=re.compile("CPU: busy peak"))).to_be_visible()


@pytest.fixture(scope="module")
def box(browser: Browser, site: Served) -> Box:
    """A server with two days behind it: a sample a minute, and one every two seconds in the last quarter of an hour."""
    context = browser.new_context()
    page = context.new_page()
    log_in(page, site)
    box = register(page, site, "Box <b>one</b>", "box-1")
    context.close()
    box.report(*range(HISTORY_HOURS * HOUR, 900, -60), *range(900, 0, -2), 0)
    return box


def test_first_visit_explains_how_to_connect_a_server(page: Page, fresh: Served) -> None:
    fresh.set_up()
    log_in(page, fresh)
    page.get_by_role("link", name="Servers").click()
    how = page.get_by_role("region", name="Connect another server")
    expect(how).to_contain_text("Run that command on the server")
    local = page.get_by_role("row").filter(has_text="local, this host")
    expect(local).to_contain_text("live")
    expect(local).to_contain_text(re.compile(r"\d %"))
    expect(local.get_by_role("button")).to_have_count(1)  # it can be disabled, and has neither token nor end
    shoot(page, "servers-first-1280-light")
    register(page, fresh, "Second box")
    expect(how).to_be_hidden()


def test_registered_server_shows_its_token_once_and_is_live_with_its_first_sample(
    logged_in: Page, site: Served
) -> None:
    box = register(logged_in, site, "Größe 7 one shot", "one-shot")
    shoot(logged_in, "servers-registered-1280-light")
    expect(row(logged_in, box)).to_contain_text("never reported")
    box.report(0)
    expect(row(logged_in, box)).to_contain_text("live")
    expect(row(logged_in, box)).to_contain_text(re.compile(r"4, top \d+(\.\d)? %.*0\.2\.0", re.DOTALL))
    logged_in.get_by_role("button", name="I have kept it").click()
    assert box.token not in logged_in.content()
    logged_in.reload()
    expect(row(logged_in, box)).to_contain_text("live")
    assert box.token not in logged_in.content()


def test_copy_button_puts_the_command_on_the_clipboard(logged_in: Page, site: Served) -> None:
    logged_in.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.base)
    box = register(logged_in, site, "Copied")
    logged_in.get_by_role("button", name="Copy: Agent command").click()
    expect(logged_in.get_by_text("Copied", exact=True).first).to_be_visible()
    assert box.token in logged_in.evaluate("navigator.clipboard.readText()")


def test_refused_registration_says_why_at_its_field(logged_in: Page, site: Served, box: Box) -> None:
    logged_in.goto(f"{site.base}/ui/servers")
    opener = logged_in.get_by_role("button", name="Register a server")
    opener.click()
    dialog = logged_in.get_by_role("dialog")
    go = dialog.get_by_role("button", name="Register")
    go.click()
    expect(dialog.get_by_role("alert")).to_have_text(["Enter a name.", ""])
    dialog.get_by_label("Name").fill("Another")
    dialog.get_by_label("Slug").fill(box.slug)
    go.click()
    expect(dialog.get_by_role("alert")).to_have_text(["", re.compile("already")])
    expect(dialog.get_by_label("Slug")).to_be_focused()
    dialog.get_by_label("Slug").fill("Not A Slug")
    go.click()
    expect(dialog.get_by_role("alert")).to_have_text(["", re.compile("not-a-slug")])
    logged_in.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()


@pytest.mark.parametrize("name", RANGES)
def test_charts_show_the_chosen_range_of_a_remote_server(logged_in: Page, box: Box, name: str) -> None:
    label, minutes = RANGES[name]
    open_box(logged_in, box, "#6h" if name != "6h" else "")
    with logged_in.expect_response(lambda answer: f"minutes={minutes}" in answer.url) as asked:
        logged_in.get_by_role("radio", name=label, exact=True).check()
    answer = logged_in.request.get(asked.value.url).json()
    assert answer["minutes"] == minutes
    assert answer["selected_server"]["slug"] == box.slug
    expect(logged_in.locator('[aria-busy="true"]')).to_have_count(0)
    drawn = logged_in.evaluate(
        """[...document.querySelectorAll('.plot')].map(({chart}) => (
            {title: chart.title, from: chart.x[0], to: chart.x.at(-1), step: chart.stepSeconds, window: chart.window,
             known: chart.columns.every((one) => one.mean.some((value) => value !== null))}))"""
    )
    titles = {each["title"] for each in drawn}
    assert titles == {"CPU", "Memory", "Disks", "Network", "GPU utilisation", "GPU memory", "GPU temperature"}
    reach = min(minutes * 60, HISTORY_HOURS * HOUR)
    for chart in drawn:
        assert chart["known"], chart
        assert abs(time.time() - chart["from"] - reach) < reach * 0.05 + SLACK_SECONDS, chart
        assert time.time() - chart["to"] < SLACK_SECONDS + chart["step"]
        assert chart["window"][0] <= chart["from"] + SLACK_SECONDS
    assert logged_in.url.endswith(f"#{name}")
    logged_in.reload()
    expect(logged_in.get_by_role("radio", name=label, exact=True)).to_be_checked()


def test_cards_show_the_newest_sample_and_what_is_not_reported(logged_in: Page, box: Box) -> None:
    box.report(1, 0)  # two: rates are derived over ten usual intervals at most, and the last sample may be older
    open_box(logged_in, box)
    for card, words in {
        "CPU": ["64 logical cores, 32 physical", "load 12.50 11.00 9.75", "431 processes", "58 °C", "AMD EPYC 9354"],
        "Memory": ["of 256 GiB", "100 GiB available", "0.5 of 8.0 GiB"],
        "Disks": ["nvme0n1", "nvme1n1", "MiB/s", "21 %"],
        "Network": ["2.9 MiB/s", "781 KiB/s"],
        "Fans": ["rear 1", "4200 rpm"],
        "System": ["Linux-6.8.0-47-generic", "box-1.example", "rack=b7", "192.0.2.7", "300 GiB free of 900 GiB, ext4"],
    }.items():
        for each in words:
            expect(logged_in.get_by_role("article", name=card, exact=True)).to_contain_text(each)
    gpu = logged_in.get_by_role("row").filter(has_text="GPU 1")
    expect(gpu).to_contain_text(re.compile(r"Invented H200.*of 141 GiB.*°C.*W of 700 W", re.DOTALL))
    expect(gpu.locator("td").last).to_have_text("n/a")  # no fan is not a fan at 0 %
    expect(logged_in.get_by_role("region", name="Verdict")).to_contain_text(re.compile(r"CPU \d+%.*% sure"))


def test_names_from_a_server_stay_text(logged_in: Page, box: Box) -> None:
    open_box(logged_in, box)
    expect(logged_in.get_by_role("heading", level=1)).to_have_text("Box <b>one</b>")
    expect(logged_in.get_by_role("row").filter(has_text="GPU 0")).to_contain_text(agent.HOSTILE)
    expect(logged_in.get_by_role("article", name="Fans")).to_contain_text(agent.HOSTILE)
    assert "broken-into" not in logged_in.title()
    assert logged_in.locator("main script, main b, main img[src]").count() == 0


def test_new_sample_moves_cards_and_charts_without_a_reload(logged_in: Page, box: Box) -> None:
    open_box(logged_in, box)
    count = "document.querySelector('[aria-label^=\"CPU: busy\"]').chart.x.length"
    before = logged_in.evaluate(count)
    box.report(0, gpus=5)
    expect(logged_in.get_by_role("row").filter(has_text="GPU 4")).to_be_visible()
    expect(logged_in.get_by_role("img", name=re.compile("GPU utilisation: .*GPU 4 peak"))).to_be_visible()
    box.report(0, gpus=4)
    expect(logged_in.get_by_role("row").filter(has_text="GPU 4")).to_have_count(0)
    assert logged_in.evaluate(count) > before


def test_other_disk_is_charted_when_it_is_chosen(logged_in: Page, box: Box) -> None:
    open_box(logged_in, box)
    with logged_in.expect_response(lambda answer: "/api/metrics/history/" in answer.url):
        logged_in.get_by_label("Disks: what the chart shows").select_option("nvme1n1")
    expect(logged_in.get_by_role("img", name="Disks: read peak 19.1 MiB/s, write peak 6.4 MiB/s")).to_be_visible()


def test_host_of_the_appliance_has_its_page_too_and_shows_whole_gpus_alone(logged_in: Page, site: Served) -> None:
    with logged_in.expect_response(lambda answer: "/api/metrics/history/" in answer.url):
        logged_in.goto(f"{site.base}/ui/servers/local")
    rows = logged_in.get_by_role("row").filter(has_text="Scripted H200")
    expect(rows).to_have_count(3)
    expect(rows.filter(has_text="MIG 1g.18gb")).to_have_count(0)
    expect(logged_in.get_by_role("img", name=re.compile(r"GPU utilisation: GPU 0 peak \d"))).to_be_visible()
    expect(logged_in.get_by_role("article", name="GPUs")).to_contain_text("3 GPUs")
    expect(logged_in.get_by_text("This is the host that the appliance runs on")).to_be_visible()
    expect(logged_in.get_by_text("As the agent told when it started")).to_be_hidden()
    shoot(logged_in, "server-local-1280-light")


def test_new_token_ends_the_old_one(logged_in: Page, site: Served) -> None:
    box = register(logged_in, site, "Rotated")
    button = row(logged_in, box).get_by_role("button", name="New token for Rotated")
    button.click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(button).to_be_focused()
    box.report(0)
    button.click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Make a new token").click()
    shown = logged_in.get_by_role("status").filter(has_text="A new token for Rotated")
    expect(shown).to_be_focused()
    assert refusal(box) == 401
    Box(box.slug, shown.get_by_role("group", name="Token").text_content() or "", box.base).report(0)


def test_disabled_server_is_refused_and_says_so_until_it_is_enabled(logged_in: Page, site: Served) -> None:
    box = register(logged_in, site, "Paused")
    box.report(4, 2, 0)
    open_box(logged_in, box)
    logged_in.get_by_role("button", name="Disable Paused").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Disable").click()
    expect(logged_in.get_by_text("This server is disabled.")).to_be_visible()
    expect(logged_in.get_by_role("article", name="CPU")).to_be_hidden()
    assert refusal(box) == 403
    shoot(logged_in, "server-disabled-1280-light")
    logged_in.goto(f"{site.base}/ui/servers")
    expect(row(logged_in, box)).to_contain_text("disabled")
    row(logged_in, box).get_by_role("button", name="Enable Paused").click()
    expect(row(logged_in, box)).to_contain_text("live")
    expect(row(logged_in, box).get_by_role("button", name="Disable Paused")).to_be_focused()
    box.report(0)


def test_deletion_asks_for_the_slug_and_takes_the_server_and_its_history(logged_in: Page, site: Served) -> None:
    box = register(logged_in, site, "Condemned")
    box.report(4, 2, 0)
    logged_in.goto(f"{site.base}/ui/servers")
    row(logged_in, box).get_by_role("button", name="Delete Condemned").click()
    dialog = logged_in.get_by_role("dialog", name="Delete Condemned?")
    expect(dialog).to_contain_text("whole history")
    expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    dialog.get_by_label("Type condemned to go on").fill("Condemned")
    logged_in.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    dialog.get_by_label("Type condemned to go on").fill("condemned")
    logged_in.keyboard.press("Enter")
    expect(logged_in.get_by_role("status").filter(has_text="Condemned is deleted")).to_be_focused()
    expect(row(logged_in, box)).to_have_count(0)
    assert refusal(box) == 404
    logged_in.goto(f"{site.base}/ui/servers/{box.slug}")
    expect(logged_in.get_by_text("There is no server of this name.")).to_be_visible()


def test_viewer_is_offered_nothing_that_would_be_refused(
    logged_in: Page, site: Served, box: Box, seen_by: SeenBy
) -> None:
    page = seen_by(logged_in, "vera", "viewer")
    page.goto(f"{site.base}/ui/servers")
    expect(row(page, box)).to_be_visible()
    expect(page.locator("main").get_by_role("button")).to_have_count(0)
    open_box(page, box)
    expect(page.locator("main").get_by_role("button")).to_have_count(0)


def test_user_is_offered_their_own_servers_only(logged_in: Page, site: Served, box: Box, seen_by: SeenBy) -> None:
    page = seen_by(logged_in, "uwe", "user")
    own = register(page, site, "Mine", "mine-of-uwe")
    expect(row(page, own).get_by_role("button")).to_have_count(3)
    expect(row(page, box)).to_be_visible()
    expect(row(page, box).get_by_role("button")).to_have_count(0)
    logged_in.goto(f"{site.base}/ui/servers")
    expect(row(logged_in, own).get_by_role("button")).to_have_count(3)


@pytest.mark.long
def test_silent_server_says_for_how_long_and_shows_no_old_figures_as_new(page: Page, fresh: Served) -> None:
    fresh.set_up()
    fresh.stop()
    fresh.config += "[plugins.metrics_ingest]\nsilent_seconds = 5\n"
    fresh.start()
    log_in(page, fresh)
    box = register(page, fresh, "Quiet")
    box.report(4, 2, 0)
    expect(row(page, box)).to_contain_text(re.compile(r"silent for \d+ s"), timeout=30_000)
    cells = row(page, box).locator("td")
    expect(cells.nth(2)).to_have_text("n/a")
    page.goto(f"{fresh.base}/ui/servers/{box.slug}")
    expect(page.get_by_text("This server has not reported since")).to_be_visible()
    expect(page.get_by_role("article", name="CPU")).to_be_visible()
    box.report(0)
    expect(page.get_by_text("This server has not reported since")).to_be_hidden()
    fresh.stop()
    expect(page.get_by_text("The connection to the appliance is lost")).to_be_visible()
    fresh.start()
    expect(page.get_by_text("live", exact=True).first).to_be_visible(timeout=30_000)
    expect(page.get_by_text("The connection to the appliance is lost")).to_be_hidden()


def test_page_says_so_when_nothing_monitors_servers(page: Page, fresh: Served) -> None:
    fresh.set_up()
    fresh.stop()
    fresh.config += "[plugins.metrics_ingest]\nenabled = false\n"
    fresh.start()
    log_in(page, fresh)
    page.goto(f"{fresh.base}/ui/servers")
    expect(page.get_by_text("The plugin metrics_ingest, which monitors servers, is not running")).to_be_visible()


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_pages_fit_their_screen_with_readable_text(
    browser: Browser, site: Served, box: Box, scheme: str, width: int
) -> None:
    box.report(0)
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    watched = Watched(page)
    log_in(page, site)
    page.goto(f"{site.base}/ui/servers")
    expect(row(page, box)).to_be_visible()
    shoot(page, f"servers-{width}-{scheme}")
    for name in ("list", "server"):
        if name == "server":
            open_box(page, box, "#24h")
            shoot(page, f"server-{width}-{scheme}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        looked = page.evaluate(CONTRAST)
        assert looked["count"] > 30
        assert looked["poor"] == []
        unnamed = page.evaluate(
            """[...document.querySelectorAll('a, button, input, select, summary')]
              .filter((node) => node.checkVisibility())
              .filter((node) => !(node.textContent.trim() || node.ariaLabel || node.labels?.length))
              .map(node => node.outerHTML)"""
        )
        assert unnamed == []
    foreign = [url for url in watched.requests if not url.startswith((f"{site.base}/", "data:"))]
    assert foreign == []
    assert watched.problems == []
    context.close()


def test_range_is_chosen_by_keyboard_and_by_the_address(logged_in: Page, box: Box) -> None:
    open_box(logged_in, box, "#1h")
    logged_in.get_by_role("radio", name="1 h", exact=True).focus()
    with logged_in.expect_response(lambda answer: "minutes=360" in answer.url):
        logged_in.keyboard.press("ArrowRight")
    assert logged_in.url.endswith("#6h")
    with logged_in.expect_response(lambda answer: "minutes=43200" in answer.url):
        logged_in.evaluate("location.hash = '#30d'")
    expect(logged_in.get_by_role("radio", name="30 days")).to_be_checked()


def told(page: Page, module: str, function: str, *arguments: Any) -> Any:
    code = f"async (given) => (await import('/ui/static/{module}.js')).{function}(...given)"
    return page.evaluate(code, list(arguments))


def test_words_for_verdicts_and_ranges(page: Page, site: Served) -> None:
    page.goto(f"{site.base}/setup")
    assert told(page, "server_words", "verdictWords", "gpu-bound") == "GPU bound"
    assert told(page, "server_words", "verdictWords", "mixed-io-gpu") == "Mixed I/O GPU"
    assert told(page, "server_words", "verdictWords", "idle") == "Idle"
    assert told(page, "server_history", "rangeOf", "#24h")[2] == 1440
    assert told(page, "server_history", "rangeOf", "#<b>")[2] == 15
    assert told(page, "server_history", "stepOf", [10, 12, 14, 600, 602]) == 2
    assert told(page, "server_history", "stepOf", []) == 2
