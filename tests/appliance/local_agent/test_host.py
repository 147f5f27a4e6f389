"""The host's own figures, on whatever host this is, and what is derived from them."""

from collections import namedtuple
from pathlib import Path

import pytest

from appliance.devices import NetworkSample
from appliance.host import Host
from appliance.local_agent.host import UNCOUNTED_INTERFACE, HostReader, busy_percents, optional, read_facts

Times = namedtuple("Times", "user nice system idle iowait irq softirq steal guest guest_nice")
NONE = Times(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


def test_cpu_shares_are_those_of_the_time_between_two_readings() -> None:
    before = Times(100, 0, 50, 1000, 10, 0, 0, 0, 0, 0)
    after = Times(130, 10, 60, 1040, 20, 0, 0, 0, 0, 0)
    assert busy_percents(before, after) == {"total": 50.0, "user": 40.0, "system": 10.0, "iowait": 10.0}


def test_guest_time_is_not_counted_twice() -> None:
    assert busy_percents(NONE, Times(50, 0, 0, 50, 0, 0, 0, 0, 50, 0)) == {
        "total": 50.0,
        "user": 50.0,
        "system": 0.0,
        "iowait": 0.0,
    }


def test_counter_that_runs_backwards_gives_no_share_below_zero() -> None:
    before, after = Times(0, 0, 0, 0, 90, 0, 0, 0, 0, 0), Times(10, 0, 0, 10, 80, 0, 0, 0, 0, 0)
    assert busy_percents(before, after) == {"total": 50.0, "user": 50.0, "system": 0.0, "iowait": 0.0}


def test_no_time_between_readings_gives_no_share() -> None:
    assert busy_percents(NONE, NONE) is None


def test_first_reading_has_totals_and_no_shares() -> None:
    sample = HostReader().read("host-1", 17)
    assert (sample.host_id, sample.taken_at_unix_us) == ("host-1", 17)
    assert sample.cpu_percent is None
    assert sample.cpu_core_percents == ()
    assert sample.memory_total_bytes
    assert sample.memory_used_bytes is not None
    assert sample.memory_available_bytes is not None
    assert sample.memory_used_bytes + sample.memory_available_bytes == sample.memory_total_bytes
    assert sample.cpu_count_logical
    assert sample.process_count
    assert sample.uptime_seconds


def test_second_reading_has_shares_of_every_core() -> None:
    reader = HostReader()
    reader.read("h", 0)
    total = 0
    while (sample := reader.read("h", 1)).cpu_percent is None:  # the kernel counts in hundredths of a second
        total += sum(range(10_000))
    assert len(sample.cpu_core_percents) == sample.cpu_count_logical
    assert 0 <= sample.cpu_percent <= 100


def test_only_whole_disks_and_no_pseudo_disks_are_read(tmp_path: Path) -> None:
    for name in ("nvme0n1", "sda", "loop3", "ram0", "dm-0", "md127"):
        (tmp_path / "sys/block" / name).mkdir(parents=True)
    reader = HostReader(Host(root=tmp_path))
    kept = [
        name
        for name in ("nvme0n1", "nvme0n1p1", "sda", "sda1", "loop3", "ram0", "dm-0", "md127")
        if reader._is_physical(name)
    ]
    assert kept == ["nvme0n1", "sda"]


def test_loopback_and_ends_of_containers_cables_are_no_interfaces_to_watch() -> None:
    assert "lo" not in [card.interface for card in HostReader().read("h", 0).networks]
    left_out = [
        name for name in ("lo", "veth12ab", "ifb0", "eth0", "lobby0", "docker0") if UNCOUNTED_INTERFACE.fullmatch(name)
    ]
    assert left_out == ["lo", "veth12ab", "ifb0"]


def test_the_hosts_traffic_counts_cards_once_and_not_again_on_bridges(tmp_path: Path) -> None:
    (tmp_path / "sys/class/net/eth0/device").mkdir(parents=True)
    (tmp_path / "sys/class/net/docker0").mkdir(parents=True)
    card, bridge = (
        NetworkSample(interface="eth0", rx_bytes_total=5),
        NetworkSample(interface="docker0", rx_bytes_total=5),
    )
    assert list(HostReader(Host(root=tmp_path))._on_the_wire([card, bridge])) == [card]
    assert list(HostReader(Host(root=tmp_path / "container"))._on_the_wire([card, bridge])) == [card, bridge]


def test_figures_the_host_lacks_are_missing_not_fatal(tmp_path: Path) -> None:
    sample = HostReader(Host(root=tmp_path / "nothing")).read("h", 0)
    assert sample.process_count is None
    assert sample.uptime_seconds is None


def test_slow_figures_are_read_every_ten_seconds_only() -> None:
    clock = [0.0]
    reader = HostReader(monotonic=lambda: clock[0])
    first = reader.read("h", 0).filesystems
    assert reader.read("h", 1).filesystems is first
    clock[0] = 11
    assert reader.read("h", 2).filesystems is not first or first == ()


@pytest.mark.parametrize("error", [OSError("no"), NotImplementedError(), KeyError("x"), RuntimeError("y")])
def test_optional_value_is_none_when_the_host_has_no_such_thing(error: Exception) -> None:
    def read() -> int:
        raise error

    assert optional(read) is None


def test_facts_name_the_system_and_the_processor(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "proc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: AMD EPYC 9654\n")
    facts = read_facts(Host(root=tmp_path))
    assert (facts.system, facts.cpu_model) == ("Debian GNU/Linux 12 (bookworm)", "AMD EPYC 9654")
    assert facts.hostname
