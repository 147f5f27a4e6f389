"""The install line, run by real shells against a small server."""

import hashlib
import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from plugins.gpu_sharing.install import Build, builds_of, install_line
from plugins.gpu_sharing.releases import Release, Releases

AGENT = b"""#!/bin/sh
{
  echo "ran $*"
  echo "token $GPU_GO_TOKEN"
  echo "server $GPU_GO_ENDPOINT"
  for pid in $$ $PPID; do tr '\\0' ' ' < /proc/$pid/cmdline; echo; done
} > "$RECORD"
"""
SHA256 = hashlib.sha256(AGENT).hexdigest()
TOKEN = "install_0123456789"
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]


class Mirror(BaseHTTPRequestHandler):
    """Serves the agent under every path but one."""

    def do_GET(self) -> None:
        found = not self.path.endswith("missing")
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(AGENT) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(AGENT)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def builds(url: str, sha256: str = SHA256) -> list[Build]:
    return [Build(arch=arch, url=url, sha256=sha256) for arch in ("amd64", "arm64")]


def run(shell: str, line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Feed the line to a shell as a person does: its own command line says nothing."""
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "RECORD": str(folder / "record"),
        "GGO_INSTALL_DIR": str(folder / "bin"),
    }
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.run(
        [shell],
        input=f"{line}\necho after $?\n",
        capture_output=True,
        text=True,
        env=variables | environment,
        cwd=folder,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_line_fetches_checks_installs_and_registers_with_the_token_in_the_environment(
    shell: str, mirror: str, tmp_path: Path
) -> None:
    done = run(shell, install_line(builds(f"{mirror}/ggo"), server=mirror, token=TOKEN), tmp_path)
    assert done.stdout == f"start it with: {tmp_path}/bin/ggo agent start\nafter 0\n", done
    assert (tmp_path / "bin" / "ggo").read_bytes() == AGENT
    record = (tmp_path / "record").read_text().splitlines()
    assert record[:3] == ["ran agent register", f"token {TOKEN}", f"server {mirror}"]
    assert not any(TOKEN in command_line for command_line in record[3:])
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_file_with_another_hash_is_neither_run_nor_kept(shell: str, mirror: str, tmp_path: Path) -> None:
    line = install_line(builds(f"{mirror}/ggo", hashlib.sha256(b"another").hexdigest()), server=mirror, token=TOKEN)
    done = run(shell, line, tmp_path)
    assert "is not what this line was made for: nothing was run" in done.stderr
    assert done.stdout == "after 1\n"  # and the person's shell goes on
    assert not (tmp_path / "record").exists()
    assert not (tmp_path / "bin").exists()
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_what_cannot_be_fetched_is_told_and_nothing_runs(shell: str, mirror: str, tmp_path: Path) -> None:
    done = run(shell, install_line(builds(f"{mirror}/missing"), server=mirror, token=TOKEN), tmp_path)
    assert f"cannot fetch {mirror}/missing" in done.stderr
    assert done.stdout == "after 1\n"
    assert not (tmp_path / "record").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_machine_without_a_build_is_told(shell: str, mirror: str, tmp_path: Path) -> None:
    (tmp_path / "fake").mkdir()
    uname = tmp_path / "fake" / "uname"
    uname.write_text('#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo riscv64\n')
    uname.chmod(0o755)
    line = install_line(builds(f"{mirror}/ggo"), server=mirror, token=TOKEN)
    done = run(shell, line, tmp_path, PATH=f"{tmp_path}/fake:{os.environ['PATH']}")
    assert "there is no agent for Linux/riscv64" in done.stderr
    assert done.stdout == "after 1\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_each_kind_of_machine_gets_its_own_build(shell: str, mirror: str, tmp_path: Path) -> None:
    (tmp_path / "fake").mkdir()
    uname = tmp_path / "fake" / "uname"
    uname.write_text('#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo aarch64\n')
    uname.chmod(0o755)
    both = [
        Build(arch="amd64", url=f"{mirror}/missing", sha256="0" * 64),
        Build(arch="arm64", url=f"{mirror}/ggo", sha256=SHA256),
    ]
    line = install_line(both, server=mirror, token=TOKEN)
    assert "after 0" in run(shell, line, tmp_path, PATH=f"{tmp_path}/fake:{os.environ['PATH']}").stdout


HOSTILE = "a'b\"c$(touch owned)`touch owned`;touch owned #\\"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("has_builds", [True, False])
def test_no_value_of_the_line_is_looked_at_by_the_shell(
    shell: str, has_builds: bool, mirror: str, tmp_path: Path
) -> None:
    agent = tmp_path / "fake" / "ggo"
    agent.parent.mkdir()
    agent.write_bytes(AGENT)
    agent.chmod(0o755)
    # %27 and the like are the server's business; what must survive is any text at all
    made = builds(f"{mirror}/{HOSTILE}".replace(" ", "%20").replace("#", "%23")) if has_builds else []
    line = install_line(made, server=f"{mirror}/{HOSTILE}", token=HOSTILE)
    run(shell, line, tmp_path, PATH=f"{tmp_path}/fake:{os.environ['PATH']}")
    assert not (tmp_path / "owned").exists()
    record = (tmp_path / "record").read_text().splitlines()
    assert record[:3] == ["ran agent register", f"token {HOSTILE}", f"server {mirror}/{HOSTILE}"]


@pytest.mark.parametrize("shell", SHELLS)
def test_without_builds_the_line_needs_an_agent_and_says_so(shell: str, tmp_path: Path) -> None:
    done = run(shell, install_line([], server="http://127.0.0.1", token=TOKEN), tmp_path)
    assert "this host has no ggo" in done.stderr
    assert done.stdout == "after 1\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_agent_goes_home_where_no_folder_is_named_and_the_usual_one_is_not_writable(
    shell: str, mirror: str, tmp_path: Path
) -> None:
    line = install_line(builds(f"{mirror}/ggo"), server=mirror, token=TOKEN)
    read_only = line.replace("/usr/local/bin", "/nowhere/at/all")
    done = run(shell, read_only, tmp_path, GGO_INSTALL_DIR="")
    assert f"start it with: {tmp_path}/home/.local/bin/ggo agent start" in done.stdout, done


def test_line_is_one_line_and_every_word_of_it_can_be_read_by_a_shell() -> None:
    line = install_line(builds("http://h/ggo"), server="http://h", token=TOKEN)
    assert "\n" not in line
    assert shlex.split(line)[0] == "("
    assert SHA256 in line


@pytest.mark.parametrize("sha256", ["", "0" * 63, "A" * 64, "0" * 64 + "\n", "$(id)" + "0" * 59])
def test_build_without_a_hash_cannot_be_made(sha256: str) -> None:
    with pytest.raises(ValueError, match="sha256"):
        Build(arch="amd64", url="http://h/ggo", sha256=sha256)


async def test_newest_agents_of_the_mirror_are_taken(tmp_path: Path) -> None:
    releases = Releases(tmp_path / "releases")
    source = tmp_path / "source"
    source.write_bytes(AGENT)
    for name, version, arch, kind in (
        ("ggo-1", "1.0.0", "amd64", "cli"),
        ("ggo-2", "1.10.0", "amd64", "cli"),
        ("ggo-3", "1.9.0", "amd64", "cli"),
        ("worker", "9.0.0", "arm64", "remote-gpu-worker"),
    ):
        wanted = Release(
            name=name,
            vendor="nvidia",
            version=version,
            type=kind,
            arch=arch,
            sha256="0" * 64,
            size_bytes=0,
            added_unix_us=1,
        )
        await releases.add(source, wanted)
    [build] = builds_of(releases, "http://h/base/")
    assert build == Build(arch="amd64", url="http://h/base/api/ecosystem/releases/files/ggo-2", sha256=SHA256)
