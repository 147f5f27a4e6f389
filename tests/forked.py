"""``python -m appliance`` without its imports: a process that has made them forks for each command.

What a test sees is a process of its own, with the environment, the folder and the streams it was given. It costs
milliseconds instead of a second. Tests of what a start imports or costs, and of the built file, start Python itself.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
PRELOADED = ("appliance.run", "appliance.cli", "appliance.plugin", "plugins", "hypercorn.trio", "quart_trio")
"""Packages whose modules are imported before the first fork, but for those below a plugin: `plugins` loads these."""
REQUEST_BYTES_MAX = 1 << 20
PATIENCE_SECONDS = 60.0


class Forked:
    """One run of the command line; the part of `subprocess.Popen` that tests use."""

    def __init__(self, words: list[str], *, cwd: str, env: dict[str, str], streams: list[int]) -> None:
        self.returncode: int | None = None
        self.stdout: IO[str] | None = None
        self._end = _origin().connect()
        request = json.dumps({"words": words, "cwd": cwd, "env": env}).encode()
        socket.send_fds(self._end, [len(request).to_bytes(4, "big")], streams)
        self._end.sendall(request)
        self.pid = int.from_bytes(_exactly(self._end, 4), "big")

    @classmethod
    def popen(cls, words: list[str], *, cwd: Path, env: dict[str, str], stderr: int = subprocess.STDOUT) -> "Forked":
        """Start it with nothing to read; what it says is in ``stdout``, errors as well unless they go elsewhere."""
        reading, writing = os.pipe()
        with open(os.devnull, "rb") as nothing:
            streams = [nothing.fileno(), writing, writing if stderr == subprocess.STDOUT else stderr]
            one = cls(words, cwd=str(cwd), env=env, streams=streams)
        os.close(writing)
        one.stdout = open(reading, encoding="utf-8")  # noqa: SIM115  its user closes it, as with Popen
        return one

    def poll(self) -> int | None:
        """Return how it ended, ``None`` while it runs."""
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return how it ended; raises `subprocess.TimeoutExpired`."""
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("appliance", timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it by force."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._end], [], [], timeout)[0]:
            self.returncode = int.from_bytes(_exactly(self._end, 4), "big", signed=True)
            self._end.close()
        return self.returncode


def run(
    words: list[str], *, cwd: Path, env: dict[str, str], stdin: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    """Run the command line to its end."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        one = Forked(words, cwd=str(cwd), env=env, streams=[given.fileno(), out.fileno(), err.fileno()])
        try:
            status = one.wait(PATIENCE_SECONDS)
        finally:
            one.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, status, out.read(), err.read())


class Origin:
    """The process that forks. It ends with the tests also where they are killed: its standard input ends then."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="appliance-forked-")
        self._path = str(Path(self._folder.name, "origin"))
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked", self._path],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def connect(self) -> socket.socket:
        """Ask for one more process."""
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(PATIENCE_SECONDS)
        one.connect(self._path)
        return one

    def close(self) -> None:
        """End it, and wait for that."""
        self._process.terminate()
        self._process.communicate()
        self._folder.cleanup()


_THE_ORIGIN: Origin | None = None
_ONE_AT_A_TIME = threading.Lock()


def _origin() -> Origin:
    global _THE_ORIGIN
    with _ONE_AT_A_TIME:
        _THE_ORIGIN = _THE_ORIGIN or Origin()
        return _THE_ORIGIN


def close() -> None:
    """End the process that forks, if there is one."""
    global _THE_ORIGIN
    with _ONE_AT_A_TIME:
        one, _THE_ORIGIN = _THE_ORIGIN, None
    if one is not None:
        one.close()


def _exactly(one: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        got = one.recv(count - len(found))
        if not got:
            raise EOFError("the process that forks has gone")
        found += got
    return found


# ---------------------------------------------------------------- in the process that forks


def _preload() -> None:
    for name in PRELOADED:
        package = importlib.import_module(name)
        for child in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{name}."):
            importlib.import_module(child.name)


def _serve(path: str) -> list[str]:
    """Fork for whoever asks; returns, with the words of its command, in each process that is to run one."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    children = set[int]()
    while True:
        ready: list[object] = select.select([listener.fileno(), 0], [], [], 1.0)[0]
        children = {one for one in children if os.waitpid(one, os.WNOHANG) == (0, 0)}
        if 0 in ready:
            os._exit(0)
        if listener.fileno() in ready:
            one, _ = listener.accept()
            child = os.fork()
            if child == 0:
                listener.close()
                return _become(one)
            one.close()
            children.add(child)


def _become(one: socket.socket) -> list[str]:
    """Fork once more: here it is told how the command ended, there its words are returned."""
    size, streams, _, _ = socket.recv_fds(one, 4, 3)
    size += _exactly(one, 4 - len(size)) if len(size) < 4 else b""
    request: dict[str, Any] = json.loads(_exactly(one, min(int.from_bytes(size, "big"), REQUEST_BYTES_MAX)))
    child = os.fork()
    if child:
        for stream in streams:
            os.close(stream)
        with suppress(OSError):
            one.sendall(child.to_bytes(4, "big"))
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            one.sendall(status.to_bytes(4, "big", signed=True))
        os._exit(0)
    one.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    words: list[str] = request["words"]
    return words


def _run(words: list[str]) -> int:
    sys.argv[1:] = words
    try:
        return importlib.import_module("appliance.cli").main(words)  # type: ignore[no-any-return]
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except Exception:
        traceback.print_exc()
        return 1


def _main() -> None:
    _preload()
    gc.collect()
    gc.freeze()
    status = _run(_serve(sys.argv[1]))
    # What an exit does, but for the modules: to take apart what was imported for all costs more than the command.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _main()
