"""The logs of a drone, read over ssh."""

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from .approval import Approval
from .ssh import Ssh
from .ssh_command import words_of

OUTPUT_BYTES: Final = 2_097_152
LINE_CHARACTERS: Final = 8192

_FILES: Final[Mapping[str, Sequence[str]]] = {
    "swarm-drone": ("/var/log/swarm-drone.log", "/var/log/build-swarm/drone.log", "/var/log/swarm-drone/drone.log"),
    "emerge": ("/var/log/emerge.log",),
    "portage": ("/var/log/portage/elog/summary.log", "/var/log/emerge-fetch.log"),
    "messages": ("/var/log/messages", "/var/log/syslog"),
}

_SCRIPT: Final = """\
lines=$1; journal=$2; shift 2
for file in "$@"; do
    if [ -r "$file" ]; then exec tail -n "$lines" -- "$file"; fi
done
case $journal in
    none) ;;
    all) if command -v journalctl >/dev/null 2>&1; then exec journalctl --no-pager -n "$lines"; fi ;;
    *) if command -v journalctl >/dev/null 2>&1; then exec journalctl --no-pager -n "$lines" -u "$journal"; fi ;;
esac
echo "there is no such log: $*" >&2
exit 66
"""
_DMESG: Final = 'dmesg | tail -n "$1"'


@frozen(kw_only=True)
class Syslog:
    """The end of a log."""

    lines: tuple[str, ...]
    error: str = ""
    """What the drone said where it has no such log."""
    is_cut: bool = False
    """Whether lines or their ends were left out because there was too much."""


def syslog_command(kind: str, lines: int, service: str = "swarm-drone") -> list[str]:
    """Return what prints the end of a log."""
    if kind == "dmesg":
        return ["sh", "-c", _DMESG, "syslog", str(lines)]
    journal = {"swarm-drone": service, "messages": "all"}.get(kind, "none")
    return ["sh", "-c", _SCRIPT, "syslog", str(lines), journal, *_FILES[kind]]


async def read_syslog(ssh: Ssh, approval: Approval, kind: str, lines: int, *, deadline_s: float) -> Syslog:
    """Read the end of one of a drone's logs; errors as of `Ssh.run`."""
    command = syslog_command(kind, lines, ssh.settings.ssh_drone_service)
    ran = await ssh.run(approval, command, deadline_s=deadline_s, limit_bytes=OUTPUT_BYTES)
    found = ran.stdout.splitlines()
    shown = tuple(line[:LINE_CHARACTERS] for line in found[-lines:])
    is_cut = ran.is_cut or any(len(line) > LINE_CHARACTERS for line in found)
    error = "" if ran.status == 0 else words_of(ran.stderr) or f"status {ran.status}"
    return Syslog(lines=shown, error=error, is_cut=is_cut)
