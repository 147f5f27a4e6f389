"""How many requests an address may make, by the generic cell rate algorithm (GCRA): one number per address."""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

from attrs import define, field

ADDRESSES_MAX = 50_000
US = 1_000_000


def network_of(address: str) -> str:
    """Return the part of an address that one customer holds: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(ip, IPv6Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ip_network((ip, 64), strict=False))


@define(eq=False)
class Rate:
    """``per_minute`` requests a minute and address; those of ``window_seconds`` may come at once."""

    per_minute: float = 120
    window_seconds: int = 60
    _due: OrderedDict[str, int] = field(factory=OrderedDict, init=False)

    def take(self, address: str, *, now_unix_us: int) -> float:
        """Count a request; return 0, or in how many seconds the next one is let through (and do not count this one).

        IPv6 addresses count by /64. The longest untouched address is forgotten first when 50,000 are known.
        """
        key = address if address.count(".") == 3 and ":" not in address else network_of(address)
        step_us, window_us = int(60 * US / self.per_minute), self.window_seconds * US
        due = max(self._due.get(key, 0), now_unix_us)
        # A clock that has been set back must not keep anybody waiting longer than the window.
        due = min(due, now_unix_us + window_us)
        wait_us = due + step_us - (now_unix_us + window_us)
        if wait_us > 0:
            return wait_us / US
        self._due[key] = due + step_us
        self._due.move_to_end(key)
        if len(self._due) > ADDRESSES_MAX:
            self._due.popitem(last=False)
        return 0.0
