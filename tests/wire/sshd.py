"""A real sshd for tests, on a loopback port that the kernel chooses; it is never the host's own.

sshd cannot choose a port itself, so that a listener of ours takes the connections and starts one ``sshd -i`` for each.
Its host key, its authorized_keys and what its sessions find on their PATH lie in a folder of the test; `stub` puts
programs there that shall not touch this host: ``rc-service``, ``systemctl``, ``reboot``, ``pkill``, ``dmesg`` ...
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from attrs import define, field

SSHD = "/usr/sbin/sshd"
SEPARATION_FOLDER = Path("/run/sshd")
HARMLESS = ("rc-service", "systemctl", "reboot", "pkill", "shutdown", "poweroff", "init")
"""Stubbed from the start: each writes its arguments into ``calls``."""
CONFIG = """\
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
PrintLastLog no
UseDNS no
LogLevel VERBOSE
ForceCommand {folder}/session
"""
SESSION = """\
#!/bin/sh
# Whatever the user's own files say about PATH and prompt: what is stubbed must not reach this host.
PATH={folder}/bin:{path}
HOME={folder}/home
PS1='$ '
export PATH HOME PS1
cd
if [ -n "$SSH_ORIGINAL_COMMAND" ]; then exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"; fi
exec /bin/sh -i
"""


def lacking() -> str | None:
    """Return why no sshd can be started here; ``None`` when one can."""
    if not os.access(SSHD, os.X_OK):
        return f"there is no {SSHD}"
    missing = [program for program in ("ssh", "ssh-keygen", "ssh-keyscan") if shutil.which(program) is None]
    if missing:
        return f"there is no {' and no '.join(missing)}"
    if os.geteuid() == 0 and not SEPARATION_FOLDER.is_dir():
        try:
            SEPARATION_FOLDER.mkdir(mode=0o755)
        except OSError as error:
            return f"sshd needs {SEPARATION_FOLDER}: {error.strerror}"
    return None


@define(eq=False)
class Sshd:
    """One drone's sshd, while `running_sshd` lasts."""

    folder: Path
    port: int
    user: str
    _listener: socket.socket
    _processes: list["subprocess.Popen[bytes]"] = field(factory=list, init=False)
    _is_up: bool = field(default=True, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    connections: int = field(default=0, init=False)
    """How many have come in."""

    @property
    def address(self) -> str:
        """Where it listens."""
        return "127.0.0.1"

    @property
    def host_key(self) -> str:
        """Its public host key: ``ssh-ed25519 AAAA...``."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def bin(self) -> Path:
        """The first folder on the PATH of its sessions."""
        return self.folder / "bin"

    @property
    def calls(self) -> list[str]:
        """What harmless stubs were called with, one line a call, oldest first."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def log(self) -> str:
        """What sshd said."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def authorize(self, public_key: str) -> None:
        """Let in who has this key, besides those that it lets in."""
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(public_key.strip() + "\n")

    def stub(self, program: str, script: str) -> None:
        """Put a program of this name first on the PATH of sessions; ``script`` is what `sh` runs."""
        path = self.bin / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def change_host_key(self) -> None:
        """Show another host key from now on, as a machine that was installed anew."""
        for name in ("host_key", "host_key.pub"):
            (self.folder / name).unlink(missing_ok=True)
        line = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "drone", "-f", str(self.folder / "host_key")]
        subprocess.run(line, check=True, stdin=subprocess.DEVNULL, capture_output=True)

    def drop(self) -> None:
        """End every connection that is open."""
        with self._lock:
            ending, self._processes = self._processes, []
        for process in ending:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def down(self) -> None:
        """End every connection, and take no more: each new one is closed at once."""
        with self._lock:
            self._is_up = False
        self.drop()

    def up(self) -> None:
        """Take connections again."""
        self._is_up = True

    def serve(self) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # One at a time with `down` and `drop`: no connection is let in behind their backs.
            with connection, self._lock:
                self.connections += 1
                if self._is_up:
                    self._processes = [one for one in self._processes if one.poll() is None]
                    self._processes.append(self._served(connection.fileno()))

    def _served(self, fd: int) -> "subprocess.Popen[bytes]":
        line = [SSHD, "-i", "-f", str(self.folder / "sshd_config"), "-E", str(self.folder / "log")]
        return subprocess.Popen(line, stdin=fd, stdout=fd, stderr=subprocess.DEVNULL, cwd="/")

    def close(self) -> None:
        """Take no more connections, and end all."""
        with self._lock:
            self._is_up = False
        # Closing alone does not wake who waits in accept.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()


@contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    """Run an sshd with everything in ``folder``; skips the test, and says why, where there is none."""
    if (reason := lacking()) is not None:
        pytest.skip(reason)
    (folder / "bin").mkdir(parents=True)
    (folder / "home").mkdir()
    (folder / "authorized_keys").touch(mode=0o600)
    path = os.environ.get("PATH", os.defpath)
    (folder / "sshd_config").write_text(CONFIG.format(folder=folder))
    (folder / "session").write_text(SESSION.format(folder=folder, path=path))
    (folder / "session").chmod(0o755)
    listener = socket.create_server(("127.0.0.1", 0))
    made = Sshd(folder, listener.getsockname()[1], pwd.getpwuid(os.geteuid()).pw_name, listener)
    for program in HARMLESS:
        made.stub(program, f'echo "{program} $*" >> "{folder}/calls"')
    made.change_host_key()
    thread = threading.Thread(target=made.serve, name="sshd listener", daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join(10)
