"""Starts the program that keeps tasks, and hands it what shall be run."""

import json
import os
import socket
import subprocess
import sys
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import trio
from attrs import define, field

from appliance.plugin import EngineLost

BOOT: Final = (
    "import sys, types; package = types.ModuleType('tasks'); package.__path__ = [{folder!r}];"
    " sys.modules['tasks'] = package; from tasks.keeper import main; main()"
)
"""Its modules by themselves: without this plugin's other modules, and without what these import."""
PYTHON_NEEDS: Final = ("LD_LIBRARY_PATH",)
"""Of our environment; the tasks get none of it."""
ANSWER_BYTES_MAX: Final = 1 << 20
PIECE_BYTES: Final = 65_536
END_SECONDS: Final = 2.0


@define(eq=False)
class Spawner:
    """The first of the keeper's processes: it forks one for each task, and ends with the appliance."""

    cgroup_procs: Sequence[str] = ()
    """Where it and the keepers are put, so that they do not end with the appliance's own service."""
    log: Path = Path(os.devnull)
    """Where it says what went wrong; begun anew at its start."""
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _control: socket.socket | None = field(default=None, init=False)
    _lock: trio.Lock = field(factory=trio.Lock, init=False)

    @property
    def pid(self) -> int | None:
        """The program's process; ``None`` before it is needed."""
        return None if self._process is None else self._process.pid

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Have something started and kept; return the keeper's answer.

        :raises EngineLost: there is no answer; whether it was started its folder tells.
        """
        answer, fds = await self._asked(request)
        for fd in fds:
            os.close(fd)
        return answer

    async def borrow(self, request: Mapping[str, Any]) -> int:
        """Ask for a descriptor; errors as of `ask`, and where there is none in the keeper's words."""
        answer, fds = await self._asked(request)
        if len(fds) != 1:
            for fd in fds:
                os.close(fd)
            raise EngineLost(f"what the task wrote cannot be read: {answer.get('problem', answer)}")
        return fds[0]

    async def _asked(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], list[int]]:
        try:
            return await self._once(request)
        except EngineLost:
            # The program may have died with what it was just sent. To ask again starts nothing twice: see `claimed`.
            return await self._once(request)

    async def _once(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], list[int]]:
        ours, theirs = socket.socketpair()
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        fds: list[int] = []
        async with stream:
            with theirs:
                await self._hand_over(theirs)
            body = json.dumps(request).encode("ascii")
            answer = b""
            try:
                await stream.send_all(len(body).to_bytes(8, "big") + body)
                while len(answer) < ANSWER_BYTES_MAX:
                    piece, more, _, _ = await stream.socket.recvmsg(PIECE_BYTES, socket.CMSG_SPACE(4))
                    for _, _, packed in more:
                        fds += array("i", packed)
                    if not piece:
                        break
                    answer += piece
                for fd in fds:
                    os.set_inheritable(fd, False)
                found: dict[str, Any] = json.loads(answer)
            except (OSError, trio.BrokenResourceError, ValueError) as error:
                raise EngineLost("the keeper of a task ended before it could say how it went") from error
        return found, fds

    async def _hand_over(self, connection: socket.socket) -> None:
        async with self._lock:
            for is_last in (False, True):
                control = self._running()
                try:
                    while True:
                        try:
                            socket.send_fds(control, [b"+"], [connection.fileno()])
                        except BlockingIOError:
                            await trio.lowlevel.wait_writable(control)
                        else:
                            return
                except OSError as error:
                    self.close()
                    if is_last:
                        raise EngineLost(f"the program that keeps tasks has gone: {error.strerror}") from error

    def _running(self) -> socket.socket:
        """Return the connection to the program, starting it when it does not run."""
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", BOOT.format(folder=str(Path(__file__).parent)), self._places()],
                    env={name: os.environ[name] for name in PYTHON_NEEDS if name in os.environ},
                    cwd="/",
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise EngineLost(f"the program that keeps tasks cannot be started: {error.strerror}") from error
        os.close(log)
        ours.setblocking(False)
        self._control = ours
        return ours

    def _places(self) -> str:
        return json.dumps(list(self.cgroup_procs))

    def close(self) -> None:
        """Let the program end; the keepers that it has forked, and their tasks, go on."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
