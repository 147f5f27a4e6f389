"""Buckets: the same however they are grouped, and the same bytes back."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.series.pack import Layout, UnknownFormat, decoder, intern_layout
from appliance.series.packed import bucket_decoder, pack_bucket, unpack_bucket
from appliance.series.rollup import (
    MAX_BUCKET_DEVICES,
    Bucket,
    close,
    combine,
    compact,
    fold_buckets,
    fold_samples,
    part_of_vector,
    slots_of,
    union,
    wide_places,
)

PLAIN = intern_layout(((), (), (), ("fan1",)), ())
OTHER = intern_layout(((), (), ("eth0",), ("fan2", "fan1")), ())
WIDTH = {layout: len(slots_of(layout)) for layout in (PLAIN, OTHER)}
QUANTA = [1 if is_wide else 100 for is_wide in wide_places(PLAIN.shape)]
VALUE = st.none() | st.floats(-(2**53), 2**53) | st.floats(0, 100)


@st.composite
def vectors(draw: st.DrawFn) -> tuple[Layout, Sequence[float | None]]:
    layout = draw(st.sampled_from([PLAIN, OTHER]))
    values: list[float | None] = [draw(VALUE) for _ in range(4)]
    return layout, (values * WIDTH[layout])[: WIDTH[layout]]


@given(st.lists(vectors(), min_size=1, max_size=12), st.integers(1, 5))
def test_grouping_changes_neither_extremes_nor_counts_and_means_by_less_than_a_quantum(
    points: list[tuple[Layout, Sequence[float | None]]], size: int
) -> None:
    whole = fold_samples(points)
    parts = [fold_samples(points[place : place + size]) for place in range(0, len(points), size)]
    grouped = fold_buckets(parts)
    assert grouped.layout == whole.layout
    assert (grouped.sample_count, grouped.present) == (whole.sample_count, whole.present)
    assert grouped.counts == whole.counts
    assert grouped.minima == whole.minima
    assert grouped.maxima == whole.maxima
    for one, two in zip(grouped.means, whole.means, strict=True):
        assert abs(one - two) <= 1


@given(st.lists(vectors(), min_size=1, max_size=12), st.integers(1, 5))
def test_parts_added_in_groups_give_the_very_same_bucket(
    points: list[tuple[Layout, Sequence[float | None]]], size: int
) -> None:
    parts = [part_of_vector(*point) for point in points]
    groups = [combine(parts[place : place + size]) for place in range(0, len(parts), size)]
    assert close(combine(groups)) == fold_samples(points)
    one_by_one = parts[0]
    for part in parts[1:]:
        one_by_one = compact(combine([one_by_one, part]))
    assert close(one_by_one) == fold_samples(points)


def test_part_with_totals_beyond_64_bits_stays_exact_when_it_is_made_small() -> None:
    part = combine([part_of_vector(PLAIN, [2.0**53] * WIDTH[PLAIN])] * 1200)
    assert max(part.totals) >= 2**63
    assert close(compact(part)) == close(part)
    small = combine([part_of_vector(PLAIN, [2.0**40] * WIDTH[PLAIN])] * 12)
    assert compact(small) is not small
    assert close(compact(small)) == close(small)


@given(st.lists(vectors(), min_size=1, max_size=6))
def test_mean_lies_between_the_extremes(points: list[tuple[Layout, Sequence[float | None]]]) -> None:
    bucket = fold_samples(points)
    for low, mean, high in zip(bucket.minima, bucket.means, bucket.maxima, strict=True):
        assert low <= mean <= high


@given(st.lists(vectors(), min_size=1, max_size=6), st.booleans())
def test_bucket_comes_back_as_it_was_stored(
    points: list[tuple[Layout, Sequence[float | None]]], is_compressed: bool
) -> None:
    bucket = fold_samples(points)
    stored = bucket_decoder(decoder(bucket.layout.content))
    blob = pack_bucket(bucket, is_compressed=is_compressed)
    back = unpack_bucket(blob, bucket.sample_count, stored)
    assert back.present == bucket.present
    assert (back.counts is None) == (bucket.counts is None)
    for name in ("counts", "minima", "maxima", "means"):
        assert list(getattr(back, name) or ()) == list(getattr(bucket, name) or ()), name
    assert pack_bucket(back, is_compressed=is_compressed) == blob
    with pytest.raises(UnknownFormat):
        unpack_bucket(blob[:-1], bucket.sample_count, stored)


@given(st.binary(max_size=60))
def test_foreign_bucket_is_refused(blob: bytes) -> None:
    with pytest.raises(UnknownFormat):
        unpack_bucket(blob, 1, bucket_decoder(decoder(PLAIN.content)))


def test_absent_readings_count_neither_in_the_mean_nor_as_zero() -> None:
    width = WIDTH[PLAIN]
    bucket = fold_samples(
        [(PLAIN, [None] * width), (PLAIN, [4.0] * width), (PLAIN, [None] * width), (PLAIN, [8.0] * width)]
    )
    assert list(bucket.counts or ()) == [2] * width
    assert list(bucket.means) == [6 * quantum for quantum in QUANTA]


def test_mean_of_means_is_weighted_by_readings() -> None:
    width = WIDTH[PLAIN]
    one, nine = fold_samples([(PLAIN, [0.0] * width)] * 9), fold_samples([(PLAIN, [10.0] * width)])
    assert list(fold_buckets([one, nine]).means) == QUANTA


def test_union_keeps_the_order_in_which_devices_are_met() -> None:
    assert union([PLAIN, OTHER]).keys == ((), (), ("eth0",), ("fan1", "fan2"))
    assert union([OTHER, PLAIN]) is OTHER


def test_one_bucket_is_its_own_fold() -> None:
    bucket = Bucket(PLAIN, b"\1", 1, None, [2], [3], [2])
    assert fold_buckets([bucket]) is bucket


def named_anew(first: int, count: int) -> Layout:
    return intern_layout(((), tuple(f"disk{number}" for number in range(first, first + count)), (), ()), ())


def test_host_that_names_its_devices_anew_with_every_sample_makes_no_bucket_wider_than_is_bearable() -> None:
    layouts = [named_anew(200 * number, 200) for number in range(20)]
    parts = [part_of_vector(layout, [1.0] * len(slots_of(layout))) for layout in layouts]
    at_once = close(combine(parts))
    assert len(at_once.layout.keys[1]) == MAX_BUCKET_DEVICES
    assert at_once.layout.keys[1][0] == "disk0"
    bit_by_bit = parts[0]
    for part in parts[1:]:
        bit_by_bit = combine([bit_by_bit, part])
    assert close(bit_by_bit) == at_once
    assert fold_buckets([close(part) for part in parts]).layout is at_once.layout
