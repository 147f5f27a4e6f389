"""Private keys: one file each, ``license-<kid>.pem`` (PKCS #8) in the folder of secret keys, readable by us alone."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from appliance.errors import ApplianceError
from appliance.licenses.jwks import thumbprint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX: Final = "license-"
SUFFIX: Final = ".pem"
FILE_MAX_BYTES: Final = 4_096
PUBLIC_BYTES: Final = 32
MAKING_SECONDS: Final = 30.0
LIBRARY: Final = "cryptography.hazmat.primitives.asymmetric.ed25519"
_MAKE: Final = f"""
import json, os, sys
os.nice(10)  # a start is under way, and waits for no licence
sys.path[:] = json.loads(sys.argv[1])
from {LIBRARY} import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
key = Ed25519PrivateKey.generate()
pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
sys.stdout.buffer.write(key.public_key().public_bytes_raw() + pem)
"""


class LicenseKeyRefused(ApplianceError):
    """A licence key cannot be used: others can get at its file, it is somebody else's, or it holds no such key."""

    status = 503


def _made() -> tuple[bytes, bytes]:
    """Return a new key: its public half, and the private one as it is kept."""
    # Every first start makes a key, and few ever sign with it: what makes it stays out of a process that runs for
    # months and would keep the library's 12 MB. Where there can be no such process, it is made here all the same.
    if LIBRARY not in sys.modules and sys.executable:
        command = [sys.executable, "-I", "-S", "-c", _MAKE, json.dumps(sys.path)]
        try:
            done = subprocess.run(
                command,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=MAKING_SECONDS,
            )
        except (OSError, subprocess.SubprocessError):
            pass
        else:
            return done.stdout[:PUBLIC_BYTES], done.stdout[PUBLIC_BYTES:]
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.public_key().public_bytes_raw(), key.private_bytes(pem, pkcs8, plain)


class LicenseKeys:
    """The key files in one folder. Their methods touch the disk; those that need the library load it (60 ms)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def kids(self) -> frozenset[str]:
        """Return the ids of the keys that are there.

        :raises LicenseKeyRefused: somebody else could have read one of them.
        """
        files = sorted(self._folder.glob(f"{PREFIX}*{SUFFIX}"))
        for path in files:
            _check(path, path.lstat())
        return frozenset(path.name.removeprefix(PREFIX).removesuffix(SUFFIX) for path in files)

    def make(self) -> bytes:
        """Make a key, on disk when this returns; return its public half."""
        public, content = _made()
        file = os.open(
            self._path(thumbprint(public)), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(file, content)
            os.fsync(file)
        finally:
            os.close(file)
        self._sync()
        return public

    def load(self, kid: str) -> "Ed25519PrivateKey":
        """Return a private key.

        :raises LicenseKeyRefused: it is missing, others can read it, or it is not the key that its name says.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        path = self._path(kid)
        try:
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise LicenseKeyRefused(f"the licence key {path} cannot be read: {error.strerror}") from error
        try:
            _check(path, os.fstat(file))  # of the file that is read, not of the name
            content = os.read(file, FILE_MAX_BYTES)
        finally:
            os.close(file)
        try:
            key = load_pem_private_key(content, password=None)
        except (ValueError, TypeError) as error:
            raise LicenseKeyRefused(f"the licence key {path} is damaged", hint=_HINT) from error
        if not isinstance(key, Ed25519PrivateKey) or thumbprint(key.public_key().public_bytes_raw()) != kid:
            raise LicenseKeyRefused(f"the licence key {path} is not the key that its name says", hint=_HINT)
        return key

    def public(self, kid: str) -> bytes | None:
        """Return the public half of a key; ``None`` when the file holds no such key."""
        try:
            return self.load(kid).public_key().public_bytes_raw()
        except LicenseKeyRefused:
            return None

    def remove(self, kid: str) -> None:
        """Remove a private key; nothing happens when it is not there."""
        self._path(kid).unlink(missing_ok=True)
        self._sync()

    def _path(self, kid: str) -> Path:
        return self._folder / f"{PREFIX}{kid}{SUFFIX}"

    def _sync(self) -> None:
        # A name in a folder is on disk only when the folder is.
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


_HINT: Final = "move the file away: the next key takes over"


def _check(path: Path, about: os.stat_result) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise LicenseKeyRefused(f"the licence key {path} is not a file", hint=_HINT)
    if about.st_uid != os.geteuid():
        raise LicenseKeyRefused(
            f"the licence key {path} belongs to uid {about.st_uid}", hint=f"chown {os.geteuid()} {path}"
        )
    if about.st_mode & 0o077:
        raise LicenseKeyRefused(
            f"others can get at the licence key {path} (mode {stat.S_IMODE(about.st_mode):04o})",
            hint=f"chmod 600 {path}; if somebody may have read it, also: appliance license rotate --emergency",
        )
