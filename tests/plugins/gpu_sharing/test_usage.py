import csv
import io
from typing import Any

import pytest
from attrs import astuple
from hypothesis import given
from hypothesis import strategies as st

from plugins.gpu_sharing.usage import (
    COLUMNS,
    GAP_MS_MAX,
    NAMES,
    Account,
    Held,
    Meter,
    Usage,
    counted_ms,
    csv_lines,
    decimal,
    divided,
    energy_between,
    energy_of,
    hour_of,
    parts_of,
    thousandths,
    used,
)

HOUR = 1_795_255_200_000_000  # 2026-11-21T10:00:00Z
COUNTS = st.integers(0, 2**62)
USAGES = st.builds(Usage, **dict.fromkeys(NAMES, COUNTS))
WEIGHTS = st.dictionaries(st.text("abcde", min_size=1, max_size=2), st.integers(-2, 1000), max_size=8)


@pytest.mark.parametrize(
    ("held", "elapsed_ms", "usage"),
    [
        ([], 1000, Usage()),
        ([Held()], 1000, Usage(gpu_ms=1000)),
        ([Held(), Held()], 1000, Usage(gpu_ms=2000)),
        ([Held(compute_percent=50)], 1000, Usage(gpu_ms=500)),
        ([Held(compute_percent=1)], 99, Usage()),
        ([Held(vram_mb=1024)], 1000, Usage(gpu_ms=1000, vram_mib_ms=1_024_000)),
        ([Held(vram_mb=1024, vram_used_bytes=5 * 2**30)], 1000, Usage(gpu_ms=1000, vram_mib_ms=1_024_000)),
        ([Held(vram_used_bytes=5 * 2**20 + 1)], 1000, Usage(gpu_ms=1000, vram_mib_ms=5000)),
        ([Held(energy_mj=7), Held(energy_mj=8)], 0, Usage(energy_mj=15)),
    ],
)
def test_worker_uses_its_part_of_each_gpu(held: list[Held], elapsed_ms: int, usage: Usage) -> None:
    assert used(held, elapsed_ms) == usage


def test_century_of_a_large_host_fits_64_bits() -> None:
    century_ms = 100 * 366 * 86_400_000
    whole = used([Held(vram_mb=300_000, energy_mj=1_500 * century_ms)] * 8, century_ms)
    assert max(astuple(whole)) < 2**63


@pytest.mark.parametrize(
    ("elapsed_us", "ms"), [(0, 0), (999, 0), (30_000_000, 30_000), (-5, 0), (90_000_001, 90_000), (10**15, GAP_MS_MAX)]
)
def test_time_is_counted_up_to_a_gap_and_never_back(elapsed_us: int, ms: int) -> None:
    assert counted_ms(HOUR, HOUR + elapsed_us) == ms


@pytest.mark.parametrize(
    ("before", "after", "drawn"), [(5, 9, 4), (5, 5, 0), (9, 5, None), (None, 5, None), (5, None, None)]
)
def test_energy_is_what_the_counter_rose_by_unless_it_was_set_back(
    before: int | None, after: int | None, drawn: int | None
) -> None:
    assert energy_between(before, after) == drawn


def test_energy_without_a_counter_is_power_times_time() -> None:
    assert energy_of(250.5, 2000) == 501_000
    assert energy_of(None, 2000) == energy_of(-1.0, 2000) == 0


@given(COUNTS, WEIGHTS)
def test_parts_add_up_to_the_whole_and_are_fair(total: int, weights: dict[str, int]) -> None:
    parts = parts_of(total, weights)
    positive = {name: weight for name, weight in weights.items() if weight > 0}
    assert parts.keys() == positive.keys()
    if positive:
        assert sum(parts.values()) == total
        for name, part in parts.items():
            assert abs(part * sum(positive.values()) - total * positive[name]) < sum(positive.values())
    assert parts == parts_of(total, dict(reversed(weights.items())))


def test_what_is_left_over_goes_to_the_largest_remainders() -> None:
    assert parts_of(10, {"b": 1, "a": 1, "c": 1}) == {"a": 4, "b": 3, "c": 3}
    assert parts_of(10, {"a": 0}) == {}


@given(USAGES, WEIGHTS)
def test_use_of_a_worker_is_divided_without_loss(usage: Usage, weights: dict[str, int]) -> None:
    parts = divided(usage, weights)
    if any(weight > 0 for weight in weights.values()):
        assert sum(parts.values(), Usage()) == usage
    else:
        assert parts == {}


@given(USAGES, USAGES, USAGES)
def test_sums_do_not_hang_on_their_order(one: Usage, two: Usage, three: Usage) -> None:
    assert (one + two) + three == three + (two + one)
    assert one + Usage() == one


@pytest.mark.parametrize("name", NAMES)
def test_nobody_uses_less_than_nothing(name: str) -> None:
    less: dict[str, Any] = {name: -1}
    with pytest.raises(ValueError, match=name):
        Usage(**less)


def account(**more: Any) -> Account:
    made: dict[str, Any] = {"hour_unix_us": HOUR, "owner": "person_1", "worker_id": "worker_1"}
    return Account(**(made | more))


def test_use_is_counted_for_who_is_connected_or_else_for_the_owner() -> None:
    meter = Meter()
    meter.add_worker("person_1", "worker_1", Usage(gpu_ms=100), connected={"s1": 3, "s2": 1, "s3": 0}, at=HOUR + 5)
    meter.add_worker("person_1", "worker_1", Usage(gpu_ms=7), connected={"s1": 0}, at=HOUR + 6)
    meter.add_worker("person_1", "worker_1", Usage(gpu_ms=8), connected={}, at=HOUR + 3_600_000_000)
    assert meter.take() == {
        account(share_id="s1"): Usage(gpu_ms=75),
        account(share_id="s2"): Usage(gpu_ms=25),
        account(): Usage(gpu_ms=7),
        account(hour_unix_us=HOUR + 3_600_000_000): Usage(gpu_ms=8),
    }


def test_what_was_taken_is_counted_once_and_what_is_given_back_again() -> None:
    meter = Meter()
    meter.add(account(), Usage(gpu_ms=1))
    taken = meter.take()
    assert meter.take() == {}
    meter.add(account(), Usage(gpu_ms=2))
    meter.give_back(taken)
    assert meter.take() == {account(): Usage(gpu_ms=3)}


def test_nothing_used_makes_no_row() -> None:
    meter = Meter()
    meter.add(account(), Usage())
    assert meter.take() == {}


def test_hour_is_that_of_the_moment() -> None:
    assert hour_of(HOUR) == hour_of(HOUR + 3_599_999_999) == HOUR
    assert hour_of(HOUR + 3_600_000_000) == HOUR + 3_600_000_000


def test_csv_has_seconds_gibibytes_and_joules() -> None:
    usage = Usage(
        gpu_ms=1500, vram_mib_ms=1024 * 1000 * 2 + 512_000, energy_mj=7, bytes_from_guests=8, bytes_to_guests=9
    )
    assert list(csv_lines([(account(share_id="share_1"), usage)], {"person_1": "ann"})) == [
        ",".join(COLUMNS) + "\r\n",
        "2026-11-21T10:00:00Z,ann,worker_1,share_1,1.500,2.500000,0.007,8,9\r\n",
    ]


def test_csv_of_nothing_is_its_header() -> None:
    assert "".join(csv_lines([])) == ",".join(COLUMNS) + "\r\n"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
def test_csv_keeps_any_name_and_makes_a_formula_of_none(name: str) -> None:
    text = "".join(csv_lines([(account(), Usage(gpu_ms=1))], {"person_1": name}))
    [_, row] = csv.reader(io.StringIO(text, newline=""))
    assert row[1] in (name, f"'{name}")
    assert not row[1].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert len(row) == len(COLUMNS)


@given(COUNTS)
def test_decimals_are_exact(count: int) -> None:
    whole, _, rest = thousandths(count).partition(".")
    assert int(whole) * 1000 + int(rest) == count
    whole, _, rest = decimal(count, 1_024_000).partition(".")
    assert int(whole + rest) == count * 1_000_000 // 1_024_000
    assert len(rest) == 6
