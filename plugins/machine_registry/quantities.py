"""Sizes as the agents write them. They look like Kubernetes quantities and are not: "8" is 8 millicores, "16" 16 MiB.

All numbers are decimal ASCII digits; what the documented server refuses is refused here too.
"""

import re
from typing import Final

CPU_MAX: Final = 2**63 - 1
MEMORY_MAX_MIB: Final = 2**63 - 1
GPU_COUNT_MAX: Final = 2**32 - 1
BYTES_FROM: Final = 64 * 2**20
"""From here on a figure that should be MB is one of bytes: nobody has 64 TB of memory in one machine."""
MIB: Final = 2**20

# 5,000 digits are refused before anybody makes a number of them.
_CPU: Final = re.compile(r"([+-]?[0-9]{1,25})m?", re.ASCII)
_MEMORY: Final = re.compile(r"([0-9]{1,25})(Ki|Mi|Gi|)", re.ASCII)
_COUNT: Final = re.compile(r"[0-9]{1,25}", re.ASCII)


def cpu_millicores(text: str) -> int | None:
    """Return the millicores that "8000m" or "8000" says; ``None`` for what is no such quantity."""
    found = _CPU.fullmatch(text)
    if found is None:
        return None
    number = int(found[1])
    return number if 0 <= number <= CPU_MAX else None


def memory_mib(text: str) -> int | None:
    """Return the MiB that "16Gi", "32768Mi", "33554432Ki" (rounded down) or "16384" says, else ``None``."""
    found = _MEMORY.fullmatch(text)
    if found is None:
        return None
    number = int(found[1])
    mib = {"Ki": number // 1024, "Gi": number * 1024}.get(found[2], number)
    return mib if mib <= MEMORY_MAX_MIB else None


def gpu_count(text: str) -> int | None:
    """Return the count that "4" says; ``None`` for anything but digits below 2^32."""
    if _COUNT.fullmatch(text) is None:
        return None
    number = int(text)
    return number if number <= GPU_COUNT_MAX else None


def memory_bytes(reported: int) -> int:
    """Return the bytes that a keepalive's ``total_memory_available`` means: documented as MB, sent as bytes."""
    return reported if reported >= BYTES_FROM else reported * MIB
