"""What a licence says has one spelling, and nothing else is read."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadInput
from appliance.licenses.claims import LIFETIME_MS, Claims, LicenseRefused, new_claims, read_plain, write_plain

from .kit import NOW_MS, claims

NAMES = st.text(st.sampled_from("abcXYZ019_.:-"), min_size=1, max_size=64)


def field(number: int, text: str) -> str:
    """Return a good licence's text with one field replaced."""
    fields = write_plain(claims()).split("|")
    fields[number] = text
    return "|".join(fields)


def read(text: str) -> Claims | LicenseRefused:
    """Return what a text says, or why it is refused."""
    try:
        return read_plain(text)
    except LicenseRefused as refused:
        return refused


def test_plain_has_the_agent_the_plan_and_the_expiry_first_and_lasts_two_hours() -> None:
    fields = write_plain(claims()).split("|")
    assert fields[:7] == ["agent-1", "pro", str(NOW_MS + 7_200_000), "1", str(NOW_MS), "8", "16"]
    assert len(fields) == 8


def test_two_licences_for_the_same_agent_at_the_same_time_differ() -> None:
    assert write_plain(claims()) != write_plain(claims())


@given(agent_id=NAMES, plan=NAMES, issued=st.integers(0, 2**45), gpus=st.integers(0, 10**6), workers=st.integers(0, 99))
def test_what_is_written_is_read_back(agent_id: str, plan: str, issued: int, gpus: int, workers: int) -> None:
    said = new_claims(agent_id=agent_id, plan=plan, max_gpus=gpus, max_workers=workers, issued_unix_ms=issued)
    assert read_plain(write_plain(said)) == said


@given(st.text(max_size=60))
def test_any_text_is_refused_in_words_or_is_exactly_what_would_be_written(text: str) -> None:
    verdict = read(text)
    if isinstance(verdict, Claims):
        assert write_plain(verdict) == text
    else:
        assert verdict.reason == "malformed"
        assert verdict.message.isascii()
        assert verdict.message.isprintable()


@pytest.mark.parametrize(
    ("plain", "told"),
    [
        ("", "1 fields"),
        (write_plain(claims()) + "|", "9 fields"),
        (write_plain(claims()).rpartition("|")[0], "7 fields"),
        (field(0, "a|b"), "9 fields"),
        (field(0, ""), "agent id is ''"),
        (field(0, "agent 1"), "agent id"),
        (field(0, " agent"), "agent id"),
        (field(0, "agent\x00"), "agent id"),
        (field(0, "agent\n"), "agent id"),
        (field(0, "a\nLD_PRELOAD=/tmp/x"), "agent id"),
        (field(0, "a" * 129), "agent id"),
        (field(0, "\uff41gent"), "agent id"),
        (field(1, "p\u00e9"), "plan"),
        (field(1, "pro;id"), "plan"),
        (field(2, "01795000000000"), "expiry"),
        (field(2, "+1795000000000"), "expiry"),
        (field(2, "-1"), "expiry"),
        (field(2, "1e12"), "expiry"),
        (field(2, "1_000"), "expiry"),
        (field(2, " 1795000000000"), "expiry"),
        (field(2, "\u0661\u0662\u0663"), "expiry"),
        (field(2, "\uff11\uff12"), "expiry"),
        (field(2, "9" * 17), "expiry"),
        (field(2, "9" * 5000), "no licence has more than 400"),
        (field(3, "2"), "version is '2': it must be 1"),
        (field(3, "01"), "version"),
        (field(4, ""), "time of issue"),
        (field(5, "00"), "number of GPUs"),
        (field(6, "1.0"), "number of workers"),
        (field(7, ""), "nonce"),
        (field(7, "a b"), "nonce"),
        (write_plain(claims()) + "\n", "nonce"),
        ("\ufeff" + write_plain(claims()), "agent id"),
        ("A" * 1_000_000, "1000000 characters"),
        ("|" * 1_000_000, "1000000 characters"),
    ],
)
def test_text_that_is_not_as_it_would_be_written_is_refused_and_the_fault_named(plain: str, told: str) -> None:
    with pytest.raises(LicenseRefused, match=told) as refused:
        read_plain(plain)
    assert refused.value.reason == "malformed"
    assert refused.value.status == 403
    assert len(refused.value.message) < 250


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"agent_id": "a|b"}, "agent id"),
        ({"agent_id": "a|pro|9|1|9|9|9|x"}, "agent id"),
        ({"agent_id": "a\x00b"}, "agent id"),
        ({"agent_id": "a\nTF_LICENSE=x"}, "agent id"),
        ({"agent_id": ""}, "agent id"),
        ({"plan": "pro plan"}, "plan"),
        ({"plan": "p" * 65}, "plan"),
        ({"max_gpus": -1}, "number of GPUs"),
        ({"max_workers": 10**17}, "number of workers"),
        ({"issued_unix_ms": -1, "expires_unix_ms": 1}, "time of issue"),
    ],
)
def test_what_does_not_go_into_a_licence_is_never_written(change: dict[str, Any], at: str) -> None:
    with pytest.raises(BadInput) as refused:
        write_plain(attrs.evolve(claims(), **change))
    assert refused.value.field == at


@pytest.mark.parametrize("issued_unix_ms", [0, 2**31 * 1000 - 1, 2**31 * 1000, 2**32 * 1000, 253_402_300_799_999])
def test_times_beyond_2038_go_in_and_out_whole(issued_unix_ms: int) -> None:
    said: Claims = claims(issued_unix_ms=issued_unix_ms)
    assert read_plain(write_plain(said)).expires_unix_ms == issued_unix_ms + LIFETIME_MS
