"""Enters approved drones with the programs of OpenSSH: runs commands there, and stores files."""

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import trio
from attrs import define, field, frozen

from appliance.plugin import NotAvailable, StorageFailed

from .approval import Approval, Approvals, NotApproved
from .processes import run_process
from .ssh_command import SshFailed, Way, command_line, put_script, said_of, trouble_of, words_of
from .ssh_connections import SshConnections
from .ssh_keys import SshKeys
from .ssh_settings import SshSettings

OUTPUT_BYTES: Final = 1_048_576
AT_ONCE_PER_DRONE: Final = 6
"""Below sshd's ``MaxSessions 10`` for one connection."""
PIECE_BYTES: Final = 65_536


@frozen(kw_only=True)
class Ran:
    """How a command on a drone ended."""

    status: int
    stdout: str
    """Bytes that are no UTF-8 are replaced."""
    stderr: str
    is_cut: bool = False
    """Whether it wrote more than was kept."""
    seconds: float = 0.0
    """How long it took, the connection included where none was there."""


@define(eq=False)
class Ssh:
    """The ways into drones; each needs an `Approval` that still counts when the connection is made."""

    approvals: Approvals
    keys: SshKeys
    connections: SshConnections
    settings: SshSettings
    _all: trio.CapacityLimiter = field(init=False)
    _each: dict[str, trio.CapacityLimiter] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._all = trio.CapacityLimiter(self.settings.ssh_at_once)

    async def run(
        self,
        approval: Approval,
        argv: Sequence[str],
        *,
        stdin: bytes | AsyncIterable[bytes] = b"",
        deadline_s: float,
        limit_bytes: int = OUTPUT_BYTES,
    ) -> Ran:
        """Run a program on a drone; cancelling, or the deadline, ends our side of it at once.

        :param argv: each reaches the program as it is: no shell reads any of it as more than text.
        :param deadline_s: from when its turn has come; so many run at once, and so many on one drone.
        :param limit_bytes: what is kept of each output.
        :raises NotApproved: the approval counts no more.
        :raises SshFailed: the drone was not entered, or not in time. A program that fails is no error: see ``status``.
        :raises NotAvailable: there is no ssh here.
        """
        way = await self.way(approval)
        async with self._all, self._limiter(approval):
            self._check(approval)
            # From here on: a drone that answers must not look dead because others before it are.
            with trio.move_on_after(deadline_s):
                return await self._ran(way, approval, argv, stdin, limit_bytes)
        # A shared connection that answers nothing would hold the next command as well; others that use it go on.
        await self.connections.control(way, approval, "stop")
        raise SshFailed("timeout", f"no answer within {deadline_s:g} s", drone_name=approval.drone_name)

    async def put(
        self,
        approval: Approval,
        path: str,
        source: Path | trio.Path | bytes,
        *,
        mode: int,
        sha256: str,
        owner: str = "root",
        deadline_s: float = 600.0,
    ) -> None:
        """Store content as a file of a drone: a temporary file beside it, checked, then `install` and a rename.

        A failure leaves the old file as it was.

        :param path: absolute, on the drone; missing folders are made.
        :param source: a file of this host, or the content.
        :param mode: such as ``0o755``.
        :param sha256: of the content, as 64 hexadecimal digits; compared on the drone.
        :param owner: whose the file is, where the approved user is root; empty for the user's own.
        :raises SshFailed: as `run` does, and with kind ``command`` where the drone says no.
        :raises StorageFailed: the file of this host cannot be read.
        """
        script = put_script(path, mode=mode, sha256=sha256, owner=owner)
        stdin = source if isinstance(source, bytes) else _pieces(Path(source))
        ran = await self.run(approval, script, stdin=stdin, deadline_s=deadline_s)
        if ran.status != 0:
            said = words_of(ran.stderr) or f"status {ran.status}"
            raise SshFailed("command", f"{path} could not be stored: {said}", drone_name=approval.drone_name)

    async def sha256_of(self, approval: Approval, path: str, *, deadline_s: float = 60.0) -> str | None:
        """Return the sha256 of a drone's file, ``None`` where there is no such file; errors as of `run`."""
        ran = await self.run(approval, ["sha256sum", "--", path], deadline_s=deadline_s)
        # sha256sum marks names with odd characters by a backslash before the sum.
        found = ran.stdout.removeprefix("\\").partition(" ")[0]
        return found if ran.status == 0 and len(found) == 64 else None

    async def way(self, approval: Approval) -> Way:
        """Return how an approved drone is entered, for what runs ssh itself.

        :raises NotApproved: the approval counts no more.
        :raises NotAvailable: there is no ssh here.
        """
        self._check(approval)
        identity = await self.keys.identity()
        return Way(
            known_hosts=self.approvals.known_hosts, identity=identity, connect_seconds=self.settings.ssh_connect_seconds
        )

    async def _ran(
        self,
        way: Way,
        approval: Approval,
        argv: Sequence[str],
        stdin: bytes | AsyncIterable[bytes],
        limit_bytes: int,
    ) -> Ran:
        line = command_line(way, approval, argv, socket=self.connections.socket(approval))
        started = trio.current_time()
        try:
            ended = await run_process(line, stdin=stdin, limit_bytes=limit_bytes)
        except OSError as error:
            raise NotAvailable(f"ssh is not available because it cannot be started: {error.strerror}") from error
        stderr = ended.stderr.decode("utf-8", "replace")
        trouble = trouble_of(ended.status, stderr)
        if trouble is not None:
            raise SshFailed(trouble, said_of(trouble, stderr), drone_name=approval.drone_name)
        return Ran(
            status=ended.status,
            stdout=ended.stdout.decode("utf-8", "replace"),
            stderr=stderr,
            is_cut=ended.is_cut,
            seconds=trio.current_time() - started,
        )

    def _check(self, approval: Approval) -> None:
        if not self.approvals.is_current(approval):
            raise NotApproved(approval.drone_name)

    def _limiter(self, approval: Approval) -> trio.CapacityLimiter:
        return self._each.setdefault(approval.drone_name, trio.CapacityLimiter(AT_ONCE_PER_DRONE))


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    try:
        async with await trio.open_file(path, "rb") as file:
            while piece := await file.read(PIECE_BYTES):
                yield piece
    except OSError as error:
        raise StorageFailed(f"{path} cannot be read: {error.strerror}") from error
