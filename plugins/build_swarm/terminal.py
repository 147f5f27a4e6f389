"""A terminal on a drone for a browser: ssh on a pseudo-terminal here, JSON messages there.

From the server: ``connected`` once the drone has let us in, ``output``, and ``{"error"}`` before a close that is no
success. From the client: ``input`` (also where ``type`` is missing), ``resize``; binary messages, and text that is no
JSON object, are input as they are.
"""

import codecs
from typing import Any, Final, Literal

import msgspec
import structlog
import trio
from attrs import define, field, frozen

from appliance.plugin import ApplianceError, Busy, Core, Socket, SocketClosed

from .approval import Approval, Approvals, Who
from .ptys import Pty, on_pty
from .ssh import Ssh
from .ssh_command import SSH_FAILED, terminal_line
from .ssh_settings import SshSettings

log = structlog.get_logger(__name__)

ENDED: Final = 1000
POLICY_VIOLATION: Final = 1008
INTERNAL_ERROR: Final = 1011
"""Close codes of RFC 6455, 7.4.1: the shell has ended; idle, or no longer approved; ssh has failed."""
COLUMNS: Final = 80
ROWS: Final = 24
LINGER_SECONDS: Final = 2.0
"""How long the last output is waited for once ssh has ended."""

Cause = Literal["ended", "client gone", "idle", "no longer approved", "connection lost"]
_CLOSINGS: Final[dict[Cause, tuple[int, str]]] = {
    "ended": (ENDED, "the shell has ended"),
    "idle": (POLICY_VIOLATION, "nothing was typed or shown for too long"),
    "no longer approved": (POLICY_VIOLATION, "the drone is no longer approved"),
    "connection lost": (INTERNAL_ERROR, "the connection to the drone is lost"),
}


@frozen
class Input:
    """Bytes that were typed."""

    data: bytes


@frozen
class Resize:
    """The terminal has another size."""

    columns: int
    rows: int


def read_message(message: str | bytes) -> Input | Resize | None:
    """Return what a client's message means; ``None`` for one that means nothing."""
    if isinstance(message, bytes):
        return Input(message)
    try:
        found: Any = msgspec.json.decode(message) if message.lstrip()[:1] == "{" else None
    except (msgspec.DecodeError, RecursionError):
        found = None
    if not isinstance(found, dict) or not {"type", "data"} & found.keys():
        return Input(message.encode("utf-8", "surrogatepass"))
    match found.get("type", "input"):
        case "input":
            data = found.get("data")
            return Input(data.encode("utf-8", "surrogatepass")) if isinstance(data, str) else None
        case "resize":
            columns, rows = found.get("cols", 0), found.get("rows", 0)
            return Resize(int(columns), int(rows)) if _is_side(columns) and _is_side(rows) else None
        case _:
            return None


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value < 65_536


@define(eq=False)
class Terminals:
    """Every open terminal; there is a bound on how many."""

    core: Core
    ssh: Ssh
    approvals: Approvals
    settings: SshSettings
    open: int = field(default=0, init=False)

    def require_room(self) -> None:
        """Raise `Busy` where as many are open as may be."""
        if self.open >= self.settings.terminal_at_once:
            raise Busy(f"{self.open} terminals are open, which is as many as may be", hint="close one")

    async def serve(
        self, socket: Socket, approval: Approval, who: Who, *, columns: int = COLUMNS, rows: int = ROWS
    ) -> None:
        """Carry one terminal until it ends; how it began and ended is in the audit log.

        :raises SocketClosed: the client is gone.
        """
        self.require_room()
        self.open += 1
        session = _Session(socket, self.settings.terminal_idle_seconds, columns, rows)
        try:
            await who.record(self.core, "swarm.terminal_opened", approval.drone_name, **_shown(approval))
            try:
                await self._carry(session, socket, approval)
            except SocketClosed:
                session.end("client gone")
                raise
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + LINGER_SECONDS):
                    await self._record_end(session, approval, who)
        finally:
            self.open -= 1

    async def _carry(self, session: "_Session", socket: Socket, approval: Approval) -> None:
        try:
            way = await self.ssh.way(approval)
            # Whether it lets us in is known before anybody is told that a terminal is open.
            deadline_s = self.settings.ssh_connect_seconds + self.settings.ssh_probe_seconds
            await self.ssh.run(approval, ["true"], deadline_s=deadline_s)
        except ApplianceError as failure:
            session.end("connection lost")
            await socket.send(_encoded({"error": failure.message, "hint": failure.hint}))
            await socket.close(INTERNAL_ERROR, failure.message)
            return
        shown = {"type": "connected", "drone": approval.drone_name, "ip": approval.address, "user": approval.user}
        await socket.send(_encoded(shown))
        stop = self.approvals.on_ended(lambda ended: session.approval_ended(ended, approval))
        try:
            async with on_pty(terminal_line(way, approval), columns=session.columns, rows=session.rows) as pty:
                await session.carry(pty)
        finally:
            stop()
        code, words = _CLOSINGS.get(session.cause, _CLOSINGS["ended"])
        if code != ENDED:
            await socket.send(_encoded({"error": words}))
        await socket.close(code, words)

    async def _record_end(self, session: "_Session", approval: Approval, who: Who) -> None:
        try:
            await who.record(
                self.core,
                "swarm.terminal_closed",
                approval.drone_name,
                cause=session.cause,
                seconds=round(trio.current_time() - session.started, 1),
                typed_bytes=session.typed_bytes,
                shown_bytes=session.shown_bytes,
            )
        except ApplianceError as error:
            log.warning("swarm.terminal_not_recorded", drone=approval.drone_name, reason=error.message)


@define(eq=False)
class _Session:
    """One terminal: what goes in, what comes out, and why it ended."""

    socket: Socket
    idle_seconds: float
    columns: int
    rows: int
    cause: Cause = "ended"
    typed_bytes: int = 0
    shown_bytes: int = 0
    started: float = field(factory=trio.current_time)
    _idle: trio.CancelScope = field(factory=trio.CancelScope)
    _has_cause: bool = False

    def end(self, cause: Cause) -> None:
        """End it; the first cause is the one that is told."""
        if not self._has_cause:
            self.cause, self._has_cause = cause, True
        self._idle.cancel()

    def approval_ended(self, ended: Approval, own: Approval) -> None:
        if ended == own:
            self.end("no longer approved")

    async def carry(self, pty: Pty) -> None:
        """Carry bytes both ways until one side ends, nothing happens for too long, or it is told to end.

        :raises SocketClosed: the client is gone.
        """
        self._stir()
        gone: list[SocketClosed] = []
        with self._idle:
            async with trio.open_nursery() as nursery:

                async def until_done(carry: Any) -> None:
                    try:
                        await carry(pty)
                    except SocketClosed as error:
                        gone.append(error)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(until_done, self._type)
                nursery.start_soon(until_done, self._show)
        if self._idle.cancelled_caught and not self._has_cause:
            self.end("idle")
        if gone:
            raise gone[0]

    async def _type(self, pty: Pty) -> None:
        await pty.until_raw()
        while True:
            message = read_message(await self.socket.receive())
            match message:
                case Input(data):
                    self._stir()
                    self.typed_bytes += len(data)
                    await pty.write(data)
                case Resize(columns, rows):
                    pty.resize(columns, rows)

    async def _show(self, pty: Pty) -> None:
        # A character may be split between two reads. While the client takes nothing, nothing is read either, and the
        # program on the drone has to wait.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := await pty.read():
            self._stir()
            self.shown_bytes += len(data)
            if text := decoder.decode(data):
                await self.socket.send(_encoded({"type": "output", "data": text}))
        if text := decoder.decode(b"", final=True):
            await self.socket.send(_encoded({"type": "output", "data": text}))
        with trio.move_on_after(LINGER_SECONDS):
            await pty.process.wait()
        if pty.process.returncode in (None, SSH_FAILED):
            self.end("connection lost")

    def _stir(self) -> None:
        self._idle.deadline = trio.current_time() + self.idle_seconds


def _shown(approval: Approval) -> dict[str, Any]:
    return {"address": approval.address, "port": approval.port, "user": approval.user}


def _encoded(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
