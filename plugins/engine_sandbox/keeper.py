"""The program that keeps tasks: one process that waits to be asked, and a small one beside each task.

Run as a program itself by `spawning`, with the standard library alone. For each connection that it is sent on standard
input it forks a keeper of one task (a fork costs a millisecond, a new interpreter twenty). That keeper reads what shall
be run, starts it, writes what it prints to the file ``log``, and how it ended to the file ``exit``, both in the task's
own folder. It outlives the appliance and the process that it was forked from; nothing that it runs gets its rights.

What a task's folder holds is told in `records`.
"""

import errno
import gc
import json
import os
import pty
import select
import signal
import socket
import sys
import termios
import time
from contextlib import suppress
from typing import Any, Final, NoReturn

from .becoming import (
    PR_SET_CHILD_SUBREAPER,
    CannotStart,
    become,
    lend_space,
    make_space,
    prctl,
    write,
)
from .noting import FRAME, claimed, has_output, is_full, oom_kills, replace, start_of_log, stop_until
from .processes import children, descendants, kill_all, name_of, reap, start_ticks

PIECE_BYTES: Final = 65_536
REQUEST_MAX_BYTES: Final = 64 << 20
COMMAND_LOOKS_SECONDS: Final = (0.001, 0.05)
"""How often to look whether the command runs already: at first, and at last."""
LEFT_SECONDS: Final = 10.0
"""How long killed processes may take to be gone: one in a hung driver's hands never goes."""


# ------------------------------------------------------------------------------------------------ the first process


def main() -> None:
    """Fork a keeper for each connection that comes, until the appliance is gone."""
    control = socket.socket(fileno=0)
    for path in json.loads(sys.argv[1]):  # cgroups that do not end with the appliance's own
        try:
            write(path, "0")
        except OSError as error:
            print(f"keeper: {path}: {error.strerror}", file=sys.stderr)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.chdir("/")
    gc.disable()
    gc.freeze()
    while True:
        message, connections, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        for connection in connections:
            os.set_inheritable(connection, False)  # as received it would be a task's too
            try:
                child = os.fork()
            except OSError:
                child = -1  # no process to be had: who waits sees the connection closed
            if child == 0:
                control.close()
                _keep(socket.socket(fileno=connection))
            os.close(connection)


def _keep(connection: socket.socket) -> NoReturn:
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        Keeper(connection).run()
        status = 0
    except BrokenPipeError:
        status = 0
    except Exception as error:
        print(f"keeper: {error!r}", file=sys.stderr)
    finally:
        os._exit(status)


# ---------------------------------------------------------------------------------------------------- beside a task


class Keeper:
    """One task, from its start to its end."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.asked: dict[str, Any] = {}
        self.said = False
        self.log_fd = self.wake_fd = self.init_fd = -1
        self.log_bytes = 0
        self.dropped = {"stdout": 0, "stderr": 0}
        self.init_pid = 0
        self.exit_code: int | None = None
        self.is_running = False
        self.status_text = b""

    def run(self) -> None:
        """Start what is asked for, and stay until it has ended."""
        self.asked = _received(self.connection)
        os.chdir(self.asked["folder"])
        if "lend" in self.asked:
            self._lend()
            return
        # Before it is said that there is a keeper: whoever reads the log takes nobody at its other end for the end.
        self.wake_fd = os.open("wake", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        if not claimed():
            self._say({"ok": True})  # it was started before
            return
        self.log_fd = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        try:
            if self.asked["space"]:
                make_space(self.asked["space"])
            pid, sources = self._start()
        except (CannotStart, OSError) as error:
            full = isinstance(error, OSError) and error.errno == errno.ENOSPC
            self._end(never_ran=str(error), disk_full=full)
            return
        self._follow(pid, sources)

    def _lend(self) -> None:
        """Give away a descriptor of what an ended task has left in a file system of its own."""
        try:
            fd = lend_space(self.asked)
        except (CannotStart, OSError) as error:
            self._say({"problem": str(error)})
        else:
            socket.send_fds(self.connection, [b'{"ok": true}'], [fd])

    def _start(self) -> tuple[int, dict[int, str]]:
        """Start the command; return its pid and what to read."""
        asked = self.asked
        told_r, told_w = os.pipe2(os.O_CLOEXEC)
        status_r, status_w = os.pipe2(os.O_CLOEXEC)
        if asked["tty"]:
            out_r, out_w = pty.openpty()
            _sane_terminal(out_w)
            sources, err_w = {out_r: "stdout"}, os.dup(out_w)
        else:
            out_r, out_w = os.pipe2(os.O_CLOEXEC)
            err_r, err_w = os.pipe2(os.O_CLOEXEC)
            sources = {out_r: "stdout", err_r: "stderr"}
        child = os.fork()
        if child == 0:
            become(asked, told_w, status_w, out_w, err_w)
        for each in (told_w, status_w, out_w, err_w):
            os.close(each)
        problem = b""
        while piece := os.read(told_r, PIECE_BYTES):
            problem += piece
        os.close(told_r)
        if problem:
            os.waitpid(child, 0)
            raise CannotStart(problem.decode("utf-8", "replace"))
        if asked["is_sandbox"]:
            sources[status_r] = "status"
        else:
            os.close(status_r)
            self._runs(0)
        for each in sources:
            os.set_blocking(each, False)
        return child, sources

    def _follow(self, pid: int, sources: dict[int, str]) -> None:
        """Write down what it prints until it has ended; then how it ended."""
        pidfd = os.pidfd_open(pid)
        poll = select.poll()
        for each in (pidfd, *sources):
            poll.register(each, select.POLLIN)
        wait = COMMAND_LOOKS_SECONDS[0]
        has_ended = False
        while not has_ended:
            for fd, _ in poll.poll(None if self.is_running else wait * 1000):
                if fd == pidfd:
                    has_ended = True
                elif self._read(fd, sources[fd]) is False:
                    poll.unregister(fd)
                    os.close(fd)
                    del sources[fd]
            if not self.is_running:
                wait = min(COMMAND_LOOKS_SECONDS[1], wait * 1.5)
                self._look()
        _, status = os.waitpid(pid, 0)
        for fd, kind in sources.items():  # its last word, before others are waited for
            while kind == "status" and self._read(fd, kind):
                continue
        self._sweep()
        for fd, kind in sources.items():
            while self._read(fd, kind):
                continue
        ended = os.waitstatus_to_exitcode(status)
        if not self.asked["is_sandbox"] or (ended < 0 and self.is_running and self.exit_code is None):
            self.exit_code = 128 - ended if ended < 0 else ended
        if self.exit_code is None:
            # bubblewrap tells the exit code of what it has started, and of nothing else.
            self._end(never_ran=start_of_log() or f"bubblewrap ended with status {ended}")
        else:
            self._runs(self.init_pid)
            self._end()

    def _read(self, fd: int, kind: str) -> bool | None:
        """Take what is there; return ``None`` when nothing is, ``False`` when nothing ever will be."""
        try:
            data = os.read(fd, PIECE_BYTES)
        except BlockingIOError:
            return None
        except OSError:  # a terminal that nobody has open any more
            return False
        if not data:
            return False
        if kind == "status":
            self._take_status(data)
        else:
            self._write_log(kind, data)
        return True

    def _take_status(self, data: bytes) -> None:
        *lines, self.status_text = (self.status_text + data).split(b"\n")
        for line in lines:
            found = json.loads(line or b"{}")
            if "child-pid" in found:
                self.init_pid = int(found["child-pid"])
                self.init_fd = os.pidfd_open(self.init_pid)
            if "exit-code" in found:
                self.exit_code = int(found["exit-code"])

    def _look(self) -> None:
        """Find out whether the command has taken the place of the sandbox's own program."""
        if self.exit_code is not None:
            self._runs(self.init_pid)
        elif self.init_pid:
            for pid in children(self.init_pid):
                if name_of(pid) not in ("", "bwrap"):
                    self._runs(self.init_pid)

    def _runs(self, init_pid: int) -> None:
        if not self.is_running:
            self.is_running = True
            replace("running", {"init_pid": init_pid, "init_ticks": start_ticks(init_pid) if init_pid else 0})
            self._say({"ok": True})

    def _write_log(self, kind: str, data: bytes) -> None:
        size = FRAME.size + len(data)
        if self.dropped[kind] or self.log_bytes + size > self.asked["log_bytes"]:
            self.dropped[kind] += len(data)  # read on, or the task would stand still
            return
        frame = FRAME.pack(1 if kind == "stdout" else 2, len(data), time.time_ns() // 1000)
        try:
            written = os.writev(self.log_fd, (frame, data))
        except OSError:
            written = 0
        if written != size:  # no room on the disk
            os.ftruncate(self.log_fd, self.log_bytes)
            self.dropped[kind] += len(data)
            return
        self.log_bytes += size
        self._wake()

    def _wake(self) -> None:
        try:
            os.write(self.wake_fd, b".")
        except BlockingIOError:
            return  # nobody reads, or whoever does has been woken already

    def _sweep(self) -> None:
        """End what the command has left behind; while it is being stopped that may take the rest of its grace."""
        until = stop_until()
        if self.init_fd >= 0:
            poll = select.poll()
            poll.register(self.init_fd, select.POLLIN)
            if until is not None:
                poll.poll(max(0.0, until - time.clock_gettime(time.CLOCK_BOOTTIME)) * 1000)
            try:
                signal.pidfd_send_signal(self.init_fd, signal.SIGKILL)
            except ProcessLookupError:
                return
            poll.poll(LEFT_SECONDS * 1000)
            return
        if until is not None:
            while descendants(os.getpid()) and time.clock_gettime(time.CLOCK_BOOTTIME) < until:
                reap()
                time.sleep(0.02)
        kill_all(os.getpid(), self.asked["kill_files"])

    def _end(self, *, never_ran: str = "", disk_full: bool = False) -> None:
        """Write down how it ended, and let whoever waits for its start know."""
        found = {
            "exit_code": self.exit_code,
            "never_ran": never_ran,
            "oom_kills": sum(oom_kills(path) for path in self.asked["oom_files"]),
            "disk_full": is_full() or disk_full,  # and all of it is written: it is read by another mount
            "dropped": self.dropped,
            "has_output": has_output(),
            "ended_at_unix_us": time.time_ns() // 1000,
        }
        replace("exit", found)
        self._wake()
        self._say({"problem": never_ran, "disk_full": disk_full} if never_ran else {"ok": True})

    def _say(self, answer: dict[str, Any]) -> None:
        if not self.said:
            self.said = True
            with suppress(OSError):  # the appliance has gone meanwhile; the files say the same
                self.connection.sendall(json.dumps(answer).encode())
            self.connection.close()


# ---------------------------------------------------------------------------------------------------------- files


def _received(connection: socket.socket) -> dict[str, Any]:
    """Return what shall be run: its length in eight bytes, then JSON."""
    size = int.from_bytes(_exactly(connection, 8), "big")
    if size > REQUEST_MAX_BYTES:
        raise ValueError(f"{size} bytes are too much to ask")
    found: dict[str, Any] = json.loads(_exactly(connection, size))
    return found


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = connection.recv(min(size - len(found), 1 << 20))
        if not piece:
            raise BrokenPipeError
        found += piece
    return bytes(found)


def _sane_terminal(fd: int) -> None:
    """Make a terminal 80 columns wide, so that programs which ask do not divide by none."""
    termios.tcsetwinsize(fd, (24, 80))
