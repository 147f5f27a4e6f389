from appliance.people.failures import TOLD_PER_MINUTE, FailedLogins

US = 1_000_000
NOW = 1_795_000_000 * US


def test_flood_of_failed_logins_is_told_of_in_part_and_says_how_many_were_left_out() -> None:
    failures = FailedLogins()
    told = [failures.tell(now_unix_us=NOW) for _ in range(TOLD_PER_MINUTE + 500)]
    assert told == [0] * TOLD_PER_MINUTE + [None] * 500
    assert failures.tell(now_unix_us=NOW + US) == 500
    assert failures.tell(now_unix_us=NOW + 60 * US) == 0
