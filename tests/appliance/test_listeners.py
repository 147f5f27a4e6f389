"""Addresses and sockets: what is understood, what is refused, and how it is told."""

import os
import socket
from pathlib import Path

import pytest

from appliance.listeners import Address, CannotListen, bind, bind_unix, holder_of, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address(host="127.0.0.1", port=8080)),
        ("[::1]:0", Address(host="::1", port=0)),
        ("gpu-box.example.net:65535", Address(host="gpu-box.example.net", port=65535)),
        ("unix:/run/a.sock", Address(path="/run/a.sock")),
    ],
)
def test_an_address_is_read_and_shown_alike(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "8080",
        ":8080",
        "a:",
        "a:x",
        "a:65536",
        "a:-1",
        "a:\u0661",
        "::1:80",
        "[::1]",
        "a b:1",
        "http://a:1",
        "unix:x",
        "unix:/" + "x" * 100,
        "unix:/a\0b",
        "a:000001",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "is_loopback"),
    [
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/a", True),
        ("0.0.0.0:1", False),
        ("a:1", False),
    ],
)
def test_loopback_is_what_only_this_host_reaches(text: str, is_loopback: bool) -> None:
    assert parse_address(text).is_loopback is is_loopback


def test_a_host_name_with_two_addresses_gets_one_port(tmp_path: Path) -> None:
    bound = bind(parse_address("localhost:0"))
    try:
        assert len({one.getsockname()[1] for one in bound}) == 1
    finally:
        for one in bound:
            one.close()


def test_a_busy_port_names_program_pid_and_user_and_a_free_port(tmp_path: Path) -> None:
    [taken] = bind(parse_address("127.0.0.1:0"))
    with taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen) as caught:
            bind(parse_address(f"127.0.0.1:{port}"))
        assert f"(pid {os.getpid()}, user " in caught.value.message
        suggested = int(caught.value.hint.rpartition(":")[2])
        assert suggested != port
        assert holder_of(port, proc=tmp_path) == "another program"


def test_an_address_that_is_not_of_this_host_is_refused() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 192\.0\.2\.1:0"):
        bind(parse_address("192.0.2.1:0"))
    with pytest.raises(CannotListen, match="has no address here"):
        bind(parse_address("nowhere.invalid:0"))


def test_a_unix_socket_has_its_mode_from_the_first_moment_and_replaces_a_stale_one_only(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    first = bind_unix(path, mode=0o660)
    assert path.stat().st_mode & 0o777 == 0o660
    with pytest.raises(CannotListen, match="another program does"):
        bind_unix(path)
    first.close()
    bind_unix(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_in_the_place_of_a_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(CannotListen, match="something else lies there"):
        bind_unix(path)
    assert path.read_text() == "data"
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(CannotListen, match="something else lies there"):
        bind_unix(tmp_path / "link")


def test_a_group_that_does_not_exist_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="no_such_group"):
        bind_unix(tmp_path / "a.sock", group="no_such_group")
    assert not (tmp_path / "a.sock").exists()


def test_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="No such file"):
        bind_unix(tmp_path / "nowhere" / "a.sock")


def test_bound_sockets_do_not_block() -> None:
    [one] = bind(parse_address("127.0.0.1:0"))
    with one:
        assert one.getblocking() is False
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
