"""Figures of the lines that agents really write, read in a third of the time that the whole grammar takes.

An agent writes its fields in one order, and the beginnings of its lines (what is measured, of which GPU) stay as they
are. A text of which one line is anything else is left to `lineprotocol` and `figures`, which decide; from what they
read the beginnings are learned. A test holds both to the same figures.
"""

import re
from typing import Final
from weakref import WeakKeyDictionary

from attrs import define, field

from .figures import CELSIUS_MAX, KEPT, MEMORY_MB_MAX, MIB, POWER_WATTS_MAX, Figures, GpuFigures, HostFigures
from .lineprotocol import KNOWN_CHARACTERS_MAX, LINES_MAX, TEXT_CHARACTERS_MAX, read_lines
from .models import Agent, Gpu

HOST: Final = ""
"""Stands for the host where others have a GPU's id, which is never empty."""

# Numbers without a sign and within 15 digits are finite, below 2^63, and exact as floats: nothing is left to check
# but how large they may be.
_NUMBER: Final = r"([0-9]{1,15}(?:\.[0-9]{1,15})?)"
_WHOLE: Final = "([0-9]{1,15})i"
_GPU: Final = re.compile(
    f"utilization={_NUMBER},vram_used_mb={_WHOLE},vram_total_mb={_WHOLE},temperature={_NUMBER},"
    f"power_usage_w={_NUMBER},pcie_rx_kb={_NUMBER},pcie_tx_kb={_NUMBER}",
    re.ASCII,
)
_HOST: Final = re.compile(f"cpu_usage={_NUMBER},memory_used_mb={_WHOLE},memory_total_mb={_WHOLE}", re.ASCII)
_TIME: Final = re.compile("[0-9]{1,18}", re.ASCII)
_HEADS_MAX: Final = 512
"""Of one agent: more than it has GPUs."""


@define(eq=False)
class _Heads:
    """What an agent's lines begin with, and whose figures then follow: a GPU's, by its id, or the `HOST`'s."""

    gpus: tuple[Gpu, ...]
    known: dict[str, str] = field(factory=dict)


@define(eq=False)
class QuickFigures:
    """Remembers what agents' lines begin with."""

    _heads: WeakKeyDictionary[Agent, _Heads] = field(factory=WeakKeyDictionary, init=False)

    def read(self, agent: Agent, text: str) -> Figures | None:
        """Return what an agent's lines say; ``None`` where that has to be read by the whole grammar."""
        if len(text) > TEXT_CHARACTERS_MAX or text.count("\n") >= LINES_MAX:
            return None
        heads = self._heads.get(agent)
        if heads is None or heads.gpus is not agent.gpus:
            heads = self._heads[agent] = _Heads(agent.gpus)
        found = Figures()
        taken_at = -1
        for line in text.split("\n"):
            if not line.startswith(KEPT):
                continue
            parts = line.rsplit(" ", 2)
            if len(parts) != 3 or not _TIME.fullmatch(parts[2]):
                return None
            whose = heads.known.get(parts[0])
            if whose is None and (whose := _learned(agent, heads, parts[0])) is None:
                return None
            match = (_GPU if whose else _HOST).fullmatch(parts[1])
            if match is None:
                return None
            if whose:
                found.gpus[whose] = _gpu(whose, *match.groups())
            else:
                found.host = _host(*match.groups())
            taken_at = max(taken_at, int(parts[2]))
        if taken_at >= 0:
            found.taken_at_unix_ms = taken_at
        return found


def _learned(agent: Agent, heads: _Heads, head: str) -> str | None:
    """Return whose figures follow a beginning; ``None`` where they are nobody's here, or it is none."""
    if len(head) > KNOWN_CHARACTERS_MAX:
        return None
    points = read_lines(f"{head} x=1").points
    if len(points) != 1 or points[0].fields != {"x": 1.0}:
        return None
    tags = points[0].tags
    if tags.get("agent_id", agent.agent_id) != agent.agent_id:
        return None
    whose: str | None = None
    if points[0].measurement == "system_metrics":
        whose = HOST
    elif points[0].measurement == "gpu_metrics":
        gpu = agent.gpu(tags.get("gpu_id", ""))
        whose = None if gpu is None else gpu.gpu_id
    if whose is not None:
        if len(heads.known) >= _HEADS_MAX:
            heads.known.clear()
        heads.known[head] = whose
    return whose


def _gpu(gpu_id: str, busy: str, used: str, total: str, celsius: str, watts: str, rx: str, tx: str) -> GpuFigures:
    return GpuFigures(
        gpu_id=gpu_id,
        utilization_percent=_number(busy, 100),
        vram_used_bytes=_megabytes(used),
        vram_total_bytes=_megabytes(total) or None,
        temperature_celsius=_number(celsius, CELSIUS_MAX),
        power_watts=_number(watts, POWER_WATTS_MAX),
        pcie_rx_bytes_per_s=_kilobytes(rx),
        pcie_tx_bytes_per_s=_kilobytes(tx),
    )


def _host(cpu: str, used: str, total: str) -> HostFigures:
    return HostFigures(
        cpu_percent=_number(cpu, 100), memory_used_bytes=_megabytes(used), memory_total_bytes=_megabytes(total)
    )


def _number(text: str, high: float) -> float | None:
    value = float(text)
    return value if value <= high else None


def _megabytes(text: str) -> int | None:
    value = int(text)
    return value * MIB if value <= MEMORY_MB_MAX else None


def _kilobytes(text: str) -> float | None:
    value = float(text)
    return value * 1024 if value <= MEMORY_MB_MAX else None
