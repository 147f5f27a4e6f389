"""The life of a key, by its rules: published a day before it signs, and two hours after."""

from collections.abc import Iterator

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from appliance.licenses.claims import LIFETIME_MS, SKEW_MS
from appliance.licenses.rotation import (
    KeyState,
    LicenseKey,
    advance,
    in_state,
    is_due,
    revoked,
    takes_over_unix_us,
)

S = 1_000_000
DAY = 86_400 * S
ROTATE = 30 * DAY
START = 1_795_000_000 * S
NEXT, ACTIVE, RETIRING, GONE = KeyState.NEXT, KeyState.ACTIVE, KeyState.RETIRING, KeyState.GONE


def numbers() -> Iterator[bytes]:
    return (number.to_bytes(32, "big") for number in range(1, 10_000))


@define
class Ring:
    """Keys that move on as they are told."""

    now: int = START
    keys: dict[str, LicenseKey] = field(factory=dict)
    lost: set[str] = field(factory=set)
    rotate_us: int = ROTATE
    _numbers: Iterator[bytes] = field(factory=numbers)

    def __attrs_post_init__(self) -> None:
        self.step()

    @property
    def usable(self) -> frozenset[str]:
        return frozenset(self.keys) - self.lost

    def is_due(self) -> bool:
        return is_due(self.keys.values(), now_unix_us=self.now, rotate_us=self.rotate_us, usable=self.usable)

    def step(self, seconds: float = 0) -> list[LicenseKey]:
        """Let time pass, do what is due, and return what changed."""
        self.now += int(seconds * S)
        due = self.is_due()
        changed = advance(
            self.keys.values(),
            now_unix_us=self.now,
            rotate_us=self.rotate_us,
            usable=self.usable,
            make=lambda: next(self._numbers),
        )
        assert due == bool(changed)
        self.keys |= {key.kid: key for key in changed}
        return list(changed)

    def one(self, state: KeyState) -> LicenseKey:
        found = in_state(self.keys.values(), state)
        assert found is not None
        return found

    def states(self) -> list[KeyState]:
        return [key.state for key in self.keys.values()]

    def takes_over(self) -> int:
        at = takes_over_unix_us(self.keys.values(), rotate_us=self.rotate_us)
        assert at is not None
        return at


def test_the_first_keys_are_one_that_signs_and_one_that_is_next() -> None:
    ring = Ring()
    assert ring.states() == [ACTIVE, NEXT]
    assert not ring.is_due()


def test_the_next_key_takes_over_on_schedule_and_another_is_next() -> None:
    ring = Ring()
    first, second = ring.one(ACTIVE), ring.one(NEXT)
    assert ring.takes_over() == START + ROTATE
    assert ring.step(30 * 86_400 - 0.001) == []
    ring.step(0.001)
    assert ring.one(ACTIVE).kid == second.kid
    assert ring.one(RETIRING).kid == first.kid
    assert ring.one(NEXT).kid not in (first.kid, second.kid)


def test_a_retiring_key_is_published_until_its_last_licence_has_expired_by_everybodys_clock() -> None:
    ring = Ring()
    ring.step(30 * 86_400)
    assert ring.step((LIFETIME_MS + SKEW_MS) / 1000 - 0.001) == []
    ring.step(0.001)
    assert ring.states() == [GONE, ACTIVE, NEXT]
    assert ring.one(GONE).gone_unix_us == ring.now


def test_no_key_signs_before_it_has_been_published_for_a_day_however_short_the_schedule() -> None:
    ring = Ring(rotate_us=1)
    assert ring.step(86_399.999) == []
    published = ring.one(NEXT).published_unix_us
    ring.step(0.001)
    assert ring.one(ACTIVE).published_unix_us == published == ring.now - DAY
    assert ring.one(NEXT).published_unix_us == ring.now


def test_a_wish_is_granted_at_once_or_as_soon_as_a_day_has_passed() -> None:
    ring = Ring()
    coming = ring.one(NEXT)
    ring.keys[coming.kid] = wished = LicenseKey(
        kid=coming.kid,
        public=coming.public,
        state=NEXT,
        published_unix_us=coming.published_unix_us,
        wanted_unix_us=ring.now,
    )
    assert ring.takes_over() == START + DAY
    assert ring.step(86_399) == []
    ring.step(1)
    assert ring.one(ACTIVE).kid == wished.kid
    assert ring.takes_over() == ring.now + ROTATE  # the wish was for this one alone


@pytest.mark.parametrize("state", [NEXT, ACTIVE])
def test_a_key_whose_private_half_is_lost_is_gone_at_once_and_replaced(state: KeyState) -> None:
    ring = Ring()
    lost, coming = ring.one(state), ring.one(NEXT)
    ring.lost.add(lost.kid)
    ring.step(1)
    assert ring.keys[lost.kid].state is GONE
    assert (ring.one(ACTIVE).kid == coming.kid) == (state is ACTIVE)
    assert ring.one(NEXT).kid not in (lost.kid, coming.kid)


def test_with_every_private_half_lost_there_are_new_keys() -> None:
    ring = Ring()
    before = set(ring.keys)
    ring.lost |= before
    ring.step(1)
    assert {ring.one(ACTIVE).kid, ring.one(NEXT).kid}.isdisjoint(before)


def test_revoking_drops_all_that_is_published_and_leaves_what_is_gone_as_it_was() -> None:
    ring = Ring()
    ring.step(30 * 86_400)
    ring.step(3 * 3_600)
    ring.step(30 * 86_400)
    assert ring.states() == [GONE, RETIRING, ACTIVE, NEXT]
    dropped = revoked(ring.keys.values(), now_unix_us=ring.now)
    assert {key.kid for key in dropped} == {key.kid for key in ring.keys.values() if key.state is not GONE}
    assert {key.state for key in dropped} == {GONE}
    assert not any(key.is_published or key.may_sign for key in dropped)


@given(st.lists(st.tuples(st.floats(-200_000, 4_000_000), st.sampled_from(["", "lose active", "lose next", "revoke"]))))
def test_whatever_happens_one_key_signs_one_is_next_and_what_signed_stays_published(
    steps: list[tuple[float, str]],
) -> None:
    ring = Ring()
    for seconds, event in steps:
        before = dict(ring.keys)
        if event.startswith("lose"):
            ring.lost.add(ring.one(ACTIVE if "active" in event else NEXT).kid)
        if event == "revoke":
            ring.keys |= {key.kid: key for key in revoked(ring.keys.values(), now_unix_us=ring.now)}
        ring.step(seconds)
        states = ring.states()
        assert (states.count(ACTIVE), states.count(NEXT)) == (1, 1)
        for kid, key in ring.keys.items():
            was = before.get(kid)
            order = [NEXT, ACTIVE, RETIRING, GONE]
            assert was is None or order.index(key.state) >= order.index(was.state)
            if event == "" and was is not None and was.state is ACTIVE:
                assert key.is_published
        assert not ring.is_due()
