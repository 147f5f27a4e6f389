"""The networks of this host's containers and virtual machines, which ``open_to`` never holds for.

What runs in a container is somebody's code, and its address lies in ranges that operators also use for their own
networks (172.16.0.0/12, 10.0.0.0/8). A bridge without a real network card among its ports is such a network; one with a
card is the host's own way out, and whoever is behind it has an address of that network anyway.
"""

import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from appliance.clock import Now, unix_now_us

REFRESH_US = 10_000_000
"""Networks of containers come and go; a new one is known after so long."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@define(eq=False, kw_only=True)
class ContainerNetworks:
    """Tells whether an address is in one; reads the kernel's tables again every 10 s, when asked."""

    now: Now = unix_now_us
    interfaces: Path = Path("/sys/class/net")
    tables: Path = Path("/proc/net")
    _networks: tuple[Network, ...] = field(default=(), init=False)
    _read_unix_us: int | None = field(default=None, init=False)

    def holds(self, address: IpAddress) -> bool:
        """Whether ``address`` is that of a container or virtual machine of this host."""
        now = self.now()
        if self._read_unix_us is None or abs(now - self._read_unix_us) >= REFRESH_US:
            self._networks, self._read_unix_us = read_networks(self.interfaces, self.tables), now
        return any(address.version == network.version and address in network for network in self._networks)


def read_networks(interfaces: Path, tables: Path) -> tuple[Network, ...]:
    """Return the networks of every bridge that has no network card; what cannot be read has none."""
    bridges = {path.name for path in _entries(interfaces) if (path / "bridge").is_dir() and not _has_card(path)}
    if not bridges:
        return ()
    return (*_ipv4(tables / "route", bridges), *_ipv6(tables / "if_inet6", bridges))


def _has_card(bridge: Path) -> bool:
    return any((bridge.parent / port.name / "device").exists() for port in _entries(bridge / "brif"))


def _entries(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _lines(table: Path) -> list[list[str]]:
    with suppress(OSError):
        return [line.split() for line in table.read_text("ascii").splitlines()]
    return []


def _ipv4(table: Path, bridges: set[str]) -> Iterator[Network]:
    """Read ``/proc/net/route``: interface, destination, gateway ... mask (8th), as integers of this machine."""
    for columns in _lines(table):
        if len(columns) > 7 and columns[0] in bridges and columns[2] == "00000000":
            with suppress(ValueError):
                place, mask = (socket.inet_ntoa(struct.pack("=I", int(columns[at], 16))) for at in (1, 7))
                yield ipaddress.IPv4Network(f"{place}/{mask}")


def _ipv6(table: Path, bridges: set[str]) -> Iterator[Network]:
    """Read ``/proc/net/if_inet6``: address, index, prefix length, scope, flags, interface; numbers in hexadecimal."""
    for columns in _lines(table):
        if len(columns) > 5 and columns[5] in bridges:
            with suppress(ValueError):
                yield ipaddress.IPv6Network((bytes.fromhex(columns[0]), int(columns[2], 16)), strict=False)
