"""Rates: what changed per second, and when nobody can say."""

from attrs import evolve

from appliance.devices import DiskSample
from appliance.series.flatten import clean, row_of
from appliance.series.rates import Pace, Rates, rates_of
from tests.appliance.series.conftest import SECOND, START, Box


def rates(before: object, after: object, *, seconds: float = 2.0) -> Rates:
    box = Box()
    first = box.sample(START, disks=(before,))
    second = box.sample(START + int(seconds * SECOND), disks=(after,))
    return rates_of(row_of(clean(first)), row_of(clean(second)))


def test_disk_rates_are_changes_per_second_and_busy_time_a_share() -> None:
    before = DiskSample(device="sda", read_bytes_total=100, write_count_total=7, busy_time_ms_total=1000)
    after = DiskSample(device="sda", read_bytes_total=300, write_count_total=8, busy_time_ms_total=1500)
    found = rates(before, after).disks["sda"]
    assert found == {
        "read_bytes_per_s": 100.0,
        "write_bytes_per_s": None,
        "read_count_per_s": None,
        "write_count_per_s": 0.5,
        "busy_percent": 25.0,
    }


def test_busy_share_never_exceeds_the_whole() -> None:
    before = DiskSample(device="sda", busy_time_ms_total=0)
    assert rates(before, evolve(before, busy_time_ms_total=2010)).disks["sda"]["busy_percent"] == 100.0


def test_counter_that_went_down_has_no_rate() -> None:
    before = DiskSample(device="sda", read_bytes_total=500, write_bytes_total=1)
    found = rates(before, DiskSample(device="sda", read_bytes_total=3, write_bytes_total=3)).disks["sda"]
    assert found["read_bytes_per_s"] is None
    assert found["write_bytes_per_s"] == 1.0


def test_counter_that_leaps_beyond_any_device_has_no_rate() -> None:
    before = DiskSample(device="sda", read_bytes_total=0)
    assert rates(before, evolve(before, read_bytes_total=2**63 - 1)).disks["sda"]["read_bytes_per_s"] is None


def near(pace: Pace, seconds: float) -> bool:
    first, second = (row_of(Box().sample(at)) for at in (START, START + int(seconds * SECOND)))
    return pace.near(first, second) is first


def test_gap_of_more_than_ten_usual_intervals_yields_no_rate() -> None:
    pace = Pace(START + 2 * SECOND * number for number in range(-10, 1))
    assert near(pace, 20)
    assert not near(pace, 20.001)


def test_usual_interval_is_the_median_so_one_long_gap_changes_nothing() -> None:
    times = [START + 2 * SECOND * number for number in range(-10, 0)]
    pace = Pace([times[0] - 86_400 * SECOND, *times])
    assert pace.limit_us == 20 * SECOND
    for number in range(1, 7):  # from now on it reports once a minute
        pace.add(times[-1] + 60 * SECOND * number)
    assert pace.limit_us == 600 * SECOND


def test_usual_interval_counts_as_a_second_at_least() -> None:
    assert Pace(START + SECOND // 100 * number for number in range(11)).limit_us == 10 * SECOND


def test_second_sample_has_rates_up_to_five_minutes_after_the_first() -> None:
    pace = Pace([START])
    assert near(pace, 300)
    assert not near(pace, 300.1)


def test_first_sample_has_no_rates() -> None:
    found = rates_of(None, row_of(Box().sample(START)))
    assert set(found.host.values()) == {None}
    assert {value for gpu in found.gpus.values() for value in gpu.values()} == {None}


def test_device_keeps_its_rate_when_another_appears_before_it() -> None:
    box = Box()
    old = DiskSample(device="sdb", read_bytes_total=100)
    first = box.sample(START, disks=(old,))
    both = (DiskSample(device="sda", read_bytes_total=5), evolve(old, read_bytes_total=300))
    found = rates_of(row_of(first), row_of(box.sample(START + 2 * SECOND, disks=both)))
    assert found.disks["sdb"]["read_bytes_per_s"] == 100.0
    assert found.disks["sda"]["read_bytes_per_s"] is None
    assert found.gpus["GPU-0"]["energy_watts"] == 500.0
