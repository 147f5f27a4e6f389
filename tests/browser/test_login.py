"""Getting in, being kept out, and being told why."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import log_in, shoot
from tests.browser.served import ADMIN, Served


@pytest.fixture
def site(fresh: Served) -> Served:
    """An appliance for each test: what strangers may ask for in a minute is limited."""
    fresh.set_up()
    return fresh


def test_overview_leads_to_login_and_back_to_where_one_was(page: Page, site: Served) -> None:
    page.goto(f"{site.base}/ui/events")
    expect(page).to_have_url(re.compile(r"/login\?next=%2Fui%2Fevents$"))
    page.get_by_label("Name", exact=True).fill(ADMIN[0])
    page.get_by_label("Password", exact=True).fill(ADMIN[1])
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.base}/ui/events")
    expect(page.get_by_role("heading", name="Events", exact=True)).to_be_visible()


def test_wrong_password_is_told_and_the_name_is_kept(page: Page, site: Served) -> None:
    page.goto(f"{site.base}/login")
    page.get_by_label("Name", exact=True).fill("bob")
    page.get_by_label("Password", exact=True).fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert").filter(has_text="Invalid username or password.")).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_value("bob")
    expect(page.get_by_label("Password", exact=True)).to_have_value("")
    expect(page.get_by_label("Password", exact=True)).to_be_focused()


def test_many_wrong_passwords_are_told_how_long_to_wait(page: Page, site: Served) -> None:
    page.goto(f"{site.base}/login")
    alert = page.locator(".notice.critical")
    for _ in range(40):
        page.get_by_label("Name", exact=True).fill("carol")
        page.get_by_label("Password", exact=True).fill("wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_label("Password", exact=True)).to_have_value("")
        if "Too many tries" in (alert.text_content() or ""):
            break
    expect(alert).to_contain_text(re.compile(r"wait \d+ s, then try again. Nothing is locked."))


@pytest.mark.parametrize(
    "leads", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_foreign_return_address_is_not_followed(page: Page, site: Served, leads: str) -> None:
    page.goto(f"{site.base}/login")
    page.evaluate("next => history.replaceState(null, '', '/login?' + new URLSearchParams({next}))", leads)
    page.reload()
    page.get_by_label("Name", exact=True).fill(ADMIN[0])
    page.get_by_label("Password", exact=True).fill(ADMIN[1])
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{site.base}/")


def test_logout_ends_the_session_and_says_so(logged_in: Page, site: Served, context: BrowserContext) -> None:
    logged_in.get_by_label(f"Account: {ADMIN[0]}").click()
    expect(logged_in.get_by_text("role: admin")).to_be_visible()
    logged_in.get_by_role("button", name="Log out").click()
    expect(logged_in.get_by_text("You are logged out.")).to_be_visible()
    assert context.request.get(f"{site.base}/api/auth/me").status == 401
    logged_in.goto(site.base)
    expect(logged_in).to_have_url(re.compile("/login"))


def test_ended_session_leads_to_login_with_the_reason_and_back(
    logged_in: Page, site: Served, context: BrowserContext
) -> None:
    others = context.request.get(f"{site.base}/api/appliance/sessions").json()["items"]
    current = next(session["id"] for session in others if session["current"])
    logged_in.goto(f"{site.base}/ui/plugins")
    expect(logged_in.get_by_role("heading", name="Plugins", exact=True)).to_be_visible()
    assert context.request.delete(f"{site.base}/api/appliance/sessions/{current}").status == 200
    logged_in.reload()
    expect(logged_in.get_by_text("Your session has ended.")).to_be_visible()
    logged_in.get_by_label("Name", exact=True).fill(ADMIN[0])
    logged_in.get_by_label("Password", exact=True).fill(ADMIN[1])
    logged_in.get_by_role("button", name="Log in").click()
    expect(logged_in).to_have_url(f"{site.base}/ui/plugins")


def test_whoever_is_logged_in_is_not_asked_again(logged_in: Page, site: Served) -> None:
    logged_in.goto(f"{site.base}/login")
    expect(logged_in).to_have_url(f"{site.base}/")


@pytest.mark.parametrize("width", [1280, 360])
def test_login_fits_its_screen(page: Page, site: Served, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{site.base}/login")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shoot(page, f"login-{width}-light")


def test_login_works_with_the_keyboard_alone(page: Page, site: Served) -> None:
    page.goto(f"{site.base}/login")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type(ADMIN[0])
    page.keyboard.press("Tab")
    page.keyboard.type(ADMIN[1])
    page.keyboard.press("Enter")
    expect(page.get_by_role("article", name="CPU")).to_be_visible()


def test_second_browser_needs_its_own_login(page: Page, site: Served, context: BrowserContext) -> None:
    log_in(page, site)
    assert context.browser is not None
    other = context.browser.new_context()
    stranger = other.new_page()
    stranger.goto(site.base)
    expect(stranger).to_have_url(f"{site.base}/login?next=%2F")
    other.close()
