"""The command lines of ssh, what its words mean, and the scripts that run on drones. Pure.

No value ever reaches a shell unquoted: ours is not used at all (programs get argument lists), and what the drone's
shell reads is made by `shlex.join`. Options and messages are those of ssh(1), ssh_config(5) and OpenSSH 8.2 to 9.9.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from attrs import frozen

from appliance.plugin import ApplianceError, BadInput, NotAvailable

from .approval import Approval

Trouble = Literal["unreachable", "timeout", "refused", "host_key_changed", "command"]
Order = Literal["exit", "stop"]
"""What a shared connection can be told: end, or take no new commands."""
SSH_FAILED: Final = 255
"""Exit status of ssh itself where it never came to the command (ssh(1), EXIT STATUS)."""
COMMAND_BYTES_MAX: Final = 65_536
"""Of one command; the kernel takes 128 KiB in one argument, and content goes over stdin."""
WORDS_CHARACTERS: Final = 500
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,:=@")
_MEANINGS: Final[tuple[tuple[str, Trouble], ...]] = (
    ("host key verification failed", "host_key_changed"),
    ("remote host identification has changed", "host_key_changed"),
    ("permission denied (", "refused"),
    ("too many authentication failures", "refused"),
    ("timed out", "timeout"),
    ("timeout, server", "timeout"),
    ("connection refused", "unreachable"),
    ("no route to host", "unreachable"),
    ("network is unreachable", "unreachable"),
    ("host is down", "unreachable"),
    ("connection reset", "unreachable"),
    ("connection closed", "unreachable"),
    ("closed by remote host", "unreachable"),
    ("broken pipe", "unreachable"),
    ("ssh: connect to host", "unreachable"),
    ("no matching host key type", "host_key_changed"),
    ("unable to negotiate", "refused"),
    ("kex_exchange_identification", "unreachable"),
    ("banner exchange", "unreachable"),
)
_HINTS: Final[dict[str, str]] = {
    "unreachable": "is the drone up, and does its sshd listen there?",
    "timeout": "is the drone up, and not overloaded?",
    "refused": "put our public key into the drone's authorized_keys: appliance swarm approve shows it",
    "host_key_changed": "if the drone was installed anew: appliance swarm approve NAME; if not, somebody is in between",
    "command": "",
}


class SshFailed(ApplianceError):
    """A drone could not be entered, or what was to be done there failed; ``kind`` says which."""

    status = 502

    def __init__(self, kind: Trouble, text: str, *, drone_name: str = "") -> None:
        shown = f"{drone_name}: {text}" if drone_name else text
        super().__init__(shown, hint=_HINTS[kind].replace("NAME", drone_name or "NAME"))
        self.kind: Trouble = kind
        self.text = text


@frozen(kw_only=True)
class Way:
    """How drones are entered: our files, and how long a connection may take."""

    known_hosts: Path
    identity: Path
    connect_seconds: int = 10
    persist_seconds: int = 60
    """How long a shared connection is kept without a command."""


def options(way: Way, approval: Approval, *, socket: Path | None = None) -> list[str]:
    """Return program and options, up to the host: nothing of the user's or the host's own configuration is read.

    :param socket: where the connection is shared; ``None`` makes one of its own.
    """
    shared = (
        ("ControlMaster=auto", f"ControlPath={option_value(socket)}", f"ControlPersist={way.persist_seconds}")
        if socket is not None
        else ("ControlMaster=no", "ControlPath=none")
    )
    given = (
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={option_value(way.known_hosts)}",
        "ForwardAgent=no",
        # Only what was approved counts, whatever this host's administrator trusts or the drone announces.
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "VerifyHostKeyDNS=no",
        "CheckHostIP=no",
        f"IdentityFile={option_value(way.identity)}",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "PreferredAuthentications=publickey",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        f"Port={approval.port}",
        f"User={approval.user}",
        f"ConnectTimeout={way.connect_seconds}",
        "ConnectionAttempts=1",
        # A drone that has died is noticed within 45 s also by a shared connection.
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        "LogLevel=ERROR",
        # From OpenSSH 10 on it warns of older servers, in the midst of what commands say.
        "IgnoreUnknown=WarnWeakCrypto",
        "WarnWeakCrypto=no",
        *shared,
    )
    return ["ssh", "-F", "none", *(part for one in given for part in ("-o", one))]


def command_line(way: Way, approval: Approval, argv: Sequence[str], *, socket: Path | None = None) -> list[str]:
    """Return the arguments that run ``argv`` on a drone; raises `BadInput` for what no shell could be given."""
    return [*options(way, approval, socket=socket), "--", approval.address, remote_command(argv)]


def terminal_line(way: Way, approval: Approval) -> list[str]:
    """Return the arguments of a terminal: a connection of its own, which ends with it.

    Without an escape character: nothing that is typed may mean something to ssh here.
    """
    return [*options(way, approval), "-e", "none", "-tt", "--", approval.address]


def control_line(way: Way, approval: Approval, order: Order, socket: Path) -> list[str]:
    """Return the arguments that end a shared connection: at once, or for new commands only."""
    return [*options(way, approval, socket=socket), "-O", order, "--", approval.address]


def keyscan_line(address: str, port: int, connect_seconds: int) -> list[str]:
    """Return the arguments that ask a host for its keys."""
    return ["ssh-keyscan", "-T", str(connect_seconds), "-p", str(port), "-t", "ed25519,ecdsa,rsa", address]


def remote_command(argv: Sequence[str]) -> str:
    """Return what the drone's shell is given; raises `BadInput`."""
    if not argv or any("\0" in part for part in argv):
        raise BadInput("a command has a program, and no NUL")
    command = shlex.join(argv)
    if len(command.encode("utf-8", "surrogateescape")) > COMMAND_BYTES_MAX:
        raise BadInput(f"a command has at most {COMMAND_BYTES_MAX} bytes", hint="give content over stdin")
    return command


def option_value(path: Path) -> str:
    """Return a path as an option's value: ssh_config(5) splits at blanks, and reads % and ${} as its own.

    :raises NotAvailable: for a path that no option can hold.
    """
    text = str(path)
    if "${" in text or text.startswith("~") or any(ord(character) < 32 for character in text):
        raise NotAvailable(f"ssh is not available because it cannot be told of the folder {text!r}")
    text = text.replace("%", "%%")
    if set(text) <= _PLAIN:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def trouble_of(status: int, stderr: str) -> Trouble | None:
    """Return what kept ssh from running a command to its end; ``None`` where it ran, with whatever status."""
    if status < 0:
        return "unreachable"
    if status != SSH_FAILED:
        return None
    said = stderr.lower()
    return next((meaning for words, meaning in _MEANINGS if words in said), None)


def said_of(trouble: Trouble, stderr: str) -> str:
    """Return in one line what kept ssh from running a command; of a changed host key ssh itself writes a page."""
    if trouble == "host_key_changed":
        return "it does not show the host key that was approved: Host key verification failed."
    return words_of(stderr) or "the connection ended"


def words_of(stderr: str) -> str:
    """Return what ssh or a command said as one line, of bounded length and without control characters."""
    lines = (line.strip() for line in stderr.splitlines())
    told = "; ".join(line for line in lines if line and not set(line) <= set("@ "))
    return "".join(character if character.isprintable() else " " for character in told)[:WORDS_CHARACTERS]


def put_script(path: str, *, mode: int, sha256: str, owner: str) -> list[str]:
    """Return what stores stdin as a file of a drone: whole and checked, or not at all.

    The new file is complete in the target's own folder before it takes the old one's place.

    :raises BadInput: a path that is not absolute, or a mode, hash or owner that is none.
    """
    parts = path.split("/")
    if not path.startswith("/") or path.endswith("/") or {".", ".."} & set(parts) or "\0" in path or "\n" in path:
        raise BadInput(f"{path[:80]!r} is no absolute path of a file", field="path")
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise BadInput("a sha256 is 64 hexadecimal digits", field="sha256")
    if not 0 <= mode <= 0o7777:
        raise BadInput("a mode is 0 to 07777", field="mode")
    if not set(owner) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") or owner[:1] == "-":
        raise BadInput(f"{owner[:40]!r} is no name of a user", field="owner")
    return ["sh", "-c", _PUT, "sh", path, f"{mode:04o}", sha256, owner]


_PUT: Final = """set -eu
if [ -d "$1" ]; then echo "$1 is a folder" >&2; exit 66; fi
folder=${1%/*}
umask 022
mkdir -p "${folder:-/}"
umask 077
new=$(mktemp "$folder/.appliance.XXXXXXXX")
trap 'rm -f "$new" "$new.put"' EXIT
trap 'exit 75' HUP INT TERM
cat > "$new"
sum=$(sha256sum < "$new")
sum=${sum%% *}
if [ "$sum" != "$3" ]; then echo "what arrived has sha256 $sum" >&2; exit 65; fi
if [ -n "$4" ] && [ "$(id -u)" = 0 ]; then
    install -m "$2" -o "$4" "$new" "$new.put"
else
    install -m "$2" "$new" "$new.put"
fi
mv -f "$new.put" "$1"
"""
