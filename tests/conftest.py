"""The order of the suite, and where tests that need a real device run."""

from pathlib import Path

import pytest
import structlog

# As the product's own log does it: the formatter that structlog takes where it can walks live objects of other threads.
structlog.configure(
    processors=[
        structlog.stdlib.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

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
