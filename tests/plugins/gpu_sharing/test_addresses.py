"""Under which addresses others reach this host."""

from ipaddress import ip_address

from plugins.gpu_sharing.addresses import own_addresses


def test_there_is_always_an_address_and_each_is_one() -> None:
    found = own_addresses()
    assert found
    assert all(not ip_address(each.partition("%")[0]).is_unspecified for each in found)
