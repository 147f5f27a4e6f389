"""The command lines of ssh, and what its words mean."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadInput, NotAvailable
from plugins.build_swarm.ssh_command import (
    SshFailed,
    Way,
    command_line,
    control_line,
    keyscan_line,
    option_value,
    put_script,
    remote_command,
    said_of,
    terminal_line,
    trouble_of,
    words_of,
)
from tests.plugins.build_swarm.ssh_kit import an_approval

WAY = Way(known_hosts=Path("/data/plugin-data/build_swarm/known_hosts"), identity=Path("/data/id_ed25519"))
SHA = "0" * 64


def test_command_line_is_the_documented_one_and_ends_with_host_and_command() -> None:
    line = command_line(WAY, an_approval(port=2222, user="builder"), ["echo", "a b"], socket=Path("/run/s/x"))
    assert line[:11] == [
        "ssh",
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "UserKnownHostsFile=/data/plugin-data/build_swarm/known_hosts",
        "-o",
        "ForwardAgent=no",
    ]
    assert line[-3:] == ["--", "192.0.2.1", "echo 'a b'"]
    given = set(line[4:-3:2])
    assert {
        "Port=2222",
        "User=builder",
        "IdentityFile=/data/id_ed25519",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
    } <= given
    assert {"GlobalKnownHostsFile=/dev/null", "UpdateHostKeys=no", "ConnectTimeout=10"} <= given
    assert {"ControlMaster=auto", "ControlPath=/run/s/x", "ControlPersist=60"} <= given


def test_options_are_such_as_ssh_reads_with_the_meaning_that_is_meant() -> None:
    line = command_line(WAY, an_approval(port=2222, user="builder"), ["true"], socket=Path("/run/s/x"))
    read = subprocess.run([*line[:1], "-G", *line[1:-1]], capture_output=True, text=True, check=True).stdout
    known = dict(one.split(" ", 1) for one in read.splitlines() if " " in one)
    assert known["batchmode"] == "yes"
    assert known["stricthostkeychecking"] in ("true", "yes")
    assert known["userknownhostsfile"] == str(WAY.known_hosts)
    assert known["globalknownhostsfile"] == "/dev/null"
    assert known["forwardagent"] == "no"
    assert (known["hostname"], known["port"], known["user"]) == ("192.0.2.1", "2222", "builder")
    assert known["identityfile"] == str(WAY.identity)
    assert known["controlpath"] == "/run/s/x"
    assert known["permitlocalcommand"] == "no"


def test_terminal_has_a_connection_of_its_own_and_no_escape_character() -> None:
    line = terminal_line(WAY, an_approval())
    assert line[-5:] == ["-e", "none", "-tt", "--", "192.0.2.1"]
    assert "ControlPath=none" in line


def test_orders_to_a_shared_connection_name_its_socket() -> None:
    line = control_line(WAY, an_approval(), "exit", Path("/run/s/x"))
    assert line[-4:] == ["-O", "exit", "--", "192.0.2.1"]
    assert "ControlPath=/run/s/x" in line


def test_host_keys_are_asked_of_address_and_port() -> None:
    assert keyscan_line("::1", 2222, 5) == ["ssh-keyscan", "-T", "5", "-p", "2222", "-t", "ed25519,ecdsa,rsa", "::1"]


ARGUMENTS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), max_size=5)


@given(arguments=ARGUMENTS)
def test_shell_gives_every_program_the_arguments_that_were_meant(arguments: list[str]) -> None:
    command = remote_command(["printf", "%s\\0", *arguments])
    ran = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True)
    assert ran.stdout.decode() == "".join(f"{one}\0" for one in arguments or [""])


@pytest.mark.parametrize("argv", [[], ["a\0b"], ["x" * 70_000]])
def test_command_that_no_shell_can_be_given_is_refused(argv: list[str]) -> None:
    with pytest.raises(BadInput):
        remote_command(argv)


@pytest.mark.parametrize("path", ["/a/${HOME}/b", "~/x", "/a\nb"])
def test_path_that_no_option_can_hold_makes_ssh_unavailable(path: str) -> None:
    with pytest.raises(NotAvailable, match="ssh is not available because"):
        option_value(Path(path))


@pytest.mark.parametrize(
    ("status", "said", "meaning"),
    [
        (255, "ssh: connect to host 192.0.2.1 port 22: Connection refused", "unreachable"),
        (255, "ssh: connect to host 192.0.2.1 port 22: No route to host", "unreachable"),
        (255, "ssh: connect to host 192.0.2.1 port 22: Connection timed out", "timeout"),
        (255, "Connection timed out during banner exchange", "timeout"),
        (255, "root@192.0.2.1: Permission denied (publickey).", "refused"),
        (255, "Host key verification failed.", "host_key_changed"),
        (255, "@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@", "host_key_changed"),
        (255, "kex_exchange_identification: Connection closed by remote host", "unreachable"),
        (255, "mux_client_request_session: read from master failed: Broken pipe", "unreachable"),
        (-15, "", "unreachable"),
        (255, "the command itself says 255", None),
        (1, "Permission denied (publickey).", None),
        (0, "", None),
    ],
)
def test_words_of_ssh_are_understood_and_those_of_commands_are_not(status: int, said: str, meaning: str | None) -> None:
    assert trouble_of(status, said) == meaning


def test_what_ssh_says_becomes_one_line_without_control_characters() -> None:
    assert words_of("@@@@@@\n@ WARNING: \x1b[31mred @\n\nfailed.\r\n") == "@ WARNING:  [31mred @; failed."
    assert len(words_of("x" * 10_000)) == 500


def test_changed_host_key_is_told_in_one_line_without_our_folders() -> None:
    page = (
        "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nAdd correct host key in /var/lib/appliance/known_hosts\n"
    )
    assert said_of("host_key_changed", page) == (
        "it does not show the host key that was approved: Host key verification failed."
    )
    assert said_of("refused", "root@192.0.2.1: Permission denied (publickey).\n").endswith("denied (publickey).")
    assert said_of("unreachable", "") == "the connection ended"


@pytest.mark.parametrize("path", ["relative", "/", "/a/", "/a/../b", "/a/./b", "/a\nb", "/a\0b", ""])
def test_file_is_stored_under_absolute_paths_alone(path: str) -> None:
    with pytest.raises(BadInput):
        put_script(path, mode=0o644, sha256=SHA, owner="root")


@pytest.mark.parametrize(
    "wrong",
    [{"sha256": "0" * 63}, {"sha256": "G" * 64}, {"mode": 0o10000}, {"mode": -1}, {"owner": "a b"}, {"owner": "-x"}],
)
def test_file_is_not_stored_with_a_hash_mode_or_owner_that_is_none(wrong: dict[str, Any]) -> None:
    options: dict[str, Any] = {"mode": 0o644, "sha256": SHA, "owner": "root"}
    with pytest.raises(BadInput):
        put_script("/a/b", **{**options, **wrong})


def test_failure_names_the_drone_and_the_command_that_helps() -> None:
    failed = SshFailed("host_key_changed", "Host key verification failed.", drone_name="drone-01")
    assert (failed.status, failed.message) == (502, "drone-01: Host key verification failed.")
    assert "appliance swarm approve drone-01" in failed.hint
