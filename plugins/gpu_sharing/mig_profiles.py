"""Which MIG instance a wish needs: decisions without I/O.

Sources: NVIDIA Multi-Instance GPU User Guide, "Supported MIG Profiles" and "Creating GPU Instances".
"""

import re
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from appliance.plugin import Conflict

_MIB_PER_GIB: Final = 1024
_SEVENTHS: Final = ((1, 1), (1, 2), (2, 2), (3, 4), (4, 4), (7, 8))
"""Compute slices of seven and memory slices of eight, as most GPUs with MIG have them."""
_QUARTERS: Final = ((1, 1), (2, 2), (4, 4))
"""Both of four, as on the A30 and on the RTX PRO boards."""
_IN_QUARTERS: Final = re.compile(r"\bA30\b|\bRTX PRO\b")
_ROW: Final = re.compile(
    r"\|\s+\d+\s+MIG\s+(\S+)\s+(\d+)\s+(\d+)/(\d+)\s+([0-9]{1,6}\.[0-9]{1,4})\s+(?:Yes|No)\s+(\d+)\s", re.ASCII
)


@frozen(kw_only=True)
class Profile:
    """One kind of instance that a GPU offers."""

    name: str
    """Such as ``2g.20gb``: compute slices, memory."""
    profile_id: int | None
    """As ``nvidia-smi`` numbers it; ``None`` where it lists none before MIG mode is on, and this is an estimate."""
    free: int
    """How many could be made now."""
    memory_mib: int
    sm_count: int
    """Multiprocessors; for an estimate, compute slices."""

    @property
    def is_plain(self) -> bool:
        """Whether it is of the usual kind: ``+me``, ``+gfx`` and ``-me`` are about engines beside."""
        return "+" not in self.name and "-" not in self.name


def read_profiles(text: str, *, is_on: bool = True) -> tuple[Profile, ...]:
    """Return the profiles that ``nvidia-smi mig -lgip`` lists, smallest first.

    :param is_on: whether MIG mode is on; before that all are free, whatever is listed.
    """
    found = [
        Profile(
            name=name,
            profile_id=int(profile_id),
            free=int(free if is_on else total),
            memory_mib=int(float(memory) * _MIB_PER_GIB),
            sm_count=int(sm_count),
        )
        for name, profile_id, free, total, memory, sm_count in _ROW.findall(text)
    ]
    return tuple(sorted(found, key=_size))


def published_profiles(model: str, memory_mib: int) -> tuple[Profile, ...]:
    """Return about what a GPU will offer once its MIG mode is on, from how NVIDIA divides its GPUs."""
    fractions = _QUARTERS if _IN_QUARTERS.search(model) else _SEVENTHS
    memory_slices = fractions[-1][1]
    return tuple(
        Profile(
            name=f"{slices}g",
            profile_id=None,
            free=1,
            memory_mib=memory_mib * memory // memory_slices,
            sm_count=slices,
        )
        for slices, memory in fractions
    )


def pick(profiles: Sequence[Profile], *, vram_mb: int | None, compute_percent: int | None) -> Profile:
    """Return the smallest profile that has what is wanted; raise `Conflict` where none is free.

    :param vram_mb: MiB, as everywhere in GPU sharing.
    :param compute_percent: of the largest profile's multiprocessors, which is all that MIG gives out.
    """
    whole = max((each.sm_count for each in profiles), default=0)
    for profile in sorted(profiles, key=_size):
        is_enough = profile.memory_mib >= (vram_mb or 0) and profile.sm_count * 100 >= (compute_percent or 0) * whole
        if profile.is_plain and profile.free and is_enough:
            return profile
    offered = ", ".join(
        f"{each.name} ({each.memory_mib} MiB, {percent_of(each, profiles)} %, {each.free} free)"
        for each in profiles
        if each.is_plain
    )
    raise Conflict("no MIG profile with so much is free on this GPU", hint=f"it offers {offered or 'none'}")


def percent_of(profile: Profile, profiles: Sequence[Profile]) -> int:
    """Return the compute of a profile in whole percent of the largest one's."""
    return profile.sm_count * 100 // max((each.sm_count for each in profiles), default=1)


def _size(profile: Profile) -> tuple[int, int, str]:
    return profile.memory_mib, profile.sm_count, profile.name
