"""What drones are told to call."""

import json

import pytest

from appliance.plugin import Head
from plugins.build_swarm.way_in import WayIn

URL = "https://swarm.lan:8443"


def head(local: tuple[str, int] | str, scheme: str = "http") -> Head:
    return Head(method="GET", path="/", raw_query=b"", headers=(), peer=None, local=local, listener="x", scheme=scheme)


@pytest.fixture
def way_in() -> WayIn:
    return WayIn(lambda: URL, "build-swarm-v3")


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        (("10.0.0.100", 8100), ("10.0.0.100", 8100)),
        (("fd00::1", 9100), ("[fd00::1]", 9100)),
        ("/run/appliance.sock", ("swarm.lan", 8443)),
    ],
)
def test_server_is_named_by_the_address_that_the_request_came_in_on(
    way_in: WayIn, local: tuple[str, int] | str, expected: tuple[str, int]
) -> None:
    assert way_in.of(head(local)) == expected
    introduced = json.loads(way_in.introduction(head(local)) + b"false}")
    assert (introduced["orchestrator"], introduced["orchestrator_port"]) == expected


@pytest.mark.parametrize(
    ("local", "scheme", "url"),
    [
        (("10.0.0.100", 8100), "http", "http://10.0.0.100:8100"),
        (("10.0.0.100", 443), "https", "https://10.0.0.100"),
        (("127.0.0.1", 8100), "http", URL),
        (("::1", 8100), "http", URL),
        ("/run/appliance.sock", "http", URL),
    ],
)
def test_other_hosts_are_given_an_address_that_they_can_reach(
    way_in: WayIn, local: tuple[str, int] | str, scheme: str, url: str
) -> None:
    assert way_in.base_url(head(local, scheme)) == url
