"""Host keys of drones: reading them, their fingerprints, and the known_hosts file.

The formats are those of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT", and RFC 4253, 6.6.
"""

import base64
import binascii
import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from attrs import frozen

from appliance.plugin import BadInput, StorageFailed

TYPES: Final = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
"""Taken, best first."""
KEY_BYTES_MAX: Final = 4096
SSH_PORT: Final = 22


@frozen(kw_only=True)
class HostKey:
    """One public key of a host."""

    type: str
    encoded: str
    """Base64 of the key as it goes over the wire."""

    @classmethod
    def read(cls, text: str) -> "HostKey":
        """Read ``TYPE BASE64``, with or without a comment; raises `BadInput`."""
        parts = text.split()
        if len(text) > 2 * KEY_BYTES_MAX or len(parts) < 2 or "\n" in text.strip():
            raise BadInput("a host key is TYPE BASE64", field="host_key", hint="as ssh-keyscan shows it after the host")
        kind, encoded = parts[0], parts[1]
        if kind not in TYPES:
            raise BadInput(
                f"{kind[:40]!r} is no type of host key", field="host_key", hint=f"one of: {', '.join(TYPES)}"
            )
        try:
            raw = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise BadInput("the host key is no base64", field="host_key") from None
        name = kind.encode()
        if not raw.startswith(len(name).to_bytes(4, "big") + name) or len(raw) < len(name) + 36:
            raise BadInput(f"this is no key of type {kind}", field="host_key")
        return cls(type=kind, encoded=base64.b64encode(raw).decode())

    @property
    def text(self) -> str:
        """The key as known_hosts has it, without the host."""
        return f"{self.type} {self.encoded}"

    @property
    def fingerprint(self) -> str:
        """The fingerprint as OpenSSH shows it: ``SHA256:`` and base64 without padding."""
        digest = hashlib.sha256(base64.b64decode(self.encoded)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def line(self, address: str, port: int) -> str:
        """Return the key's line in known_hosts."""
        host = address if port == SSH_PORT else f"[{address}]:{port}"
        return f"{host} {self.text}"


def read_scanned(text: str) -> list[HostKey]:
    """Return the keys that ssh-keyscan printed, best first; what is no key is passed over."""
    found: list[HostKey] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        with contextlib.suppress(BadInput):
            found.append(HostKey.read(line.partition(" ")[2]))
    return sorted(found, key=lambda key: TYPES.index(key.type))


def write_known_hosts(path: Path, lines: Iterable[str]) -> None:
    """Write known_hosts anew, so that a reader sees either all of the old file or all of the new one.

    :raises StorageFailed: it cannot be written.
    """
    made = path.with_name(path.name + ".new")
    try:
        fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written: {error.strerror}") from error
