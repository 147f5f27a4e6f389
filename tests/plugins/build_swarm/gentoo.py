"""Portage as the tests have it, in an environment of its own that stands for the root of a Gentoo Prefix."""

import os
from pathlib import Path

import pytest


def portage() -> Path:
    """Return the environment that Portage is installed in; skip where packaging/test.sh could not make one."""
    given = os.environ.get("APPLIANCE_TEST_PORTAGE")
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "build" / "portage-venv"
    if not (folder / "bin" / "emerge").exists():
        pytest.skip("Portage is not installed for tests (packaging/test.sh installs it)")
    return folder
