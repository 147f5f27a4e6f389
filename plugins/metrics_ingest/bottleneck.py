"""What holds a host back: the rules of the metrics API, the first that matches wins.

Thresholds, labels, confidences and reasons are wire data that clients show and compare, so they are kept to the
letter. Readings are percentages; ``None`` counts as 0, except of the GPUs, where it means that there is no reading.
"""

from typing import Final

from attrs import frozen

BUSY_DISK_BYTES_PER_S: Final = 2048 * 2**20
"""Reading and writing together; from here on a host is not called balanced, however idle its disks claim to be."""


@frozen
class Rule:
    """One outcome; ``words`` is the reason, with the readings to be filled in."""

    code: int
    label: str
    confidence: float
    words: str

    @property
    def title(self) -> str:
        """The label as a heading (``Mixed Io Gpu``)."""
        return title(self.label)


@frozen
class Verdict:
    """What a host's readings say."""

    rule: Rule
    cpu: float
    iowait: float
    memory: float
    swap: float
    disk: float
    gpu: float
    """0 where there was no reading; the rules without one do not speak of it."""

    @property
    def code(self) -> int:
        """Place of the label in `LABELS`; what is stored."""
        return self.rule.code

    @property
    def label(self) -> str:
        """One of `LABELS`."""
        return self.rule.label

    @property
    def title(self) -> str:
        """The label as a heading (``Gpu Bound``)."""
        return self.rule.title

    @property
    def confidence(self) -> float:
        """How sure the rule is, 0 to 1."""
        return self.rule.confidence

    @property
    def reason(self) -> str:
        """The readings that decided, in words; whole percentages, halves rounded to even."""
        return self.rule.words.format(
            cpu=self.cpu, iowait=self.iowait, memory=self.memory, swap=self.swap, disk=self.disk, gpu=self.gpu
        )


LABELS: Final = (
    "idle",
    "balanced",
    "underutilized",
    "cpu-bound",
    "gpu-bound",
    "io-bound",
    "memory-pressure",
    "mixed-cpu-gpu",
    "mixed-io-gpu",
    "mixed",
)
"""Every label; its place is its code. Codes are stored: append, never reorder."""


def title(label: str) -> str:
    """Return a label as a heading (``Mixed Io Gpu``)."""
    return label.replace("-", " ").replace("_", " ").title()


def _rule(label: str, confidence: float, words: str) -> Rule:
    return Rule(LABELS.index(label), label, confidence, words)


_MEMORY: Final = "Memory {memory:.0f}% / swap {swap:.0f}%"

_BARE_MEMORY: Final = _rule("memory-pressure", 0.82, _MEMORY)
_BARE_IO: Final = _rule("io-bound", 0.74, "Disk util {disk:.0f}% / iowait {iowait:.0f}%")
_BARE_CPU: Final = _rule("cpu-bound", 0.78, "CPU {cpu:.0f}% with no GPU telemetry")
_BARE_IDLE: Final = _rule("idle", 0.9, "Low CPU and no GPU telemetry")
_BARE_BALANCED: Final = _rule("balanced", 0.45, "No GPU telemetry available")

_FULL_MEMORY: Final = _rule("memory-pressure", 0.9, _MEMORY)
_LOW_IO: Final = _rule("io-bound", 0.88, "GPU {gpu:.0f}% low while disk {disk:.0f}% / iowait {iowait:.0f}%")
_LOW_CPU: Final = _rule("cpu-bound", 0.87, "GPU {gpu:.0f}% low while CPU {cpu:.0f}% is high")
_LOW_MEMORY: Final = _rule("memory-pressure", 0.75, "GPU {gpu:.0f}% low while memory {memory:.0f}% is high")
_LOW_IDLE: Final = _rule("idle", 0.85, "GPU, CPU, and disk activity are all low")
_LOW_GPU: Final = _rule("underutilized", 0.55, "GPU {gpu:.0f}% below target; check dataloader or batch size")
_GPU: Final = _rule("gpu-bound", 0.9, "GPU {gpu:.0f}% saturated while CPU {cpu:.0f}% and disk {disk:.0f}% are lower")
_CPU_AND_GPU: Final = _rule("mixed-cpu-gpu", 0.72, "CPU {cpu:.0f}% and GPU {gpu:.0f}% are both high")
_DISK_AND_GPU: Final = _rule("mixed-io-gpu", 0.7, "Disk util {disk:.0f}% and GPU {gpu:.0f}% are both high")
_BALANCED: Final = _rule("balanced", 0.65, "GPU {gpu:.0f}% with CPU {cpu:.0f}% and disk util {disk:.0f}%")
_MIXED: Final = _rule("mixed", 0.5, "CPU {cpu:.0f}%, GPU {gpu:.0f}%, disk {disk:.0f}%")


def verdict(
    *,
    cpu: float | None,
    iowait: float | None,
    memory: float | None,
    swap: float | None,
    disk: float | None,
    gpu: float | None,
    disk_bytes_per_s: float | None,
) -> Verdict:
    """Judge one sample.

    :param disk: busy share of the busiest disk.
    :param gpu: utilisation of the busiest GPU; taken as it is, where the other percentages are held to 0..100.
    :param disk_bytes_per_s: read and written by all disks together.
    """
    cpu, iowait, memory = _share(cpu), _share(iowait), _share(memory)
    swap, disk = _share(swap), _share(disk)
    if gpu is None:
        rule = _without_gpu(cpu, iowait, memory, swap, disk)
        gpu = 0.0
    else:
        rule = _with_gpu(cpu, iowait, memory, swap, disk, gpu, disk_bytes_per_s or 0.0)
    return Verdict(rule, cpu, iowait, memory, swap, disk, gpu)


def _share(percent: float | None) -> float:
    if percent is None or percent <= 0.0:
        return 0.0
    return percent if percent < 100.0 else 100.0


def _without_gpu(cpu: float, iowait: float, memory: float, swap: float, disk: float) -> Rule:
    if memory >= 92 or swap >= 20 or (swap >= 5 and memory >= 80):
        return _BARE_MEMORY
    if disk >= 80 or iowait >= 20:
        return _BARE_IO
    if cpu >= 85:
        return _BARE_CPU
    return _BARE_IDLE if cpu < 15 else _BARE_BALANCED


def _with_gpu(
    cpu: float, iowait: float, memory: float, swap: float, disk: float, gpu: float, disk_bytes_per_s: float
) -> Rule:
    if memory >= 95 or swap >= 20 or (swap >= 5 and memory >= 80):
        return _FULL_MEMORY
    if gpu < 55:
        return _low_gpu(cpu, iowait, memory, swap, disk, gpu)
    if gpu >= 90 and cpu < 80 and disk < 70 and iowait < 10:
        return _GPU
    if cpu >= 90 and gpu >= 70:
        return _CPU_AND_GPU
    if disk >= 85 and gpu >= 60:
        return _DISK_AND_GPU
    if gpu < 90 and cpu < 80 and disk < 70 and disk_bytes_per_s < BUSY_DISK_BYTES_PER_S:
        return _BALANCED
    return _MIXED


def _low_gpu(cpu: float, iowait: float, memory: float, swap: float, disk: float, gpu: float) -> Rule:
    if disk >= 70 or iowait >= 15:
        return _LOW_IO
    if cpu >= 85:
        return _LOW_CPU
    if memory >= 88 or (swap >= 8 and memory >= 75):
        return _LOW_MEMORY
    if gpu < 20 and cpu < 30 and disk < 25:
        return _LOW_IDLE
    return _LOW_GPU
