"""The script that makes a Gentoo host a drone, run by a real shell with the host's programs stood in by others."""

import hashlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from attrs import define, field

from plugins.build_swarm.provisioning import FILE_PATH, bootstrap_script

PROGRAM = b"#!/usr/bin/env python3\n# what drones run\n"
SHA256 = hashlib.sha256(PROGRAM).hexdigest()
STANDING_IN = ("emerge", "rc-update", "rc-service", "systemctl")

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("curl") is None, reason="needs root and curl")


@define
class Mirror:
    """A server that gives one file, and remembers who asked."""

    url: str
    content: bytes = PROGRAM
    credentials: list[str] = field(factory=list)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    made = Mirror("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.credentials.append(self.headers.get("Authorization", ""))
            found = self.path == FILE_PATH
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(made.content) if found else 0))
            self.end_headers()
            if found:
                self.wfile.write(made.content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.url = f"http://127.0.0.1:{server.server_port}"
        yield made
        server.shutdown()


@define
class Ground:
    """A folder that stands in for the root of a Gentoo host."""

    folder: Path

    def run(self, script: str, *arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
        for path in ("/opt/appliance", "/etc/appliance-drone.env", "/etc/init.d", "/run/systemd", "/etc/systemd"):
            script = script.replace(path, f"{self.folder}{path}")
        programs = self.folder / "programs"
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", "CALLS": str(self.folder / "calls")}
        if token:
            environment["SWARM_TOKEN"] = token
        return subprocess.run(
            ["sh", "-s", "--", *arguments],
            input=script,
            text=True,
            capture_output=True,
            env=environment,
            cwd=self.folder,
            timeout=60,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in STANDING_IN:
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "$CALLS"\n')
        (programs / name).chmod(0o755)
    (tmp_path / "etc" / "init.d").mkdir(parents=True)
    return Ground(tmp_path)


def test_host_gets_the_checked_file_its_credential_and_a_service(ground: Ground, mirror: Mirror) -> None:
    script = bootstrap_script(server=mirror.url, sha256=SHA256, name="drone-1")
    done = ground.run(script, token="drone_abc123")
    assert done.returncode == 0, done.stderr
    assert (ground.folder / "opt/appliance/appliance.pyz").read_bytes() == PROGRAM
    settings = ground.folder / "etc/appliance-drone.env"
    assert settings.stat().st_mode & 0o777 == 0o600
    assert settings.read_text().splitlines() == [
        f"SWARM_SERVER={mirror.url}",
        "SWARM_NAME=drone-1",
        "APPLIANCE_TOKEN=drone_abc123",
    ]
    assert mirror.credentials == ["Bearer drone_abc123"]
    assert ground.calls == ["rc-update add appliance-drone default", "rc-service appliance-drone restart"]
    service = (ground.folder / "etc/init.d/appliance-drone").read_text()
    assert 'drone --server $SWARM_SERVER --name $SWARM_NAME"' in service
    assert "drone_abc123" not in service


def test_service_of_systemd_is_made_where_that_runs(ground: Ground, mirror: Mirror) -> None:
    (ground.folder / "run/systemd/system").mkdir(parents=True)
    (ground.folder / "etc/systemd/system").mkdir(parents=True)
    done = ground.run(bootstrap_script(server=mirror.url, sha256=SHA256), "drone-2")
    assert done.returncode == 0, done.stderr
    unit = (ground.folder / "etc/systemd/system/appliance-drone.service").read_text()
    assert "drone --server ${SWARM_SERVER} --name ${SWARM_NAME}\n" in unit
    assert ground.calls == [
        "systemctl daemon-reload",
        "systemctl enable appliance-drone",
        "systemctl restart appliance-drone",
    ]
    assert "SWARM_NAME=drone-2" in (ground.folder / "etc/appliance-drone.env").read_text()


def test_nothing_is_left_or_run_when_the_file_has_another_hash(ground: Ground, mirror: Mirror) -> None:
    mirror.content = b"something else"
    done = ground.run(bootstrap_script(server=mirror.url, sha256=SHA256, name="drone-1"))
    assert done.returncode == 1
    assert "another hash" in done.stderr
    assert list((ground.folder / "opt/appliance").iterdir()) == []
    assert ground.calls == []


def test_another_server_can_be_named_as_the_older_scripts_take_it(ground: Ground, mirror: Mirror) -> None:
    script = bootstrap_script(server="http://192.0.2.1:8100", sha256=SHA256)
    done = ground.run(script, "--cp-url", mirror.url, "--name", "drone-3")
    assert done.returncode == 0, done.stderr
    assert f"SWARM_SERVER={mirror.url}" in (ground.folder / "etc/appliance-drone.env").read_text()


@pytest.mark.parametrize(
    ("arguments", "token"),
    [
        (["--cp-url", "http://a$(touch${IFS}bad)"], ""),
        (["--cp-url", "file:///etc/passwd"], ""),
        (["$(touch bad)"], ""),
        (["-x"], ""),
        (["drone-1"], "a b"),
    ],
)
def test_what_is_no_name_url_or_credential_is_refused_before_anything_is_fetched(
    ground: Ground, mirror: Mirror, arguments: list[str], token: str
) -> None:
    done = ground.run(bootstrap_script(server=mirror.url, sha256=SHA256), *arguments, token=token)
    assert done.returncode == 2
    assert mirror.credentials == []
    assert not (ground.folder / "bad").exists()


def test_values_are_quoted_for_the_shell(ground: Ground, mirror: Mirror) -> None:
    done = ground.run(bootstrap_script(server="http://x/';touch bad;'", sha256=SHA256))
    assert done.returncode == 2
    assert not (ground.folder / "bad").exists()


def test_script_that_was_cut_does_nothing(ground: Ground, mirror: Mirror) -> None:
    script = bootstrap_script(server=mirror.url, sha256=SHA256, name="drone-1")
    for length in (len(script) // 2, len(script) - 60):
        ground.run(script[:length])
    assert mirror.credentials == ground.calls == []


def test_service_that_does_not_start_is_told_with_its_own_words(ground: Ground, mirror: Mirror) -> None:
    program = ground.folder / "programs" / "rc-service"
    program.write_text("#!/bin/sh\necho 'no such runlevel' >&2\nexit 1\n")
    done = ground.run(bootstrap_script(server=mirror.url, sha256=SHA256, name="drone-1"))
    assert done.returncode == 1
    assert "no such runlevel" in done.stderr
    assert "rc-service appliance-drone restart has failed" in done.stderr


def test_service_that_keeps_what_it_was_started_with_keeps_nobody_waiting(ground: Ground, mirror: Mirror) -> None:
    program = ground.folder / "programs" / "rc-service"
    program.write_text('#!/bin/sh\nsleep 1000 &\necho $! > "$CALLS"\n')
    try:
        assert ground.run(bootstrap_script(server=mirror.url, sha256=SHA256, name="drone-1")).returncode == 0
    finally:
        os.kill(int(ground.calls[0]), signal.SIGKILL)


def test_hash_that_is_none_makes_no_script() -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        bootstrap_script(server="http://x", sha256="$(id)")
