"""What every test of the edge is run over."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from appliance.http.server import Dispatch
from tests.appliance.http.edge_kit import WAYS


@pytest.fixture(params=WAYS)
def dispatch(request: pytest.FixtureRequest) -> Dispatch:
    """Each way a declared endpoint can be reached."""
    way: Dispatch = request.param
    return way


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What is logged while the test runs."""
    with structlog.testing.capture_logs() as entries:
        yield entries
