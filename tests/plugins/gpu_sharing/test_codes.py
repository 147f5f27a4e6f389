import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.gpu_sharing.codes import (
    CODE_CHARACTERS,
    CROCKFORD,
    DeadCodes,
    new_agent_id,
    new_code,
    new_share_id,
    new_worker_id,
    read_code,
)

CODES = st.text(CROCKFORD, min_size=CODE_CHARACTERS, max_size=CODE_CHARACTERS)


def test_codes_are_16_characters_of_crockford_and_never_the_same() -> None:
    codes = [new_code() for _ in range(2000)]
    assert all(re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{16}", code) for code in codes)
    assert len(set(codes)) == 2000
    assert {character for code in codes for character in code} == set(CROCKFORD)


@given(CODES)
def test_code_is_read_as_it_is_and_in_lower_case(code: str) -> None:
    assert read_code(code) == read_code(code.lower()) == code


@given(CODES, st.data())
def test_code_is_read_with_the_letters_people_mistake_for_digits_and_with_hyphens(
    code: str, data: st.DataObject
) -> None:
    looks = {"1": "1IiLl", "0": "0Oo"}
    typed = "".join(data.draw(st.sampled_from(looks.get(each, each))) for each in code)
    place = data.draw(st.integers(0, CODE_CHARACTERS))
    assert read_code(f"{typed[:place]}-{typed[place:]}") == code


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "0" * 15,
        "0" * 17,
        "0" * 15 + "U",  # Crockford leaves it out, against accidents
        "0" * 15 + "u",
        "0" * 15 + " ",
        "0" * 15 + "\n",
        "0" * 16 + "\n",
        "0" * 15 + "\u0131",  # dotless i, whose capital is I
        "0" * 15 + "\u017f",  # long s, whose capital is S
        "0" * 15 + "\u0660",  # an Arabic zero
        "0" * 15 + "\ud800",
        "../../etc/passwd",
        "-" * 49 + "0" * 16,
        "0" * 1_000_000,
    ],
)
def test_what_cannot_be_a_code_is_none(typed: str) -> None:
    assert read_code(typed) is None


@given(st.text(max_size=80))
def test_anything_read_as_a_code_is_one(typed: str) -> None:
    code = read_code(typed)
    assert code is None or re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{16}", code)


def test_worker_without_shares_is_sent_one_dead_code_that_stays_the_same() -> None:
    dead = DeadCodes()
    [code] = dead.listed("worker_1", [])
    assert read_code(code) == code
    assert dead.listed("worker_1", iter(())) == [code]
    assert dead.listed("worker_2", []) != [code]


def test_dead_codes_of_two_runs_differ_and_no_key_is_shown() -> None:
    assert DeadCodes().code("worker_1") != DeadCodes().code("worker_1")
    dead = DeadCodes(b"secret")
    assert "secret" not in repr(dead)
    assert dead.code("worker_1") == DeadCodes(b"secret").code("worker_1") != DeadCodes(b"other").code("worker_1")


def test_live_codes_are_sent_alone_in_one_order() -> None:
    assert DeadCodes().listed("worker_1", {"B" * 16, "A" * 16}) == ["A" * 16, "B" * 16]


@pytest.mark.parametrize("make", [new_agent_id, new_worker_id, new_share_id])
def test_ids_carry_128_random_bits_and_fit_clients_files_and_licenses(make: object) -> None:
    assert callable(make)
    ids = [make() for _ in range(100)]
    assert len(set(ids)) == 100
    for each in ids:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", each)  # clients name files after it
        assert len(each) >= 12  # clients cut the first 12 characters
        assert len(each.partition("_")[2]) * 5.954 >= 128  # log2(62) bits a character
