"""A stand-in for ``nvidia-cuda-mps-control``: a real program with a real socket, told how to behave by a file."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

PROGRAM = """#!/usr/bin/python3
# With -f it serves; without, it hands what it reads to the daemon of its pipe directory, as NVIDIA's does.
import json, os, pathlib, socket, subprocess, sys, time
folder = pathlib.Path("{folder}")
pipe = pathlib.Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))
how = (folder / "behaviour").read_text()
if sys.argv[1:] == ["-f"]:
    if how == "dead":
        sys.exit(3)
    server = subprocess.Popen(["/bin/sleep", "1000"])  # the MPS server that a real one starts
    names = ("CUDA_VISIBLE_DEVICES", "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
    said = {{name: os.environ[name] for name in names}}
    said |= {{"pid": os.getpid(), "server": server.pid, "uid": os.getuid()}}
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(pipe / "control"))
    listener.listen()
    with open(folder / "starts", "a") as log:
        log.write(json.dumps(said) + "\\n")
    while True:
        connection, _ = listener.accept()
        asked = connection.recv(1000).decode()
        with open(folder / "asked", "a") as log:
            log.write(f"{{pipe}} {{asked}}")
        if (folder / "behaviour").read_text() == "mute":
            time.sleep(1000)
        connection.sendall(b"ok\\n")
        connection.close()
        if asked == "quit\\n":
            server.kill()
            server.wait()
            sys.exit(0)
client = socket.socket(socket.AF_UNIX)
try:
    client.connect(str(pipe / "control"))
except OSError:
    print("Cannot find MPS control daemon process")
    sys.exit(1)
client.sendall(sys.stdin.read().encode())
print(client.recv(1000).decode())
"""


@frozen
class MpsDevice:
    """The stand-in, in a folder that every user can reach."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def run(self) -> Path:
        """In place of ``/run``."""
        return self.folder / "run"

    def behave(self, how: str) -> None:
        """``well``, ``dead`` (ends at once) or ``mute`` (takes commands and never answers)."""
        (self.folder / "behaviour").write_text(how)

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


@contextmanager
def mps_device() -> Iterator[MpsDevice]:
    """Put a stand-in where other users can run it, which the tests' own folders are not."""
    folder = Path(tempfile.mkdtemp(prefix="mps-", dir="/tmp"))
    folder.chmod(0o755)
    made = MpsDevice(folder)
    made.bin.mkdir(mode=0o755)
    made.run.mkdir(mode=0o755)
    program = made.bin / "nvidia-cuda-mps-control"
    program.write_text(PROGRAM.format(folder=folder))
    program.chmod(0o755)
    made.behave("well")
    for name in ("starts", "asked"):
        (folder / name).touch()
        (folder / name).chmod(0o666)
    try:
        yield made
    finally:
        shutil.rmtree(folder)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
