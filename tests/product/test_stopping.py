"""Stopping, reloading and telling systemd: what a service manager sees of the one process it started."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product.served import PASSWORD, Product, exchange, product, until

pytestmark = pytest.mark.zipapp


def in_flight(served: Product) -> tuple[socket.socket, bytes]:
    """Begin a request that is being read; return its connection and what is still missing of it."""
    body = b'{"username":"nobody","password":"' + PASSWORD.encode() + b'"}'
    one = served.connect()
    head = f"POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    one.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body[:5])
    # An answer on a later connection: the server has seen ours by now.
    assert served.get("/healthz").status_code == 200
    return one, body[5:]


def test_sigterm_lets_a_request_in_flight_finish_and_ends_with_status_0(served: Product) -> None:
    one, rest = in_flight(served)
    with one:
        served.process.send_signal(signal.SIGTERM)
        until(lambda: "stopping" in served.log)
        assert served.process.poll() is None
        answer = exchange(one, rest)
    assert answer.startswith(b"HTTP/1.1 401")
    assert served.process.wait(60) == 0
    assert "Traceback" not in served.log


def test_stop_waits_no_longer_than_drain_seconds(fresh: Product) -> None:
    fresh.config.write_text("[server]\ndrain_seconds = 1.0\n")
    fresh.start()
    one, _ = in_flight(fresh)
    with one:
        before = time.monotonic()
        assert fresh.stop() == 0  # which the other side, that says nothing more, could hold up for ever
        assert time.monotonic() - before > 0.5
    assert "Traceback" not in fresh.log


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)],
    ids=lambda one: one.name,
)
def test_second_signal_ends_the_process_at_once_by_that_signal_and_says_so(
    fresh: Product, first: signal.Signals, second: signal.Signals
) -> None:
    fresh.config.write_text("[server]\ndrain_seconds = 600\n")
    fresh.start()
    one, _ = in_flight(fresh)
    with one:
        fresh.process.send_signal(first)
        until(lambda: "stopping" in fresh.log)
        assert "stopped_at_once" not in fresh.log
        assert fresh.stop(second) == -second
    [line] = [line for line in fresh.log.splitlines() if "stopped_at_once" in line]
    assert second.name in line
    assert "Traceback" not in fresh.log
    fresh.start()
    assert fresh.get("/readyz").json()["ready"] is True


def test_help_of_serve_says_how_it_ends(fresh: Product) -> None:
    said = " ".join(fresh.command("serve", "--help").stdout.split())
    assert "the exit status is 0" in said
    assert "143 or 130" in said


def test_sighup_applies_live_settings_lists_the_others_and_a_broken_file_changes_nothing(served: Product) -> None:
    served.config.write_text("[devices]\nsample_seconds = 0.7\n[server]\nconnections_per_address = 77\n")
    served.process.send_signal(signal.SIGHUP)
    line = until(lambda: next((one for one in served.log.splitlines() if "config.reloaded" in one), None))
    assert line is not None
    assert "devices.sample_seconds" in line
    assert "server.connections_per_address" in line
    assert served.get("/api/appliance/host").json()["sample_seconds"] == 0.7

    served.config.write_text('[devices]\nsample_seconds = "often"\n')
    served.process.send_signal(signal.SIGHUP)
    refused = until(lambda: next((one for one in served.log.splitlines() if "config.refused" in one), None))
    assert refused is not None
    assert "sample_seconds" in refused
    assert served.get("/api/appliance/host").json()["sample_seconds"] == 0.7
    assert served.stop() == 0
    assert "Traceback" not in served.log


@pytest.fixture
def notified(pyz: Path, tmp_path: Path) -> Iterator[tuple[Product, socket.socket]]:
    """A product that tells a service manager how it is, and the service manager's socket."""
    address = str(tmp_path / "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(address)
    manager.settimeout(30)
    # What `systemd` sets for Type=notify with WatchdogSec=.
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "400000"}
    with manager, product(pyz, tmp_path, environment=environment) as one:
        yield one, manager


def test_service_manager_is_told_of_readiness_life_and_stop_by_the_process_it_started(
    notified: tuple[Product, socket.socket],
) -> None:
    one, manager = notified
    manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def heard(word: str) -> int:
        """Read until a state is told; return the pid of the process that told it, as the kernel says."""
        while True:
            data, ancillary, _, _ = manager.recvmsg(4096, socket.CMSG_SPACE(12))
            if word in data.decode().splitlines():
                return int.from_bytes(ancillary[0][2][:4], "little")

    one.launch()
    pid = one.process.pid
    assert heard("READY=1") == pid
    assert [heard("WATCHDOG=1") for _ in range(3)] == [pid] * 3
    one.process.send_signal(signal.SIGTERM)
    assert heard("STOPPING=1") == pid
    assert one.process.wait(60) == 0


def test_process_that_serves_is_the_one_that_was_started(served: Product) -> None:
    assert (served.data / "run" / "lock").read_text().strip() == str(served.process.pid)
    assert os.readlink(f"/proc/{served.process.pid}/cwd") == str(served.folder)
