"""What is done to one file of one drone over ssh: keep the old, put the new, compare, bring the old back."""

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from attrs import frozen

from ..approval import Approval
from ..service_scripts import RESTART
from ..ssh import Ran
from ..ssh_command import SshFailed
from .destinations import Destination

COMMAND_SECONDS: Final = 60.0
WORDS_CHARACTERS: Final = 300

_KEEP: Final = """set -eu
umask 022
if [ -d "$1" ]; then echo "$1 is a folder" >&2; exit 66; fi
mkdir -p "${1%/*}/"
rm -f "$2"
if [ -e "$1" ] || [ -L "$1" ]; then cp -a "$1" "$2"; echo kept; else echo none; fi
"""
"""Links, modes and times are kept as they are, so that one rename brings everything back."""
_BACK: Final = """set -eu
rm -f "${1%/*}/".appliance.????????*
if [ "$3" = kept ]; then mv -f "$2" "$1"; else rm -f "$1"; fi
"""
"""A copy that our side has given up may still be going on there: without its temporary files it comes to no end."""


class Ssh(Protocol):
    """The ways into drones that are used here; `plugins.build_swarm.ssh.Ssh` is the real one."""

    async def run(self, approval: Approval, argv: Sequence[str], *, deadline_s: float) -> Ran:
        """Run a program on a drone."""
        ...

    async def put(
        self, approval: Approval, path: str, source: Path, *, mode: int, sha256: str, deadline_s: float
    ) -> None:
        """Store a file on a drone, whole and checked or not at all."""
        ...


class Kept(Enum):
    """What was there before a deploy."""

    FILE = "kept"
    NOTHING = "none"


@frozen(kw_only=True)
class Hands:
    """One file of one drone. Everything raises `SshFailed` where it cannot be done."""

    ssh: Ssh
    approval: Approval
    destination: Destination
    service: str
    """Name of the drone's service."""
    transfer_seconds: float

    async def keep(self) -> Kept:
        """Keep what is there, so that `bring_back` can; what an earlier deploy kept is gone."""
        ran = await self._sh(_KEEP, "what is there cannot be kept")
        return Kept.FILE if ran.stdout.strip() == Kept.FILE.value else Kept.NOTHING

    async def put(self, content: Path, sha256: str) -> None:
        """Put content there."""
        await self.ssh.put(
            self.approval,
            self.destination.path,
            content,
            mode=self.destination.mode,
            sha256=sha256,
            deadline_s=self.transfer_seconds,
        )

    async def sha256(self) -> tuple[str | None, str]:
        """Return the hash of what is there, or ``None`` and why it has none."""
        ran = await self._run(["sha256sum", "--", self.destination.path])
        found = ran.stdout.lstrip("\\").partition(" ")[0]
        if ran.status == 0 and len(found) == 64:
            return found, ""
        return None, _words(ran)

    async def bring_back(self, kept: Kept) -> None:
        """Undo `put`: what was there before is there again, and where nothing was, nothing is."""
        await self._sh(_BACK, "what was there before cannot be brought back", kept.value)

    async def forget(self) -> None:
        """Drop what `keep` kept."""
        await self._run(["rm", "-f", "--", self.destination.kept])

    async def restart(self) -> None:
        """Restart the drone's service."""
        ran = await self._run(["sh", "-c", RESTART, "sh", self.service])
        if ran.status != 0:
            raise self._failed(f"{self.service} did not restart", ran)

    async def runs(self, pattern: str) -> bool:
        """Whether a process whose command line fits an extended regular expression is there."""
        return (await self._run(["pgrep", "-f", "--", pattern])).status == 0

    async def _sh(self, script: str, failed: str, *more: str) -> Ran:
        ran = await self._run(["sh", "-c", script, "sh", self.destination.path, self.destination.kept, *more])
        if ran.status != 0:
            raise self._failed(failed, ran)
        return ran

    async def _run(self, argv: list[str]) -> Ran:
        return await self.ssh.run(self.approval, argv, deadline_s=COMMAND_SECONDS)

    def _failed(self, what: str, ran: Ran) -> SshFailed:
        return SshFailed("command", f"{what}: {_words(ran)}", drone_name=self.approval.drone_name)


def _words(ran: Ran) -> str:
    said = " ".join((ran.stderr or ran.stdout).split())
    return said[:WORDS_CHARACTERS] or f"status {ran.status}"
