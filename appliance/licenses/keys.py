"""Private keys: one file each, ``license-<kid>.pem`` (PKCS #8) in the folder of secret keys, readable by us alone."""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from appliance.errors import ApplianceError
from appliance.licenses.jwks import thumbprint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX: Final = "license-"
SUFFIX: Final = ".pem"
FILE_MAX_BYTES: Final = 4_096


class LicenseKeyRefused(ApplianceError):
    """A licence key cannot be used: others can get at its file, it is somebody else's, or it holds no such key."""

    status = 503


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
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes_raw()
        content = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
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
