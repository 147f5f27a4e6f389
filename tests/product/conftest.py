"""The built file and fresh data directories to serve from it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product.served import Product, built_file, product


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built file of this tree."""
    return built_file(tmp_path_factory.mktemp("product"))


@pytest.fixture
def fresh(pyz: Path, tmp_path: Path) -> Iterator[Product]:
    """A product that nobody has started yet."""
    with product(pyz, tmp_path) as one:
        yield one


@pytest.fixture
def served(fresh: Product) -> Product:
    """A product that is running."""
    fresh.start()
    return fresh


@pytest.fixture(scope="module")
def shared(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A running product that the tests of a file share."""
    with product(pyz, tmp_path_factory.mktemp("shared")) as one:
        one.start()
        yield one
