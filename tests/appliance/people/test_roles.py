import pytest

from appliance.credentials.kinds import Caller, Kind, Role
from appliance.errors import BadInput, Forbidden
from appliance.people import roles


def test_every_role_is_read_back_from_its_word() -> None:
    assert [roles.parse_role(word) for word in ("viewer", "user", "operator", "admin")] == list(Role)


@pytest.mark.parametrize("word", ["", "ADMIN", "root", "admin ", "a" * 1000])
def test_another_word_is_no_role(word: str) -> None:
    with pytest.raises(BadInput) as caught:
        roles.parse_role(word)
    assert "viewer, user, operator, admin" in caught.value.hint


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("needed", list(Role))
def test_higher_roles_may_what_lower_ones_may(role: Role, needed: Role) -> None:
    caller = Caller(kind=Kind.SESSION, role=role)
    if role >= needed:
        roles.require_role(caller, needed)
    else:
        with pytest.raises(Forbidden) as caught:
            roles.require_role(caller, needed)
        assert needed.word in caught.value.hint


def test_credential_without_role_may_nothing_that_needs_one() -> None:
    with pytest.raises(Forbidden):
        roles.require_role(Caller(kind=Kind.MACHINE), Role.VIEWER)


@pytest.mark.parametrize(
    ("scopes", "surface", "writes", "allowed"),
    [
        ((), "core", True, True),
        (("core",), "core", True, True),
        (("core:read",), "core", False, True),
        (("core:read",), "core", True, False),
        (("core",), "task_scheduler", False, False),
        (("task_scheduler:read", "core"), "core", True, True),
    ],
)
def test_scopes_limit_a_token_to_surfaces_and_reading(
    scopes: tuple[str, ...], surface: str, writes: bool, allowed: bool
) -> None:
    assert roles.scopes_allow(frozenset(scopes), surface, writes=writes) is allowed


@pytest.mark.parametrize("scope", ["", "Core", "core:write", "core:read:x", "core read", "a" * 100, "cöre"])
def test_another_form_is_no_scope(scope: str) -> None:
    with pytest.raises(BadInput):
        roles.parse_scopes([scope])


def test_scopes_are_bounded() -> None:
    with pytest.raises(BadInput):
        roles.parse_scopes(f"s{number}" for number in range(33))
