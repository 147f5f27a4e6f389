import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.gpu_sharing.life import (
    LICENSE_SECONDS,
    OFFLINE_SECONDS,
    STOPPING_SECONDS,
    US,
    VERSION_MAX,
    agent_status,
    first_seen,
    has_stopped,
    is_renewal_due,
    new_worker_status,
    next_version,
    opens_its_worker,
    reported,
    switched,
    token_status,
    version_after_start,
    why_gone,
)

NOW = 1_763_721_600 * US  # 2025-11-21T10:40:00Z


def test_first_version_is_at_least_one_whatever_the_clock_says() -> None:
    assert next_version(0, now_unix_us=0) == 1
    assert next_version(0, now_unix_us=-5) == 1
    assert next_version(0, now_unix_us=NOW) >= 1


@given(st.integers(0, VERSION_MAX - 1), st.integers(0, 2**60))
def test_versions_only_rise_whatever_the_clock_says(version: int, now: int) -> None:
    assert version < next_version(version, now_unix_us=now) <= VERSION_MAX
    assert version < version_after_start(version, now_unix_us=now) <= VERSION_MAX


@given(st.lists(st.integers(0, 3_600_000_000), min_size=1, max_size=200), st.data())
def test_version_after_a_restore_is_greater_than_any_that_was_told(pauses_us: list[int], data: st.DataObject) -> None:
    now, version, told = NOW, 1, [1]
    for pause_us in pauses_us:
        now += pause_us + 1000  # a change is durable before the next begins: far slower than one a millisecond
        version = next_version(version, now_unix_us=now)
        told.append(version)
    backup = data.draw(st.sampled_from(told))
    restored = version_after_start(backup, now_unix_us=now + 1000)
    assert restored > max(told)


def test_version_can_be_kept_exactly_by_every_reader() -> None:
    assert next_version(VERSION_MAX, now_unix_us=NOW) == VERSION_MAX
    assert next_version(5, now_unix_us=2**62) == 2**62 // 1000 <= VERSION_MAX


@pytest.mark.parametrize(
    ("seen_seconds_ago", "shut_down", "local", "status"),
    [
        (None, False, False, "pending"),
        (0, False, False, "online"),
        (OFFLINE_SECONDS - 0.001, False, False, "online"),
        (OFFLINE_SECONDS, False, False, "offline"),
        (10**6, False, False, "offline"),
        (-3600, False, False, "online"),
        (0, True, False, "offline"),
        (None, False, True, "online"),
        (10**6, False, True, "online"),
    ],
)
def test_agent_is_pending_then_online_and_offline_after_three_minutes(
    seen_seconds_ago: float | None, shut_down: bool, local: bool, status: str
) -> None:
    seen = None if seen_seconds_ago is None else NOW - int(seen_seconds_ago * US)
    assert agent_status(seen, now_unix_us=NOW, has_shut_down=shut_down, is_local=local) == status


def test_documented_offline_threshold_is_three_minutes() -> None:
    assert OFFLINE_SECONDS == 180


@pytest.mark.parametrize(
    ("status", "was", "now", "after"),
    [
        ("running", True, False, "stopping"),
        ("stopping", True, False, "stopping"),
        ("pending", True, False, "stopped"),
        ("stopped", True, False, "stopped"),
        ("stopping", False, True, "pending"),
        ("stopped", False, True, "pending"),
        ("running", True, True, "running"),
        ("stopping", False, False, "stopping"),
    ],
)
def test_running_worker_that_is_disabled_is_stopping_and_one_enabled_again_is_pending(
    status: str, was: bool, now: bool, after: str
) -> None:
    assert switched(status, was_enabled=was, enabled=now) == after


def test_new_worker_is_pending_or_where_it_is_disabled_stopped() -> None:
    assert new_worker_status(enabled=True) == "pending"
    assert new_worker_status(enabled=False) == "stopped"


@pytest.mark.parametrize("status", ["pending", "running", "stopping", "stopped"])
def test_enabled_worker_is_what_its_agent_says(status: str) -> None:
    assert reported(status, enabled=True) == status


@pytest.mark.parametrize(
    ("status", "after"),
    [("pending", "stopping"), ("running", "stopping"), ("stopping", "stopping"), ("stopped", "stopped")],
)
def test_disabled_worker_that_is_still_reported_is_stopping(status: str, after: str) -> None:
    assert reported(status, enabled=False) == after


@pytest.mark.parametrize(
    ("listed", "fetched", "report", "now", "stopped"),
    [
        # seconds after the worker was disabled
        (None, None, None, 0, False),
        (None, None, None, STOPPING_SECONDS - 1, False),
        (None, None, None, STOPPING_SECONDS, True),  # the agent is gone altogether
        (10, None, 10, STOPPING_SECONDS, False),  # heard of after it was disabled: the time begins again
        (10, None, 10, STOPPING_SECONDS + 10, True),
        (-5, None, 30, 30, False),  # left out, but the agent does not know yet: it may just have started
        (-5, -20, 30, 30, False),  # what it fetched is older
        (-5, 31, 30, 32, False),  # fetched, no report since
        (-5, 31, 60, 60, True),  # fetched, and reports without it
        (None, 0, 30, 30, True),
        (60, 31, 60, 60, False),  # fetched, and it is still there
        (60, 31, 60, 60 + STOPPING_SECONDS, True),
        (60, 31, 90, 90, True),
    ],
)
def test_worker_has_stopped_when_its_agent_knows_and_leaves_it_out_or_after_a_while(
    listed: int | None, fetched: int | None, report: int | None, now: int, stopped: bool
) -> None:
    began = 1000

    def at(seconds: int | None) -> int | None:
        return None if seconds is None else (began + seconds) * US

    assert (
        has_stopped(
            stopping_since_us=began * US,
            listed_us=at(listed),
            fetched_us=at(fetched),
            report_us=at(report),
            now_us=(began + now) * US,
        )
        is stopped
    )


def test_connection_keeps_the_time_of_its_first_report() -> None:
    first = first_seen({}, [("a", NOW - 5)], now_unix_us=NOW)
    assert first == {"a": NOW - 5}
    later = NOW + 30 * US
    assert first_seen(first, [("a", later), ("b", later)], now_unix_us=later) == {"a": NOW - 5, "b": later}


def test_connection_that_is_left_out_is_gone_and_begins_anew() -> None:
    assert first_seen({"a": NOW - 5}, [], now_unix_us=NOW) == {}
    assert first_seen({}, [("a", None)], now_unix_us=NOW) == {"a": NOW}


@pytest.mark.parametrize("said", [None, NOW + US, 0, -62_135_596_800 * US])
def test_time_of_a_connection_that_cannot_be_is_now(said: int | None) -> None:
    assert first_seen({}, [("a", said), ("a", 5)], now_unix_us=NOW) == {"a": NOW}


MINUTE = 60 * US


@pytest.mark.parametrize(
    ("reported_in_minutes", "issued_in_minutes", "due"),
    [
        (None, None, True),  # it never got one
        (None, 0, True),
        (100, 100, False),
        (10.1, 10.1, False),
        (10, 10, True),
        (-5, -5, True),
        (None, 60, False),  # it says nothing, and was given one that lasts
        (5, 115, True),  # it has an older one than it was given
        (5, 119.5, False),  # which was sent just now
        (10**9, 60, False),
        (10**9, 5, True),
    ],
)
def test_license_is_renewed_when_less_than_ten_minutes_are_left(
    reported_in_minutes: float | None, issued_in_minutes: float | None, due: bool
) -> None:
    reported_ms = None if reported_in_minutes is None else int(NOW + reported_in_minutes * MINUTE) // 1000
    issued = None if issued_in_minutes is None else int(NOW + issued_in_minutes * MINUTE)
    assert is_renewal_due(reported_unix_ms=reported_ms, issued_until_unix_us=issued, now_unix_us=NOW) is due


@given(st.integers(-(2**63), 2**63 - 1))
def test_agent_whose_word_is_never_right_is_not_sent_a_license_in_every_answer(said: int) -> None:
    issued, sent, now = NOW + LICENSE_SECONDS * US, 0, NOW
    for _ in range(60):
        now += 30 * US
        if is_renewal_due(reported_unix_ms=said, issued_until_unix_us=issued, now_unix_us=now):
            issued, sent = now + LICENSE_SECONDS * US, sent + 1
    assert sent <= 30  # of 60 answers in half an hour


@pytest.mark.parametrize(
    ("used", "expires", "status"),
    [(None, NOW + 1, "active"), (None, NOW, "expired"), (NOW - 5, NOW + 1, "used"), (NOW - 5, NOW - 1, "used")],
)
def test_install_token_is_active_used_or_expired(used: int | None, expires: int, status: str) -> None:
    assert token_status(used_unix_us=used, expires_unix_us=expires, now_unix_us=NOW) == status


@pytest.mark.parametrize(
    ("expires", "max_uses", "used", "words"),
    [
        (None, None, 10**6, ""),
        (NOW + 1, 3, 2, ""),
        (NOW, None, 0, "this share has expired"),
        (None, 3, 3, "this share has been used 3 of 3 times"),
        (NOW - 1, 3, 3, "this share has expired"),
    ],
)
def test_link_is_gone_when_it_has_expired_or_is_used_up(
    expires: int | None, max_uses: int | None, used: int, words: str
) -> None:
    assert why_gone(expires_unix_us=expires, max_uses=max_uses, used_count=used, now_unix_us=NOW) == words


def test_code_opens_its_worker_until_it_expires() -> None:
    assert opens_its_worker(expires_unix_us=None, now_unix_us=NOW)
    assert opens_its_worker(expires_unix_us=NOW + 1, now_unix_us=NOW)
    assert not opens_its_worker(expires_unix_us=NOW, now_unix_us=NOW)
