"""One look at a drone: a command that says how it is, what its answer means, and the newest answer of each drone.

A probe tells nothing about the drone but what it is asked: it is no heartbeat, and replaces none of its figures.
"""

import math
from collections.abc import Collection
from typing import Any, Final, Literal

import msgspec
from attrs import define, field, frozen

from appliance.plugin import Core

from . import probe_store as store
from .approval import Approval
from .ssh import Ran, Ssh
from .ssh_command import SshFailed, words_of
from .ssh_settings import SshSettings

Status = Literal["ok", "service_down", "overloaded", "disk_full", "memory_full", "timeout", "unreachable", "error"]
"""``error``: it was reached, and what came back cannot be right, or ssh did not let us in."""
ANSWERED: Final = frozenset({"ok", "service_down", "overloaded", "disk_full", "memory_full"})
WORDS: Final = ("PROC", "LOAD", "DISK", "EMERGE", "UPTIME", "MEM")
ANSWER_CHARACTERS: Final = 200
UPTIME_MAX_S: Final = 3.2e9
"""A hundred years."""

SCRIPT: Final = """\
LC_ALL=C
export LC_ALL
if command -v pgrep >/dev/null 2>&1; then
    proc=$(pgrep -f -- "$1" | wc -l)
    emerge=$(pgrep -x emerge | wc -l)
else
    proc=$(ps -A -o args= 2>/dev/null | grep -E -c -e "$1")
    emerge=$(ps -A -o comm= 2>/dev/null | grep -c -x emerge)
fi
read -r load rest < /proc/loadavg
read -r uptime rest < /proc/uptime
proc=$((proc))
emerge=$((emerge))
disk=$(df -P / | awk 'NR == 2 { sub("%", "", $5); print $5 }')
mem=$(awk '/^MemTotal:/ { t = $2 } /^MemAvailable:/ { a = $2 } END { if (t > 0) printf "%.1f", 100 * (t - a) / t }' \\
    /proc/meminfo)
echo "PROC $proc LOAD $load DISK $disk EMERGE $emerge UPTIME $uptime MEM $mem"
"""
"""``$1`` is the pattern of the drone program's command line. Nothing of it needs more than what every Gentoo has."""


@frozen(kw_only=True)
class Vitals:
    """What a drone said of itself."""

    processes: int
    """Of the drone program."""
    load: float
    """Over the last minute."""
    disk_percent: float
    """Used, of the root file system."""
    emerge_running: bool
    uptime_seconds: float
    mem_percent: float


@frozen(kw_only=True)
class Probe:
    """One look at a drone."""

    drone_name: str
    seq: int
    """Rises with every probe of the drone, also over restarts."""
    status: Status
    probed_unix_us: int
    answered_unix_us: int | None = None
    """When it last answered any probe; ``None``: it never has."""
    latency_ms: float | None = None
    """Of this probe, connection included; ``None`` where it was not answered."""
    vitals: Vitals | None = None
    error: str = ""

    @property
    def is_answered(self) -> bool:
        """Whether the drone itself has answered."""
        return self.status in ANSWERED


@frozen(kw_only=True)
class Limits:
    """What a drone may look like."""

    load_max: float = 50.0
    disk_max_percent: float = 95.0
    memory_max_percent: float = 95.0


class BadAnswer(Exception):
    """What came back is not what the command writes."""


def read_vitals(text: str) -> Vitals:
    """Read the one line that `SCRIPT` writes; raises `BadAnswer` for anything else."""
    lines = [line for line in text.splitlines() if line.startswith("PROC ")]
    parts = lines[-1].split() if lines else []
    if len(parts) != 2 * len(WORDS) or len(lines[-1]) > ANSWER_CHARACTERS or tuple(parts[::2]) != WORDS:
        raise BadAnswer("the drone's answer is not that of a probe")
    proc, load, disk, emerge, uptime, mem = parts[1::2]
    return Vitals(
        processes=_whole(proc),
        load=_number(load, 1e6),
        disk_percent=_number(disk, 100.0),
        emerge_running=_whole(emerge) > 0,
        uptime_seconds=_number(uptime, UPTIME_MAX_S),
        mem_percent=_number(mem, 100.0),
    )


def judged(vitals: Vitals, limits: Limits, cores: int) -> Status:
    """Return what is wrong with a drone that answers; the worst first.

    :param cores: 0 where not known. A load of twice the cores is no trouble, however large.
    """
    if vitals.processes == 0:
        return "service_down"
    if vitals.load > max(limits.load_max, 2.0 * cores):
        return "overloaded"
    if vitals.disk_percent > limits.disk_max_percent:
        return "disk_full"
    if vitals.mem_percent > limits.memory_max_percent:
        return "memory_full"
    return "ok"


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadAnswer(f"{text[:20]!r} is no number of processes")
    return int(text)


def _number(text: str, most: float) -> float:
    try:
        value = float(text) if text.isascii() and not set(text) - set("0123456789.") else math.nan
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= most:
        raise BadAnswer(f"{text[:20]!r} is no figure of a drone")
    return value


def _vitals_of(ran: Ran) -> Vitals:
    if ran.status != 0:
        raise BadAnswer(words_of(ran.stderr) or f"the probe ended with status {ran.status}")
    return read_vitals(ran.stdout)


def status_of(failure: SshFailed) -> Status:
    """Return how a probe ended that was not answered."""
    match failure.kind:
        case "timeout":
            return "timeout"
        case "unreachable":
            return "unreachable"
        case _:
            return "error"


class _Finding(msgspec.Struct):
    """What the row of a probe keeps as JSON."""

    vitals: Vitals | None
    error: str


_finding: Final = msgspec.json.Decoder(_Finding)


def _row(probe: Probe) -> dict[str, Any]:
    return {
        "drone_name": probe.drone_name,
        "seq": probe.seq,
        "probed_unix_us": probe.probed_unix_us,
        "answered_unix_us": probe.answered_unix_us,
        "latency_us": None if probe.latency_ms is None else int(probe.latency_ms * 1000),
        "status": probe.status,
        "finding": msgspec.json.encode(_Finding(vitals=probe.vitals, error=probe.error)).decode(),
    }


def _restored(row: dict[str, Any]) -> Probe:
    found = _finding.decode(row.pop("finding"))
    latency_us = row.pop("latency_us")
    latency_ms = None if latency_us is None else latency_us / 1000
    return Probe(latency_ms=latency_ms, vitals=found.vitals, error=found.error, **row)


@define(eq=False)
class Prober:
    """Probes approved drones, and keeps what they answered last: in memory, and on disk after each round."""

    core: Core
    ssh: Ssh
    settings: SshSettings
    _newest: dict[str, Probe] = field(factory=dict, init=False)
    _unwritten: set[str] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self._newest = {probe.drone_name: probe for probe in map(_restored, self.core.database.read_now(store.probes))}

    @property
    def limits(self) -> Limits:
        """What drones may look like here."""
        return Limits(
            load_max=self.settings.healing_load_max,
            disk_max_percent=self.settings.healing_disk_max_percent,
            memory_max_percent=self.settings.healing_memory_max_percent,
        )

    def newest(self, drone_name: str) -> Probe | None:
        """Return the last probe of a drone, ``None`` where it never was probed."""
        return self._newest.get(drone_name)

    async def probe(self, approval: Approval, *, cores: int = 0) -> Probe:
        """Look at a drone now; what is wrong with it is in the answer, and raises nothing.

        :raises NotApproved: the approval counts no more.
        :raises NotAvailable: there is no ssh here.
        """
        name = approval.drone_name
        started_unix_us, seconds = self.core.now(), 0.0
        command = ["sh", "-c", SCRIPT, "probe", self.settings.ssh_drone_process]
        vitals: Vitals | None = None
        status: Status = "ok"
        error = ""
        try:
            ran = await self.ssh.run(approval, command, deadline_s=self.settings.ssh_probe_seconds, limit_bytes=65_536)
            vitals, seconds = _vitals_of(ran), ran.seconds
            status = judged(vitals, self.limits, cores)
        except BadAnswer as failure:
            status, error = "error", str(failure)
        except SshFailed as failure:
            status, error = status_of(failure), failure.text
        before = self._newest.get(name)
        now = self.core.now()
        probe = Probe(
            drone_name=name,
            seq=before.seq + 1 if before is not None else 1,
            status=status,
            probed_unix_us=started_unix_us,
            answered_unix_us=now if vitals is not None else before.answered_unix_us if before is not None else None,
            latency_ms=round(seconds * 1000, 1) if vitals is not None else None,
            vitals=vitals,
            error=error,
        )
        self._newest[name] = probe
        self._unwritten.add(name)
        return probe

    async def write(self) -> None:
        """Make what was found since the last time durable."""
        names, self._unwritten = self._unwritten, set()
        rows = [_row(self._newest[name]) for name in sorted(names) if name in self._newest]
        if not rows:
            return
        try:
            await self.core.database.write(lambda connection: store.put_probes(connection, rows))
        except BaseException:
            self._unwritten |= names
            raise

    async def keep_only(self, names: Collection[str]) -> None:
        """Forget drones that are gone, durable when this returns."""
        gone = [name for name in self._newest if name not in names]
        if gone:
            await self.core.database.write(lambda connection: store.drop_probes(connection, gone))
            for name in gone:
                self._newest.pop(name, None)
