"""Which GPU is which: agents write a driver's ids in lower case, and those of mock GPUs are nobody's."""

import re
from typing import Final

from appliance.plugin import Gpu

from .models import Agent

MIB: Final = 2**20
_UUID: Final = re.compile(r"(gpu|mig|amd)-([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})", re.IGNORECASE | re.ASCII)


def driver_id(gpu_id: str) -> str | None:
    """Return a GPU's id as its driver writes it (``GPU-`` and a UUID in lower case); ``None`` for what is no UUID."""
    match = _UUID.fullmatch(gpu_id)
    return None if match is None else f"{match[1].upper()}-{match[2].lower()}"


def series_id(agent: Agent, gpu_id: str) -> str:
    """Return the id under which a GPU's figures are kept; one that is no driver's counts for its agent alone."""
    return driver_id(gpu_id) or f"{agent.agent_id}:{gpu_id}"[:200]


def known_gpus(agent: Agent) -> list[Gpu]:
    """Return those GPUs of an agent that can be told from all others, as the inventory has them."""
    return [
        Gpu(
            gpu_id=found,
            index=gpu.gpu_index,
            vendor=gpu.vendor,
            model=gpu.model,
            vram_total_bytes=gpu.vram_mb * MIB,
            driver_version=gpu.driver_version,
        )
        for gpu in agent.gpus
        if (found := driver_id(gpu.gpu_id)) is not None
    ]
