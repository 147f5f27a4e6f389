"""The overview in a real browser: it moves, it says what is not known, and it lets nothing in."""

import getpass
import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import SCREENS, Watched, log_in, shoot
from tests.browser.served import Served

GPU = "GPU 0, Scripted H200"
HOSTILE = "<script>document.title='broken-into'</script><img src=x onerror=alert(1)>"


def changing(page: Page, selector: str, least: int = 3) -> None:
    """Wait until the text at ``selector`` has had so many values."""
    page.evaluate(
        """([selector, least]) => new Promise((resolve, reject) => {
            const seen = new Set();
            const look = () => {
              seen.add(document.querySelector(selector).textContent);
              if (seen.size >= least) resolve();
            };
            new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
            setTimeout(() => reject(new Error(`only saw ${[...seen]}`)), 15000);
            look();
        })""",
        [selector, least],
    )


def test_values_move_without_a_reload(logged_in: Page) -> None:
    changing(logged_in, f'[aria-label="{GPU}"] .stats .value')


def test_chart_moves_with_the_values(logged_in: Page) -> None:
    chart = f'[aria-label="{GPU}"] canvas'
    pixels = "selector => document.querySelector(selector).toDataURL()"
    logged_in.locator(chart).wait_for()
    before = logged_in.evaluate(pixels, chart)
    changing(logged_in, f'[aria-label="{GPU}"] .stats .value')
    assert logged_in.evaluate(pixels, chart) != before


def test_gpu_card_shows_figures_with_their_units_and_the_top_process(logged_in: Page) -> None:
    card = logged_in.get_by_role("article", name=GPU)
    for words in ("31.0 GiB", "of 141 GiB", "of 700 W", "61 °C", "SM 1980 MHz", "power cap", "31.0 GiB · 87 % SM"):
        expect(card).to_contain_text(words)
    expect(card.get_by_text(re.compile(r"^\d+ %$"))).to_have_count(1)


def test_value_that_is_not_reported_says_why_and_is_never_zero(logged_in: Page) -> None:
    card = logged_in.get_by_role("article", name="GPU 1, Scripted H200")
    expect(card).to_contain_text("not reported")
    expect(card).to_contain_text("MIG is on: the driver has no figure for the whole GPU")
    expect(card).not_to_contain_text(re.compile(r"\b0 %"))


def test_mig_instance_stands_under_its_parent_with_its_user(logged_in: Page) -> None:
    card = logged_in.get_by_role("article", name="GPU 1, Scripted H200")
    expect(card).to_contain_text("MIG instances")
    expect(card.locator(".mig")).to_contain_text("9.0 of 18.0 GiB")
    expect(card.locator(".mig")).to_contain_text(f"{getpass.getuser()}: ")
    expect(logged_in.locator(".gpus > article")).to_have_count(3)


def test_sleeping_gpu_is_shown_asleep_and_not_as_idle(logged_in: Page) -> None:
    card = logged_in.get_by_role("article", name="GPU 2, Scripted H200")
    expect(card).to_contain_text("asleep")
    expect(card).to_contain_text("not woken to be measured")
    expect(card.locator(".stats")).to_be_hidden()


def test_host_cards_show_this_hosts_own_figures(logged_in: Page) -> None:
    for name, words in (
        ("CPU", re.compile(r"\d+(\.\d)? %.*user .*system .*iowait .*logical cores", re.DOTALL)),
        ("Memory", re.compile(r"[KMGT]iB of .*available", re.DOTALL)),
        ("Disks", re.compile("Device|none reported")),
        ("Network", re.compile(r"Interface.*/s", re.DOTALL)),
    ):
        expect(logged_in.get_by_role("article", name=name, exact=True)).to_contain_text(words)


def test_names_from_outside_stay_text(logged_in: Page) -> None:
    card = logged_in.get_by_role("article", name=GPU)
    expect(card).to_contain_text(HOSTILE)
    expect(logged_in.get_by_role("article", name="Fan curve")).to_contain_text(f"1200 rpm {HOSTILE}")
    assert "broken-into" not in logged_in.title()
    assert logged_in.locator("main script, main img").count() == 0


def test_failing_panel_shows_its_error_in_its_own_card_only(logged_in: Page) -> None:
    expect(logged_in.get_by_role("article", name="Broken")).to_contain_text("the sensor is unplugged")
    expect(logged_in.get_by_role("article", name="Fan curve")).not_to_contain_text("unplugged")
    expect(logged_in.get_by_role("article", name="Fan curve")).to_contain_text("from the test")


def test_time_ranges_and_metrics_are_answered_from_the_series(logged_in: Page) -> None:
    for range_ in ("1 h", "6 h", "24 h", "7 d", "15 min"):
        with logged_in.expect_response(lambda answer: "/api/appliance/series?" in answer.url) as asked:
            logged_in.get_by_role("radio", name=range_, exact=True).check()
        assert asked.value.status == 200
        assert logged_in.request.get(asked.value.url).json()["at_unix_s"]  # the page may have dropped its own by now
    for metric in ("Memory", "Power", "Temperature"):
        with logged_in.expect_response(lambda answer: "/api/appliance/series?" in answer.url) as asked:
            logged_in.get_by_role("radio", name=metric, exact=True).check()
        assert len(logged_in.request.get(asked.value.url).json()["series"]) >= 4
        expect(logged_in.get_by_role("img", name=re.compile(f"{metric} of GPU 0: {metric} peak"))).to_be_visible()


def test_reload_shows_the_same_past_again(logged_in: Page) -> None:
    picture = logged_in.get_by_role("img", name=re.compile("CPU: busy peak"))
    expect(picture).to_be_visible()
    logged_in.reload()
    expect(picture).to_be_visible()


def test_no_request_leaves_for_another_origin(page: Page, site: Served) -> None:
    watched = Watched(page)
    log_in(page, site)
    for path in ("/ui/events", "/ui/plugins", "/ui/people"):
        page.goto(site.base + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    foreign = [url for url in watched.requests if not url.startswith((f"{site.base}/", "data:"))]
    assert foreign == []
    assert len(watched.requests) > 20
    streams = [url for url in watched.requests if url.endswith("/overview/stream")]
    assert len(streams) == 1


def test_lost_connection_is_told_and_mends_itself_after_a_restart(page: Page, fresh: Served) -> None:
    fresh.set_up()
    log_in(page, fresh)
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    fresh.stop(signal.SIGKILL)
    expect(page.get_by_text("The connection to the appliance is lost")).to_be_visible()
    expect(page.get_by_text("not connected", exact=True)).to_be_visible()
    fresh.start()
    expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=30_000)
    expect(page.get_by_text("The connection to the appliance is lost")).to_be_hidden()
    changing(page, f'[aria-label="{GPU}"] .stats .value')


def test_session_that_ends_while_watching_leads_to_login(
    logged_in: Page, site: Served, context: BrowserContext
) -> None:
    sessions = context.request.get(f"{site.base}/api/appliance/sessions").json()["items"]
    current = next(session["id"] for session in sessions if session["current"])
    assert context.request.delete(f"{site.base}/api/appliance/sessions/{current}").status == 200
    expect(logged_in.get_by_text("Your session has ended.")).to_be_visible(timeout=45_000)


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_overview_fits_its_screen_in_both_schemes(browser: Browser, site: Served, scheme: str, width: int) -> None:
    dark = scheme == "dark"
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
    page = context.new_page()
    watched = Watched(page)
    log_in(page, site)
    changing(page, f'[aria-label="{GPU}"] .stats .value', 4)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(14, 18, 22)" if dark else "rgb(244, 245, 247)"
    )
    shoot(page, f"overview-{width}-{scheme}")
    for name in ("events", "plugins", "people"):
        page.goto(f"{site.base}/ui/{name}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator(".card").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        shoot(page, f"{name}-{width}-{scheme}")
    assert watched.problems == []
    context.close()


def test_names_of_any_length_widen_no_page(logged_in: Page) -> None:
    logged_in.set_viewport_size({"width": 360, "height": 900})
    name = "/var/lib/docker/overlay2/" + "0123456789abcdef" * 8
    for shown in (".fs .mono", "h1", ".lines dd", ".facts span"):
        width = logged_in.evaluate(
            """([shown, name]) => {
                document.querySelector(shown).textContent = name;
                return document.documentElement.scrollWidth;
            }""",
            [shown, name],
        )
        assert width <= 360, shown


CONTRAST = Path(__file__).with_name("contrast.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(browser: Browser, site: Served, scheme: str) -> None:
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    page = context.new_page()
    log_in(page, site)
    page.get_by_role("article", name="Broken").wait_for()
    looked = page.evaluate(CONTRAST)
    assert looked["count"] > 60
    assert looked["poor"] == []
    context.close()


def test_everything_that_acts_is_reached_by_keyboard_and_has_a_name(logged_in: Page) -> None:
    logged_in.get_by_role("article", name="Broken").wait_for()
    logged_in.evaluate("document.activeElement.blur()")
    logged_in.keyboard.press("Tab")
    expect(logged_in.get_by_text("Skip to content")).to_be_focused()
    unnamed = logged_in.evaluate(
        """[...document.querySelectorAll('a, button, input, select, summary')]
          .filter(node => node.checkVisibility() && !(node.textContent.trim() || node.ariaLabel || node.labels?.length))
          .map(node => node.outerHTML)"""
    )
    assert unnamed == []
    logged_in.get_by_role("radio", name="15 min").focus()
    with logged_in.expect_response(lambda answer: "/api/appliance/series?" in answer.url):
        logged_in.keyboard.press("ArrowRight")
    expect(logged_in.get_by_role("radio", name="1 h", exact=True)).to_be_checked()
