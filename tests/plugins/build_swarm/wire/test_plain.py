"""Texts of strangers in pages that trust them."""

from plugins.build_swarm.wire.plain import QUOTE, plain, plain_values


def test_no_tag_begins_in_a_plain_text() -> None:
    assert plain("#include <stdio.h>") == f"#include {QUOTE}stdio.h>"
    assert plain("a & b") == "a & b"


def test_texts_and_names_of_any_shape_are_made_plain() -> None:
    assert plain_values({"<b>": ["<i>", {"x": "<u>"}], "n": 1, "none": None, "t": ("<",)}) == {
        f"{QUOTE}b>": [f"{QUOTE}i>", {"x": f"{QUOTE}u>"}],
        "n": 1,
        "none": None,
        "t": [QUOTE],
    }
