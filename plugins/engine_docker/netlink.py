"""Messages to the Linux kernel that close a network namespace to link-local addresses (rtnetlink, nfnetlink).

Two measures, of which the second is the lock: a route that answers "no route" at once, so that programs do not wait,
and a rule of nf_tables that drops what would go there all the same (a socket bound to its interface ignores routes).
Numbers and layouts are those of linux/rtnetlink.h, linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h.
"""

import struct
from typing import Final

NETLINK_ROUTE: Final = 0
NETLINK_NETFILTER: Final = 12

_REQUEST: Final = 0x1
_ACK: Final = 0x4
_REPLACE: Final = 0x100
_CREATE: Final = 0x400
_APPEND: Final = 0x800
_NESTED: Final = 0x8000

_RTM_NEWROUTE: Final = 24
_RTN_UNREACHABLE: Final = 7
_TABLE_MAIN: Final = 254
_AF_INET: Final = 2
_AF_INET6: Final = 10
_INET: Final = 1  # NFPROTO_INET: IPv4 and IPv6 in one table
_BATCH_BEGIN: Final = 0x10
_BATCH_END: Final = 0x11
_NFTABLES: Final = 10
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 3, 6
_LOCAL_OUT: Final = 3
_ICMPV6: Final = 58
_META_PROTOCOL_FAMILY: Final = 15
_META_TRANSPORT: Final = 16
_EQUAL, _NOT_EQUAL = 0, 1
_NAME: Final = b"appliance\0"


def link_local_fence() -> list[tuple[int, bytes]]:
    """Return what has to be sent in a namespace: (netlink protocol, messages), each answered by one word."""
    return [(NETLINK_ROUTE, _unreachable_route()), (NETLINK_NETFILTER, _drop_rules())]


def _message(kind: int, flags: int, body: bytes) -> bytes:
    length = 16 + len(body)
    return struct.pack("=IHHII", length, kind, flags | _REQUEST, 1, 0) + body + bytes(-length % 4)


def _attribute(kind: int, data: bytes) -> bytes:
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + bytes(-length % 4)


def _nested(kind: int, *parts: bytes) -> bytes:
    return _attribute(kind | _NESTED, b"".join(parts))


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value))


def _unreachable_route() -> bytes:
    # family, bits of the destination and source, tos, table, protocol (boot), scope (universe), type, flags
    head = struct.pack("=BBBBBBBBI", _AF_INET, 16, 0, 0, _TABLE_MAIN, 3, 0, _RTN_UNREACHABLE, 0)
    return _message(_RTM_NEWROUTE, _ACK | _CREATE | _REPLACE, head + _attribute(1, bytes((169, 254, 0, 0))))


def _drop_rules() -> bytes:
    table = _nft(_NEW_TABLE, _CREATE, _attribute(1, _NAME))
    hook = _nested(4, _number(1, _LOCAL_OUT), _number(2, 0))
    chain = _nft(_NEW_CHAIN, _CREATE, _attribute(1, _NAME), _attribute(3, _NAME), hook, _attribute(7, b"filter\0"))
    ipv4 = _rule(
        *_family(_AF_INET),
        _load(16, 2),  # the first half of the destination
        _compare(_EQUAL, bytes((169, 254))),
        _drop(),
    )
    # Neighbour discovery, without which IPv6 does not work at all, sends ICMPv6 to link-local addresses.
    ipv6 = _rule(
        *_family(_AF_INET6),
        _load(24, 2),
        _mask(bytes((0xFF, 0xC0))),
        _compare(_EQUAL, bytes((0xFE, 0x80))),
        _meta(_META_TRANSPORT),
        _compare(_NOT_EQUAL, bytes((_ICMPV6,))),
        _drop(),
    )
    # Only the last is acknowledged, so that one answer is the verdict on all: a failure before it answers by itself.
    rules = _nft(_NEW_RULE, _CREATE | _APPEND, ipv4) + _nft(_NEW_RULE, _CREATE | _APPEND | _ACK, ipv6)
    return _batch(_BATCH_BEGIN) + table + chain + rules + _batch(_BATCH_END)


def _batch(kind: int) -> bytes:
    return _message(kind, 0, struct.pack(">BBH", 0, 0, _NFTABLES))


def _nft(kind: int, flags: int, *attributes: bytes) -> bytes:
    return _message(_NFTABLES << 8 | kind, flags, struct.pack(">BBH", _INET, 0, 0) + b"".join(attributes))


def _rule(*expressions: bytes) -> bytes:
    return _attribute(1, _NAME) + _attribute(2, _NAME) + _nested(4, *expressions)


def _expression(name: bytes, *attributes: bytes) -> bytes:
    return _nested(1, _attribute(1, name + b"\0"), _nested(2, *attributes))


def _family(family: int) -> tuple[bytes, bytes]:
    return _meta(_META_PROTOCOL_FAMILY), _compare(_EQUAL, bytes((family,)))


def _meta(key: int) -> bytes:
    return _expression(b"meta", _number(1, 1), _number(2, key))


def _load(offset: int, length: int) -> bytes:
    return _expression(b"payload", _number(1, 1), _number(2, 1), _number(3, offset), _number(4, length))


def _mask(mask: bytes) -> bytes:
    zeros = _nested(5, _attribute(1, bytes(len(mask))))
    return _expression(
        b"bitwise", _number(1, 1), _number(2, 1), _number(3, len(mask)), _nested(4, _attribute(1, mask)), zeros
    )


def _compare(how: int, value: bytes) -> bytes:
    return _expression(b"cmp", _number(1, 1), _number(2, how), _nested(3, _attribute(1, value)))


def _drop() -> bytes:
    return _expression(b"immediate", _number(1, 0), _nested(2, _nested(2, _number(1, 0))))
