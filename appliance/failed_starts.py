"""Counts starts that died before they were ready; after three in a row the next is in safe mode."""

from contextlib import suppress
from pathlib import Path
from typing import Final

SAFE_MODE_AFTER: Final = 3
COUNT_MAX: Final = 1000


class FailedStarts:
    """The count in a file of the data directory; it survives a kill, which no code of ours sees."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "failed-starts"
        self.before = self._read()
        """Failed starts in a row before this one."""

    @property
    def is_safe_mode(self) -> bool:
        """Whether this start leaves third-party plugins off."""
        return self.before >= SAFE_MODE_AFTER

    def begin(self) -> None:
        """Count this start as failed until it is ready."""
        self._write(self.before + 1)

    def forgive(self) -> None:
        """Take this start back: it ended for a reason that is no crash (configuration, a busy port, a stop request)."""
        self._write(self.before)

    def ready(self) -> None:
        """This start has succeeded: nothing is counted any more."""
        self._write(0)

    def _read(self) -> int:
        with suppress(OSError, ValueError):
            text = self._file.read_bytes()[:8].decode("ascii").strip()
            return min(int(text), COUNT_MAX) if text.isdigit() else 0
        return 0

    def _write(self, count: int) -> None:
        # A disk that takes no byte is told by the database, in better words than here.
        with suppress(OSError):
            if count:
                self._file.write_text(f"{count}\n", "ascii")
            else:
                self._file.unlink(missing_ok=True)
