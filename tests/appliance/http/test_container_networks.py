import ipaddress
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import define

from appliance.http.container_networks import REFRESH_US, ContainerNetworks, read_networks


@define
class Clock:
    unix_us: int = 1_795_000_000_000_000

    def __call__(self) -> int:
        return self.unix_us


def interface(folder: Path, name: str, *, bridge: bool = True, ports: Sequence[str] = (), card: bool = False) -> None:
    """Make an entry as /sys/class/net has it."""
    (folder / name).mkdir(parents=True)
    if bridge:
        (folder / name / "bridge").mkdir()
    if card:
        (folder / name / "device").mkdir()
    for port in ports:
        (folder / name / "brif" / port).mkdir(parents=True)


# Addresses are in the order of a little-endian machine, as the kernel prints them on every GPU host there is.
ROUTES = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0
docker0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0
docker0 00000A0A 010011AC 0003 0 0 0 0000FFFF 0 0 0
br0 0002A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0
docker0 nonsense 00000000 0001 0 0 0 0000FFFF 0 0 0
short
"""
ADDRESSES = """fd000000000000000000000000000001 05 40 00 80 docker0
fd010000000000000000000000000001 02 40 00 80 eth0
nonsense
"""


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "route").write_text(ROUTES)
    (tmp_path / "if_inet6").write_text(ADDRESSES)
    return tmp_path


def test_bridge_without_a_card_is_a_container_network_and_one_with_a_card_is_not(tables: Path) -> None:
    sys = tables / "sys"
    interface(sys, "docker0", ports=["veth1"])
    interface(sys, "veth1", bridge=False)
    interface(sys, "br0", ports=["enp3s0", "vnet0"])
    interface(sys, "enp3s0", bridge=False, card=True)
    interface(sys, "eth0", bridge=False, card=True)
    found = read_networks(sys, tables)
    assert {str(network) for network in found} == {"172.17.0.0/16", "fd00::/64"}


def test_host_without_bridges_or_tables_has_no_container_networks(tables: Path) -> None:
    assert read_networks(tables / "none", tables) == ()
    interface(tables / "sys", "docker0")
    assert read_networks(tables / "sys", tables / "none") == ()


def test_new_container_network_is_known_within_ten_seconds(tables: Path) -> None:
    clock, sys = Clock(), tables / "sys"
    networks = ContainerNetworks(now=clock, interfaces=sys, tables=tables)
    inside = ipaddress.ip_address("172.17.0.2")
    assert not networks.holds(inside)
    interface(sys, "docker0")
    clock.unix_us += REFRESH_US
    assert networks.holds(inside)
    assert not networks.holds(ipaddress.ip_address("172.18.0.2"))
    assert networks.holds(ipaddress.ip_address("fd00::2"))
