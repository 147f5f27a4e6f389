import pytest

from appliance import ids


def test_secret_has_kind_32_random_characters_and_a_check() -> None:
    kind, body, check = ids.new_secret("admin-key").split("_")
    assert (kind, len(body), len(check)) == ("admin-key", 32, 6)


def test_secret_tells_its_kind_and_a_mistyped_one_does_not() -> None:
    secret = ids.new_secret("pat")
    assert ids.kind_of_secret(secret) == "pat"
    swapped = "z" if secret[10] != "z" else "y"
    assert ids.kind_of_secret(secret[:10] + swapped + secret[11:]) is None
    assert ids.kind_of_secret(secret[:-1]) is None


@pytest.mark.parametrize(
    "text", ["", "_", "__", "pat_", "pat__", "a" * 600, "pat_\ud800_x", "pat_" + "é" * 32 + "_000000"]
)
def test_anything_else_has_no_kind_and_raises_nothing(text: str) -> None:
    assert ids.kind_of_secret(text) is None
    assert len(ids.hash_secret(text)) == 32


def test_prefix_shows_kind_and_little_of_the_secret() -> None:
    secret = ids.new_secret("machine")
    assert ids.secret_prefix(secret) == secret[: len("machine_") + 6]
    assert len(ids.secret_prefix("k" * 43)) == 6
    assert ids.secret_prefix("short") == ""


def test_secrets_compare_by_content_whatever_their_type() -> None:
    assert ids.same_secret("a", b"a")
    assert not ids.same_secret("a", "b")
    assert not ids.same_secret("é", "e")


def test_ids_and_codes_do_not_repeat() -> None:
    assert len({ids.new_id("person") for _ in range(500)}) == 500
    code = ids.new_code()
    assert len(code) == 16
    assert set(code) <= set(ids.CROCKFORD)
