"""The description of the API, by its page."""

import json

from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import shoot
from tests.browser.served import Served

METHODS = {"get", "post", "put", "patch", "delete"}


def test_docs_list_every_endpoint_and_ask_nobody_else(logged_in: Page, site: Served) -> None:
    asked: list[str] = []
    logged_in.on("request", lambda request: asked.append(request.url))
    answer = logged_in.goto(f"{site.base}/docs")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    described = json.loads(logged_in.context.request.get(f"{site.base}/openapi.json").text())
    count = sum(len(METHODS & item.keys()) for item in described["paths"].values())
    assert count > 20
    expect(logged_in.locator("main details")).to_have_count(count)
    assert asked
    assert all(url.startswith(f"{site.base}/") for url in asked), asked
    shoot(logged_in, "docs-1280-light")


def test_endpoint_opens_with_its_answers_and_the_filter_finds_it(logged_in: Page, site: Served) -> None:
    logged_in.goto(f"{site.base}/docs")
    logged_in.get_by_label("Filter").fill("get /api/appliance/devices")
    devices = logged_in.locator("details").filter(
        has=logged_in.get_by_text("/api/appliance/devices", exact=True), visible=True
    )
    expect(devices).to_have_count(1)
    expect(logged_in.locator("details", has_text="/api/auth/login")).to_be_hidden()
    devices.locator("summary").click()
    expect(devices.get_by_text("200", exact=True)).to_be_visible()
    logged_in.get_by_label("Filter").fill("no such word anywhere")
    expect(logged_in.locator("details:visible")).to_have_count(0)


def test_what_was_typed_before_the_description_arrived_filters_it(logged_in: Page, site: Served) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    logged_in.route("**/openapi.json", hold)
    with logged_in.expect_request("**/openapi.json"):
        logged_in.goto(f"{site.base}/docs", wait_until="commit")
    logged_in.get_by_label("Filter").fill("get /api/appliance/devices")
    held[0].continue_()
    devices = logged_in.locator("details").filter(
        has=logged_in.get_by_text("/api/appliance/devices", exact=True), visible=True
    )
    expect(devices).to_have_count(1)
    expect(logged_in.locator("details", has_text="/api/auth/login")).to_be_hidden()


PROSE = {
    "Says ``a < b`` and `why`.": "Says <code>a &lt; b</code> and <code>why</code>.",
    "``<img src=x onerror='window.ran = 1'>`` <b>bold</b>": (
        "<code>&lt;img src=x onerror='window.ran = 1'&gt;</code> &lt;b&gt;bold&lt;/b&gt;"
    ),
    "A ``lone pair, a lone ` and ```three``` stay": "A ``lone pair, a lone ` and ```three``` stay",
    "``````": "``````",
    "": "",
}


def test_what_stands_between_backticks_is_shown_as_code_and_never_as_markup(logged_in: Page, site: Served) -> None:
    operations = {
        f"/case/{number}": {
            "get": {
                "summary": text,
                "description": text,
                "parameters": [{"name": "x", "in": "query", "description": text}],
                "responses": {"404": {"description": text}},
            }
        }
        for number, text in enumerate(PROSE)
    }
    logged_in.route("**/openapi.json", lambda route: route.fulfill(json={"paths": operations, "components": {}}))
    logged_in.goto(f"{site.base}/docs")
    expect(logged_in.locator("main details")).to_have_count(len(PROSE))
    for number, shown in enumerate(PROSE.values()):
        one = logged_in.locator("main details").nth(number)
        one.locator("summary").click()
        assert one.locator(".about").inner_html() == shown
        assert one.locator("tr td:last-child").inner_html() == shown
        assert one.locator("p").inner_html() == f"<strong>404</strong> {shown}"
        if shown:
            assert one.locator("pre").inner_html() == shown
    assert logged_in.evaluate("window.ran") is None


def test_no_backtick_of_a_docstring_is_left_in_the_list(logged_in: Page, site: Served) -> None:
    logged_in.goto(f"{site.base}/docs")
    expect(logged_in.locator("main details .about code").first).to_be_visible()
    assert "`" not in logged_in.locator("main").inner_text()


def test_injected_script_is_stopped_by_the_policy(logged_in: Page, site: Served) -> None:
    logged_in.goto(f"{site.base}/docs")
    expect(logged_in.locator("main details").first).to_be_visible()
    # A page of its own context: its refusals are what is looked for, not problems of the page.
    other = logged_in.context.new_page()
    other.goto(f"{site.base}/docs")
    other.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    other.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))"
    )
    assert other.evaluate("window.ran") is None
    other.close()


def test_docs_fit_a_phone_in_the_dark(logged_in: Page, site: Served) -> None:
    logged_in.emulate_media(color_scheme="dark")
    logged_in.set_viewport_size({"width": 390, "height": 844})
    logged_in.goto(f"{site.base}/docs")
    logged_in.locator("main details summary").first.click()
    assert logged_in.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(logged_in, "docs-390-dark")


def test_docs_are_not_for_strangers(browser: Browser, site: Served) -> None:
    context = browser.new_context()
    answer = context.new_page().goto(f"{site.base}/docs")
    assert answer is not None
    assert answer.status == 401
    context.close()
