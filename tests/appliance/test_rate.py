from appliance.rate import ADDRESSES_MAX, US, Rate

NOW = 1_795_000_000 * US


def test_a_minute_has_its_number_of_requests_and_no_more() -> None:
    rate = Rate(120)
    assert [rate.take("10.0.0.1", now_unix_us=NOW) for _ in range(120)] == [0.0] * 120
    assert rate.take("10.0.0.1", now_unix_us=NOW) == 0.5
    assert rate.take("10.0.0.2", now_unix_us=NOW) == 0


def test_room_comes_back_evenly_and_refusals_cost_nothing() -> None:
    rate = Rate(120)
    for _ in range(5_000):
        rate.take("10.0.0.1", now_unix_us=NOW)
    assert rate.take("10.0.0.1", now_unix_us=NOW + US // 2) == 0
    assert rate.take("10.0.0.1", now_unix_us=NOW + US // 2) > 0
    assert [rate.take("10.0.0.1", now_unix_us=NOW + 61 * US) for _ in range(121)].count(0.0) == 120


def test_one_64_of_ipv6_is_one_address() -> None:
    rate = Rate(1)
    assert rate.take("2001:db8::1", now_unix_us=NOW) == 0
    assert rate.take("2001:db8::2", now_unix_us=NOW) > 0
    assert rate.take("2001:db8:0:1::1", now_unix_us=NOW) == 0


def test_clock_set_back_makes_nobody_wait_longer_than_a_minute() -> None:
    rate = Rate(120)
    for _ in range(200):
        rate.take("10.0.0.1", now_unix_us=NOW)
    assert rate.take("10.0.0.1", now_unix_us=NOW - 86_400 * US) <= 60


def test_memory_is_bounded() -> None:
    rate = Rate(1)
    for number in range(ADDRESSES_MAX + 10):
        rate.take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", now_unix_us=NOW)
    assert len(rate._due) == ADDRESSES_MAX


def test_longer_window_lets_more_come_at_once_and_then_one_by_one() -> None:
    rate = Rate(per_minute=4, window_seconds=300)
    waits = [rate.take("192.0.2.1", now_unix_us=0) for _ in range(21)]
    assert waits[:20] == [0.0] * 20
    assert waits[20] == 15.0
    assert rate.take("192.0.2.1", now_unix_us=15_000_000) == 0.0
    assert rate.take("192.0.2.1", now_unix_us=15_000_000) > 0
