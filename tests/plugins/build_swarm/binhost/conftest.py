"""Packages that real Portage has made, once for all tests of a session."""

import pytest

from tests.plugins.build_swarm.binhost import portage


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> portage.Portage:
    """A prefix whose PKGDIR has two packages, and the index that Portage made of them."""
    return portage.built(tmp_path_factory.mktemp("portage"))
