"""Who listens on a port: asked of the kernel, so that no guest is sent to a stranger and no command sees a connection
that nobody made.

A port of the loopback is anybody's until a program has it: another user's may be quicker than the command that it was
meant for, or take it once that has closed it.
"""

import socket
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from attrs import frozen

from .processes import PROC

LISTEN: Final = "0A"
HOST: Final = "127.0.0.1"
REACHED: Final = frozenset({HOST, "0.0.0.0", "::", f"::ffff:{HOST}"})  # noqa: S104 (read, not bound)
"""The addresses of listeners that a connection to `HOST` may get to."""


@frozen(kw_only=True)
class Listener:
    """A socket that listens."""

    address: str
    uid: int
    """Of the user that made it."""

    @property
    def is_for_all(self) -> bool:
        """Whether others than this host's programs reach it."""
        address = ip_address(self.address)
        return not (address.is_loopback or address == ip_address(f"::ffff:{HOST}"))


def free_port(taken: frozenset[int] = frozenset()) -> int:
    """Return a port of the loopback that is free now and not among those taken."""
    while True:
        with socket.socket() as asked:
            asked.bind((HOST, 0))
            port = int(asked.getsockname()[1])
        if port not in taken:
            return port


def listeners() -> Mapping[int, list[Listener]]:
    """Return who listens so that a connection to `HOST` may get there, by port.

    Reads the kernel's whole table: some milliseconds where there are thousands of connections. Source: proc_pid_net(5).
    """
    found: dict[int, list[Listener]] = {}
    for name in ("tcp", "tcp6"):
        try:
            rows = (PROC / "net" / name).read_text("ascii").splitlines()[1:]
        except OSError:  # IPv6 is switched off
            continue
        for row in rows:
            fields = row.split()
            if fields[3] != LISTEN:
                continue
            words, _, port = fields[1].partition(":")
            address = _address(words)
            if address in REACHED:
                found.setdefault(int(port, 16), []).append(Listener(address=address, uid=int(fields[7])))
    return found


def _address(text: str) -> str:
    # 32-bit words in the order of the machine; x86-64 and 64-bit Arm put the least first.
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    packed = b"".join(words)
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    return socket.inet_ntop(socket.AF_INET6, packed)
