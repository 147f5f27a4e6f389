"""Headless Chromium in front of a whole appliance."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

from tests.browser.served import ADMIN, ROOT, Served
from tests.conftest import PATIENCE_MS

ARTIFACTS = ROOT / "tests" / "artifacts"
CONFIG = "[devices]\nsample_seconds = 0.5\n"

PASSWORD = "another good password"
"""Of everybody whom `seen_by` adds."""

SCREENS = [
    (1280, "light"),
    (360, "dark"),
    *(
        pytest.param(*each, marks=pytest.mark.long)
        for each in ((1280, "dark"), (390, "light"), (390, "dark"), (360, "light"))
    ),
]
"""Widths and colour schemes in which a page must fit; the first two have every width rule and every colour."""


Screen = Callable[[int, str], Page]
"""What `screen` gives: called with a width and a colour scheme, it returns a page on such a screen."""
SeenBy = Callable[[Page, str, str], Page]
"""What `seen_by` gives: called with a page of an admin, a name and a role, it returns a page of that person."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Served]:
    """An appliance that nobody has set up yet, with the scripted GPUs."""
    yield from serving(tmp_path)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An appliance with one admin and the scripted GPUs, shared by the tests of a file."""
    for served in serving(tmp_path_factory.mktemp("site")):
        served.set_up()
        yield served


def serving(
    folder: Path, config: str = "", *, prepare: Callable[[Served], None] = lambda served: None
) -> Iterator[Served]:
    """Start an appliance with the scripted GPUs, and with more of a configuration; stop it in the end.

    :param prepare: told before it starts.
    """
    served = Served(folder, config=CONFIG + config)
    served.plugins.mkdir(parents=True, mode=0o700)
    shutil.copy(Path(__file__).parent / "scripted_gpus.py", served.plugins)
    (served.plugins / "scripted_gpus.py").chmod(0o600)
    unwell = served.plugins / "unwell.py"
    unwell.write_text('appliance_api = 1\nraise RuntimeError("the licence server is <b>away</b>")\n')
    unwell.chmod(0o600)
    prepare(served)
    try:
        served.start()
        yield served
    finally:
        served.stop()


class Watched:
    """What a page said and asked for, to be looked at in the end."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        # Chromium itself reports every refused request; which ones are expected is each test's business.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            self.problems.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that must neither log an error nor break its policy."""
    page = context.new_page()
    watched = Watched(page)
    yield page
    assert watched.problems == []


@pytest.fixture
def logged_in(page: Page, site: Served) -> Page:
    """The overview of `site`, seen by its admin."""
    log_in(page, site)
    return page


def log_in(page: Page, site: Served) -> None:
    """Open a session in the page's browser and wait for the overview's first reading."""
    answer = page.context.request.post(f"{site.base}/api/auth/login", data={"username": ADMIN[0], "password": ADMIN[1]})
    assert answer.status == 200
    page.goto(site.base)
    page.get_by_role("article", name="CPU").wait_for()


def csrf(page: Page) -> dict[str, str]:
    """Return the header without which the session of a page's browser changes nothing."""
    return {"X-CSRFToken": next(c["value"] for c in page.context.cookies() if c["name"] == "csrftoken")}


@pytest.fixture
def screen(browser: Browser) -> Iterator[Screen]:
    """A function that opens a page on a screen of some width and colour scheme, for whoever is to log in there."""
    contexts: list[BrowserContext] = []

    def open_on(width: int, scheme: str) -> Page:
        colours: Literal["dark", "light"] = "dark" if scheme == "dark" else "light"
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=colours)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        return context.new_page()

    yield open_on
    for context in contexts:
        context.close()


@pytest.fixture
def seen_by(browser: Browser, site: Served) -> Iterator[SeenBy]:
    """A function that opens a page for a person of some role, whom it adds."""
    contexts: list[BrowserContext] = []

    def open_as(page: Page, name: str, role: str) -> Page:
        person = {"name": name, "role": role, "password": PASSWORD}
        made = page.context.request.post(f"{site.base}/api/appliance/users", data=person, headers=csrf(page))
        assert made.status == 201
        context = browser.new_context()
        contexts.append(context)
        login = {"username": name, "password": PASSWORD}
        assert context.request.post(f"{site.base}/api/auth/login", data=login).status == 200
        return context.new_page()

    yield open_as
    for context in contexts:
        context.close()


def shoot(page: Page, name: str) -> None:
    """Keep a picture of the whole page for people to look at."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png", full_page=True)
