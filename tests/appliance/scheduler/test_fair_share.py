"""Who had how much, and who comes first for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.jobs import Needs
from appliance.scheduler.fair_share import HALF_LIFE_SECONDS, FairShare, bands, weight

DAY_US = int(HALF_LIFE_SECONDS * 1e6)


def test_gpu_weighs_as_much_as_sixteen_cores_and_nothing_a_tenth_of_one() -> None:
    assert weight(Needs(millicores=500, milli_gpu=1500)) == 500 + 24_000
    assert weight(Needs()) == 100


def test_use_is_forgotten_by_half_every_day() -> None:
    share = FairShare()
    share.charge("ann", Needs(millicores=1000), 3600, now_unix_us=0)
    assert share.now(0) == {"ann": 3_600_000}
    assert share.now(DAY_US) == {"ann": pytest.approx(1_800_000)}
    share.charge("ann", Needs(millicores=1000), 3600, now_unix_us=DAY_US)
    assert share.now(DAY_US) == {"ann": pytest.approx(5_400_000)}


def test_next_to_nothing_is_forgotten_altogether() -> None:
    share = FairShare()
    share.charge("ann", Needs(millicores=1000), 60, now_unix_us=0)
    share.now(60 * DAY_US)
    assert share.rows() == []


def test_clock_that_goes_back_and_negative_runtimes_add_nothing() -> None:
    share = FairShare()
    share.charge("ann", Needs(millicores=1000), 60, now_unix_us=DAY_US)
    share.charge("ann", Needs(millicores=1000), -60, now_unix_us=0)
    assert share.now(0) == {"ann": 60_000}


def test_restored_shares_are_the_stored_ones() -> None:
    share = FairShare()
    share.charge("ann", Needs(millicores=1000), 60, now_unix_us=5)
    assert FairShare.restored(share.rows()).rows() == share.rows()


def test_owner_far_over_its_equal_share_is_in_a_band_behind() -> None:
    assert bands({"ann": 74, "bob": 26}, ["ann", "bob"]) == {"ann": 0, "bob": 0}
    assert bands({"ann": 76, "bob": 24}, ["ann", "bob"]) == {"ann": 1, "bob": 0}
    assert bands({"ann": 100, "gone": 900}, ["ann", "b", "c", "d"]) == {"ann": 2, "b": 0, "c": 0, "d": 0}
    assert bands({}, ["ann"]) == {"ann": 0}
    assert bands({"ann": 5}, []) == {}


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1e15), min_size=1))
def test_who_had_more_is_never_in_an_earlier_band_and_somebody_is_in_the_first(used: dict[str, float]) -> None:
    found = bands(used, used)
    assert min(found.values()) == 0
    for one in used:
        for other in used:
            assert used[one] > used[other] or found[one] <= found[other]
