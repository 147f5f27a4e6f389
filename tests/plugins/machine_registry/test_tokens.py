"""Machine tokens."""

import re

from appliance.credentials.rules import successor
from plugins.machine_registry.tokens import machines_max, mint, new_machine_id, new_token


def test_token_has_the_documented_form() -> None:
    made = {new_token() for _ in range(50)}
    assert len(made) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{86}==", token) for token in made)


def test_machine_id_is_eight_hexadecimal_digits() -> None:
    assert all(re.fullmatch(r"[0-9a-f]{8}", new_machine_id()) for _ in range(50))


def test_how_many_machines_a_token_serves_outlasts_its_rotation() -> None:
    minted = mint(pool="gpu", machines=3, now_unix_us=1)
    assert machines_max(minted.credential.scopes) == 3
    assert machines_max(successor(minted.credential, now_unix_us=2).credential.scopes) == 3
    assert machines_max(mint(pool="gpu", now_unix_us=1).credential.scopes) is None
