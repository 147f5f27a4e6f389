"""The process: its signals, its exit status, and what it says."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.listeners import bind, parse_address

ROOT = Path(__file__).parents[3]
HOOKS = """
from appliance.plugin import Core, Migration, Parts, hookimpl, setting
from attrs import frozen

appliance_api = 1


@frozen(kw_only=True)
class Own:
    limit_celsius: float = setting(88.0, help="When to tell.")


@hookimpl
def appliance_settings() -> type[Own]:
    return Own


@hookimpl
def appliance_migrations() -> list[Migration]:
    return [Migration(version=1, name="one", sql="CREATE TABLE hooks_seen (limit_celsius REAL) STRICT;")]


@hookimpl
def appliance_setup(core: Core) -> Parts:
    (core.folder / "limit").write_text(str(core.settings.limit_celsius))
    core.database.read_now(lambda connection: connection.execute("SELECT * FROM hooks_seen").fetchall())
    return Parts()
"""


@contextmanager
def process(folder: Path, config: str = "", *, listen: str = "127.0.0.1:0") -> Iterator[subprocess.Popen[str]]:
    (folder / "appliance.toml").write_text(config)
    command = [sys.executable, str(Path(__file__).with_name("serving_child.py")), str(folder / "data")]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    with subprocess.Popen(
        [*command, str(folder / "appliance.toml"), listen],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def wait_for_port(child: subprocess.Popen[str]) -> int:
    assert child.stdout is not None
    for line in child.stdout:
        found = re.search(r"Open +http://127\.0\.0\.1:(\d+)/", line)
        if found:
            return int(found[1])
    raise AssertionError(child.stderr.read() if child.stderr else "")


def ask(port: int, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def lines_until(stream: Any, word: str) -> list[str]:
    lines = []
    for line in stream:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"{word} was never said: {lines}")


def test_sigterm_stops_in_order_with_status_0(tmp_path: Path) -> None:
    with process(tmp_path) as child:
        port = wait_for_port(child)
        assert ask(port, "/healthz")[0] == 200
        child.send_signal(signal.SIGTERM)
        assert child.wait(15) == 0
        assert not (tmp_path / "data" / "appliance.db-wal").exists()
        assert not (tmp_path / "data" / "run" / "control.sock").exists()


def test_sigint_stops_too_and_a_second_one_does_not_wait_for_requests_in_flight(tmp_path: Path) -> None:
    with process(tmp_path, "[server]\ndrain_seconds = 60") as child:
        port = wait_for_port(child)
        with socket.create_connection(("127.0.0.1", port)) as held:
            held.sendall(b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n{")
            assert ask(port, "/healthz")[0] == 200
            child.send_signal(signal.SIGINT)
            assert child.stderr is not None
            lines_until(child.stderr, "stopping")
            child.send_signal(signal.SIGINT)
            assert child.wait(5) == -signal.SIGINT
    with process(tmp_path) as child:
        assert ask(wait_for_port(child), "/readyz")[0] == 200


def test_sighup_applies_the_configuration_and_a_mistake_in_it_changes_nothing(tmp_path: Path) -> None:
    with process(tmp_path) as child:
        port = wait_for_port(child)
        assert child.stderr is not None
        assert ask(port, "/api/appliance/host", Host="gpu-box")[0] == 401
        (tmp_path / "appliance.toml").write_text("[server]\nhosts = ['gpu-box']\n")
        child.send_signal(signal.SIGHUP)
        lines_until(child.stderr, "config.reloaded")
        assert ask(port, "/api/appliance/host", Host="gpu-box")[0] == 200
        (tmp_path / "appliance.toml").write_text("[server]\nhost = 1\n")
        child.send_signal(signal.SIGHUP)
        assert "did you mean hosts?" in lines_until(child.stderr, "config.refused")[-1]
        assert ask(port, "/api/appliance/host", Host="gpu-box")[0] == 200
        (tmp_path / "appliance.toml").write_text("[log]\nlevel = 'error'\n")
        child.send_signal(signal.SIGHUP)
        child.send_signal(signal.SIGTERM)
        assert child.wait(15) == 0
        assert "stopping" not in child.stderr.read()


def test_requests_are_told_without_their_secrets_once_a_reload_asks_for_it(tmp_path: Path) -> None:
    with process(tmp_path, "[log]\nformat = 'json'\n") as child:
        port = wait_for_port(child)
        assert child.stderr is not None
        ask(port, "/healthz?before=1")
        (tmp_path / "appliance.toml").write_text("[log]\nrequests = true\n")
        child.send_signal(signal.SIGHUP)
        before = "".join(lines_until(child.stderr, "config.reloaded"))
        secrets = "key=very-secret&%74oken=very-secret&auth_token=very-secret&ticket=very-secret&code=very-secret"
        ask(port, f"/healthz?page=2&{secrets}", Authorization="Bearer very-secret", Cookie="session=very-secret")
        child.send_signal(signal.SIGTERM)
        told = child.stderr.read()
    assert "/healthz" not in before
    [line] = [json.loads(line) for line in told.splitlines() if '"path": "/healthz"' in line]
    assert (line["event"], line["level"], line["status"], line["method"]) == ("request", "info", 200, "GET")
    assert line["query"].startswith("page=2&key=[cut]&")
    assert "very-secret" not in told


def test_wrong_configuration_ends_with_status_2_and_one_line_each(tmp_path: Path) -> None:
    with process(tmp_path, "[server]\ndrain = 1\n[log]\nlevel = 1\n") as child:
        assert child.wait(15) == 2
        assert child.stderr is not None
        told = child.stderr.read().splitlines()
        assert len(told) == 2
        assert f"{tmp_path}/appliance.toml:2: [server] drain = 1" in told[0]


def test_a_busy_port_ends_with_status_1_a_message_and_a_hint(tmp_path: Path) -> None:
    [taken] = bind(parse_address("127.0.0.1:0"))
    with taken, process(tmp_path, listen=f"127.0.0.1:{taken.getsockname()[1]}") as child:
        assert child.wait(15) == 1
        assert child.stderr is not None
        told = child.stderr.read()
        assert f"(pid {os.getpid()}," in told
        assert " hint: stop that program, or listen elsewhere: appliance serve --listen 127.0.0.1:" in told
        assert "Traceback" not in told


def test_a_kill_before_ready_counts_as_a_failed_start_and_after_ready_does_not(tmp_path: Path) -> None:
    with process(tmp_path) as child:
        wait_for_port(child)
        assert child.stderr is not None
        lines_until(child.stderr, '"ready"')
        child.kill()
        child.wait(15)
    assert not (tmp_path / "data" / "run" / "failed-starts").exists()


def test_a_plugin_gets_its_settings_its_tables_and_its_folder(tmp_path: Path) -> None:
    dropped = tmp_path / "data" / "plugins"
    dropped.mkdir(parents=True, mode=0o700)
    (tmp_path / "data").chmod(0o700)
    (dropped / "hooks.py").write_text(HOOKS)
    (dropped / "hooks.py").chmod(0o600)
    with process(tmp_path, "[plugins.hooks]\nlimit_celsius = 70\n") as child:
        wait_for_port(child)
    assert (tmp_path / "data" / "plugin-data" / "hooks" / "limit").read_text() == "70.0"
