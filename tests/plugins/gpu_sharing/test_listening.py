"""Who listens on a port of this host."""

import os
import socket
import subprocess

import pytest

from plugins.gpu_sharing.listening import free_port, listeners
from tests.plugins.gpu_sharing.runners import PYTHON, needs_root


@pytest.mark.parametrize(
    ("family", "address", "is_for_all"),
    [
        (socket.AF_INET, "127.0.0.1", False),
        (socket.AF_INET, "0.0.0.0", True),
        (socket.AF_INET6, "::", True),
        (socket.AF_INET6, "::ffff:127.0.0.1", False),
    ],
)
def test_listener_is_found_with_its_owner(family: socket.AddressFamily, address: str, is_for_all: bool) -> None:
    with socket.socket(family) as listening:
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind((address, 0))
        port = listening.getsockname()[1]
        assert port not in listeners(), "bound is not listening"
        listening.listen()
        (found,) = listeners()[port]
        assert (found.address, found.uid, found.is_for_all) == (address, os.geteuid(), is_for_all)
    assert port not in listeners()


def test_listener_that_a_connection_to_the_loopback_does_not_reach_is_none() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.2", 0))
        listening.listen()
        assert listening.getsockname()[1] not in listeners()


@needs_root
def test_listener_of_another_user_is_that_users() -> None:
    script = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([PYTHON, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        (found,) = listeners()[port]
        process.communicate()
    assert found.uid == 65534


def test_port_that_a_worker_has_is_given_to_no_other() -> None:
    first = free_port()
    assert first not in {free_port(frozenset({first})) for _ in range(20)}
