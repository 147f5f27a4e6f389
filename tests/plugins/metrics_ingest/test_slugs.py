import re

import pytest

from plugins.metrics_ingest.slugs import ENROLLED_LIMIT, SLUG_LIMIT, numbered, slugify, user_shown


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("GPU Box 01", "gpu-box-01"),
        ("Größe", "groe"),
        ("a.b/c", "abc"),
        ("日本", ""),
        ("Café  -- Zürich", "cafe-zurich"),
        ("--_a_b_--", "a_b"),
        ("under_score stays", "under_score-stays"),
        ("tab\tand\nline", "tab-and-line"),
        ("ﬁne", "fine"),
        ("", ""),
        ("half \ud800 pair", "half-pair"),
    ],
)
def test_slug_is_djangos(text: str, slug: str) -> None:
    assert slugify(text) == slug


def test_slug_is_cut_after_everything_else() -> None:
    assert slugify("a" * 63 + " b") == "a" * 63 + "-"
    assert len(slugify("x" * 500)) == SLUG_LIMIT
    assert len(slugify("x" * 500, ENROLLED_LIMIT)) == ENROLLED_LIMIT


def test_slug_of_anything_fits_a_path() -> None:
    for start in range(0, 0x3000, 7):
        assert re.fullmatch(r"[-a-zA-Z0-9_]*", slugify("".join(map(chr, range(start, start + 40)))))


def test_taken_slugs_are_numbered_from_one_within_the_limit() -> None:
    assert [numbered("box", attempt) for attempt in range(3)] == ["box", "box-1", "box-2"]
    long = "x" * SLUG_LIMIT
    assert numbered(long, 12345) == "x" * 58 + "-12345"
    assert len({numbered(long, attempt) for attempt in range(200)}) == 200


@pytest.mark.parametrize(
    ("user", "shown"),
    [("root", "Administrator"), (" ROOT ", "Administrator"), (" ann ", "ann"), ("", ""), ("u" * 200, "u" * 128)],
)
def test_agents_user_is_trimmed_and_root_has_a_name(user: str, shown: str) -> None:
    assert user_shown(user) == shown
