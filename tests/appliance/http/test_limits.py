"""Counts and budgets."""

import resource

import pytest

from appliance.http.limits import Limits, PeerCount, raise_file_limit


def test_body_budget_grows_with_what_is_allowed() -> None:
    limits = Limits(body_seconds=10, body_bytes_per_second=100)
    assert limits.body_budget_seconds(0) == 10
    assert limits.body_budget_seconds(1000) == 20


def test_peer_is_refused_over_the_limit_and_let_in_again_after_leaving() -> None:
    peers = PeerCount(2, ())
    assert [peers.enter("10.0.0.1") for _ in range(3)] == [True, True, False]
    assert peers.enter("10.0.0.2")
    peers.leave("10.0.0.1")
    assert peers.enter("10.0.0.1")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.8.8"])
def test_loopback_is_exempt(address: str) -> None:
    peers = PeerCount(1)
    assert all(peers.enter(address) for _ in range(5))


@pytest.mark.parametrize("address", ["10.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.1", "not an address"])
def test_everybody_else_is_not(address: str) -> None:
    peers = PeerCount(1)
    assert [peers.enter(address) for _ in range(2)] == [True, False]


def test_soft_file_limit_is_raised_to_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[0], 512), before[1]))
        assert raise_file_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
