"""Small files of the kernel, read without trusting what is in them."""

import os
from pathlib import Path

LIMIT_BYTES = 65_536


def text(path: Path) -> str | None:
    """Return a file's text without the last newline, ``None`` when it cannot be read (the driver has no such value)."""
    try:
        with open(path, "rb", buffering=0) as file:
            found = (file.read(LIMIT_BYTES) or b"").decode("utf-8", "replace").strip()
    except OSError:
        return None
    return found or None


def number(path: Path) -> int | None:
    """Return a file that holds one whole number, decimal."""
    found = text(path)
    if found is None or len(found) > 20 or not found.lstrip("-").isdigit():
        return None
    return int(found)


def names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; none when it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
