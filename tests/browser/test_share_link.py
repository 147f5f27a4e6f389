"""The page behind a short link: opening it tells and counts nothing, its button does."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import ARTIFACTS, Watched, csrf, serving
from tests.browser.served import Served
from tests.browser.sharing import CONFIG, SLOW_MS, asked, local_worker, open_sharing, rows, share, share_row

CONTRAST = Path(__file__).with_name("contrast.js").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An appliance whose workers serve files, with one admin and the scripted GPUs."""
    for served in serving(tmp_path_factory.mktemp("site"), CONFIG):
        served.set_up()
        yield served


def test_link_shows_its_share_on_the_button_and_only_that_counts(
    logged_in: Page, browser: Browser, site: Served
) -> None:
    open_sharing(logged_in, site)
    made = share(logged_in, local_worker(logged_in, site, "linked"), Times_that_the_link_can_be_opened="1")
    context = browser.new_context(viewport={"width": 390, "height": 700})
    page = context.new_page()
    watched = Watched(page)
    for _ in range(3):
        page.goto(made["link"])
        expect(page.get_by_role("heading", name="Shared GPU")).to_be_visible()
    expect(page.get_by_text(made["url"])).to_have_count(0)
    page.screenshot(path=ARTIFACTS / "share-390-light.png")
    assert uses(logged_in, site, made) == 0
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Open the share")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text(made["url"])).to_be_visible()
    expect(page.get_by_text(f"ggo use {made['code']}")).to_be_visible()
    expect(page.get_by_role("button", name="Open the share")).to_be_hidden()
    page.screenshot(path=ARTIFACTS / "share-opened-390-light.png")
    assert uses(logged_in, site, made) == 1
    expect(share_row(logged_in, made)).to_contain_text(re.compile("used up.*1 of 1", re.DOTALL), timeout=SLOW_MS)
    page.goto(made["link"])
    page.get_by_role("button", name="Open the share").click()
    expect(page.get_by_role("alert")).to_contain_text("used up")
    page.screenshot(path=ARTIFACTS / "share-used-390-light.png")
    assert uses(logged_in, site, made) == 1
    assert [url for url in watched.requests if not url.startswith(f"{site.base}/")] == []
    assert watched.problems == []
    context.close()


def uses(page: Page, site: Served, made: dict[str, str]) -> int:
    (one,) = (one for one in asked(page, site, "shares") if one["short_code"] == made["code"])
    return int(one["used_count"])


def test_link_that_has_expired_says_so(logged_in: Page, browser: Browser, site: Served) -> None:
    name = local_worker(logged_in, site, "short-lived")
    (worker,) = (one for one in asked(logged_in, site, "workers") if one["name"] == name)
    body = {"worker_id": worker["worker_id"], "expires_in_seconds": 0.5}
    answer = logged_in.context.request.post(
        f"{site.base}/api/appliance/sharing/shares", data=body, headers=csrf(logged_in)
    )
    assert answer.status == 201
    context = browser.new_context(viewport={"width": 1280, "height": 700}, color_scheme="dark")
    page = context.new_page()
    expect(rows(logged_in, "Shares").filter(has_text=answer.json()["short_code"])).to_contain_text(
        "expired", timeout=SLOW_MS
    )
    page.goto(answer.json()["short_link"])
    page.get_by_role("button", name="Open the share").click()
    expect(page.get_by_role("alert")).to_contain_text("expired")
    page.screenshot(path=ARTIFACTS / "share-expired-1280-dark.png")
    looked = page.evaluate(CONTRAST)
    assert looked["poor"] == []
    context.close()
