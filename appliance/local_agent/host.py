"""This host's own figures, read with psutil: raw totals, and shares of the time since the reading before."""

import os
import re
import socket
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psutil
from attrs import define, field

from appliance.devices import DiskSample, FanSample, FilesystemSample, HostFacts, HostSample, NetworkSample
from appliance.host import Host

SLOW_SECONDS = 10.0
"""How often frequency, sensors and file systems are read: they cost most, and reading a core's frequency wakes it."""
CPU_TEMPERATURES = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "acpitz")
UNCOUNTED_INTERFACE = re.compile(r"lo|veth.*|ifb\d+")
"""Loopback, the host's ends of containers' cables (a name for each container ever started) and shaping devices."""
PSEUDO_DISK = re.compile(r"(loop|ram|zram|fd|sr|dm-|md)\d")
AnswerT = TypeVar("AnswerT")


def optional(read: Callable[[], AnswerT]) -> AnswerT | None:
    """Return what ``read`` returns, ``None`` where this host has no such thing (containers, virtual machines)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # psutil warns where /proc/vmstat is missing
            return read()
    except (OSError, AttributeError, NotImplementedError, RuntimeError, ValueError, KeyError, IndexError, psutil.Error):
        return None


def busy_percents(before: Any, after: Any) -> dict[str, float] | None:
    """Return shares of the CPU time between two readings: ``total``, ``user``, ``system``, ``iowait``.

    ``None`` when no time has passed. Guest time is part of user time in Linux and is not counted twice.
    """

    def spent(name: str) -> float:
        # iowait and idle may run backwards on some kernels (proc(5)).
        return float(max(0.0, getattr(after, name, 0.0) - getattr(before, name, 0.0)))

    names = [name for name in after._fields if name not in ("guest", "guest_nice")]
    whole = sum(spent(name) for name in names)
    if whole <= 0:
        return None
    return {
        "total": _share(whole - spent("idle") - spent("iowait"), whole),
        "user": _share(spent("user") + spent("nice"), whole),
        "system": _share(spent("system") + spent("irq") + spent("softirq"), whole),
        "iowait": _share(spent("iowait"), whole),
    }


def _share(part: float, whole: float) -> float:
    return round(min(100.0, max(0.0, part / whole * 100)), 2)


@define
class HostReader:
    """Reads this host; keeps the reading before, of which the CPU's shares are derived. For one thread."""

    host: Host = field(factory=Host)
    monotonic: Callable[[], float] = time.monotonic
    _times: Any = field(default=None, init=False)
    _core_times: Sequence[Any] = field(default=(), init=False)
    _slow_at: float = field(default=float("-inf"), init=False)
    _slow: dict[str, Any] = field(factory=dict, init=False)
    _count_physical: int | None = field(default=None, init=False)
    _physical_disks: dict[str, bool] = field(factory=dict, init=False)

    def read(self, host_id: str, now_unix_us: int) -> HostSample:
        """Read everything once; the CPU's shares are ``None`` on the first reading."""
        if self.monotonic() - self._slow_at >= SLOW_SECONDS:
            self._slow_at = self.monotonic()
            self._slow = self._read_slow()
        load = optional(os.getloadavg) or (None, None, None)
        networks = self._networks()
        return HostSample(
            host_id=host_id,
            taken_at_unix_us=now_unix_us,
            cpu_load_1=load[0],
            cpu_load_5=load[1],
            cpu_load_15=load[2],
            network_rx_bytes_total=_total(self._on_the_wire(networks), "rx_bytes_total"),
            network_tx_bytes_total=_total(self._on_the_wire(networks), "tx_bytes_total"),
            process_count=optional(self._process_count),
            uptime_seconds=optional(self._uptime_seconds),
            disks=self._disks(),
            networks=networks,
            **self._cpu(),
            **self._memory(),
            **self._slow,
        )

    def _cpu(self) -> dict[str, Any]:
        cores = optional(lambda: psutil.cpu_times(percpu=True)) or []
        times = optional(psutil.cpu_times)
        shares = busy_percents(self._times, times) if self._times and times else None
        core_percents: tuple[float, ...] = ()
        if len(cores) == len(self._core_times):  # a core went on- or off-line otherwise
            pairs = zip(self._core_times, cores, strict=True)
            core_percents = tuple((busy_percents(*pair) or {"total": 0.0})["total"] for pair in pairs)
        self._times, self._core_times = times, cores
        shares = shares or {}
        return {
            "cpu_percent": shares.get("total"),
            "cpu_user_percent": shares.get("user"),
            "cpu_system_percent": shares.get("system"),
            "cpu_iowait_percent": shares.get("iowait"),
            "cpu_core_percents": core_percents,
            "cpu_count_logical": len(cores) or None,
        }

    def _memory(self) -> dict[str, Any]:
        memory, swap = optional(psutil.virtual_memory), optional(psutil.swap_memory)
        found: dict[str, Any] = {}
        if memory:
            found |= {
                "memory_total_bytes": memory.total,
                # What cannot be had without swapping, as `free` counts it; psutil's own "used" is another figure.
                "memory_used_bytes": max(0, memory.total - memory.available),
                "memory_available_bytes": memory.available,
                "memory_percent": memory.percent,
            }
        if swap:
            found |= {
                "swap_total_bytes": swap.total,
                "swap_used_bytes": swap.used,
                "swap_percent": swap.percent if swap.total else None,
            }
        return found

    def _disks(self) -> tuple[DiskSample, ...]:
        counters = optional(lambda: psutil.disk_io_counters(perdisk=True, nowrap=False)) or {}
        return tuple(
            DiskSample(
                device=name,
                read_bytes_total=disk.read_bytes,
                write_bytes_total=disk.write_bytes,
                read_count_total=disk.read_count,
                write_count_total=disk.write_count,
                busy_time_ms_total=getattr(disk, "busy_time", None),
            )
            for name, disk in sorted(counters.items())
            if self._is_physical(name)
        )

    def _is_physical(self, name: str) -> bool:
        """Whether ``name`` is a whole disk: no partition, and nothing that only stands on other disks."""
        if name not in self._physical_disks:
            # A partition has no folder of its own directly in /sys/block; "cciss/c0d0" is "cciss!c0d0" there.
            folder = self.host.path("/sys/block")
            whole = not folder.is_dir() or (folder / name.replace("/", "!")).exists()
            self._physical_disks[name] = whole and not PSEUDO_DISK.match(name)
        return self._physical_disks[name]

    def _networks(self) -> tuple[NetworkSample, ...]:
        counters = optional(lambda: psutil.net_io_counters(pernic=True, nowrap=False)) or {}
        return tuple(
            NetworkSample(
                interface=name,
                rx_bytes_total=card.bytes_recv,
                tx_bytes_total=card.bytes_sent,
                rx_errors_total=card.errin,
                tx_errors_total=card.errout,
            )
            for name, card in sorted(counters.items())
            if not UNCOUNTED_INTERFACE.fullmatch(name)
        )

    def _on_the_wire(self, networks: Sequence[NetworkSample]) -> Sequence[NetworkSample]:
        """Return the cards among interfaces: bridges, bonds and tunnels carry the same bytes a second time."""
        cards = [one for one in networks if self.host.path(f"/sys/class/net/{one.interface}/device").exists()]
        return cards or networks  # inside a container no interface is a card

    def _process_count(self) -> int:
        # Names only: psutil.process_iter would open several files for every process.
        return sum(name.isdigit() for name in os.listdir(self.host.path("/proc")))

    def _uptime_seconds(self) -> float:
        return float(self.host.path("/proc/uptime").read_text().split()[0])

    def _read_slow(self) -> dict[str, Any]:
        if self._count_physical is None:
            self._count_physical = optional(lambda: psutil.cpu_count(logical=False))
        frequency = optional(psutil.cpu_freq)
        return {
            "cpu_count_physical": self._count_physical,
            "cpu_frequency_mhz": frequency.current if frequency and frequency.current else None,
            "cpu_temperature_celsius": _cpu_temperature(optional(psutil.sensors_temperatures) or {}),
            "fans": _fans(optional(psutil.sensors_fans) or {}),
            "filesystems": _filesystems(),
        }


def _total(networks: Sequence[NetworkSample], name: str) -> int | None:
    return sum(getattr(card, name) or 0 for card in networks) if networks else None


def _cpu_temperature(sensors: dict[str, list[Any]]) -> float | None:
    """Return the hottest sensor of the CPU's own chip, the first of the known chips that is there."""
    for chip in CPU_TEMPERATURES:
        readings = [entry.current for entry in sensors.get(chip, []) if entry.current and entry.current > 0]
        if readings:
            return float(max(readings))
    return None


def _fans(sensors: dict[str, list[Any]]) -> tuple[FanSample, ...]:
    fans: list[FanSample] = []
    for chip, entries in sorted(sensors.items()):
        for position, entry in enumerate(entries, 1):
            label = entry.label or f"{chip} fan{position}"
            taken = {fan.label for fan in fans}
            fans.append(FanSample(label=f"{chip} {label}" if label in taken else label, speed_rpm=float(entry.current)))
    return tuple(fans)


def _filesystems() -> tuple[FilesystemSample, ...]:
    found: dict[str, FilesystemSample] = {}
    for part in optional(lambda: psutil.disk_partitions(all=False)) or []:
        if part.device in found or part.fstype in {"squashfs", "iso9660"}:  # a bind mount; always full
            continue
        usage = optional(lambda mountpoint=part.mountpoint: psutil.disk_usage(mountpoint))  # type: ignore[misc]
        if usage:
            found[part.device] = FilesystemSample(
                mountpoint=part.mountpoint,
                device=part.device,
                fstype=part.fstype,
                total_bytes=usage.total,
                used_bytes=usage.used,
                free_bytes=usage.free,
            )
    return tuple(found.values())


def read_facts(host: Host) -> HostFacts:
    """Return what does not change about this host while it runs."""
    return HostFacts(
        hostname=socket.gethostname(),
        kernel=os.uname().release,
        system=optional(lambda: _key_of(host.path("/etc/os-release").read_text(), "PRETTY_NAME", "=")),
        cpu_model=optional(lambda: _key_of(host.path("/proc/cpuinfo").read_text(), "model name", ":")),
    )


def _key_of(text: str, key: str, mark: str) -> str | None:
    for line in text.splitlines():
        name, found, value = line.partition(mark)
        if found and name.strip() == key:
            return value.strip().strip('"') or None
    return None
