"""Addresses to listen on, and the sockets bound to them; a busy one names its holder."""

import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from attrs import frozen

from appliance.errors import ApplianceError

BACKLOG = 1024
UNIX_PATH_MAX_BYTES = 100
PORT_MAX = 65_535


class CannotListen(ApplianceError):
    """An address cannot be listened on: it is in use, not ours, or not allowed; never counted as a failed start."""


@frozen(kw_only=True)
class Address:
    """Where to listen: ``host`` and ``port``, or a unix socket's ``path``."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_unix(self) -> bool:
        """Whether this is a unix socket."""
        return bool(self.path)

    @property
    def is_loopback(self) -> bool:
        """Whether only this host can reach it."""
        if self.is_unix or self.host == "localhost":
            return True
        with suppress(ValueError):
            return ip_address(self.host).is_loopback
        return False

    def __str__(self) -> str:
        if self.is_unix:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:/PATH``.

    :raises ValueError: it is neither; the message says what is expected.
    """
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not colon or not host or (":" in host and not bracketed) or "/" in host or any(map(str.isspace, host)):
        raise ValueError("HOST:PORT, [IPV6]:PORT or unix:/PATH")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= PORT_MAX):
        raise ValueError(f"a port from 0 to {PORT_MAX} after the last colon")
    return Address(host=host, port=int(port))


def _unix(path: str) -> Address:
    if not path.startswith("/") or "\0" in path:
        raise ValueError("an absolute path after unix:")
    if len(os.fsencode(path)) > UNIX_PATH_MAX_BYTES:
        raise ValueError(f"a unix socket's path of at most {UNIX_PATH_MAX_BYTES} bytes")
    return Address(path=path)


def bind(address: Address, *, mode: int = 0o600, group: str = "") -> list[socket.socket]:
    """Return listening sockets for ``address``: one, or one per address that its host name has.

    :param mode: permissions of a unix socket; ``group`` is the group it is given to.
    :raises CannotListen: the address is in use (the message names by whom), not of this host, or not allowed.
    """
    if address.is_unix:
        return [bind_unix(Path(address.path), mode=mode, group=group)]
    bound: list[socket.socket] = []
    try:
        for family, place in _resolve(address):
            # Port 0 is chosen by the first one and shared by the others.
            port = bound[0].getsockname()[1] if bound and address.port == 0 else address.port
            bound.append(_bind_tcp(address, family, place, port))
    except BaseException:
        for one in bound:
            one.close()
        raise
    return bound


def _resolve(address: Address) -> list[tuple[int, str]]:
    try:
        found = socket.getaddrinfo(address.host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise CannotListen(f"cannot listen on {address}: {address.host} has no address here ({error})") from error
    places = dict.fromkeys((int(family), str(place[0])) for family, _, _, _, place in found)
    # A host name's second address (::1 of localhost) may be switched off in the kernel; the first must work.
    return [place for number, place in enumerate(places) if number == 0 or _usable(*place)]


def _usable(family: int, place: str) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((place, 0))
        except OSError:
            return False
    return True


def _bind_tcp(address: Address, family: int, place: str, port: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((place, port))
        one.listen(BACKLOG)
        one.setblocking(False)
    except OSError as error:
        one.close()
        raise _refused(address, error) from error
    return one


def _refused(address: Address, error: OSError) -> CannotListen:
    if error.errno == errno.EADDRINUSE:
        other = Address(host=address.host, port=_free_port(address))
        return CannotListen(
            f"cannot listen on {address}: the port is in use by {holder_of(address.port)}",
            hint=f"stop that program, or listen elsewhere: appliance serve --listen {other}",
        )
    if error.errno == errno.EACCES:
        return CannotListen(
            f"cannot listen on {address}: ports below 1024 are for root",
            hint="choose a port from 1024 up with --listen, or run as a service",
        )
    return CannotListen(f"cannot listen on {address}: {error.strerror or error}", hint="choose another with --listen")


def _free_port(address: Address) -> int:
    """Return a port near the busy one that is free now, 0 (any) when none is."""
    for port in range(address.port + 1, min(address.port + 20, PORT_MAX + 1)):
        with socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((address.host, port))
                return port
    return 0


def holder_of(port: int, *, proc: Path = Path("/proc")) -> str:
    """Say who listens on TCP ``port`` of this host, as far as we may see it."""
    found = next(_listening(port, proc), None)
    if found is None:
        return "another program"
    uid, inode = found
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"uid {uid}"
    for name, pid in _holding(inode, proc):
        return f"{name} (pid {pid}, user {user})"
    return f"a program of user {user}"


def _listening(port: int, proc: Path) -> Iterator[tuple[int, str]]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (proc / "net" / table).read_text("ascii").splitlines()[1:]:
                columns = line.split()
                if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == port:
                    yield int(columns[7]), columns[9]


def _holding(inode: str, proc: Path) -> Iterator[tuple[str, int]]:
    for process in _numbered(proc):
        with suppress(OSError):
            for file in (process / "fd").iterdir():
                with suppress(OSError):
                    if os.readlink(file) == f"socket:[{inode}]":
                        yield (process / "comm").read_text("utf-8", "replace").strip(), int(process.name)


def _numbered(proc: Path) -> Iterable[Path]:
    with suppress(OSError):
        return [entry for entry in proc.iterdir() if entry.name.isdigit()]
    return []


def bind_unix(path: Path, *, mode: int = 0o600, group: str = "") -> socket.socket:
    """Return a listening unix socket at ``path``; a stale one is replaced, a live one and any other file are not.

    :raises CannotListen: somebody listens there, the path holds something else, or it cannot be made.
    """
    try:
        _remove_stale(path)
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise CannotListen(f"cannot listen on unix:{path}: {error.strerror or error}") from error
    # Made without permissions and opened up at the end: nobody gets in before mode and group are right.
    before = os.umask(0o177)
    try:
        one.bind(str(path))
    except OSError as error:
        one.close()
        raise CannotListen(f"cannot listen on unix:{path}: {error.strerror or error}") from error
    finally:
        os.umask(before)
    try:
        if group:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
        path.chmod(mode)
        one.listen(BACKLOG)
        one.setblocking(False)
    except (OSError, KeyError) as error:
        one.close()
        path.unlink(missing_ok=True)
        raise CannotListen(f"cannot give unix:{path} to group {group!r} with mode {mode:04o}: {error}") from error
    return one


def _remove_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise CannotListen(f"cannot listen on unix:{path}: something else lies there", hint=f"move {path} away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except FileNotFoundError:
            return
        else:
            raise CannotListen(f"cannot listen on unix:{path}: another program does", hint="stop that one first")
