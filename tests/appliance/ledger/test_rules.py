"""The ledger's rules: never more than a GPU has, tokens that rise, leases that end."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.errors import ApplianceError, BadInput, Conflict, Gone
from appliance.ledger.rules import (
    LEASE_MAX_SECONDS,
    Booking,
    Capacity,
    Free,
    Holder,
    Part,
    after_restart,
    book,
    free,
    lease_end,
    renew,
    why_not,
)

SECOND = 1_000_000
CAPACITIES = {
    "GPU-a": Capacity(gpu_id="GPU-a", vram_mib=1000),
    "GPU-b": Capacity(gpu_id="GPU-b", vram_mib=80_000),
    "MIG-1": Capacity(gpu_id="MIG-1", vram_mib=10_000, parent_gpu_id="GPU-b"),
    "MIG-2": Capacity(gpu_id="MIG-2", vram_mib=10_000, parent_gpu_id="GPU-b"),
}


def holder(name: str) -> Holder:
    return Holder(kind="task", holder_id=name)


def part(gpu_id: str, milli_gpu: int = 1000, vram_mib: int = 0) -> Part:
    return Part(gpu_id=gpu_id, milli_gpu=milli_gpu, vram_mib=vram_mib)


def booking(name: str, *parts: Part, token: int = 1, ends: int = 100 * SECOND) -> Booking:
    return Booking(holder=holder(name), parts=parts, fencing_token=token, booked_at_unix_us=0, lease_ends_unix_us=ends)


@pytest.mark.parametrize(
    ("held", "asked", "answer"),
    [
        ((), (part("GPU-a"),), None),
        ((), (part("GPU-x"),), "there is no GPU 'GPU-x'"),
        ((), (), "a booking has 1 to 64 parts"),
        ((), (part("GPU-a", 500), part("GPU-a", 500)), "GPU 'GPU-a' is asked for twice"),
        ((), (part("GPU-b"), part("MIG-1")), "GPU 'MIG-1' is asked for twice"),
        ((), (part("MIG-1"), part("MIG-2")), None),
        ((part("GPU-a", 600),), (part("GPU-a", 400),), None),
        ((part("GPU-a", 600),), (part("GPU-a", 401),), "GPU 'GPU-a' has 400 of 1000 parts left, 401 are asked for"),
        ((part("GPU-a", 100, 700),), (part("GPU-a", 100, 300),), None),
        ((part("GPU-a", 100, 700),), (part("GPU-a", 100, 301),), "GPU 'GPU-a' has 300 MiB left, 301 are asked for"),
        ((part("MIG-1", 1),), (part("GPU-b", 1),), "GPU 'GPU-b' has 0 of 1000 parts left, 1 are asked for"),
        ((part("GPU-b", 1),), (part("MIG-2", 1),), "GPU 'MIG-2' has 0 of 1000 parts left, 1 are asked for"),
        ((part("MIG-1"),), (part("MIG-2"), part("GPU-a")), None),
    ],
)
def test_parts_are_refused_with_the_reason(held: tuple[Part, ...], asked: tuple[Part, ...], answer: str | None) -> None:
    assert why_not(asked, CAPACITIES, [booking("other", *held)] if held else []) == answer


def test_whole_gpu_takes_its_memory_too() -> None:
    assert free(CAPACITIES["GPU-a"], CAPACITIES, [booking("x", part("GPU-a"))]) == Free(milli_gpu=0, vram_mib=0)


@pytest.mark.parametrize("milli_gpu", [0, -1, 1001, 1.5, "1", 2**64])
def test_part_that_cannot_be_is_refused(milli_gpu: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        Part(gpu_id="GPU-a", milli_gpu=milli_gpu)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0, -1, LEASE_MAX_SECONDS + 1, float("nan"), float("inf"), 1e300])
def test_lease_of_no_sensible_length_is_bad_input(seconds: float) -> None:
    with pytest.raises(BadInput):
        lease_end(0, seconds)


def test_ended_lease_is_gone_and_its_parts_are_free() -> None:
    old = booking("old", part("GPU-a"), ends=10)
    with pytest.raises(Gone):
        renew(old, 1, now_unix_us=10, lease_ends_unix_us=20)
    new = book(
        holder("new"),
        (part("GPU-a"),),
        capacities=CAPACITIES,
        bookings=[old],
        last_token=1,
        now_unix_us=10,
        lease_ends_unix_us=20,
    )
    assert new.fencing_token == 2


def test_stale_token_is_refused() -> None:
    with pytest.raises(Conflict, match="fencing token 6"):
        renew(booking("x", part("GPU-a"), token=7), 6, now_unix_us=0, lease_ends_unix_us=1)


def test_renewal_never_shortens_a_lease() -> None:
    assert renew(booking("x", ends=50), 1, now_unix_us=0, lease_ends_unix_us=20).lease_ends_unix_us == 50


@pytest.mark.parametrize(
    ("ends_s", "expected_s"),
    [(99, 99), (100, 100), (101, 1180), (1100, 1180), (5000, 5000)],
    ids=["ended before", "ended as we went down", "ended while down", "ends soon", "ends later"],
)
def test_lease_that_ran_when_we_went_down_runs_three_minutes_more(ends_s: int, expected_s: int) -> None:
    before = booking("x", ends=ends_s * SECOND)
    after = after_restart(before, went_down_at_unix_us=100 * SECOND, now_unix_us=1000 * SECOND)
    assert after == evolve(before, lease_ends_unix_us=expected_s * SECOND)


@pytest.mark.parametrize(
    ("ends_s", "expected_s"),
    [(99, 40), (101, 40 + 180), (5000, 40 + 4900)],
    ids=["ended before", "ends soon", "ends later"],
)
def test_clock_set_back_while_we_were_down_prolongs_no_lease(ends_s: int, expected_s: int) -> None:
    before = booking("x", ends=ends_s * SECOND)
    after = after_restart(before, went_down_at_unix_us=100 * SECOND, now_unix_us=40 * SECOND)
    assert after == evolve(before, lease_ends_unix_us=expected_s * SECOND)


class Ledgers(RuleBasedStateMachine):
    """Any sequence of bookings, renewals, releases and passing time."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.token = 0, 0
        self.bookings: dict[Holder, Booking] = {}

    @rule(
        name=st.sampled_from("abcdef"),
        parts=st.lists(
            st.builds(
                Part,
                gpu_id=st.sampled_from([*CAPACITIES, "GPU-none"]),
                milli_gpu=st.sampled_from([1, 250, 500, 1000]),
                vram_mib=st.sampled_from([0, 400, 1000, 10_000]),
            ),
            max_size=3,
        ),
        seconds=st.integers(1, 50),
    )
    def book(self, name: str, parts: list[Part], seconds: int) -> None:
        before = self.bookings.get(holder(name))
        try:
            got = book(
                holder(name),
                tuple(parts),
                capacities=CAPACITIES,
                bookings=list(self.bookings.values()),
                last_token=self.token,
                now_unix_us=self.now,
                lease_ends_unix_us=self.now + seconds,
            )
        except ApplianceError:
            return
        assert got.is_running(self.now)
        if before is None:
            assert got.fencing_token == self.token + 1
        else:
            assert (got.parts, got.fencing_token) == (before.parts, before.fencing_token)
        self.token = max(self.token, got.fencing_token)
        self.bookings[got.holder] = got

    @rule(name=st.sampled_from("abcdef"))
    def release(self, name: str) -> None:
        self.bookings.pop(holder(name), None)

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def nothing_is_promised_twice(self) -> None:
        running = [booking for booking in self.bookings.values() if booking.is_running(self.now)]
        used: dict[str, list[Part]] = {}
        for one in running:
            for each in one.parts:
                used.setdefault(each.gpu_id, []).append(each)
        for gpu_id, parts in used.items():
            assert sum(each.milli_gpu for each in parts) <= 1000
            assert sum(each.vram_mib for each in parts) <= CAPACITIES[gpu_id].vram_mib
            assert CAPACITIES[gpu_id].parent_gpu_id not in used
        assert len({one.fencing_token for one in self.bookings.values()}) == len(self.bookings)


TestLedgers = Ledgers.TestCase


@given(st.integers(0, 10**16), st.floats(0.001, LEASE_MAX_SECONDS))
def test_lease_ends_when_it_should(now: int, seconds: float) -> None:
    assert abs(lease_end(now, seconds) - now - seconds * SECOND) <= 1
