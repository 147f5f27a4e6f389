"""Which local user is at the other end of a connection: asked of the kernel, once per connection, only when needed.

On unix sockets SO_PEERCRED says it. On TCP one exact inet_diag query looks up the *peer's* socket: there is one only
when the peer is a process of this network namespace. Its row is believed only while it is ESTABLISHED and has an
inode: a socket that its owner has closed already shows uid 0, which a root appliance would take for itself.
"""

import ipaddress
import socket
import struct
from pathlib import Path

from appliance.surface import Head

ESTABLISHED = 1
_MEMORY = "uid"
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NO_COOKIE = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI")
_PORTS = struct.Struct("!HH")
_ID_REST = struct.Struct("=III")
_MESSAGE = struct.Struct("=BBBB")
_ID_BYTES = 48
_TAIL = struct.Struct("=IIIII")

Address = tuple[str, int]


def uid_of(head: Head) -> int | None:
    """Return the uid of the process that sent a request, ``None`` when the kernel names none; once per connection."""
    if head.peer_uid is not None:
        return head.peer_uid
    if head.peer is None or isinstance(head.local, str):
        return None
    if _MEMORY not in head.connection:
        head.connection[_MEMORY] = tcp_peer_uid(head.peer, head.local)
    uid: int | None = head.connection[_MEMORY]
    return uid


def unix_peer_uid(connection: socket.socket) -> int | None:
    """Return the uid that connected a unix socket."""
    # On other families the call succeeds and answers (0, -1, -1): never ask it there.
    if connection.family != socket.AF_UNIX:
        return None
    pid, uid, _ = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid) if pid > 0 else None


def tcp_peer_uid(peer: Address, local: Address) -> int | None:
    """Return the uid that owns the socket at ``peer``, connected to us at ``local``; ``None`` when not on this host."""
    try:
        source, target = _plain(peer[0]), _plain(local[0])
    except ValueError:
        return None
    if source.version != target.version:
        return None
    try:
        found = _ask_kernel((source, peer[1]), (target, local[1]))
    except OSError:  # no netlink here (a seccomp filter, another kernel)
        found = _read_table((source, peer[1]), (target, local[1]))
    if found is None:
        return None
    state, uid, inode = found
    return uid if state == ESTABLISHED and inode != 0 else None


IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Place = tuple[IpAddress, int]
Row = tuple[int, int, int]
"""State, uid, inode."""


def _plain(address: str) -> IpAddress:
    # A socket for both families shows IPv4 peers as ::ffff:a.b.c.d; the kernel's tables have them as IPv4.
    ip = ipaddress.ip_address(address.partition("%")[0])
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def _ask_kernel(peer: Place, local: Place) -> Row | None:
    """Send one exact inet_diag query (not a dump) and read its answer; raises OSError where there is none."""
    family = socket.AF_INET if peer[0].version == 4 else socket.AF_INET6
    identity = (
        _PORTS.pack(peer[1], local[1])
        + peer[0].packed.ljust(16, b"\0")
        + local[0].packed.ljust(16, b"\0")
        + _ID_REST.pack(0, _NO_COOKIE, _NO_COOKIE)
    )
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _NO_COOKIE) + identity
    message = _HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG) as asked:
        asked.sendto(message, (0, 0))
        answer = asked.recv(4096)  # the kernel has answered before sendto returned
    return _read_answer(answer, peer, local)


def _read_answer(answer: bytes, peer: Place, local: Place) -> Row | None:
    if len(answer) < _HEADER.size + _MESSAGE.size + _ID_BYTES + _TAIL.size:
        return None  # an error message: no such socket
    if _HEADER.unpack_from(answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    family, state, _, _ = _MESSAGE.unpack_from(answer, _HEADER.size)
    at = _HEADER.size + _MESSAGE.size
    ports = _PORTS.unpack_from(answer, at)
    width = 4 if family == socket.AF_INET else 16
    source, target = answer[at + 4 : at + 4 + width], answer[at + 20 : at + 20 + width]
    # Without an exact match the kernel may answer with the listener of that port.
    if (_packed(source), ports[0]) != peer or (_packed(target), ports[1]) != local:
        return None
    _, _, _, uid, inode = _TAIL.unpack_from(answer, at + _ID_BYTES)
    return state, uid, inode


def _packed(address: bytes) -> IpAddress:
    return _plain(str(ipaddress.ip_address(address)))


def _read_table(peer: Place, local: Place, folder: Path = Path("/proc/net")) -> Row | None:
    """Find the row by reading the whole table: milliseconds where inet_diag takes microseconds."""
    tables = [(folder / "tcp", _hex(peer), _hex(local))] if peer[0].version == 4 else []
    wide_peer, wide_local = (_wide(peer), _wide(local))
    tables.append((folder / "tcp6", _hex(wide_peer), _hex(wide_local)))
    for path, source, target in tables:
        try:
            lines = path.read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if len(columns) > 9 and columns[1] == source and columns[2] == target:
                return int(columns[3], 16), int(columns[7]), int(columns[9])
    return None


def _wide(place: Place) -> Place:
    address = place[0]
    return (ipaddress.IPv6Address(f"::ffff:{address}") if address.version == 4 else address), place[1]


def _hex(place: Place) -> str:
    """Write a place as /proc/net/tcp does: each four bytes as one integer of this machine."""
    packed = place[0].packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{place[1]:04X}"
