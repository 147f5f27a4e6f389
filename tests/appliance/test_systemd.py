"""What systemd is told, over a real socket."""

import socket
from pathlib import Path

import trio
from trio.testing import MockClock

from appliance.systemd import Notifier, Watchdog
from appliance.testing import running


def listen(path: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    one.bind(str(path))
    one.setblocking(False)
    return one


def heard(one: socket.socket) -> list[str]:
    told = []
    while True:
        try:
            told.append(one.recv(4096).decode())
        except BlockingIOError:
            return told


def test_the_environment_is_read_and_taken_away(tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7", "A": "b"}
    notifier = Notifier.from_environment(environment, pid=7)
    assert notifier == Notifier(str(tmp_path / "n"), 30.0)
    assert environment == {"A": "b"}


def test_a_watchdog_for_another_process_or_of_no_number_is_none_of_ours() -> None:
    assert Notifier.from_environment({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, pid=7).watchdog_seconds is None
    assert Notifier.from_environment({"WATCHDOG_USEC": "soon"}, pid=7).watchdog_seconds is None
    assert Notifier.from_environment({"NOTIFY_SOCKET": "relative"}).path == ""


def test_nobody_listening_is_no_failure(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "gone")).notify("READY=1")
    Notifier().notify("READY=1")


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind("\0appliance-test-notify")
        one.setblocking(False)
        Notifier("@appliance-test-notify").notify("READY=1", "STATUS=ready")
        assert heard(one) == ["READY=1\nSTATUS=ready"]


async def test_the_watchdog_is_fed_twice_in_its_interval(tmp_path: Path, autojump_clock: MockClock) -> None:
    with listen(tmp_path / "n") as one:
        with trio.move_on_after(61):
            await Watchdog(Notifier(str(tmp_path / "n"), 30.0)).run()
        assert heard(one) == ["WATCHDOG=1"] * 5


async def test_ready_reloading_and_stopping_are_told_in_order(tmp_path: Path) -> None:
    with listen(tmp_path / "n") as one:
        async with running(tmp_path, notifier=Notifier(str(tmp_path / "n"), 30.0)) as appliance:
            assert "READY=1\nSTATUS=ready" in heard(one)
            await appliance.state.reload()
            told = heard(one)
            assert told[0].startswith("RELOADING=1\nMONOTONIC_USEC=")
            assert told[1] == "READY=1"
        assert "STOPPING=1\nSTATUS=stopping" in heard(one)
