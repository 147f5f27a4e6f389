from ipaddress import ip_address

import pytest

from plugins.gpu_sharing.relay import Access, Anyone, Networks, Redeemed, address_of
from plugins.gpu_sharing.relay.access import REDEEMED_ADDRESSES_MAX

HOUR_US = 3_600_000_000
NOON_US = 1_795_000_000_000_000


def admits(access: Access, address: str, *, at_unix_us: int = NOON_US) -> bool:
    return access.admits(address_of(address), now_unix_us=at_unix_us)


@pytest.mark.parametrize(
    ("text", "same"),
    [("10.0.0.4", "10.0.0.4"), ("::ffff:10.0.0.4", "10.0.0.4"), ("fe80::1%eth0", "fe80::1"), ("0:0::1", "::1")],
)
def test_address_has_one_form_however_it_is_written(text: str, same: str) -> None:
    assert address_of(text) == ip_address(same)


@pytest.mark.parametrize("text", ["", "worker.example", "10.0.0", "10.0.0.4:80", "1" * 5000, "::1]"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        address_of(text)


def test_open_admits_every_address() -> None:
    assert admits(Anyone(), "203.0.113.9")
    assert admits(Anyone(), "2001:db8::1")


def test_cidr_admits_the_addresses_of_its_networks_alone() -> None:
    access = Networks(["10.1.0.0/16", "2001:db8:1::/48"])
    assert [admits(access, one) for one in ("10.1.255.255", "10.2.0.0", "10.0.255.255")] == [True, False, False]
    assert [admits(access, one) for one in ("2001:db8:1::9", "2001:db8:2::9", "::ffff:10.1.0.9")] == [True, False, True]


def test_cidr_without_networks_admits_nobody() -> None:
    assert not admits(Networks([]), "127.0.0.1")


def test_cidr_refuses_what_is_no_network() -> None:
    with pytest.raises(ValueError, match="host bits"):
        Networks(["10.1.0.1/16"])


def test_redeemed_admits_an_address_for_twelve_hours_after_it_fetched_the_link() -> None:
    access = Redeemed()
    assert not admits(access, "10.0.0.4")
    access.note("10.0.0.4", at_unix_us=NOON_US)
    assert admits(access, "10.0.0.4")
    assert admits(access, "10.0.0.4", at_unix_us=NOON_US + 12 * HOUR_US - 1)
    assert not admits(access, "10.0.0.4", at_unix_us=NOON_US + 12 * HOUR_US)
    assert not admits(access, "10.0.0.5")


def test_redeemed_counts_from_the_newest_fetch_also_when_an_older_one_is_noted_later() -> None:
    access = Redeemed()
    access.note("10.0.0.4", at_unix_us=NOON_US)
    access.note("::ffff:10.0.0.4", at_unix_us=NOON_US - 11 * HOUR_US)
    assert admits(access, "10.0.0.4", at_unix_us=NOON_US + 11 * HOUR_US)


def test_redeemed_admits_nobody_for_ever_when_the_clock_is_set_back() -> None:
    access = Redeemed()
    access.note("10.0.0.4", at_unix_us=NOON_US)
    assert admits(access, "10.0.0.4", at_unix_us=NOON_US - HOUR_US)
    assert not admits(access, "10.0.0.4", at_unix_us=NOON_US - 1000 * HOUR_US)


def test_redeemed_forgets_the_oldest_address_when_too_many_fetch_the_link() -> None:
    access = Redeemed()
    access.note("10.0.0.4", at_unix_us=NOON_US)
    access.note("10.0.0.5", at_unix_us=NOON_US)
    access.note("10.0.0.4", at_unix_us=NOON_US)
    for number in range(REDEEMED_ADDRESSES_MAX - 1):
        access.note(str(ip_address("172.16.0.0") + number), at_unix_us=NOON_US)
    assert [admits(access, one) for one in ("10.0.0.4", "10.0.0.5", "172.16.0.0")] == [True, False, True]


def test_rules_are_the_same_only_when_they_admit_the_same() -> None:
    assert Networks(["10.1.0.0/16"]) == Networks(["10.1.0.0/16"]) != Networks(["10.2.0.0/16"])
    assert Anyone() == Anyone()
    assert Redeemed() != Redeemed()
