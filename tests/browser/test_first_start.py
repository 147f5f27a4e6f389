"""From the printed link to the live overview, as the person who has just started it."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import shoot
from tests.browser.served import ADMIN, Served


def test_printed_link_leads_through_setup_straight_to_the_live_overview(page: Page, fresh: Served) -> None:
    assert fresh.link
    page.goto(fresh.link)
    name, first, second = (
        page.get_by_label(label, exact=True) for label in ("Name", "Password", "Password, once more")
    )
    expect(name).to_be_focused()
    shoot(page, "setup-1280-light")
    page.keyboard.type(ADMIN[0])
    page.keyboard.press("Tab")
    page.keyboard.type("short")
    expect(page.get_by_text("very weak")).to_be_visible()
    first.fill(ADMIN[1])
    expect(page.locator(".strength")).to_contain_text("strong")
    second.fill("something else")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_text("This is not the same password.")).to_be_visible()
    second.fill(ADMIN[1])
    page.get_by_role("button", name="Create account").click()
    expect(page).to_have_url(f"{fresh.base}/")
    expect(page.get_by_role("article", name="CPU")).to_be_visible()
    expect(page.get_by_role("article", name="GPU 0, Scripted H200")).to_be_visible()
    expect(page.get_by_text("live", exact=True)).to_be_visible()
    # History since start is drawn, not only what came after the page was opened.
    expect(page.get_by_role("img", name=re.compile("CPU: busy peak"))).to_be_visible()


def test_used_link_says_so_and_names_the_command_for_another(page: Page, fresh: Served) -> None:
    link = fresh.link
    fresh.set_up()
    page.goto(link)
    page.get_by_label("Name", exact=True).fill("mallory")
    page.get_by_label("Password", exact=True).fill(ADMIN[1])
    page.get_by_label("Password, once more", exact=True).fill(ADMIN[1])
    page.get_by_role("button", name="Create account").click()
    notice = page.get_by_role("alert").filter(has_text="link")
    expect(notice).to_contain_text(re.compile("used|admin"))
    expect(page).to_have_url(link)


def test_short_password_is_refused_at_its_field_with_the_servers_reason(page: Page, fresh: Served) -> None:
    page.goto(fresh.link)
    page.get_by_label("Name", exact=True).fill("ana")
    page.get_by_label("Password", exact=True).fill("abc")
    page.get_by_label("Password, once more", exact=True).fill("abc")
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_text("at least 8 characters")).to_be_visible()
    expect(page.get_by_label("Password", exact=True)).to_have_attribute("aria-invalid", "true")


def test_link_without_its_code_says_what_is_missing(page: Page, fresh: Served) -> None:
    page.goto(f"{fresh.base}/setup")
    expect(page.get_by_role("heading", name="This link is incomplete")).to_be_visible()
    expect(page.get_by_text("appliance setup-link")).to_be_visible()


def test_host_without_gpu_says_what_was_looked_for_and_what_to_do(page: Page, fresh: Served) -> None:
    fresh.set_up()
    fresh.stop()
    (fresh.plugins / "no-gpu").touch()
    fresh.start()
    page.goto(f"{fresh.base}/login")
    page.get_by_label("Name", exact=True).fill(ADMIN[0])
    page.get_by_label("Password", exact=True).fill(ADMIN[1])
    page.get_by_role("button", name="Log in").click()
    card = page.get_by_role("article", name="No GPU")
    expect(card).to_contain_text("No GPU found on this host")
    expect(card).to_contain_text("the scripted driver is not loaded")
    expect(card).to_contain_text("To do: remove the file no-gpu")
    expect(page.get_by_role("article", name="CPU")).to_be_visible()
    shoot(page, "no-gpu-1280-light")


@pytest.mark.parametrize("width", [1280, 360])
def test_setup_fits_its_screen(page: Page, fresh: Served, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(fresh.link)
    expect(page.get_by_role("heading", name="Set up this appliance")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shoot(page, f"setup-{width}-light")
