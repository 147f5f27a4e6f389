"""Lays out a host with AMD GPUs: sysfs, hwmon, KFD and fdinfo as text, one file of a tree after the other."""

import os
from pathlib import Path

TREES = Path(__file__).parent


def lay(name: str, root: Path) -> Path:
    """Write the tree ``NAME.tree`` below ``root`` and return ``root``.

    A line ``= PATH`` begins a file, whose lines follow indented by one tab; ``@ PATH -> TARGET`` is a link.
    """
    current: Path | None = None
    for line in (TREES / f"{name}.tree").read_text(encoding="utf-8").splitlines():
        if line.startswith("= "):
            current = root / line[2:]
            current.parent.mkdir(parents=True, exist_ok=True)
            current.write_text("")
        elif line.startswith("@ "):
            path, _, target = line[2:].partition(" -> ")
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(target, root / path)
        elif line.startswith("\t"):
            assert current is not None, f"a line before any file: {line!r}"
            with current.open("a") as file:
                file.write(line[1:] + "\n")
        else:
            assert not line or line.startswith("#"), f"not understood: {line!r}"
    return root
