"""Our own ssh key, the host keys that drones show, and whether there is an ssh here at all."""

import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio
from attrs import define, field

from appliance.plugin import NotAvailable

from .host_keys import HostKey, read_scanned
from .processes import run_process
from .ssh_command import keyscan_line, words_of

PROGRAMS: Final = ("ssh", "ssh-keygen", "ssh-keyscan")
KEYGEN_SECONDS: Final = 30.0
SCAN_BYTES: Final = 65_536
INSTALL: Final = "install the OpenSSH client (openssh-client, net-misc/openssh)"


@define(eq=False)
class SshKeys:
    """Keys of both sides; the private one never leaves its folder."""

    folder: Path
    """The plugin's own folder, 0700."""
    connect_seconds: int = 10
    which: Callable[[str], str | None] = shutil.which
    _lock: trio.Lock = field(factory=trio.Lock, init=False)

    @property
    def path(self) -> Path:
        """Where our private key lies."""
        return self.folder / "id_ed25519"

    def lacking(self) -> str | None:
        """Return why no drone can be entered from this host; ``None`` when nothing is in the way."""
        missing = [program for program in PROGRAMS if self.which(program) is None]
        return f"not available because {' and '.join(missing)} is not installed here" if missing else None

    def require_programs(self) -> None:
        """Raise `NotAvailable` where OpenSSH is not installed."""
        if (reason := self.lacking()) is not None:
            raise NotAvailable(f"ssh is {reason}", hint=INSTALL)

    async def identity(self) -> Path:
        """Return our private key, made when there is none.

        :raises NotAvailable: it cannot be made, or others can read it.
        """
        self.require_programs()
        async with self._lock:
            try:
                found = self.path.lstat()
            except FileNotFoundError:
                await self._make()
                return self.path
        if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
            raise NotAvailable(
                f"ssh is not available because {self.path} can be read by others",
                hint="delete it: a new one is made, and drones have to be given that",
            )
        return self.path

    async def public_key(self) -> str:
        """Return our public key as authorized_keys takes it; raises `NotAvailable`."""
        path = await self.identity()
        try:
            text = await trio.Path(f"{path}.pub").read_text(encoding="ascii", errors="replace")
        except OSError as error:
            raise NotAvailable(f"our public key cannot be read: {error.strerror}") from error
        return text.strip()

    async def scan(self, address: str, port: int) -> list[HostKey]:
        """Ask a host for its keys, best first; empty where nothing answers. It need not be approved: nothing is sent.

        :raises NotAvailable: there is no ssh-keyscan here.
        """
        self.require_programs()
        with trio.move_on_after(self.connect_seconds * 3.0):
            ended = await run_process(keyscan_line(address, port, self.connect_seconds), limit_bytes=SCAN_BYTES)
            return read_scanned(ended.stdout.decode("ascii", "replace"))
        return []

    async def _make(self) -> None:
        made: Path | None = None
        try:
            made = Path(tempfile.mkdtemp(prefix="key-", dir=self.folder))  # 0700
            line = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "appliance", "-f", str(made / self.path.name)]
            with trio.fail_after(KEYGEN_SECONDS):
                ended = await run_process(line)
            if ended.status != 0:
                said = words_of(ended.stderr.decode("utf-8", "replace"))
                raise NotAvailable(f"ssh is not available because our key could not be made: {said}")
            (made / self.path.name).chmod(0o600)
            # The private key comes last: where it is, the public one is.
            for name in (f"{self.path.name}.pub", self.path.name):
                (made / name).replace(self.folder / name)
        except (OSError, trio.TooSlowError) as error:
            raise NotAvailable(f"ssh is not available because our key could not be made: {error}") from error
        finally:
            if made is not None:
                shutil.rmtree(made, ignore_errors=True)
