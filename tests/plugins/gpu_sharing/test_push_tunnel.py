"""Where tunnels may lead, and that they change nothing."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
import trio
from trio.testing import memory_stream_pair

from plugins.gpu_sharing.push_head import PushRefused
from plugins.gpu_sharing.push_tunnel import Tunnels, is_own, why_refused


def anywhere(address: IPv4Address | IPv6Address, peer_is_local: bool) -> str | None:
    return None


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "fe80::1",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "240.0.0.1",
    ],
)
@pytest.mark.parametrize("peer_is_local", [True, False])
def test_no_tunnel_leads_to_this_host_its_links_or_nowhere(address: str, peer_is_local: bool) -> None:
    assert why_refused(ip_address(address), peer_is_local) is not None


def test_own_addresses_are_known() -> None:
    assert is_own(ip_address("127.0.0.1"))
    assert not is_own(ip_address("192.0.2.1"))


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "192.168.1.1", "172.16.0.1", "100.64.0.1", "fd00::1", "::ffff:10.1.2.3"]
)
def test_private_addresses_are_for_peers_on_this_host(address: str) -> None:
    assert why_refused(ip_address(address), True) is None
    assert why_refused(ip_address(address), False) is not None


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111"])
def test_public_addresses_are_for_everybody(address: str) -> None:
    assert why_refused(ip_address(address), True) is None
    assert why_refused(ip_address(address), False) is None


async def test_name_of_this_host_is_judged_by_its_address() -> None:
    with pytest.raises(PushRefused, match="own host") as refused:
        await Tunnels().open("localhost", 443, peer_is_local=True)
    assert refused.value.status == 403


async def test_port_that_nobody_listens_on_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(PushRefused, match="cannot be reached") as refused:
            await Tunnels(why_refused=anywhere).open("127.0.0.1", taken.getsockname()[1], peer_is_local=True)
    assert refused.value.status == 502


async def test_name_that_has_no_address_is_told() -> None:
    with pytest.raises(PushRefused, match="not known") as refused:
        await Tunnels().open("nobody.invalid", 443, peer_is_local=True)
    assert refused.value.status == 502


async def test_end_of_one_side_leaves_the_other_open() -> None:
    near, near_far = memory_stream_pair()
    far, far_far = memory_stream_pair()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Tunnels().carry, near_far, far)
            await near.send_all(b"question")
            await near.send_eof()
            assert await far_far.receive_some(99) == b"question"
            assert await far_far.receive_some(99) == b""
            await far_far.send_all(b"answer")
            await far_far.send_eof()
            assert await near.receive_some(99) == b"answer"
            assert await near.receive_some(99) == b""


async def test_tunnel_without_traffic_is_cut_and_one_with_some_is_not(autojump_clock: trio.testing.MockClock) -> None:
    near, near_far = memory_stream_pair()
    far, far_far = memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def talk() -> None:
            for _ in range(5):
                await trio.sleep(50)
                await far_far.send_all(b"x")
                await near.receive_some(1)

        nursery.start_soon(talk)
        await Tunnels(idle_seconds=60).carry(near_far, far)
    assert trio.current_time() == pytest.approx(5 * 50 + 60, abs=1)
