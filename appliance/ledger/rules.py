"""Who may hold which part of which GPU: decisions without I/O.

A **booking** gives one holder (an attempt of a task, a shared worker, a reservation) parts of GPUs until its lease
ends. Three rules keep it sound:

* the parts of the leases that run never add up to more than the GPU has, in thousandths of it and in MiB; a MIG
  instance is a GPU of its own, and while any is booked the GPU it is cut from is not, nor the other way round;
* every booking carries a **fencing token**, larger than all before it; who acts on a GPU shows it, and an older one is
  refused, so a holder that was thought dead cannot disturb the next;
* booking again for the same holder, and releasing what is released, change nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import evolve, field, frozen
from attrs.validators import and_, ge, in_, instance_of, le, max_len, min_len

from appliance.errors import BadInput, Conflict, Gone

WHOLE_MILLI_GPU: Final = 1000
PARTS_MAX: Final = 64
HOLDER_KINDS: Final = ("task", "share", "reservation")
RESTART_GRACE_SECONDS: Final = 180
_INTEGER_MAX: Final = 2**53

LEASE_MAX_SECONDS: Final = 366 * 86_400


def _name() -> Any:
    return field(validator=and_(instance_of(str), min_len(1), max_len(200)))


@frozen(kw_only=True)
class Part:
    """A part of one GPU."""

    gpu_id: str = _name()
    milli_gpu: int = field(validator=[instance_of(int), ge(1), le(WHOLE_MILLI_GPU)])
    """Thousandths of the GPU; 1000 is all of it, its memory included."""
    vram_mib: int = field(default=0, validator=[instance_of(int), ge(0), le(_INTEGER_MAX)])
    """Memory promised; 0 promises none."""


@frozen(kw_only=True)
class Holder:
    """Who holds a booking."""

    kind: str = field(validator=in_(HOLDER_KINDS))
    holder_id: str = _name()
    """Unique among its kind and never used again: an attempt's id, not its task's."""


@frozen(kw_only=True)
class Booking:
    """Parts of GPUs, held until a time."""

    holder: Holder
    parts: tuple[Part, ...]
    fencing_token: int
    booked_at_unix_us: int
    lease_ends_unix_us: int

    def is_running(self, now_unix_us: int) -> bool:
        """Whether the lease has not ended."""
        return now_unix_us < self.lease_ends_unix_us


@frozen(kw_only=True)
class Capacity:
    """What a GPU has to give."""

    gpu_id: str
    vram_mib: int
    parent_gpu_id: str | None = None
    """Set for a MIG instance."""


@frozen(kw_only=True)
class Free:
    """What is left of a GPU."""

    milli_gpu: int
    vram_mib: int


def free(capacity: Capacity, capacities: Mapping[str, Capacity], running: Iterable[Booking]) -> Free:
    """Return what is left of a GPU beside the ``running`` bookings."""
    milli_gpu, vram_mib = WHOLE_MILLI_GPU, capacity.vram_mib
    for part in (part for booking in running for part in booking.parts):
        if part.gpu_id == capacity.gpu_id:
            milli_gpu -= part.milli_gpu
            vram_mib -= capacity.vram_mib if part.milli_gpu == WHOLE_MILLI_GPU else part.vram_mib
        elif _are_kin(capacity, capacities.get(part.gpu_id)):
            return Free(milli_gpu=0, vram_mib=0)
    return Free(milli_gpu=max(0, milli_gpu), vram_mib=max(0, vram_mib))


def _are_kin(one: Capacity, other: Capacity | None) -> bool:
    """Whether one of the two is cut from the other."""
    return other is not None and (one.parent_gpu_id == other.gpu_id or other.parent_gpu_id == one.gpu_id)


def why_not(parts: Sequence[Part], capacities: Mapping[str, Capacity], running: Sequence[Booking]) -> str | None:
    """Return in words why ``parts`` cannot be booked now, ``None`` when they can."""
    if not 1 <= len(parts) <= PARTS_MAX:
        return f"a booking has 1 to {PARTS_MAX} parts"
    asked: set[str] = set()
    for part in parts:
        capacity = capacities.get(part.gpu_id)
        if capacity is None:
            return f"there is no GPU {part.gpu_id!r}"
        if part.gpu_id in asked or any(_are_kin(capacity, capacities[gpu_id]) for gpu_id in asked):
            return f"GPU {part.gpu_id!r} is asked for twice"
        asked.add(part.gpu_id)
        left = free(capacity, capacities, running)
        if part.milli_gpu > left.milli_gpu:
            return f"GPU {part.gpu_id!r} has {left.milli_gpu} of 1000 parts left, {part.milli_gpu} are asked for"
        if part.vram_mib > left.vram_mib:
            return f"GPU {part.gpu_id!r} has {left.vram_mib} MiB left, {part.vram_mib} are asked for"
    return None


def book(
    holder: Holder,
    parts: tuple[Part, ...],
    *,
    capacities: Mapping[str, Capacity],
    bookings: Sequence[Booking],
    last_token: int,
    now_unix_us: int,
    lease_ends_unix_us: int,
) -> Booking:
    """Return the booking to store: a new one, or the holder's own with its lease moved on.

    :param bookings: all there are; those whose lease has ended do not count.
    :raises Conflict: the parts are taken, or the holder holds others.
    :raises Gone: the holder's lease has ended; it has to come as somebody new.
    """
    for booking in bookings:
        if booking.holder == holder:
            if booking.parts != parts:
                raise Conflict(f"{holder.kind} {holder.holder_id!r} holds other parts", hint="release them first")
            return renew(booking, booking.fencing_token, now_unix_us=now_unix_us, lease_ends_unix_us=lease_ends_unix_us)
    refusal = why_not(parts, capacities, [booking for booking in bookings if booking.is_running(now_unix_us)])
    if refusal is not None:
        raise Conflict(refusal)
    return Booking(
        holder=holder,
        parts=parts,
        fencing_token=last_token + 1,
        booked_at_unix_us=now_unix_us,
        lease_ends_unix_us=lease_ends_unix_us,
    )


def renew(booking: Booking, fencing_token: int, *, now_unix_us: int, lease_ends_unix_us: int) -> Booking:
    """Return the booking with its lease moved on, never back.

    :raises Conflict: the token is not this booking's.
    :raises Gone: the lease has ended.
    """
    check_token(booking, fencing_token)
    if not booking.is_running(now_unix_us):
        raise Gone(f"the lease of {booking.holder.kind} {booking.holder.holder_id!r} has ended")
    return evolve(booking, lease_ends_unix_us=max(booking.lease_ends_unix_us, lease_ends_unix_us))


def lease_end(now_unix_us: int, lease_seconds: float) -> int:
    """Return when a lease that begins now ends; raise `BadInput` unless it lasts up to a year."""
    if not 0 < lease_seconds <= LEASE_MAX_SECONDS:
        raise BadInput(f"a lease lasts more than 0 and at most {LEASE_MAX_SECONDS} seconds", field="lease_seconds")
    return now_unix_us + int(lease_seconds * 1_000_000)


def check_token(booking: Booking, fencing_token: int) -> None:
    """Raise `Conflict` unless the token is this booking's."""
    if booking.fencing_token != fencing_token:
        raise Conflict(
            f"fencing token {fencing_token} is not that of {booking.holder.kind} {booking.holder.holder_id!r}",
            hint="somebody else holds it now",
        )


def after_restart(booking: Booking, *, went_down_at_unix_us: int, now_unix_us: int) -> Booking:
    """Return the booking as it is after we were down.

    A lease that ran when we went down runs 180 s more at least, and no longer than it had left then, however far back
    the clock was set meanwhile; one that had ended stays so.
    """
    if not booking.is_running(went_down_at_unix_us):
        return evolve(booking, lease_ends_unix_us=min(booking.lease_ends_unix_us, now_unix_us))
    left_us = booking.lease_ends_unix_us - max(now_unix_us, went_down_at_unix_us)
    return evolve(booking, lease_ends_unix_us=now_unix_us + max(left_us, RESTART_GRACE_SECONDS * 1_000_000))


def moved(booking: Booking, by_us: int) -> Booking:
    """Return the booking with its times told by a clock that is ``by_us`` ahead of the one they were told by."""
    return evolve(
        booking,
        booked_at_unix_us=booking.booked_at_unix_us + by_us,
        lease_ends_unix_us=booking.lease_ends_unix_us + by_us,
    )
