"""Who a process is: its user, its command, and the container or task it belongs to."""

import json
import os
import pwd
import re
from collections.abc import Iterable
from pathlib import Path

from attrs import define, evolve, field, frozen

from appliance.devices import GpuProcess, GpuSample
from appliance.host import Host

COMMAND_LIMIT_CHARACTERS = 300
FILE_LIMIT_BYTES = 65_536
DOCKER_CONFIG_LIMIT_BYTES = 1_048_576
FORGOTTEN_AFTER_PASSES = 30

HIDDEN = "the kernel hides other users' processes here (hidepid): run the appliance as root to see them"
GONE = "the process is gone, or in a PID namespace that cannot be seen from here"

CONTAINER = re.compile(
    r"(?:^|[/:-])(?:docker|libpod|crio|cri-containerd|containerd|nerdctl)?[-/:]?([0-9a-f]{64})(?:\.scope)?(?:/|$)"
)
NAMED_CONTAINER = re.compile(
    r"/(?:lxc\.payload\.|lxc/|machine-|systemd-nspawn@)([A-Za-z0-9_.\\-]{1,64}?)(?:\.scope|\.service)?(?:/|$)"
)
APPLIANCE_TASK = re.compile(r"/appliance-task-([A-Za-z0-9_-]{1,64}?)(?:\.scope|\.slice)?(?:/|$)")
SLURM_JOB = re.compile(r"/job_(\d{1,18})(?:/|$)")


@frozen(kw_only=True)
class Owner:
    """What is known of one process."""

    user: str | None = None
    command: str | None = None
    container: str | None = None
    task: str | None = None
    reason: str | None = None
    """Why user and command are not known."""


@frozen(kw_only=True)
class CgroupOwner:
    """The container and task that a process's control groups name."""

    container_id: str | None = None
    container: str | None = None
    task: str | None = None


def parse_cgroup(text: str) -> CgroupOwner:
    """Read ``/proc/PID/cgroup`` (version 1, 2 or both) for a container and a task."""
    container_id = container = task = None
    for line in text.splitlines()[:64]:
        path = line.rpartition(":")[2] if line.count(":") < 2 else line.split(":", 2)[2]
        if match := CONTAINER.search(path):
            # The innermost of nested containers is the one its user knows.
            container_id = container_id or CONTAINER.findall(path)[-1]
        elif match := NAMED_CONTAINER.search(path):
            container = container or match[1].replace("\\x2d", "-")
        if match := APPLIANCE_TASK.search(path):
            task = task or match[1]
        elif match := SLURM_JOB.search(path):
            task = task or f"slurm job {match[1]}"
    return CgroupOwner(container_id=container_id, container=container, task=task)


@define
class _Known:
    start: str
    owner: Owner
    unseen_passes: int = 0


@define
class Attribution:
    """Completes GPU processes from ``/proc``; looks each process up once in its life. For one thread."""

    host: Host
    _known: dict[int, _Known] = field(factory=dict, init=False)
    _users: dict[int, str] = field(factory=dict, init=False)
    _names: dict[str, str] = field(factory=dict, init=False)

    def complete(self, samples: Iterable[GpuSample]) -> tuple[GpuSample, ...]:
        """Return the samples with the owners of their processes filled in; one pass."""
        for known in self._known.values():
            known.unseen_passes += 1
        done = tuple(
            evolve(sample, processes=tuple(self._complete(process) for process in sample.processes))
            if sample.processes
            else sample
            for sample in samples
        )
        for pid in [pid for pid, known in self._known.items() if known.unseen_passes > FORGOTTEN_AFTER_PASSES]:
            del self._known[pid]
        return done

    def owner(self, pid: int) -> Owner:
        """Return what is known of the process that has ``pid`` now."""
        folder = self.host.path(f"/proc/{pid}")
        start = _start_time(folder)
        known = self._known.get(pid)
        if known is None or known.start != start:  # a pid is used again; its start time tells the two apart
            known = self._known[pid] = _Known(start, self._look_up(folder))
        known.unseen_passes = 0
        return known.owner

    def _complete(self, process: GpuProcess) -> GpuProcess:
        owner = self.owner(process.pid)
        missing = dict(process.missing)
        if owner.reason:
            said = {"user": process.user, "command": process.command}
            missing |= {name: owner.reason for name, value in said.items() if value is None}
        return evolve(
            process,
            user=owner.user or process.user,
            command=owner.command or process.command,
            container=owner.container or process.container,
            task=owner.task or process.task,
            missing=missing,
        )

    def _look_up(self, folder: Path) -> Owner:
        try:
            uid = folder.stat().st_uid
        except OSError:
            return Owner(reason=HIDDEN if self._hides_processes() else GONE)
        command = _command(folder)
        cgroup = parse_cgroup(_read(folder / "cgroup", FILE_LIMIT_BYTES).decode("utf-8", "replace"))
        container = cgroup.container
        if cgroup.container_id:
            container = self._docker_name(cgroup.container_id) or cgroup.container_id[:12]
        return Owner(user=self._user(uid), command=command, container=container, task=cgroup.task)

    def _hides_processes(self) -> bool:
        mounts = _read(self.host.path("/proc/self/mounts"), FILE_LIMIT_BYTES).decode("utf-8", "replace")
        for line in mounts.splitlines():
            words = line.split(" ")
            if len(words) > 3 and words[1] == "/proc" and words[2] == "proc":
                return any(
                    option in {"hidepid=1", "hidepid=2", "hidepid=4", "hidepid=noaccess", "hidepid=invisible"}
                    for option in words[3].split(",")
                )
        return False

    def _user(self, uid: int) -> str:
        if uid not in self._users:
            try:
                self._users[uid] = pwd.getpwuid(uid).pw_name
            except KeyError:
                self._users[uid] = str(uid)  # a user of a container only
        return self._users[uid]

    def _docker_name(self, container_id: str) -> str | None:
        """Return the name that Docker keeps for a container, where its folder may be read (as root)."""
        if container_id not in self._names:
            path = self.host.path(f"/var/lib/docker/containers/{container_id}/config.v2.json")
            try:
                name = json.loads(_read(path, DOCKER_CONFIG_LIMIT_BYTES)).get("Name", "")
            except (ValueError, AttributeError, RecursionError):
                return None
            if not isinstance(name, str) or not name.strip("/"):
                return None
            if len(self._names) > 1024:
                self._names.clear()
            self._names[container_id] = name.strip("/")[:128]
        return self._names[container_id]


def _read(path: Path, limit_bytes: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(limit_bytes) or b""
    except OSError:
        return b""


def _start_time(folder: Path) -> str:
    # The command in parentheses may hold anything, so fields are counted from its last parenthesis (proc(5)).
    fields = _read(folder / "stat", 4096).decode("utf-8", "replace").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _command(folder: Path) -> str | None:
    raw = _read(folder / "cmdline", 4096)
    text = " ".join(part for part in raw.decode("utf-8", "replace").split("\0") if part)
    if not text:
        text = _read(folder / "comm", 256).decode("utf-8", "replace").strip()
    if not text:
        return None
    program, _, rest = text.partition(" ")
    # Only a path is shortened: a kernel thread's name (kworker/0:1) and a set title hold slashes too.
    short = f"{os.path.basename(program) or program} {rest}".strip() if program.startswith("/") else text
    return short if len(short) <= COMMAND_LIMIT_CHARACTERS else short[: COMMAND_LIMIT_CHARACTERS - 1] + "\u2026"
