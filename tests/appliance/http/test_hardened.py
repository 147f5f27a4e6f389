"""What keeps a request from becoming a WebSocket."""

import h11
import pytest

from appliance.http.hardened import BadHandshake, handshake_failure

GOOD = [(b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="), (b"sec-websocket-version", b"13")]


def request(version: bytes = b"1.1") -> h11.Request:
    return h11.Request(method="GET", target="/ws", headers=[("Host", "localhost")], http_version=version)


def test_complete_handshake_is_not_refused() -> None:
    assert handshake_failure(request(), GOOD) is None


@pytest.mark.parametrize(
    ("version", "headers", "hint"),
    [
        (b"1.0", GOOD, "HTTP/1.1"),
        (b"1.1", GOOD[1:], "Sec-WebSocket-Key"),
        (b"1.1", [GOOD[0], (b"sec-websocket-version", b"8")], "Sec-WebSocket-Version: 13"),
    ],
)
def test_handshake_that_cannot_succeed_says_what_to_send(
    version: bytes, headers: list[tuple[bytes, bytes]], hint: str
) -> None:
    failure = handshake_failure(request(version), headers)
    assert isinstance(failure, BadHandshake)
    assert (failure.status, hint in failure.hint) == (400, True)
