import math
from typing import Any

import pytest

from appliance.plugin import BadInput
from plugins.metrics_ingest.decode import read_object, read_values, shown


def test_an_object_is_read_and_nothing_is_an_empty_one() -> None:
    assert read_object(b'{"name": "GPU Box"}') == {"name": "GPU Box"}
    assert read_object(b"") == {}


@pytest.mark.parametrize("data", [b"[]", b"5", b"null", b'"x"'])
def test_json_that_is_no_object_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        read_object(data)
    assert refused.value.message == "Payload must be a JSON object."


@pytest.mark.parametrize(
    "data",
    [
        *(b"{", b"\xff", b'{"a":"\xff"}', b'{"a":NaN}', rb'{"a":"\ud800"}', b"\xef\xbb\xbf{}", b" "),
        b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
def test_an_object_that_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        read_object(data)
    assert refused.value.message == "Invalid JSON payload."
    assert refused.value.hint


def test_values_out_of_range_are_infinite() -> None:
    found = read_values(b'[1e400, -1e400, NaN, Infinity, %s, %s, "\\ud800"]' % (b"9" * 5000, b"9" * 300))
    assert found[:2] == [math.inf, -math.inf]
    assert math.isnan(found[2])
    assert found[3:5] == [math.inf, math.inf]
    assert found[5:] == [10**300 - 1, "\ud800"]


def test_a_path_to_what_is_too_deep_shows_its_first_steps_and_no_control_characters() -> None:
    data = b'{"a":[{"b":"]"},{"\xc3\xa4\\n' + b"k" * 100 + b'":' + b'{"x":' * 30_000 + b"1" + b"}" * 30_000 + b"}]}"
    with pytest.raises(BadInput) as refused:
        read_values(data)
    assert refused.value.field == r"$.a[1].\xe4\\n" + "k" * 37 + ".x" * 5


@pytest.mark.parametrize(
    ("value", "words"),
    [
        *((None, "null"), (True, "true"), (5, "5"), (-1.5, "-1.5"), (math.inf, "a number out of range, or none")),
        *((10**4000, "a number of more than 30 digits"), ("a\x00\ud800", r"'a\x00\ud800'"), ({}, "an object")),
        *(([], "an array"), ("x" * 50, "'" + "x" * 40 + "...'")),
    ],
)
def test_a_hostile_value_is_described_in_safe_words(value: Any, words: str) -> None:
    assert shown(value) == words
