"""How a GPU is, in words: derived from one reading and what its driver reported lately; decides nothing else."""

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from appliance.devices import GpuSample

HOUR_US: Final = 3_600_000_000
CRITICAL_COUNTS_US: Final = 24 * HOUR_US
"""How long an event that needs a person (XID 79, an uncorrectable ECC error) counts; a reset does not undo it."""
WARNING_COUNTS_US: Final = HOUR_US
LEVELS: Final = ("ok", "warning", "critical")


@frozen(kw_only=True)
class Fault:
    """Something the driver reported about a GPU."""

    message: str
    level: str
    at_unix_us: int


@frozen(kw_only=True)
class Health:
    """The verdict on one GPU."""

    level: str
    """``ok``, ``warning`` or ``critical``."""
    text: str
    """What is wrong, the worst first; ``ok`` or ``asleep`` when nothing is."""


def judge(
    sample: GpuSample | None,
    *,
    is_lost: bool = False,
    unreadable: str | None = None,
    faults: Sequence[Fault] = (),
    now_unix_us: int = 0,
) -> Health:
    """Return how a GPU is.

    :param sample: its newest reading, ``None`` when there is none.
    :param unreadable: why its backend cannot read it now.
    :param faults: what its driver reported, oldest first.
    """
    if is_lost:
        last = [fault.message for fault in faults[-1:]]
        return Health(level="critical", text="; ".join(["gone: the driver does not see it any more", *last]))
    found = [*_hardware(sample), *_reported(faults, now_unix_us)]
    if unreadable:
        found.append(("warning", f"cannot be read: {unreadable}"))
    if sample is not None:
        found += _slowed(sample)
    if not found:
        return Health(level="ok", text="asleep" if sample is not None and sample.asleep else "ok")
    found.sort(key=lambda each: LEVELS.index(each[0]), reverse=True)
    return Health(level=found[0][0], text="; ".join(dict.fromkeys(text for _, text in found)))


def _hardware(sample: GpuSample | None) -> Iterable[tuple[str, str]]:
    if sample is None:
        return
    if sample.remap_failed:
        yield "critical", "remapping a faulty memory row failed: the GPU needs service"
    if sample.ecc_uncorrected_total:
        errors = "error" if sample.ecc_uncorrected_total == 1 else "errors"
        yield "critical", f"{sample.ecc_uncorrected_total} uncorrectable ECC {errors} since the driver was loaded"
    if sample.remap_pending:
        yield "warning", "row remap pending: reset the GPU"


def _reported(faults: Sequence[Fault], now_unix_us: int) -> Iterable[tuple[str, str]]:
    for fault in reversed(faults):
        age_us = now_unix_us - fault.at_unix_us
        counts = {"critical": CRITICAL_COUNTS_US, "warning": WARNING_COUNTS_US}.get(fault.level, 0)
        if age_us <= counts and fault.level in LEVELS:
            yield fault.level, f"{fault.message} ({_ago(age_us)})"


def _slowed(sample: GpuSample) -> Iterable[tuple[str, str]]:
    for reason in sample.throttle_reasons or ():
        if reason.startswith("thermal"):
            yield "warning", f"thermal throttling ({reason.partition(', ')[2] or 'temperature'})"
        elif reason in {"power brake", "hardware slowdown"}:
            yield "warning", f"slowed down by hardware ({reason})"


def _ago(age_us: int) -> str:
    minutes = max(0, age_us) // 60_000_000
    if minutes < 1:
        return "just now"
    return f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"
