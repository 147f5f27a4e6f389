import pytest

from appliance.errors import BadInput
from appliance.people import names


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("ana", "ana"),
        (" ana ", "ana"),
        ("Ana Müller", "Ana Müller"),
        ("\uff41\uff4e\uff41", "ana"),
        ("a@b.example", "a@b.example"),
    ],
)
def test_name_is_kept_in_one_form(given: str, kept: str) -> None:
    assert names.clean_name(given) == kept


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "a\x00b",
        "a\nb",
        "a\u202eb",
        "a\u200bb",
        "\ud800",
        "a/b",
        "a  b",
        "x" * 129,
        "x" * 100_000,
        "a@",
        "@b",
        "a b@c",
    ],
)
def test_name_that_nobody_can_read_or_type_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        names.clean_name(name)


def test_login_key_is_the_same_in_any_case_and_form() -> None:
    assert names.login_key("ANA@Example.ORG") == names.login_key("ana@example.org")
    assert names.login_key("\uff21na ") == names.login_key("ana")
    assert names.login_key("straße") == names.login_key("STRASSE")
    assert names.login_key("x" * 100_000) == ""


@pytest.mark.parametrize("password", ["", "short", "x" * 1025, "p" * 10 + "\ud800"])
def test_password_out_of_bounds_is_refused(password: str) -> None:
    with pytest.raises(BadInput) as caught:
        names.clean_password(password)
    assert caught.value.field == "$.password"


def test_password_is_the_same_however_it_is_composed() -> None:
    assert names.clean_password("pass\u00e9wort") == names.clean_password("passe\u0301wort")
