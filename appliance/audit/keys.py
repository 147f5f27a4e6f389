"""The audit key and the anchor file, in the folder of secret keys."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from appliance.audit.chain import GENESIS, Head
from appliance.errors import StorageFailed

KEY_BYTES: Final = 32


class AuditKeys:
    """Reads and writes ``audit.key`` (made once) and ``audit.head`` (replaced as the log grows)."""

    def __init__(self, folder: Path) -> None:
        self._key = folder / "audit.key"
        self._anchor = folder / "audit.head"

    def key(self) -> bytes | None:
        """Return the key, or ``None`` when there is none."""
        try:
            content = self._key.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageFailed(f"the audit key cannot be read: {self._key}: {error.strerror}") from error
        if len(content) != KEY_BYTES:
            raise StorageFailed(f"the audit key is damaged: {self._key}", hint="restore it from a backup")
        return content

    def make_key(self) -> bytes:
        """Make the key unless it is there, and return it."""
        partial = self._key.with_name(f".audit.key.{os.getpid()}")
        with suppress(FileExistsError):
            _write(partial, secrets.token_bytes(KEY_BYTES))
            os.link(partial, self._key)
        partial.unlink(missing_ok=True)
        key = self.key()
        assert key is not None
        return key

    def anchor(self) -> Head | None:
        """Return the head in the anchor file, ``None`` when there is no file; a damaged one counts as none."""
        try:
            words = self._anchor.read_text("ascii").split()
            entry_id, digest = int(words[0]), bytes.fromhex(words[1])
        except (FileNotFoundError, ValueError, IndexError, UnicodeDecodeError):
            return None
        return Head(entry_id=entry_id, hash=digest) if len(digest) == len(GENESIS) else None

    def write_anchor(self, head: Head) -> None:
        """Replace the anchor file; on disk when it returns."""
        partial = self._anchor.with_name(f".audit.head.{os.getpid()}")
        _write(partial, f"{head.entry_id} {head.hash.hex()}\n".encode("ascii"))
        partial.replace(self._anchor)


def _write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
