"""Limits by the kernel's control groups, version 1 or 2: one group for each attempt, beside the service manager's own.

Version 2 is used where its hierarchy has all three controllers, version 1 otherwise; hosts with both mounted exist.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import field, frozen

from appliance.plugin import Host, Usage

CONTROLLERS: Final = ("memory", "cpu", "pids")
KEEPERS: Final = "keepers"
TRACKING: Final = "tracking"
PERIOD_US: Final = 100_000
QUOTA_MIN_US: Final = 1_000
"""What the kernel takes as the least: a hundredth of a core."""


@frozen(kw_only=True)
class Limits:
    """What an attempt may use; 0 sets no limit."""

    millicores: int = 0
    memory_mib: int = 0
    processes_max: int = 0


@frozen(kw_only=True)
class Group:
    """The cgroup of one attempt: one folder in version 2, one for each controller in version 1."""

    folders: Mapping[str, Path]
    """By controller; all the same in version 2."""
    is_v2: bool

    @property
    def unique(self) -> tuple[Path, ...]:
        """Every folder once."""
        return tuple(dict.fromkeys(self.folders.values()))

    @property
    def procs(self) -> list[str]:
        """Files that take a process in."""
        return [str(folder / "cgroup.procs") for folder in self.unique]

    @property
    def oom_files(self) -> list[str]:
        """Files that count kills for memory."""
        memory = self.folders.get("memory")
        return [] if memory is None else [str(memory / ("memory.events" if self.is_v2 else "memory.oom_control"))]

    @property
    def kill_files(self) -> list[str]:
        """Files by which all that is in it is killed or listed."""
        return [str(folder / ("cgroup.kill" if self.is_v2 else "cgroup.procs")) for folder in self.unique[:1]]

    def unthrottle(self) -> None:
        """Lift the limit of CPU time: processes that share a sliver of a core take minutes to die of a kill."""
        cpu = self.folders.get("cpu")
        if cpu is not None:
            name, unlimited = ("cpu.max", "max") if self.is_v2 else ("cpu.cfs_quota_us", "-1")
            with suppress(OSError):
                _write_where_there(cpu / name, unlimited)

    def limit(self, limits: Limits) -> None:
        """Set its limits; raises `OSError` when one cannot be."""
        memory, cpu, pids = (self.folders.get(name) for name in CONTROLLERS)
        if memory is not None and limits.memory_mib:
            size = str(limits.memory_mib << 20)
            if self.is_v2:
                _write(memory / "memory.max", size)
                _write_where_there(memory / "memory.swap.max", "0")
            else:
                _write(memory / "memory.limit_in_bytes", size)
                _write_where_there(memory / "memory.memsw.limit_in_bytes", size)
        if cpu is not None and limits.millicores:
            quota = max(QUOTA_MIN_US, limits.millicores * PERIOD_US // 1000)
            if self.is_v2:
                _write(cpu / "cpu.max", f"{quota} {PERIOD_US}")
            else:
                _write(cpu / "cpu.cfs_period_us", str(PERIOD_US))
                _write(cpu / "cpu.cfs_quota_us", str(quota))
        if pids is not None and limits.processes_max:
            _write(pids / "pids.max", str(limits.processes_max))

    def usage(self) -> Usage:
        """Return what it uses now."""
        memory, pids = self.folders.get("memory"), self.folders.get("pids")
        return Usage(
            cpu_seconds=self._cpu_seconds(),
            memory_bytes=None if memory is None else self._memory_bytes(memory),
            pids=None if pids is None else _number(pids / "pids.current"),
        )

    def _cpu_seconds(self) -> float | None:
        if self.is_v2:
            used_us = _table(self.folders["cpu"] / "cpu.stat").get("usage_usec")
            return None if used_us is None else used_us / 1e6
        accounts = self.folders.get("cpuacct")
        used_ns = None if accounts is None else _number(accounts / "cpuacct.usage")
        return None if used_ns is None else used_ns / 1e9

    def _memory_bytes(self, folder: Path) -> int | None:
        held = _number(folder / ("memory.current" if self.is_v2 else "memory.usage_in_bytes"))
        if held is None:
            return None
        # Files that were read once and that nobody needs are no use of it: the kernel takes them back at will.
        idle = _table(folder / "memory.stat").get("inactive_file" if self.is_v2 else "total_inactive_file", 0)
        return max(0, held - idle)

    def remove(self) -> bool:
        """Remove it; ``False`` when something is in it, still."""
        removed = True
        for folder in self.unique:
            try:
                folder.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                removed = False
        return removed


@frozen(kw_only=True)
class Hierarchies:
    """Where this host's control groups are, and the folder of ours in each."""

    is_v2: bool
    mounts: Mapping[str, Path] = field(factory=dict)
    """By controller; those whose names begin with `TRACKING` are where a service manager knows its services by."""
    name: str = "appliance"
    problem: str = ""
    """Why limits cannot be set, in words; empty when they can."""

    @property
    def has_limits(self) -> bool:
        """Whether all limits can be set."""
        return not self.problem

    def group(self, name: str) -> Group:
        """Return the group of an attempt, whether it is there or not."""
        mounts = {each: mount for each, mount in self.mounts.items() if not each.startswith(TRACKING)}
        return Group(is_v2=self.is_v2, folders={each: mount / self.name / name for each, mount in mounts.items()})

    def make(self, name: str, limits: Limits) -> Group:
        """Make a group with its limits; raises `OSError`."""
        found = self.group(name)
        for folder in found.unique:
            folder.mkdir(exist_ok=True)
        found.limit(limits)
        return found

    def prepare(self) -> None:
        """Make the folder of ours in every hierarchy, ready to have groups below; raises `OSError`."""
        for mount in dict.fromkeys(self.mounts.values()):
            folder = mount / self.name
            folder.mkdir(exist_ok=True)
            if self.is_v2:
                for each in (mount, folder):  # a group can hand down only what it was given
                    if not set(CONTROLLERS) <= set(_words(each / "cgroup.subtree_control")):
                        _write(each / "cgroup.subtree_control", " ".join(f"+{name}" for name in CONTROLLERS))

    def keepers(self) -> list[str]:
        """Return files that take the keepers in, so that they do not end with the appliance's own service."""
        found = []
        for mount in dict.fromkeys(
            mount for each, mount in self.mounts.items() if self.is_v2 or each.startswith(TRACKING)
        ):
            folder = mount / self.name / KEEPERS
            with suppress(OSError):
                folder.mkdir(exist_ok=True)
                found.append(str(folder / "cgroup.procs"))
        return found


def find_hierarchies(host: Host, name: str) -> Hierarchies:
    """Return this host's hierarchies; `Hierarchies.problem` says why they do not serve."""
    try:
        mounted = host.path("/proc/self/mountinfo").read_text(errors="replace")
    except OSError as error:
        return Hierarchies(is_v2=False, name=name, problem=f"/proc/self/mountinfo: {error.strerror}")
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for line in mounted.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = (*after.split(" ", 2), "", "", "")[:3]
        fields = before.split(" ")
        if len(fields) < 5 or kind not in ("cgroup", "cgroup2"):
            continue
        at = host.path(fields[4])
        if kind == "cgroup2":
            v2 = v2 or at
        else:
            names = options.split(",")
            for each in ("memory", "cpu", "pids", "cpuacct"):
                if each in names:
                    v1.setdefault(each, at)
            if "name=systemd" in names:
                v1.setdefault(TRACKING, at)
    if v2 is not None and set(CONTROLLERS) <= set(_words(v2 / "cgroup.controllers")):
        return _usable(Hierarchies(is_v2=True, mounts=dict.fromkeys(CONTROLLERS, v2), name=name))
    if v2 is not None:
        v1[f"{TRACKING}2"] = v2
    missing = [each for each in CONTROLLERS if each not in v1]
    if missing:
        words = f"no control groups for {', '.join(missing)} are mounted"
        return Hierarchies(is_v2=False, mounts=v1, name=name, problem=words)
    return _usable(Hierarchies(is_v2=False, mounts=v1, name=name))


def _usable(found: Hierarchies) -> Hierarchies:
    try:
        found.prepare()
    except OSError as error:
        words = f"control groups cannot be made here ({error.filename}: {error.strerror})"
        return Hierarchies(is_v2=found.is_v2, mounts=found.mounts, name=found.name, problem=words)
    return found


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _write_where_there(path: Path, text: str) -> None:
    if path.exists():  # not without swap accounting
        _write(path, text)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _table(path: Path) -> dict[str, int]:
    found = {}
    for line in _words_by_line(path):
        if len(line) == 2 and line[1].isdecimal():
            found[line[0]] = int(line[1])
    return found


def _words_by_line(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return []
