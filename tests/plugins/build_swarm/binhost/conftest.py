"""Packages that real Portage has made, once for all tests of a session."""

from pathlib import Path

import pytest

from tests.plugins.build_swarm.binhost import portage


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> portage.Portage:
    """A prefix whose PKGDIR has two packages, and the index that Portage made of them."""
    one = portage.made(tmp_path_factory.mktemp("portage"))
    one.run("emerge", "--oneshot", "--buildpkg", "--quiet", "app-test/hello")
    one.run("emaint", "--fix", "binhost")
    return one


@pytest.fixture
def prefix(tmp_path: Path, built: portage.Portage) -> portage.Portage:
    """A prefix of this test's own, where nothing is installed."""
    return portage.made(tmp_path / "portage")
