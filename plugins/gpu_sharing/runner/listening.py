"""Who listens on a port: asked of the kernel, so that no command sees a connection that nobody made."""

import socket
from ipaddress import ip_address
from typing import Final

from attrs import frozen

from .processes import PROC

LISTEN: Final = "0A"
HOST: Final = "127.0.0.1"


@frozen(kw_only=True)
class Listener:
    """A socket that listens."""

    address: str
    uid: int

    @property
    def is_for_all(self) -> bool:
        """Whether others than this host's programs reach it."""
        return not ip_address(self.address).is_loopback


def free_port(taken: frozenset[int] = frozenset()) -> int:
    """Return a port of the loopback that is free now and not among those taken."""
    while True:
        with socket.socket() as asked:
            asked.bind((HOST, 0))
            port = int(asked.getsockname()[1])
        if port not in taken:
            return port


def listeners(port: int) -> list[Listener]:
    """Return who listens on a port so that a connection to `HOST` may get there."""
    found = []
    for name in ("tcp", "tcp6"):
        try:
            rows = (PROC / "net" / name).read_text("ascii").splitlines()[1:]
        except OSError:  # IPv6 is switched off
            continue
        wanted = f":{port:04X}"
        for row in rows:
            fields = row.split()
            if fields[3] == LISTEN and fields[1].endswith(wanted):
                address = _address(fields[1].partition(":")[0])
                if address in {HOST, "0.0.0.0", "::", f"::ffff:{HOST}"}:  # noqa: S104 (read, not bound)
                    found.append(Listener(address=address, uid=int(fields[7])))
    return found


def _address(text: str) -> str:
    # 32-bit words in the order of the machine; x86-64 and 64-bit Arm put the least first.
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    packed = b"".join(words)
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    return socket.inet_ntop(socket.AF_INET6, packed)
