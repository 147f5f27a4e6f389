"""Commands where no appliance runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ROOT, Said, command

Alone = Callable[..., Said]


def test_looking_at_the_host_needs_no_appliance_and_leaves_nothing_behind(alone: Alone, tmp_path: Path) -> None:
    devices = json.loads(alone("devices", "--json").out)
    assert {"items", "next", "backends"} <= devices.keys()
    assert {one["name"] for one in devices["backends"]} == {"amd", "nvidia"}
    assert alone("ps").status == 0
    assert "memory" in alone("top").out
    host = json.loads(alone("top", "--json").out)["host"]
    assert host["latest"]["memory_total_bytes"] > 0
    assert not (tmp_path / "data").exists()


def test_doctor_finds_this_host_well_or_says_what_to_do_and_changes_nothing(alone: Alone, tmp_path: Path) -> None:
    said = alone("doctor")
    assert said.status in {0, 1, 2}
    assert "SQLite" in said.out
    assert "nvidia" in said.out
    found = json.loads(alone("doctor", "--json").out)["items"]
    assert all(one["fix"] for one in found if one["level"] == "error")
    assert not (tmp_path / "data").exists()


def test_doctor_names_a_port_that_is_taken_with_a_way_out(alone: Alone) -> None:
    with socket.socket() as busy:
        try:
            busy.bind(("127.0.0.1", 1994))
        except OSError:
            pytest.skip("port 1994 is taken on this machine")
        busy.listen()
        said = alone("doctor")
    assert "port 1994 is in use" in said.out
    assert "--listen" in said.out
    assert said.status >= 1


def test_doctor_calls_an_open_data_directory_an_error(alone: Alone, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    said = alone("doctor")
    assert said.status == 2
    assert f"fix: chmod 700 {tmp_path / 'data'}" in said.out


def test_people_and_tokens_are_reached_in_the_database(alone: Alone) -> None:
    missing = alone("user", "list")
    assert missing.status == 1
    assert "appliance serve" in missing.err
    assert alone("user", "add", "ana", "--role", "admin", "--password-stdin", stdin="a long password\n").status == 0
    assert "ana" in alone("user", "list").out
    assert "shown once" in alone("token", "create", "scrape").out
    assert "whole" in alone("audit", "verify").out


def test_what_needs_a_running_appliance_says_so(alone: Alone) -> None:
    said = alone("config", "reload")
    assert said.status == 1
    assert "not running" in said.err


def test_every_mistake_of_a_configuration_is_told_and_the_status_is_two(alone: Alone, tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text('[devices]\nsample_second = 2\n[log]\nlevel = "loud"\n')
    said = alone("config", "check", "--config", str(file))
    assert said.status == 2
    assert f"{file}:2" in said.err
    assert "sample_seconds" in said.err
    assert f"{file}:4" in said.err


def test_config_init_writes_a_file_that_checks_and_never_overwrites_one(alone: Alone, tmp_path: Path) -> None:
    file = tmp_path / "made" / "appliance.toml"
    assert alone("config", "init", "--config", str(file)).status == 0
    assert alone("config", "check", "--config", str(file)).status == 0
    again = alone("config", "init", "--config", str(file))
    assert again.status == 1
    assert "--force" in again.err
    assert alone("config", "init", "--force", "--config", str(file)).status == 0
    shown = json.loads(alone("config", "show", "--json", "--config", str(file)).out)
    assert {"key", "value", "origin"} <= shown["items"][0].keys()


def test_plugins_list_shows_a_broken_one_with_its_reason(alone: Alone, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "plugins"
    folder.mkdir(mode=0o700, parents=True)
    (tmp_path / "data").chmod(0o700)
    (folder / "broken.py").write_text("raise RuntimeError('no sensor')")
    (folder / "broken.py").chmod(0o600)
    said = alone("plugins", "list")
    line = next(line for line in said.out.splitlines() if line.startswith("broken"))
    assert "failed" in line
    assert "no sensor" in line


def test_plugins_new_writes_a_plugin_that_loads(alone: Alone, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "plugins"
    folder.mkdir(mode=0o700, parents=True)
    (tmp_path / "data").chmod(0o700)
    assert alone("plugins", "new", "hello", "--folder", str(folder)).status == 0
    (folder / "hello.py").chmod(0o600)
    line = next(line for line in alone("plugins", "list").out.splitlines() if line.startswith("hello"))
    assert "found" in line
    assert alone("plugins", "new", "hello", "--folder", str(folder)).status == 1
    assert alone("plugins", "new", "no-name", "--folder", str(folder)).status == 1


def test_plugins_run_serves_a_plugin_on_a_data_directory_that_goes_at_the_end(tmp_path: Path, alone: Alone) -> None:
    assert alone("plugins", "new", "hello", "--folder", str(tmp_path)).status == 0
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "TMPDIR": str(scratch)}
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", "plugins", "run", str(tmp_path / "hello.py")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            url = next(line.split()[1] for line in child.stdout if line.startswith(" Open"))
            with urllib.request.urlopen(url.partition("/setup")[0] + "/api/hello/greeting", timeout=30) as answer:
                assert json.load(answer) == {"hello": "local process"}
        finally:
            child.send_signal(signal.SIGINT)
        assert child.wait(15) == 0
    assert list(scratch.iterdir()) == []
    assert "is no plugin" in alone("plugins", "run", str(scratch.parent / "scratch" / "..")).err


def test_completion_scripts_are_printed_for_three_shells(alone: Alone) -> None:
    for shell in ("bash", "zsh", "fish"):
        said = alone("completion", shell)
        assert said.status == 0
        assert "_APPLIANCE_COMPLETE" in said.out


def test_a_usage_error_exits_two_and_a_wrong_command_is_named(alone: Alone) -> None:
    said = alone("frobnicate")
    assert said.status == 2
    assert "frobnicate" in said.err


def test_serve_refuses_a_data_directory_that_others_can_read_and_says_what_to_do(alone: Alone, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data").chmod(0o755)
    said = alone("serve", "--listen", "127.0.0.1:0")
    assert said.status == 1
    assert "chmod" in said.err


def stranger_readable(path: Path) -> bool:
    """Whether every folder on the way to ``path`` lets everybody through."""
    return all(place.stat().st_mode & 0o005 == 0o005 for place in (path, *path.parents))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act on another's data directory")
def test_root_becomes_the_owner_of_the_data_directory() -> None:
    system = f"/usr/bin/python3.{sys.version_info.minor}"
    site = Path(next(path for path in sys.path if path.endswith("site-packages")))
    if not Path(system).exists() or not stranger_readable(site) or not stranger_readable(ROOT):
        pytest.skip(f"needs {system}, and packages and sources that other users may read")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        data.mkdir(mode=0o700)
        os.chown(data, 65534, 65534)
        said = command(
            data,
            *("user", "add", "ana", "--role", "admin", "--password-stdin"),
            stdin="a long password\n",
            python=system,
            PYTHONPATH=f"{ROOT}:{site}",
            PYTHONDONTWRITEBYTECODE="1",
        )
        assert said.status == 0, said.err
        assert {path.stat().st_uid for path in data.rglob("*")} == {65534}
