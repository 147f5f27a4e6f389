"""Each share has a port of its own, the same one as far as that can be."""

import socket
from contextlib import ExitStack

import pytest
import trio

from appliance.testing import until
from plugins.gpu_sharing.relay import Anyone, Relay, Terms
from plugins.gpu_sharing.relay.ports import TRIES_MAX, choices, first_choice
from tests.plugins.gpu_sharing.relayed import HOST, bench, bound, is_closed, running


def free_ports(count: int) -> list[int]:
    """Return ports that nobody uses now."""
    with ExitStack() as stack:
        return [stack.enter_context(bound()).getsockname()[1] for _ in range(count)]


def terms(share_id: str, **changes: int) -> Terms:
    return Terms(share_id=share_id, target=(HOST, 9), access=Anyone(), **changes)


def test_first_choice_of_a_share_is_always_the_same() -> None:
    ports = range(20_000, 30_000)
    assert first_choice("share_5f2a", ports) == first_choice("share_5f2a", ports) == 604  # also after a new version


def test_first_choices_of_many_shares_spread_over_the_range() -> None:
    chosen = {first_choice(f"share_{number}", range(10_000)) for number in range(1000)}
    assert len(chosen) > 930  # of 1,000 drawn by chance 952 differ


def test_choices_begin_with_the_port_it_had_and_go_round_the_range() -> None:
    ports = range(20_000, 20_004)
    start = first_choice("share", ports)
    assert list(choices("share", ports, before=None)) == [20_000 + (start + step) % 4 for step in range(4)]
    assert next(choices("share", ports, before=4711)) == 4711


def test_choices_of_a_long_range_come_in_parts_that_cover_it() -> None:
    ports = range(20_000, 21_000)
    parts = [list(choices("share", ports, before=None, skip=skip)) for skip in range(0, len(ports), TRIES_MAX)]
    assert max(map(len, parts)) == TRIES_MAX
    assert sorted(port for part in parts for port in part) == list(ports)


async def test_share_gets_the_next_port_when_its_own_is_taken() -> None:
    ports = sorted(free_ports(3))
    own = first_choice("share", ports)
    with socket.create_server((HOST, ports[own])):
        relay = Relay(ports=ports, hosts=[HOST])
        async with running(relay):
            assert relay.put(terms("share")) == ports[(own + 1) % 3]


async def test_shares_never_share_a_port_and_one_without_gets_the_first_that_is_freed() -> None:
    relay = Relay(ports=free_ports(2), hosts=[HOST])
    async with running(relay):
        first, second = relay.put(terms("first")), relay.put(terms("second"))
        assert {first, second} == set(relay.ports)
        assert relay.put(terms("third")) is None
        report = relay.report("third")
        assert report is not None
        assert "no free port in" in report.problem
        relay.remove("second")
        found = await until(lambda: relay.report("third").port, seconds=30)  # type: ignore[union-attr]
        assert found == second
        assert [one.problem for one in relay.reports()] == ["", ""]


async def test_share_takes_the_port_it_had_before_a_restart_also_from_outside_the_range() -> None:
    before, inside = free_ports(2)
    relay = Relay(ports=[inside], hosts=[HOST])
    async with running(relay):
        assert relay.put(terms("share", port=before)) == before


async def test_share_keeps_its_port_over_a_new_run_and_new_terms() -> None:
    async with bench(ports=[0]) as it:
        port = it.port
        it.relay.put(it.terms(connections_max=3))
        assert it.port == port
        relay = it.relay
    assert relay.report("share").port is None  # type: ignore[union-attr]
    async with running(relay):
        assert relay.report("share").port == port  # type: ignore[union-attr]


async def test_share_that_was_told_of_before_the_run_is_served_by_it() -> None:
    with socket.create_server((HOST, 0)) as worker:
        relay = Relay(ports=[0], hosts=[HOST])
        port = relay.put(Terms(share_id="share", target=worker.getsockname(), access=Anyone()))
        assert port
        client = trio.socket.socket()
        await client.connect((HOST, port))
        async with running(relay):
            report = await until(
                lambda: (found := relay.report("share")) and found.connections_live and found, seconds=5
            )
            assert report.port == port
        client.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="IPv6 is switched off here")
async def test_share_is_reached_by_both_families_and_knows_an_ipv4_address_as_such() -> None:
    async with bench(hosts=()) as it:
        for host in ("127.0.0.1", "::1"):
            await it.dial(host=host)
            await it.accept()
        await until(lambda: it.report.connections_live == 2, seconds=30)
        assert {peer.address for peer in it.report.peers} == {"127.0.0.1", "::1"}


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="IPv6 is switched off here")
async def test_share_listens_on_one_port_of_every_address_it_is_given() -> None:
    async with bench(hosts=("127.0.0.1", "::1")) as it:
        for host in ("127.0.0.1", "::1"):
            await it.dial(host=host)
            await it.accept()
        assert await is_closed(it.port, "127.0.0.2")


async def test_address_that_is_not_of_this_host_is_a_problem_of_the_share_and_not_of_the_service() -> None:
    relay = Relay(ports=[0], hosts=["192.0.2.1"])
    async with running(relay):
        assert relay.put(terms("share")) is None
        assert relay.report("share").problem.startswith("cannot listen: ")  # type: ignore[union-attr]


@pytest.mark.parametrize("port", [0, -1, 65_536])
def test_port_that_is_none_is_refused_in_terms(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        terms("share", port=port)


@pytest.mark.parametrize("target", [("worker.example", 80), ("127.0.0.1", 0), ("127.0.0.1", 65_536), ("", 80)])
def test_target_that_is_no_address_and_port_is_refused_in_terms(target: tuple[str, int]) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        Terms(share_id="share", target=target, access=Anyone())


def test_relay_without_ports_is_refused() -> None:
    with pytest.raises(ValueError, match="ports"):
        Relay(ports=[])
