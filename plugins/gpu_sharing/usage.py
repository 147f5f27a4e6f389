"""What shares have used: exact sums of whole numbers, and their CSV.

Everything is counted in integers small enough for 64 bits over centuries of a large host, so that sums of parts are
the sum of the whole: milliseconds of a GPU, MiB times milliseconds, millijoules, bytes. A worker with
``compute_percent`` uses that part of its GPUs' time; one with ``vram_mb`` that much memory, and one without what it was
seen to use. Bytes are the relay's, counted for each share itself; the rest of a worker's use is divided among its
shares by their connections, and is its owner's while nobody is connected.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import define, field, fields, frozen

from .wire.times import iso_of

WHOLE_PERCENT: Final = 100
GAP_MS_MAX: Final = 90_000
"""Longer than this nothing was heard: a host that slept, or an agent that was away, used no more than is known."""
HOUR_US: Final = 3_600_000_000


@frozen(kw_only=True)
class Usage:
    """How much was used."""

    gpu_ms: int = 0
    """Milliseconds of a whole GPU."""
    vram_mib_ms: int = 0
    energy_mj: int = 0
    """Millijoules."""
    bytes_from_guests: int = 0
    bytes_to_guests: int = 0

    def __attrs_post_init__(self) -> None:
        # One look at all: five validators take twice the time of everything else, for each worker every ten seconds.
        if (
            self.gpu_ms < 0
            or self.vram_mib_ms < 0
            or self.energy_mj < 0
            or self.bytes_from_guests < 0
            or self.bytes_to_guests < 0
        ):
            raise ValueError(f"nobody uses less than nothing: {[name for name in NAMES if getattr(self, name) < 0]}")

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            gpu_ms=self.gpu_ms + other.gpu_ms,
            vram_mib_ms=self.vram_mib_ms + other.vram_mib_ms,
            energy_mj=self.energy_mj + other.energy_mj,
            bytes_from_guests=self.bytes_from_guests + other.bytes_from_guests,
            bytes_to_guests=self.bytes_to_guests + other.bytes_to_guests,
        )

    def __bool__(self) -> bool:
        return bool(self.gpu_ms or self.vram_mib_ms or self.energy_mj or self.bytes_from_guests or self.bytes_to_guests)


NAMES: Final = tuple(one.name for one in fields(Usage))


@frozen(kw_only=True)
class Held:
    """One GPU of a running worker."""

    compute_percent: int | None = None
    """``None``: all of it."""
    vram_mb: int | None = None
    """What is promised; ``None``: whatever there is."""
    vram_used_bytes: int | None = None
    """What was seen in use, for workers that are promised nothing; ``None`` where that is not known."""
    energy_mj: int = 0
    """Its part of what the GPU drew; see `parts_of`."""


def counted_ms(since_unix_us: int, now_unix_us: int) -> int:
    """Return the milliseconds to count between two looks: none when the clock went back, and at most `GAP_MS_MAX`."""
    return min(max(0, now_unix_us - since_unix_us) // 1000, GAP_MS_MAX)


def used(gpus: Iterable[Held], elapsed_ms: int) -> Usage:
    """Return what a worker used in a time in which it ran."""
    gpu_ms = vram_mib_ms = energy_mj = 0
    for gpu in gpus:
        percent = WHOLE_PERCENT if gpu.compute_percent is None else gpu.compute_percent
        vram_mib = (gpu.vram_used_bytes or 0) // 2**20 if gpu.vram_mb is None else gpu.vram_mb
        gpu_ms += elapsed_ms * percent // WHOLE_PERCENT
        vram_mib_ms += elapsed_ms * vram_mib
        energy_mj += gpu.energy_mj
    return Usage(gpu_ms=gpu_ms, vram_mib_ms=vram_mib_ms, energy_mj=energy_mj)


def energy_between(before_mj: int | None, after_mj: int | None) -> int | None:
    """Return what a GPU drew between two readings of its counter; ``None`` where that is not known.

    A counter that is less than before was set back, as drivers do when they are loaded anew: the time is not counted.
    """
    if before_mj is None or after_mj is None or after_mj < before_mj:
        return None
    return after_mj - before_mj


def energy_of(power_watts: float | None, elapsed_ms: int) -> int:
    """Return millijoules from a reading of power, for GPUs without a counter; 0 where there is no reading."""
    return 0 if power_watts is None else max(0, int(power_watts * elapsed_ms))


def parts_of(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Divide a number by weights, so that the parts add up to it exactly; nothing where no weight is above 0.

    Each part is at most 1 from its exact share; what is left over goes to the largest remainders, ties by name.
    """
    sum_ = sum(weight for weight in weights.values() if weight > 0)
    if sum_ == 0:
        return {}
    exact = {name: divmod(total * weight, sum_) for name, weight in weights.items() if weight > 0}
    found = {name: whole for name, (whole, _) in exact.items()}
    over = total - sum(found.values())
    for name in sorted(exact, key=lambda each: (-exact[each][1], each))[:over]:
        found[name] += 1
    return found


def divided(usage: Usage, weights: Mapping[str, int]) -> dict[str, Usage]:
    """Divide what a worker used among those who used it; the parts add up to it exactly.

    :param weights: by share, how many are connected.
    """
    shares = [share for share, weight in weights.items() if weight > 0]
    if len(shares) <= 1:
        return dict.fromkeys(shares, usage)
    parts = {name: parts_of(getattr(usage, name), weights) for name in NAMES}
    return {share: Usage(**{name: parts[name][share] for name in NAMES}) for share in shares}


@frozen(kw_only=True)
class Account:
    """Whose use it is, and of which hour."""

    hour_unix_us: int
    """The beginning of the hour, in UTC."""
    owner: str
    """The person whose worker it is; empty for the appliance's own."""
    worker_id: str
    share_id: str = ""
    """Empty for what the owner used, or nobody."""


def hour_of(unix_us: int) -> int:
    """Return the beginning of a moment's hour."""
    return unix_us - unix_us % HOUR_US


@define
class Meter:
    """Adds up between two writings."""

    _sums: dict[Account, Usage] = field(factory=dict, init=False)

    def __len__(self) -> int:
        """Return how many sums there are."""
        return len(self._sums)

    def add(self, account: Account, usage: Usage) -> None:
        """Count something."""
        if usage:
            known = self._sums.get(account)
            self._sums[account] = usage if known is None else known + usage

    def add_worker(self, owner: str, worker_id: str, usage: Usage, *, connected: Mapping[str, int], at: int) -> None:
        """Count what a worker used for those who are connected to it, by share, or else for its owner.

        :param at: the moment, in microseconds since the epoch.
        """
        hour = hour_of(at)
        for share_id, part in (divided(usage, connected) or {"": usage}).items():
            self.add(Account(hour_unix_us=hour, owner=owner, worker_id=worker_id, share_id=share_id), part)

    def take(self) -> dict[Account, Usage]:
        """Return the sums and begin anew."""
        taken, self._sums = self._sums, {}
        return taken

    def give_back(self, sums: Mapping[Account, Usage]) -> None:
        """Count again what could not be written."""
        for account, usage in sums.items():
            self.add(account, usage)


# ---------------------------------------------------------------- CSV

COLUMNS: Final = (
    "hour",
    "user",
    "worker_id",
    "share_id",
    "gpu_seconds",
    "vram_gib_seconds",
    "energy_joules",
    "bytes_from_guests",
    "bytes_to_guests",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(rows: Iterable[tuple[Account, Usage]], names: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield a header and one line for each row, as RFC 4180 has it, with CRLF.

    A name that a spreadsheet would take for a formula gets an apostrophe in front.

    :param names: what people are called, by id; who is not there is called by the id.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for account, usage in rows:
        yield _taken(buffer)
        person = (names or {}).get(account.owner, account.owner)
        writer.writerow(
            (
                iso_of(account.hour_unix_us),
                *(_harmless(text) for text in (person, account.worker_id, account.share_id)),
                thousandths(usage.gpu_ms),
                decimal(usage.vram_mib_ms, 1024 * 1000),
                thousandths(usage.energy_mj),
                usage.bytes_from_guests,
                usage.bytes_to_guests,
            )
        )
    yield _taken(buffer)


def thousandths(count: int) -> str:
    """Return thousandths as a number of wholes, exactly: 1500 is ``1.500``."""
    return f"{count // 1000}.{count % 1000:03d}"


def decimal(count: int, unit: int) -> str:
    """Return ``count / unit`` with six digits after the point, cut: a float has no room for large counts."""
    millionths = count * 1_000_000 // unit
    return f"{millionths // 1_000_000}.{millionths % 1_000_000:06d}"


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
