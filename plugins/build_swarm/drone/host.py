"""What this host is, and how it is doing now."""

import os
import re
import secrets
import socket
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import psutil
from attrs import define, field

from ..models import NAME_PATTERN

MACHINE_ID: Final = Path("/etc/machine-id")
TREE: Final = Path("/var/db/repos/gentoo")
GIB: Final = 2**30


def machine_id(path: Path = MACHINE_ID) -> str:
    """Return what systemd and D-Bus call this machine (32 hexadecimal digits); empty where nobody named it."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return text if re.fullmatch(r"[0-9a-f]{32}", text) else ""


def made_id(path: Path) -> str:
    """Return the id in a file, which is made where there is none: not every Gentoo host has a machine id.

    :raises ValueError: it can neither be read nor made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(f"{secrets.token_hex(16)}\n", encoding="ascii")
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ValueError(f"this host has no {MACHINE_ID}, and {path} cannot be used: give --id") from error


def host_name() -> str:
    """Return this host's name as a swarm takes it; empty where it has none that would do."""
    name = socket.gethostname().partition(".")[0]
    return name if re.fullmatch(NAME_PATTERN, name) else ""


def ram_gb() -> float:
    """Return the main memory in GiB, as the documented figure is meant."""
    return float(round(psutil.virtual_memory().total / GIB, 1))


def portage_timestamp(tree: Path | None) -> str | None:
    """Return the day of a Portage tree as the document shows it (2026-02-12); ``None`` where it does not say."""
    if tree is None:
        return None
    try:
        text = (tree / "metadata" / "timestamp.chk").read_text(encoding="ascii")[:200].strip()
        return parsedate_to_datetime(text).date().isoformat()
    except (OSError, ValueError, TypeError, IndexError):
        return None


def address_towards(host: str, port: int) -> str:
    """Return our own address as the route to another host has it; nothing is sent. Empty where there is no route."""
    with suppress(OSError):
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(address)
                return str(probe.getsockname()[0])
    return ""


@define
class Figures:
    """Measures this host; the processor's share is that since the reading before."""

    folder: Path
    """Whose disk counts: where is built."""
    _before: Any = field(factory=psutil.cpu_times, init=False)

    def read(self) -> dict[str, float]:
        """Return the documented metrics; what this host does not tell is left out."""
        figures = {"ram_percent": float(psutil.virtual_memory().percent), "load_1m": round(os.getloadavg()[0], 2)}
        busy = self._busy_percent()
        if busy is not None:
            figures["cpu_percent"] = busy
        with suppress(OSError):
            figures["disk_percent"] = float(psutil.disk_usage(str(self.folder)).percent)
        return figures

    def _busy_percent(self) -> float | None:
        before, self._before = self._before, psutil.cpu_times()
        passed = {name: getattr(self._before, name) - getattr(before, name) for name in before._fields}
        # Guest time is part of user time in Linux; iowait and idle are no work, and may run backwards (proc(5)).
        whole = sum(max(0.0, spent) for name, spent in passed.items() if name not in ("guest", "guest_nice"))
        if whole <= 0:
            return None
        idle = max(0.0, passed.get("idle", 0.0)) + max(0.0, passed.get("iowait", 0.0))
        return float(round(min(100.0, max(0.0, (whole - idle) / whole * 100)), 1))
