"""Writes a script of busy GPUs to standard output: ``python -m tests.nvml 8 > FILE``."""

import sys

from tests.nvml.scripted import gpu


def busy(count: int) -> str:
    """Return a script of ``count`` GPUs whose figures move."""
    lines = ["driver 580.82.07", "library 13.580.82.07", "generation 1"]
    for index in range(count):
        lines += gpu(
            index,
            f"process {1 + index} compute {(4 + index) * 2**30} {10 * index}",
            utilization="5..95",
            memory_utilization="2..50",
            memory_used=f"{4 * 2**30}..{100 * 2**30}",
            temperature="35..70",
            power="90000..680000",
            energy="0+300000/s",
            pcie_rx="0+900000000/s",
            pcie_tx="0+300000000/s",
            nvlink_rx="0+2000000/s",
            nvlink_tx="0+2000000/s",
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(busy(int(sys.argv[1]) if len(sys.argv) > 1 else 8))
