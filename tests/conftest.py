"""The order of the suite, and where tests that need a real device run."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, expect, sync_playwright

from tests import forked

# As the product's own log does it: the formatter that structlog takes where it can walks live objects of other threads.
structlog.configure(
    processors=[
        structlog.stdlib.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# Few examples, and always the same: what a run says hangs on the code alone. `--long` has many, and others each time.
# No example has a deadline, for the machine may be busy.
settings.register_profile(
    "quick",
    max_examples=50,
    stateful_step_count=20,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("long", settings.get_profile("quick"), max_examples=1000, derandomize=False)
settings.load_profile("quick")

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first that is here is driven: each new page of the others costs four times as much, for a window nobody sees."""
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 30_000
"""How long a page may take to show what is looked for; CI's machine has other things to do."""
LAST = ("zipapp", "browser")  # the quick tests speak first


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what drives the built file and the browser after everything else; skip device tests without a device."""
    items.sort(
        key=lambda item: max((LAST.index(mark) + 1 for mark in LAST if item.get_closest_marker(mark)), default=0)
    )
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/kfd").exists():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(
                    pytest.mark.skip(reason="no GPU driver on this machine: /dev/nvidiactl and /dev/kfd are missing")
                )


def pytest_sessionfinish() -> None:
    """End the process that forks commands."""
    forked.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for every test that drives a page: a second one cannot be had in the same thread."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed here")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
