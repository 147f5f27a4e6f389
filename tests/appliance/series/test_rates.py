"""Rates: what changed per second, and when nobody can say."""

from attrs import evolve

from appliance.devices import DiskSample
from appliance.series.flatten import clean, row_of
from appliance.series.rates import Rates, rates_of
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


def test_no_rate_spans_a_gap() -> None:
    before = DiskSample(device="sda", read_bytes_total=0)
    after = evolve(before, read_bytes_total=3000)
    assert rates(before, after, seconds=300).disks["sda"]["read_bytes_per_s"] == 10.0
    assert rates(before, after, seconds=300.1).disks["sda"]["read_bytes_per_s"] is None


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
