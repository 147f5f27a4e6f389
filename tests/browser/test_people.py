"""People, roles and tokens by their page."""

import re

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import shoot
from tests.browser.served import Served


def open_people(page: Page, site: Served) -> None:
    page.goto(f"{site.base}/ui/people")
    expect(page.get_by_role("region", name="People", exact=True)).to_contain_text("ana (you)")


def test_added_person_can_log_in_and_sees_no_people(logged_in: Page, site: Served, browser: Browser) -> None:
    open_people(logged_in, site)
    form = logged_in.get_by_role("region", name="Add a person")
    form.get_by_label("Name", exact=True).fill("vera <b>")
    form.get_by_label("Role").select_option("viewer")
    form.get_by_label("Password", exact=True).fill("another good password")
    form.get_by_role("button", name="Add person").click()
    expect(logged_in.get_by_role("row").filter(has_text="vera <b>")).to_contain_text("viewer")
    shoot(logged_in, "people-added-1280-light")
    context = browser.new_context()
    context.request.post(
        f"{site.base}/api/auth/login", data={"username": "vera <b>", "password": "another good password"}
    )
    other = context.new_page()
    other.goto(f"{site.base}/ui/people")
    expect(other.get_by_role("heading", name="Your tokens", level=1)).to_be_visible()
    expect(other.get_by_role("region", name="People", exact=True)).to_have_count(0)
    context.close()


def test_reset_gives_a_link_once_and_the_link_sets_a_password(logged_in: Page, site: Served, browser: Browser) -> None:
    open_people(logged_in, site)
    form = logged_in.get_by_role("region", name="Add a person")
    form.get_by_label("Name", exact=True).fill("rita")
    form.get_by_role("button", name="Add person").click()
    secret = logged_in.locator(".secret")
    expect(secret).to_contain_text("/ui/reset#t=")
    code = (secret.text_content() or "").partition("#t=")[2]
    context = browser.new_context()
    other = context.new_page()
    other.goto(f"{site.base}/ui/reset#t={code}")
    other.get_by_label("Password", exact=True).fill("a password of my own")
    other.get_by_label("Password, once more", exact=True).fill("a password of my own")
    other.get_by_role("button", name="Set password").click()
    expect(other.get_by_role("article", name="CPU")).to_be_visible()
    context.close()
    logged_in.reload()
    row = logged_in.get_by_role("row").filter(has_text="rita")
    row.get_by_role("button", name="Remove").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(row).to_be_visible()
    row.get_by_role("button", name="Remove").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)


def test_last_admin_cannot_be_removed_and_the_page_says_why(logged_in: Page, site: Served) -> None:
    open_people(logged_in, site)
    logged_in.get_by_role("button", name="Remove ana").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(logged_in.get_by_role("alert").filter(has_text=re.compile("last|admin"))).to_be_visible()


def test_token_is_shown_once_works_and_ends_when_revoked(logged_in: Page, site: Served, browser: Browser) -> None:
    open_people(logged_in, site)
    form = logged_in.get_by_role("region", name="Create a personal access token")
    form.get_by_label("What it is for").fill("test laptop")
    form.get_by_role("button", name="Create token").click()
    token = logged_in.locator(".secret").text_content() or ""
    program = browser.new_context(extra_http_headers={"Authorization": f"Bearer {token}"})
    assert program.request.get(f"{site.base}/api/appliance/host").status == 200
    logged_in.reload()
    row = logged_in.get_by_role("row").filter(has_text="test laptop")
    expect(row).to_be_visible()
    assert token not in logged_in.content()
    row.get_by_role("button", name="Revoke").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(logged_in.get_by_role("row").filter(has_text="revoked")).to_be_visible()
    assert program.request.get(f"{site.base}/api/appliance/host").status == 401
    program.close()
