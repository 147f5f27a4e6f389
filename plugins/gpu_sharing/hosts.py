"""Where guests connect to: an IP address or a host name, and nothing else.

What is given as ``connection_ip`` ends in ``export X="tcp://HOST:PORT"``, which guests run through ``eval``. So nothing
passes that a shell would look at, whatever else might be a legal name somewhere.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from appliance.plugin import BadInput

HOST_CHARACTERS_MAX: Final = 253
"""Of a host name (RFC 1035, 2.3.4); no address is as long."""

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*", re.ASCII)
_ADDRESS: Final = re.compile(r"[0-9A-Fa-f:.]{2,45}", re.ASCII)


def read_host(text: str, *, field: str = "$.connection_ip") -> str:
    """Return an address in its shortest form, or a host name in lower case.

    A name that ends in a number is none: programs read ``1.2.3`` and ``0x7f.1`` as addresses, each in its own way.

    :param field: the value's path, for the error.
    :raises BadInput: it is neither, or an address to which nobody can connect.
    """
    address = read_address(text)
    if address is not None:
        if address.is_unspecified or address.is_multicast:
            raise BadInput(f"{field}: nobody can connect to {address}", field=field, hint="give the host's own address")
        return str(address)
    name = text.removesuffix(".")
    if len(name) > HOST_CHARACTERS_MAX or not _NAME.fullmatch(name) or _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise BadInput(
            f"{field}: expected an IP address or a host name",
            field=field,
            hint="such as 10.0.0.4, fd00::4 or gpu-box.example.net, without scheme, port or zone",
        )
    return name.lower()


def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an IP address, ``[brackets]`` around IPv6 allowed; ``None`` for anything else.

    An IPv4 address in IPv6 clothes (``::ffff:10.0.0.4``) is the IPv4 address: it is connected to in the same way, and
    Python's versions do not write it alike.
    Not an address here is one with a zone (``fe80::1%eth0``): Python's reader takes any text at all for a zone.
    """
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text
    if not _ADDRESS.fullmatch(inner):
        return None
    try:
        address = ip_address(inner)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def connection_host(asked: str, *, network_ips: Sequence[str], reported_from: str) -> str:
    """Return the host of a share's connection URL.

    :param asked: ``connection_ip`` as sent; clients that were not told one send an empty text.
    :param network_ips: the agent's own list; the first one that can be connected to is taken.
    :param reported_from: the address that the agent reports from, where its list has none.
    :raises BadInput: what was asked for is no host, or nothing was and the agent has no address.
    """
    if asked:
        return read_host(asked)
    for candidate in (*network_ips, reported_from):
        address = read_address(candidate)
        if address is not None and not (address.is_unspecified or address.is_multicast):
            return str(address)
    raise BadInput(
        "$.connection_ip: the agent has told no address of its own",
        field="$.connection_ip",
        hint="give the address or name under which guests reach its host",
    )


def connection_url(host: str, port: int) -> str:
    """Return ``tcp://HOST:PORT``; an IPv6 address stands in brackets."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
