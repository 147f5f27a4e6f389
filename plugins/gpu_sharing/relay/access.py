"""Who may connect to a share: asked once for each connection, before anything is sent to the worker."""

from collections import OrderedDict
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Protocol

from attrs import define, field, frozen
from attrs.validators import gt

REDEEMED_SECONDS: Final = 12 * 3600.0
REDEEMED_ADDRESSES_MAX: Final = 10_000
"""Of one share; the address that redeemed the longest ago is forgotten first."""

IpAddress = IPv4Address | IPv6Address


def address_of(text: str) -> IpAddress:
    """Return an address in the one form that is compared: without a zone, and IPv4 where IPv6 only carries it.

    :raises ValueError: it is no IP address.
    """
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


class Access(Protocol):
    """Decides about one connection. One that equals the share's last is taken for the same rule."""

    def admits(self, address: IpAddress, *, now_unix_us: int) -> bool:
        """Say whether this address may connect now."""
        ...


@frozen
class Anyone:
    """Mode ``open``: every address may connect."""

    def admits(self, address: IpAddress, *, now_unix_us: int) -> bool:
        """Say yes."""
        return True


def _networks(texts: Iterable[str | IPv4Network | IPv6Network]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(one) for one in texts)


@frozen
class Networks:
    """Mode ``cidr``: addresses of these networks may connect, and with no network nobody."""

    networks: tuple[IPv4Network | IPv6Network, ...] = field(converter=_networks)

    def admits(self, address: IpAddress, *, now_unix_us: int) -> bool:
        """Say whether a network holds the address."""
        return any(address in network for network in self.networks)


@define(eq=False)
class Redeemed:
    """Mode ``redeemed``: addresses that have fetched the short link may connect, each for some time.

    Keep one of these per share and note addresses in it: replaced, it is a new rule, under which live sessions are
    asked again. A session that lives already outlasts its address's time.
    """

    hold_seconds: float = field(default=REDEEMED_SECONDS, validator=gt(0))
    _at_unix_us: OrderedDict[IpAddress, int] = field(factory=OrderedDict, init=False)

    def note(self, address: str, *, at_unix_us: int) -> None:
        """Remember that an address fetched the link; raise `ValueError` when it is no IP address."""
        key = address_of(address)
        self._at_unix_us[key] = max(at_unix_us, self._at_unix_us.get(key, at_unix_us))
        self._at_unix_us.move_to_end(key)
        if len(self._at_unix_us) > REDEEMED_ADDRESSES_MAX:
            self._at_unix_us.popitem(last=False)

    def admits(self, address: IpAddress, *, now_unix_us: int) -> bool:
        """Say whether the address has fetched the link in the last ``hold_seconds``."""
        at = self._at_unix_us.get(address)
        # A clock that has been set back must not prolong anybody's time for ever, hence both sides.
        return at is not None and abs(now_unix_us - at) < self.hold_seconds * 1_000_000
