"""Host keys of drones."""

import base64
import stat
import subprocess
from pathlib import Path

import pytest

from appliance.errors import BadInput, StorageFailed
from plugins.build_swarm.host_keys import HostKey, read_scanned, write_known_hosts
from tests.plugins.build_swarm.ssh_kit import HOST_KEY, OTHER_KEY


def made(folder: Path, kind: str) -> str:
    """Return a fresh public key."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(folder / kind)], check=True)
    return (folder / f"{kind}.pub").read_text()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_fingerprint_is_that_of_openssh(tmp_path: Path, kind: str) -> None:
    key = HostKey.read(made(tmp_path, kind))
    line = ["ssh-keygen", "-lf", str(tmp_path / f"{kind}.pub")]
    assert key.fingerprint == subprocess.run(line, check=True, capture_output=True, text=True).stdout.split()[1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 !!!",
        "ssh-dss AAAAB3NzaC1kc3M=",
        "ssh-rsa " + HOST_KEY.split()[1],
        "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519").decode(),
        HOST_KEY + "\n* " + OTHER_KEY,
        "x" * 20_000,
    ],
)
def test_text_that_is_no_host_key_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        HostKey.read(text)


def test_comment_of_a_key_is_no_part_of_it() -> None:
    assert HostKey.read(f"  {HOST_KEY}  root@drone ").text == HOST_KEY


def test_port_is_named_in_known_hosts_only_where_it_is_not_the_usual_one() -> None:
    key = HostKey.read(HOST_KEY)
    assert key.line("192.0.2.1", 22) == f"192.0.2.1 {HOST_KEY}"
    assert key.line("192.0.2.1", 2222) == f"[192.0.2.1]:2222 {HOST_KEY}"
    assert key.line("2001:db8::1", 2222) == f"[2001:db8::1]:2222 {HOST_KEY}"


def test_best_key_of_a_host_is_ed25519(tmp_path: Path) -> None:
    rsa, own = made(tmp_path, "rsa"), HOST_KEY
    text = f"# 192.0.2.1:22 SSH-2.0\n192.0.2.1 {rsa}\n192.0.2.1 {own}\n192.0.2.1 garbage\n"
    found = read_scanned(text)
    assert [key.type for key in found] == ["ssh-ed25519", "ssh-rsa"]


def test_known_hosts_is_written_whole_and_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    write_known_hosts(path, ["one", "two"])
    write_known_hosts(path, ["three"])
    assert path.read_text() == "three\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["known_hosts"]


def test_known_hosts_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="known_hosts cannot be written"):
        write_known_hosts(tmp_path / "nowhere" / "known_hosts", [])
