"""The client side of commands, against real sockets."""

import http.server
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.api import CommandFailed, HttpApi, NotRunning, control_socket, reply_or_raise, segment


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers every GET with what its path asks for."""

    def do_GET(self) -> None:
        status, body = {"/good": (200, b'{"a": 1}'), "/bad": (409, b'{"error": "taken", "hint": "another name"}')}.get(
            self.path, (404, b"<html>")
        )
        if self.headers.get("Authorization") == "Bearer wrong":
            status, body = 401, b'{"error": "unknown token", "hint": "", "field": ""}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[str]:
    with socketserver.TCPServer(("127.0.0.1", 0), _Answers) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


def test_a_good_answer_is_decoded(server: str) -> None:
    assert HttpApi(server=server).request("GET", "/good").json == {"a": 1}


def test_an_error_answer_raises_the_apis_own_message_and_hint(server: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        HttpApi(server=server).request("GET", "/bad")
    assert (failed.value.message, failed.value.hint) == ("taken", "another name")


def test_an_answer_of_another_program_still_says_its_status(server: str) -> None:
    with pytest.raises(CommandFailed, match="answered 404"):
        HttpApi(server=server).request("GET", "/elsewhere")


def test_a_token_travels_as_bearer(server: str) -> None:
    with pytest.raises(CommandFailed, match="unknown token"):
        HttpApi(server=server, token="wrong").request("GET", "/good")


def test_nothing_on_the_control_socket_is_told_apart_from_a_failure(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        HttpApi(socket_path=tmp_path / "control.sock").request("GET", "/healthz")


def test_a_server_address_that_is_none_is_refused() -> None:
    with pytest.raises(CommandFailed, match="no http"):
        HttpApi(server="ftp://host").request("GET", "/")


def test_the_control_socket_is_where_a_long_path_recorded_it(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert control_socket(tmp_path) == tmp_path / "run" / "control.sock"
    shelter = tmp_path / "shelter"
    shelter.mkdir(mode=0o700)
    (tmp_path / "run" / "control").write_text(f"{shelter}/control.sock\n")
    assert control_socket(tmp_path) == shelter / "control.sock"


def test_a_field_at_fault_is_named_before_the_message() -> None:
    with pytest.raises(CommandFailed, match=r"\$\.name: expected text"):
        reply_or_raise(400, '{"error": "expected text", "field": "$.name"}')


def test_a_field_that_the_message_names_already_is_not_named_twice() -> None:
    with pytest.raises(CommandFailed, match=r"^\$\.port: must be <= 65535: 99999$"):
        reply_or_raise(400, '{"error": "$.port: must be <= 65535: 99999", "field": "$.port"}')


def test_a_name_with_a_slash_stays_one_segment() -> None:
    assert segment("a/b c") == "a%2Fb%20c"
