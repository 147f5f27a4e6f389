import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from appliance.http import trust
from appliance.surface import Head

NOBODY = 65534
AS_NOBODY = """
import encodings.idna, os, socket, sys  # the other user may not be able to read this Python's files later
os.setgid(65534); os.setuid(65534)
kind, where = sys.argv[1], sys.argv[2]
if kind == "unix":
    peer = socket.socket(socket.AF_UNIX); peer.connect(where)
else:
    peer = socket.socket(); peer.connect(("127.0.0.1", int(where)))
sys.stdin.read()
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")


def head(peer: tuple[str, int] | None, local: tuple[str, int] | str, **more: object) -> Head:
    return Head(
        method="GET",
        path="/",
        raw_query=b"",
        headers=(),
        peer=peer,
        local=local,
        listener="test",
        scheme="http",
        **more,  # type: ignore[arg-type]
    )


def accepted(connection: socket.socket) -> Head:
    peer, local = connection.getpeername(), connection.getsockname()
    return head((peer[0], peer[1]), (local[0], local[1]))


@pytest.fixture(params=["127.0.0.1", "::1", "both"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client and the accepted side, over IPv4, IPv6, and IPv4 reaching a socket for both families."""
    family = socket.AF_INET if request.param == "127.0.0.1" else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as server:
            if request.param == "both":
                server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            server.bind(("::" if request.param == "both" else request.param, 0))
            server.listen()
            target = "127.0.0.1" if request.param == "both" else request.param
            with socket.create_connection((target, server.getsockname()[1])) as client:
                connection, _ = server.accept()
                with connection:
                    yield client, connection
    except OSError as error:
        pytest.skip(f"no such address family here: {error}")


def test_own_process_is_named_on_tcp(pair: tuple[socket.socket, socket.socket]) -> None:
    assert trust.uid_of(accepted(pair[1])) == os.geteuid()


def test_own_process_is_named_also_when_it_comes_from_a_socket_for_both_families() -> None:
    with socket.socket() as listening, socket.socket(socket.AF_INET6) as client:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        try:
            client.connect(("::ffff:127.0.0.1", listening.getsockname()[1]))
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
        server, _ = listening.accept()
        with server:
            assert trust.uid_of(accepted(server)) == os.geteuid()


def test_row_of_another_connection_is_not_taken_for_this_one(pair: tuple[socket.socket, socket.socket]) -> None:
    known = accepted(pair[1])
    assert known.peer is not None
    assert not isinstance(known.local, str)
    assert trust.tcp_peer_uid((known.peer[0], known.peer[1]), (known.local[0], 1)) is None
    assert trust.tcp_peer_uid((known.peer[0], 1), (known.local[0], known.local[1])) is None


def test_table_and_query_give_the_same_row(pair: tuple[socket.socket, socket.socket]) -> None:
    known = accepted(pair[1])
    assert known.peer is not None
    assert not isinstance(known.local, str)
    peer, local = (trust._plain(known.peer[0]), known.peer[1]), (trust._plain(known.local[0]), known.local[1])
    assert trust._read_table(peer, local) == trust._ask_kernel(peer, local)


def test_closed_peer_is_nobody_and_not_root(pair: tuple[socket.socket, socket.socket]) -> None:
    # Its row shows uid 0 from now on: a root appliance would take whoever hung up for itself.
    client, connection = pair
    known = accepted(connection)
    client.close()
    assert trust.uid_of(known) is None


def test_kernel_is_asked_once_per_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    client, connection = pair
    known = accepted(connection)
    trust.uid_of(known)
    client.close()
    assert trust.uid_of(known) == os.geteuid()


@pytest.mark.parametrize(
    "peer", [("127.0.0.1", 1), ("192.0.2.1", 4711), ("::1", 1), ("nonsense", 1), ("fe80::1%eth0", 9)]
)
def test_peer_without_a_socket_here_is_nobody(peer: tuple[str, int]) -> None:
    assert trust.uid_of(head(peer, ("127.0.0.1", 8080))) is None


def test_listening_socket_is_no_peer() -> None:
    # For want of an exact match the kernel answers with the listener of the port, which may be anybody's.
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert trust.tcp_peer_uid(("127.0.0.1", port), ("127.0.0.1", 1)) is None


def test_unix_socket_names_whom_the_kernel_saw() -> None:
    assert trust.uid_of(head(None, "/run/x.sock", peer_uid=1234)) == 1234
    assert trust.uid_of(head(None, "/run/x.sock")) is None


@needs_root
def test_another_local_user_is_named_as_such_over_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        command = [sys.executable, "-c", AS_NOBODY, "tcp", str(server.getsockname()[1])]
        with subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/") as stranger:
            connection, _ = server.accept()
            with connection:
                assert trust.uid_of(accepted(connection)) == NOBODY
            stranger.communicate()


@needs_root
def test_another_local_user_is_named_as_such_over_a_unix_socket(tmp_path: Path) -> None:
    path = f"/tmp/appliance-test-{os.getpid()}.sock"  # a folder that the other user may enter
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        try:
            server.bind(path)
            os.chmod(path, 0o777)
            server.listen()
            server.settimeout(30)
            command = [sys.executable, "-c", AS_NOBODY, "unix", path]
            with subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/") as stranger:
                connection, _ = server.accept()
                with connection:
                    assert trust.unix_peer_uid(connection) == NOBODY
                stranger.communicate()
        finally:
            os.unlink(path)


def test_tcp_socket_has_no_unix_credentials(pair: tuple[socket.socket, socket.socket]) -> None:
    # The call would succeed there, and answer uid -1.
    assert trust.unix_peer_uid(pair[1]) is None


ROW = "   0: 0100007F:1F90 0100007F:D431 {state} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 0 20\n"


def test_fallback_reads_state_uid_and_inode(tmp_path: Path) -> None:
    if sys.byteorder != "little":
        pytest.skip("the sample row was written on a little-endian machine")
    (tmp_path / "tcp").write_text("header\n" + ROW.format(state="01", inode=77))
    peer, local = (ip_address("127.0.0.1"), 0x1F90), (ip_address("127.0.0.1"), 0xD431)
    assert trust._read_table(peer, local, tmp_path) == (1, 1000, 77)
    assert trust._read_table(local, peer, tmp_path) is None
