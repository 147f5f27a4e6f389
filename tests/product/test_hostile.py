"""Peers that break the rules against the running product: everybody else is answered, and the log knows no crash."""

import os
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.product.served import ADMIN, Product, exchange, product

pytestmark = pytest.mark.zipapp
UPGRADE = (
    b"GET /api/appliance/events HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
H2C = (
    b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
)
POST = b"POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\n"
SEQUENCES = {
    "trailing byte on an upgrade": [UPGRADE + b"\x00"],
    "client gone mid-answer": [b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"],
    "websocket close and a late frame": [UPGRADE, b"\x88\x80\x00\x00\x00\x00", b"\x81\x80\x00\x00\x00\x00"],
    "truncated frame": [UPGRADE, b"\x81\xfe\x00"],
    "garbage request line": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 nonsense\r\n\r\n"],
    "body shorter than announced": [POST + b"Content-Length: 100\r\n\r\nshort"],
    "h2c upgrade": [H2C],
    "half a header": [b"GET /healthz HTTP/1.1\r\nHo"],
    "length beside chunks": [POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
    "length of 400 digits": [POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n"],
    "chunk size of 1,000 digits": [POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 1000 + b"\r\n"],
    "number of 5,000 digits": [
        POST + b"Content-Type: application/json\r\nContent-Length: 5014\r\n\r\n" + b'{"password": ' + b"9" * 5000 + b"}"
    ],
    "nesting of 5,000 levels": [POST + b"Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n" + b"[" * 5000],
    "endless header": [b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200_000],
    "nul in the target": [b"GET /heal\0thz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"],
}


@pytest.fixture(scope="module")
def attacked(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product with an admin, and a TLS listener beside the plain one."""
    with product(pyz, tmp_path_factory.mktemp("attacked")) as one:
        one.start()
        one.set_up().close()
        yield one


def slam(one: socket.socket) -> None:
    """Close with a reset, as a crashing client does."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()


def still_well(one: Product) -> None:
    assert one.process.poll() is None
    with httpx.Client(base_url=one.base, timeout=30) as other:
        assert other.get("/readyz").json()["ready"] is True
        assert other.get("/api/appliance/overview").status_code == 200
    for sign in ("Traceback", "crashed", "ExceptionGroup", "connection.failed"):
        assert sign not in one.log, one.log


@pytest.mark.parametrize("name", SEQUENCES)
def test_hostile_sequence_costs_nobody_else_anything(attacked: Product, name: str) -> None:
    held = []
    for ending in ("reset", "half-closed", "held"):
        one = attacked.connect()
        with suppress(OSError):  # it may hang up on us before we are done
            for piece in SEQUENCES[name]:
                one.sendall(piece)
            if ending == "half-closed":
                one.shutdown(socket.SHUT_WR)
                exchange(one, b"", until_bytes=b"\r\n\r\n", seconds=0.3)
        if ending == "reset":
            slam(one)
        else:
            held.append(one)
        still_well(attacked)
    for one in held:
        one.close()


def test_many_reset_connections_at_once_cost_nobody_else_anything(attacked: Product) -> None:
    for number in range(100):
        one = attacked.connect()
        with suppress(OSError):
            one.sendall(list(SEQUENCES.values())[number % len(SEQUENCES)][0])
        slam(one)
    still_well(attacked)


@pytest.mark.long
def test_slow_header_is_hung_up_on(attacked: Product) -> None:
    with attacked.connect() as one:
        one.sendall(b"GET /healthz HTTP/1.1\r\n")
        answer = exchange(one, b"Host", seconds=15)  # ends when the server closes: after 10 s
    assert not answer.startswith(b"HTTP/1.1 200")
    still_well(attacked)


def test_truncated_and_foreign_hellos_on_a_tls_listener_cost_nobody_anything(pyz: Path, tmp_path: Path) -> None:
    with product(pyz, tmp_path) as one:
        one.config.write_text('[[listeners]]\naddress = "127.0.0.1:0"\ntls = true\n')
        one.start()
        held = []
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET / HTTP/1.1\r\n\r\n", os.urandom(500), b""):
            for is_reset in (True, False):
                broken = one.connect()
                with suppress(OSError):
                    broken.sendall(data)
                if is_reset:
                    slam(broken)
                else:
                    held.append(broken)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for _ in range(2):
            with context.wrap_socket(one.connect()) as good:
                got = exchange(good, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", until_bytes=b"}")
                assert got.startswith(b"HTTP/1.1 200")
        for broken in held:
            broken.close()
        assert one.stop() == 0
        assert "Traceback" not in one.log


def test_people_files_and_audit_are_whole_after_all_this(attacked: Product) -> None:
    assert attacked.json("audit", "verify")["ok"] is True
    assert [one["name"] for one in attacked.json("user", "list")["items"]] == [ADMIN]
    assert attacked.stop() == 0
    assert "Traceback" not in attacked.log
