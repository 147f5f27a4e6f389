"""Who uses an AMD GPU: the driver's list of compute processes, and what each open device file tells (fdinfo).

Every process's open files are looked through once in ten seconds only; between, the known ones are read.
"""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import define, field

from appliance.plugin import GpuProcess, Host

from .files import names, number, text

LOOK_SECONDS: Final = 10.0
LINE: Final = re.compile(r"^(drm-[a-z-]+|amd-[a-z-]+):\s*(.+?)\s*$", re.MULTILINE)
SIZES: Final = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
MEMORY_KEYS: Final = ("drm-resident-vram", "drm-memory-vram", "drm-total-vram")
ENGINE_KEYS: Final = ("drm-engine-gfx", "drm-engine-compute")

COMPUTE_SHARE: Final = "the amdgpu driver has no share for compute queues"
FIRST_LOOK: Final = "known from the second reading on"


@define
class Client:
    """What one process has open on one GPU."""

    vram_bytes: int = 0
    engine_ns: int = 0
    has_memory: bool = False
    has_engines: bool = False


@define
class Processes:
    """Reads the processes of all AMD GPUs of a host; for one thread."""

    host: Host
    monotonic: Callable[[], float] = time.monotonic
    _files: list[tuple[int, Path]] = field(factory=list, init=False)
    _looked_at: float = field(default=float("-inf"), init=False)
    _before: dict[tuple[str, int], tuple[int, float]] = field(factory=dict, init=False)

    def read(self, kfd_ids: dict[str, int]) -> dict[str, list[GpuProcess]]:
        """Return processes by PCI address.

        :param kfd_ids: the compute driver's own number of each GPU, by PCI address.
        """
        now = self.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._files = list(self._open_files())
        clients = self._clients()
        found: dict[str, dict[int, GpuProcess]] = {}
        shares = self._shares(clients, now)
        for (address, pid), client in clients.items():
            share = shares.get((address, pid))
            missing = {} if share is not None else {"sm_percent": FIRST_LOOK}
            found.setdefault(address, {})[pid] = GpuProcess(
                pid=pid,
                kind="graphics",
                vram_used_bytes=client.vram_bytes if client.has_memory else None,
                sm_percent=share,
                missing=missing,
            )
        for address, kfd_id in kfd_ids.items():
            for pid, used in self._compute(kfd_id):
                share = shares.get((address, pid)) or None  # 0 of the graphics engines says nothing of the queues
                missing = {} if share is not None else {"sm_percent": COMPUTE_SHARE}
                found.setdefault(address, {})[pid] = GpuProcess(
                    pid=pid, kind="compute", vram_used_bytes=used, sm_percent=share, missing=missing
                )
        return {address: [by_pid[pid] for pid in sorted(by_pid)] for address, by_pid in found.items()}

    def kfd_ids(self) -> dict[str, int]:
        """Return the compute driver's numbers of GPUs by PCI address; empty where it is not loaded."""
        root = self.host.path("/sys/class/kfd/kfd/topology/nodes")
        found = {}
        for name in names(root):
            kfd_id = number(root / name / "gpu_id")
            if not kfd_id:  # a CPU
                continue
            said = dict(
                line.split(maxsplit=1) for line in (text(root / name / "properties") or "").splitlines() if " " in line
            )
            location, domain = said.get("location_id", ""), said.get("domain", "0")
            if location.isdigit() and domain.isdigit():
                place = int(location)
                address = f"{int(domain):04x}:{place >> 8 & 0xFF:02x}:{place >> 3 & 0x1F:02x}.{place & 7}"
                found[address] = kfd_id
        return found

    def _compute(self, kfd_id: int) -> list[tuple[int, int | None]]:
        root = self.host.path("/sys/class/kfd/kfd/proc")
        found = []
        for name in names(root):
            path = root / name / f"vram_{kfd_id}"
            if name.isdigit() and len(name) < 10 and path.exists():
                found.append((int(name), number(path)))
        return found

    def _open_files(self) -> list[tuple[int, Path]]:
        root = self.host.path("/proc")
        found = []
        for name in names(root):
            if not name.isdigit():
                continue
            for descriptor in names(root / name / "fd"):
                try:
                    target = os.readlink(root / name / "fd" / descriptor)
                except OSError:
                    continue
                if target.startswith("/dev/dri/"):
                    found.append((int(name), root / name / "fdinfo" / descriptor))
        return found

    def _clients(self) -> dict[tuple[str, int], Client]:
        seen: set[tuple[int, str, str]] = set()
        found: dict[tuple[str, int], Client] = {}
        for pid, path in self._files:
            said = dict(LINE.findall(text(path) or ""))
            address = said.get("drm-pdev", "")
            client_id = said.get("drm-client-id", str(path))
            # A duplicated descriptor tells of the same client again.
            if said.get("drm-driver") != "amdgpu" or (pid, address, client_id) in seen:
                continue
            seen.add((pid, address, client_id))
            client = found.setdefault((address, pid), Client())
            memory = next((_bytes(said[key]) for key in MEMORY_KEYS if key in said), None)
            if memory is not None:
                client.vram_bytes += memory
                client.has_memory = True
            for key in ENGINE_KEYS:
                if key in said:
                    client.engine_ns += _nanoseconds(said[key])
                    client.has_engines = True
        return found

    def _shares(self, clients: dict[tuple[str, int], Client], now: float) -> dict[tuple[str, int], float]:
        shares = {}
        for key, client in clients.items():
            if not client.has_engines:
                continue
            before = self._before.get(key)
            if before is not None and now > before[1] and client.engine_ns >= before[0]:
                busy = (client.engine_ns - before[0]) / 1e9 / (now - before[1])
                shares[key] = round(min(100.0, busy * 100), 1)
        self._before = {key: (client.engine_ns, now) for key, client in clients.items()}
        return shares


def _bytes(value: str) -> int | None:
    amount, _, unit = value.partition(" ")
    if not amount.isdigit() or len(amount) > 18 or unit not in SIZES:
        return None
    return int(amount) * SIZES[unit]


def _nanoseconds(value: str) -> int:
    amount = value.removesuffix(" ns")
    return int(amount) if amount.isdigit() and len(amount) < 20 else 0
