"""A read-only view of this host's programs, libraries, paths and environment."""

import ctypes.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen


@frozen(kw_only=True)
class Host:
    """What a plugin may look at to decide whether it has work here; tests give another root and environment."""

    root: Path = Path("/")
    """Where ``sys``, ``proc`` and ``dev`` are looked up; another folder in tests."""
    environment: Mapping[str, str] = field(factory=lambda: dict(os.environ))

    def path(self, absolute: str) -> Path:
        """Return ``absolute`` (such as ``/sys/class/drm``) below `root`."""
        return self.root / absolute.lstrip("/")

    def find_program(self, name: str) -> str | None:
        """Return the full path of a program on this host's PATH, or ``None``."""
        return shutil.which(name, path=self.environment.get("PATH", os.defpath))

    def find_library(self, name: str) -> str | None:
        """Return the file name of shared library ``name`` (without ``lib`` and ``.so``), or ``None``."""
        return ctypes.util.find_library(name)
