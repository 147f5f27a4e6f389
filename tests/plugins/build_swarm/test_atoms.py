"""Atoms have one form, both of which are understood; what is no atom is refused in plain words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.plugin import BadInput
from plugins.build_swarm import atoms


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("dev-libs/openssl-3.2.0", "=dev-libs/openssl-3.2.0"),
        ("=dev-libs/openssl-3.2.0", "=dev-libs/openssl-3.2.0"),
        ("dev-libs/openssl", "dev-libs/openssl"),
        ("=dev-libs/openssl", "dev-libs/openssl"),
        ("dev-lang/python-3.12.1_p1-r2:3.12", "=dev-lang/python-3.12.1_p1-r2:3.12"),
        ("dev-lang/python:3.12", "dev-lang/python:3.12"),
        (">=dev-libs/glib-2.78", ">=dev-libs/glib-2.78"),
        ("~dev-libs/glib-2.78", "~dev-libs/glib-2.78"),
        ("=dev-libs/glib-2*", "=dev-libs/glib-2*"),
        ("  sys-apps/portage ", "sys-apps/portage"),
        ("media-libs/lib3ds-2", "=media-libs/lib3ds-2"),
        ("x11-libs/gtk+-2.24.33-r3:2", "=x11-libs/gtk+-2.24.33-r3:2"),
        ("app-misc/foo-2-bar", "app-misc/foo-2-bar"),
        ("dev-qt/qtbase[ssl,-gui]", "dev-qt/qtbase[ssl,-gui]"),
        ("app-misc/foo::guru", "app-misc/foo::guru"),
        ("dev-libs/icu:0/74.2=", "dev-libs/icu:0/74.2="),
        ("dev-libs/icu:=", "dev-libs/icu:="),
        ("dev-libs/icu:*", "dev-libs/icu:*"),
    ],
)
def test_atom_is_kept_with_an_operator_when_it_has_a_version_and_without_when_it_has_none(text: str, kept: str) -> None:
    assert atoms.normalised(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        *("", "openssl", "-rf/x", "--ask", "a/b/c", "a/../b", "dev-libs/", "/openssl", ">=dev-libs/openssl", "a b/c"),
        *("dev-libs/open\0ssl", "dev-libs/" + "x" * 300, "$(reboot)/x", "dev-libs/x;reboot", "a/b\nc"),
        # A slot that a page would read as an attribute with a value.
        *("<svg/x-1:0/onload=foo", "a/b:0/1/2", "a/b:0=1", "a/b:*=", "a/b:/1"),
    ],
)
def test_what_is_no_atom_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        atoms.normalised(text)
    assert "category/name" in refused.value.hint


def test_key_and_category_are_those_without_version_slot_and_flags() -> None:
    assert atoms.key("=dev-lang/python-3.12.1-r1:3.12") == "dev-lang/python"
    assert atoms.category("=dev-lang/python-3.12.1-r1:3.12") == "dev-lang"
    assert atoms.key("app-misc/foo-2-bar") == "app-misc/foo-2-bar"
    assert atoms.is_versioned("=dev-lang/python-3.12.1")
    assert not atoms.is_versioned("dev-lang/python")
    assert atoms.spoken("=dev-lang/python-3.12.1") == "dev-lang/python-3.12.1"


@given(st.text(alphabet="abz019-_.+:=<>~/*[],@", max_size=30))
def test_normal_form_is_its_own_normal_form(text: str) -> None:
    try:
        normal = atoms.normalised(text)
    except BadInput:
        assert atoms.recognised(text) == text
        return
    assert atoms.normalised(normal) == normal == atoms.recognised(text)
    assert atoms.key(normal) == atoms.key(text.strip())
    assert normal.startswith(tuple("=<>~")) == atoms.is_versioned(normal)
