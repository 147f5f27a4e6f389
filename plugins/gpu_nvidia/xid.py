"""XID codes: what the driver's error numbers mean, and how bad each is."""

from typing import Final

from attrs import frozen


@frozen
class Xid:
    """One kind of error that the driver reports by number."""

    text: str
    level: str
    """``critical`` when the GPU needs a reset, a drain or a repair; ``warning`` when a program is to blame."""


XIDS: Final = {
    8: Xid("a kernel ran too long and was stopped", "warning"),
    13: Xid("graphics engine exception, usually a program's error", "warning"),
    31: Xid("memory page fault, usually a program's error", "warning"),
    32: Xid("invalid or corrupted push buffer", "warning"),
    38: Xid("driver firmware error", "critical"),
    43: Xid("the GPU stopped processing; the program at fault was ended", "warning"),
    45: Xid("preemptive clean-up after an earlier error", "warning"),
    48: Xid("double-bit ECC error", "critical"),
    61: Xid("internal micro-controller breakpoint", "critical"),
    62: Xid("internal micro-controller halt", "critical"),
    63: Xid("a memory row or page was retired or is to be remapped", "warning"),
    64: Xid("retiring a memory row or page failed", "critical"),
    68: Xid("video processor exception", "warning"),
    69: Xid("graphics engine class error", "warning"),
    74: Xid("NVLink error", "critical"),
    79: Xid("the GPU has fallen off the bus", "critical"),
    92: Xid("high rate of single-bit ECC errors", "warning"),
    94: Xid("contained ECC error; the program at fault was ended", "warning"),
    95: Xid("uncontained ECC error", "critical"),
    109: Xid("context switch timed out", "warning"),
    119: Xid("the GPU's system processor does not answer", "critical"),
    120: Xid("error of the GPU's system processor", "critical"),
    140: Xid("unrecovered ECC error", "critical"),
    143: Xid("GPU initialisation error", "critical"),
    144: Xid("NVLink error", "critical"),
    149: Xid("NVLink error", "critical"),
    154: Xid("the GPU needs a recovery action", "critical"),
}


def describe(code: int) -> Xid:
    """Return what XID ``code`` means; an unknown one is a warning by its number."""
    return XIDS.get(code, Xid("see NVIDIA's list of XID errors", "warning"))
