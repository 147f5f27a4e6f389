import pytest
from attrs import evolve

from appliance.credentials.kinds import Kind
from appliance.credentials.rules import (
    SESSION_ABSOLUTE_SECONDS,
    SESSION_IDLE_SECONDS,
    US,
    is_live,
    mint,
    successor,
    used,
)

NOW = 1_795_000_000 * US


def test_session_ends_after_thirty_days_however_busy() -> None:
    session = used(mint(Kind.SESSION, now_unix_us=NOW).credential, at_unix_us=NOW + 30 * 86_400 * US - 1)
    assert is_live(session, now_unix_us=NOW + SESSION_ABSOLUTE_SECONDS * US - 1)
    assert not is_live(session, now_unix_us=NOW + SESSION_ABSOLUTE_SECONDS * US)


def test_session_ends_after_seven_idle_days() -> None:
    session = mint(Kind.SESSION, now_unix_us=NOW).credential
    assert is_live(session, now_unix_us=NOW + SESSION_IDLE_SECONDS * US - 1)
    assert not is_live(session, now_unix_us=NOW + SESSION_IDLE_SECONDS * US)
    busy = used(session, at_unix_us=NOW + US)
    assert is_live(busy, now_unix_us=NOW + SESSION_IDLE_SECONDS * US)


@pytest.mark.parametrize("kind", [Kind.PAT, Kind.MACHINE, Kind.SETUP])
def test_kinds_without_a_life_have_no_end(kind: Kind) -> None:
    assert is_live(mint(kind, now_unix_us=NOW).credential, now_unix_us=NOW * 10)


def test_revoked_and_used_up_credentials_do_not_count() -> None:
    token = mint(Kind.PAT, now_unix_us=NOW).credential
    assert not is_live(evolve(token, revoked_unix_us=NOW), now_unix_us=NOW)
    assert not is_live(evolve(token, uses_left=0), now_unix_us=NOW)


def test_use_never_moves_backwards() -> None:
    token = used(mint(Kind.PAT, now_unix_us=NOW).credential, at_unix_us=NOW + 10)
    assert used(token, at_unix_us=NOW).last_used_unix_us == NOW + 10


def test_successor_has_the_rights_and_the_length_of_life() -> None:
    old = mint(Kind.MACHINE, now_unix_us=NOW, scope="gpu", subject="m1", label="x", expires_unix_us=NOW + 100)
    new = successor(old.credential, now_unix_us=NOW + 50)
    assert (new.credential.scope, new.credential.subject, new.credential.label) == ("gpu", "m1", "x")
    assert new.credential.expires_unix_us == NOW + 150
    assert new.secret != old.secret


def test_secret_is_in_no_representation() -> None:
    minted = mint(Kind.PAT, now_unix_us=NOW)
    assert minted.secret not in repr(minted)
