"""``appliance drone``: what it refuses, what it takes for granted, and where its token comes from."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from plugins.build_swarm.drone.command import drone, options_of, parser, token_of
from plugins.build_swarm.drone.portage import packages_folder
from plugins.build_swarm.drone.spool import Spool


class Failed(Exception):
    """What a command raises to be printed."""


@define
class Api:
    """As much of a command's API as this one uses."""

    server: str = "http://127.0.0.1:9"
    said: list[str] = field(factory=list)

    def say(self, text: str, *, end: str = "\n", to_stderr: bool = False) -> None:
        self.said.append(text)

    def fail(self, message: str, *, hint: str = "") -> Exception:
        return Failed(f"{message} ({hint})")


def options(*arguments: str) -> Any:
    return options_of(parser().parse_args(["--id", "id-1", "--name", "drone-1", *arguments]))


@pytest.mark.parametrize(
    ("server", "arguments", "said"),
    [
        ("", (), "--server URL is needed"),
        ("ftp://x", (), "is no http"),
        ("http://user:secret@x", (), "--token-file"),
        ("http://x", ("--name", "a b"), "--name"),
        ("http://x", ("--id", "../x"), "--id"),
        ("http://x", ("--env", "nothing"), "--env"),
        ("http://x", ("--env", "1A=x"), "--env"),
        ("http://x", ("--heartbeat-seconds", "-1"), "--heartbeat-seconds"),
        ("http://x", ("--poll-seconds", "nan"), "--poll-seconds"),
        ("http://x", ("--build-hours", "inf"), "--build-hours"),
        ("http://x", ("--build-command", ""), "--build-command"),
        ("http://x", ("--build-command", "'"), "--build-command"),
        ("http://x", ("--type", "queen"), "--type"),
        ("http://x", ("--token", "secret"), "unrecognized arguments"),
    ],
)
def test_usage_error_names_its_option_and_exits_2(
    server: str, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        drone(Api(server), ["--id", "id-1", "--name", "drone-1", *arguments])  # type: ignore[arg-type]
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_program_that_is_not_here_is_told_before_anything_is_promised(tmp_path: Path) -> None:
    arguments = ["--id", "x", "--name", "y", "--build-command", "no-such-program {atom}", "--state-dir", str(tmp_path)]
    with pytest.raises(Failed, match="there is no 'no-such-program'"):
        drone(Api(), arguments)  # type: ignore[arg-type]


def test_second_drone_with_the_same_memory_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.open()
    arguments = [
        "--id",
        "x",
        "--name",
        "y",
        "--build-command",
        f"{sys.executable} {{atom}}",
        "--state-dir",
        str(tmp_path),
    ]
    with pytest.raises(Failed, match="another drone works"):
        drone(Api(), arguments)  # type: ignore[arg-type]
    spool.close()


def test_one_that_ends_at_once_fails_where_nothing_answers(tmp_path: Path) -> None:
    api = Api()
    command = f"{sys.executable} {{atom}}"
    arguments = ["--id", "x", "--name", "y", "--build-command", command, "--state-dir", str(tmp_path), "--once"]
    assert drone(api, [*arguments, "--poll-seconds", "0.05"]) == 1  # type: ignore[arg-type]
    assert any("without a token no binary packages are uploaded" in line for line in api.said)
    assert any("no good answer from the server" in line for line in api.said)


def test_defaults_are_those_of_a_gentoo_host() -> None:
    found = options()
    assert found.build_argv[0] == "emerge"
    assert {"--buildpkg", "--usepkg", "{atom}"} <= set(found.build_argv)
    assert found.sync_argv == ("emerge", "--sync")
    assert (found.heartbeat_seconds, found.poll_seconds, found.build_seconds) == (30.0, 30.0, 86_400.0)
    assert found.cores == len(os.sched_getaffinity(0))
    assert not found.auto_reboot
    assert found.tree == Path("/var/db/repos/gentoo")


def test_options_are_taken(tmp_path: Path) -> None:
    found = options(
        "--build-command", "nice -n 19 make '{atom} x'", "--sync-command", "", "--env", "PKGDIR=/srv/pkgs",
        "--env", "MAKEOPTS=-j4 -l8", "--cores", "3", "--auto-reboot", "--no-logs", "--type", "sweeper",
        "--state-dir", str(tmp_path),
    )  # fmt: skip
    assert found.build_argv == ("nice", "-n", "19", "make", "{atom} x")
    assert found.sync_argv == ()
    assert found.environment == {"PKGDIR": "/srv/pkgs", "MAKEOPTS": "-j4 -l8"}
    assert (found.pkgdir, found.state_dir) == (Path("/srv/pkgs"), tmp_path)
    assert (found.cores, found.kind, found.auto_reboot, found.sends_logs) == (3, "sweeper", True, False)


def test_token_is_read_from_a_file_and_never_left_in_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret-of-the-drone\n")
    assert token_of(Api(), str(file)) == "secret-of-the-drone"  # type: ignore[arg-type]
    for content in (b"", b"\n", b"\xff\xfe", b"a\x00b"):
        file.write_bytes(content)
        with pytest.raises(Failed):
            token_of(Api(), str(file))  # type: ignore[arg-type]
    with pytest.raises(Failed):
        token_of(Api(), str(tmp_path / "nothing"))  # type: ignore[arg-type]


def test_token_comes_by_standard_input_too(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(b"from-a-pipe\n"))
    try:
        assert token_of(Api(), "-") == "from-a-pipe"  # type: ignore[arg-type]
    finally:
        sys.stdin = before
    monkeypatch.setenv("APPLIANCE_TOKEN", "from-the-environment")
    assert token_of(Api(), "") == "from-the-environment"  # type: ignore[arg-type]
    assert "APPLIANCE_TOKEN" not in os.environ


def test_folder_of_packages_is_the_usual_one_where_nobody_can_be_asked() -> None:
    assert packages_folder().is_absolute()
