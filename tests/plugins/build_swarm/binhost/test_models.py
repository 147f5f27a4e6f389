import pytest

from appliance.plugin import BadInput
from plugins.build_swarm.binhost.models import Binary, Changed, checked_version, difference, shown


def binary(cpv: str, sha256: str, build_id: int | None = 1) -> Binary:
    return Binary(
        path=f"{cpv}-{build_id}",
        cpv=cpv,
        cp=cpv.rsplit("-", 1)[0],
        build_id=build_id,
        sha256=sha256,
        size_bytes=1,
        uploaded_by="d",
        uploaded_unix_us=1,
        is_signed=False,
    )


def test_difference_is_by_package_then_by_its_builds() -> None:
    old = [binary("a/same-1", "1"), binary("a/up-1", "2"), binary("a/gone-1", "3", None), binary("a/again-1", "4")]
    new = [binary("a/same-1", "1"), binary("a/up-2", "5"), binary("a/new-1", "6"), binary("a/again-1", "7", 2)]
    found = difference("one", "two", old, new)
    assert (found.before, found.after) == ("one", "two")
    assert tuple(map(shown, found.added)) == ("a/new-1-1",)
    assert tuple(map(shown, found.removed)) == ("a/gone-1",)
    assert found.changed == (
        Changed(cp="a/again", before=("a/again-1-1",), after=("a/again-1-2",)),
        Changed(cp="a/up", before=("a/up-1-1",), after=("a/up-2-1",)),
    )
    assert found.unchanged == 1


@pytest.mark.parametrize("version", ["2026.02.12", "v1", "1", "a+b_c-d", "x" * 64])
def test_version_names_a_release(version: str) -> None:
    assert checked_version(version) == version


@pytest.mark.parametrize(
    "version", ["", ".", "..", "a/b", "-x", ".partial", "x" * 65, "a b", "\u00e9", "diff", "rollback"]
)
def test_version_that_is_a_path_or_a_word_of_ours_is_refused(version: str) -> None:
    with pytest.raises(BadInput, match="cannot name a release"):
        checked_version(version)
