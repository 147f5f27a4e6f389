"""Bodies of the documented surface, as hostile as they come."""

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.plugin import BadInput
from plugins.build_swarm.wire import requests
from plugins.build_swarm.wire.decoding import OBJECT_BYTES, SHARED_BYTES, kept_object, number_of, read

COMPLETE: msgspec.json.Decoder[requests.Complete] = msgspec.json.Decoder(requests.Complete)
QUEUE: msgspec.json.Decoder[requests.Queue] = msgspec.json.Decoder(requests.Queue)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b'{"package":NaN}',
        b"\xff\xfe",
        b'{"package":"a/b","status":"\xff"}',
        b'{"package":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        read(COMPLETE, body)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (b'"package":7', "$.package"),
        (b'"package":""', "$.package"),
        (b'"package":"' + b"x" * 300 + b'"', "$.package"),
        (b'"package":"a/b","status":"no word"', "$.status"),
        (b'"package":"a/b","status":"s","build_duration_s":-1', "$.build_duration_s"),
        (b'"package":"a/b","status":"s","duration":' + b"9" * 5000, "$.duration"),
        (b'"package":"a/b","status":"s","duration":1e999', "$.duration"),
        (b'"package":"a/b","status":"s","duration":"5"', "$.duration"),
        (b'"package":"a/b","status":"s","id":7', "$.id"),
    ],
)
def test_wrong_field_is_named_by_its_path(change: bytes, field: str) -> None:
    with pytest.raises(BadInput) as refused:
        read(COMPLETE, b"{" + change + b"}")
    assert refused.value.field == field


def test_text_in_place_of_the_list_of_packages_is_refused_and_not_read_letter_by_letter() -> None:
    with pytest.raises(BadInput) as refused:
        read(QUEUE, b'{"packages":"dev-libs/openssl"}')
    assert refused.value.field == "$.packages"


def test_unknown_fields_are_passed_over() -> None:
    assert read(QUEUE, b'{"packages":["a/b"],"force":true}').packages == ["a/b"]


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b'"x"',
        b"7",
        b'{"a":' + b"[" * 20 + b"]" * 20 + b"}",
        b'{"a":1e300}',
        b'{"a":' + b"9" * 30 + b"}",
        b'{"a":"' + b"x" * OBJECT_BYTES + b'"}',
    ],
)
def test_object_that_nobody_could_read_later_is_not_kept(raw: bytes) -> None:
    with pytest.raises(BadInput) as refused:
        kept_object(raw, "capabilities")
    assert refused.value.field == "$.capabilities"


def test_object_is_kept_as_it_was_sent() -> None:
    raw = b'{"cores":16,"flags":["a",{"b":null}],"auto_reboot":true}'
    assert kept_object(raw, "capabilities") == {"cores": 16, "flags": ["a", {"b": None}], "auto_reboot": True}
    assert kept_object(b"", "capabilities") == kept_object(b"null", "capabilities") == {}


@pytest.mark.parametrize("value", ["16", True, -1, 5000, [], {}])
def test_amount_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(BadInput) as refused:
        number_of({"cores": value}, "capabilities", "cores", 4096)
    assert refused.value.field == "$.capabilities.cores"


def test_amount_that_is_not_said_is_0() -> None:
    assert (
        number_of({}, "capabilities", "cores", 4096) == number_of({"cores": None}, "capabilities", "cores", 4096) == 0
    )


@pytest.mark.parametrize("name", ["", "-x", ".x", "a/b", "a b", "ä", "x" * 64, "a\n", "a;b"])
def test_name_that_could_mean_more_than_a_drone_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        requests.name_of(name, "id")


def test_what_is_only_shown_is_cut_to_what_can_be_shown() -> None:
    assert requests.shown("0.4.0\n-alpha\x00", 64) == "0.4.0-alpha"
    assert requests.shown("x" * 100, 64) == "x" * 64
    assert requests.shown(None, 64) == ""


@pytest.mark.parametrize(
    ("said", "kept"),
    [("10.0.0.175", "10.0.0.175"), ("fd00::0001", "fd00::1"), ("unknown", ""), ("10.0.0.1; rm", ""), (None, "")],
)
def test_claimed_address_is_kept_only_when_it_is_one(said: str | None, kept: str) -> None:
    assert requests.address_of(said) == kept


def test_objects_that_are_large_are_read_and_not_remembered() -> None:
    raw = b'{"flags":"' + b"x" * SHARED_BYTES + b'"}'
    assert kept_object(raw, "capabilities") == kept_object(raw, "capabilities")
    assert kept_object(raw, "capabilities") is not kept_object(raw, "capabilities")
    small = b'{"cores":16,"ram_gb":32.5}'
    assert kept_object(small, "capabilities") is kept_object(small, "metrics")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["id", "name", "ip", "type", "capabilities", "metrics", "current_task", "version", "package", "status", "packages"]
)


KINDS = st.sampled_from([requests.Register, requests.Complete, requests.Queue])


@given(body=st.dictionaries(NAMES, VALUES), kind=KINDS)
def test_body_of_any_json_is_read_or_refused(body: dict[str, object], kind: type[requests.Register]) -> None:
    data = json.dumps(body).encode()  # with what Python writes for numbers that JSON has not
    with suppress(BadInput):
        assert isinstance(read(msgspec.json.Decoder(kind), data), kind)


@given(value=VALUES)
def test_object_of_any_json_is_kept_as_it_is_or_refused(value: object) -> None:
    with suppress(BadInput):
        assert kept_object(json.dumps(value).encode(), "metrics") == ({} if value is None else value)
