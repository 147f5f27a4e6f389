"""Hostile JSON and query strings: a model or a `BadInput` that names the field, and the same verdict both ways."""

import json
from contextlib import suppress
from typing import Any, Literal

import attrs
import pytest
from attrs import Factory, field, frozen
from attrs.validators import ge, max_len
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadInput
from appliance.http.body import BodyReader, is_plain
from appliance.http.query import QueryReader, pairs


@frozen(kw_only=True)
class Gpu:
    vram_mb: int = field(validator=ge(0))
    name: str | None = None


@frozen(kw_only=True)
class Model:
    gpus: list[Gpu] = Factory(list)
    whole: int = 0
    part: float = 0.0
    text: str = field(default="", validator=max_len(10))
    flag: bool = False
    tags: dict[str, int] = Factory(dict)


@frozen(kw_only=True)
class Chosen:
    level: Literal["low", "high"] = "low"
    pair: tuple[int, str] = (0, "")


LENIENT = BodyReader.of(Model, refuse_unknown=False, whole_floats=True)
STRICT = BodyReader.of(Model, refuse_unknown=True, whole_floats=False)

BAD: list[tuple[bytes, str]] = [
    (b"", "$"),
    (b"   ", "$"),
    (b"{", "$"),
    (b'{"whole":1}x', "$"),
    (b"null", "$"),
    (b"[]", "$"),
    (b'"text"', "$"),
    (b"[" * 20_000, "$"),
    (b'{"gpus":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "$"),
    (b'{"whole":' + b"9" * 5000 + b"}", "$.whole"),
    (b'{"part":' + b"9" * 5000 + b"}", "$.part"),
    (b'{"part":1e400}', "$.part"),
    (b'{"part":-1e400}', "$.part"),
    (b'{"part":NaN}', "$"),
    (b'{"part":Infinity}', "$"),
    (b'{"part":"nan"}', "$.part"),
    (b'{"part":"1.5"}', "$.part"),
    (b'{"part":true}', "$.part"),
    (b'{"whole":9223372036854775808}', "$.whole"),
    (b'{"whole":-9223372036854775809}', "$.whole"),
    (b'{"whole":"5"}', "$.whole"),
    (b'{"whole":1.5}', "$.whole"),
    (b'{"whole":true}', "$.whole"),
    (b'{"whole":null}', "$.whole"),
    (b'{"text":1}', "$.text"),
    (b'{"text":"12345678901"}', "$.text"),
    (b'{"flag":1}', "$.flag"),
    (b'{"flag":"true"}', "$.flag"),
    (b'{"gpus":{}}', "$.gpus"),
    (b'{"gpus":"abc"}', "$.gpus"),
    (b'{"gpus":[{"vram_mb":1},{"vram_mb":"2"}]}', "$.gpus[1].vram_mb"),
    (b'{"gpus":[{}]}', "$.gpus[0].vram_mb"),
    (b'{"gpus":[{"vram_mb":-1}]}', "$.gpus[0].vram_mb"),
    (b'{"gpus":[{"vram_mb":1,"name":5}]}', "$.gpus[0].name"),
    (b'{"gpus":[[]]}', "$.gpus[0]"),
    (b'{"tags":{"a":"b"}}', '$.tags["a"]'),
    (b'{"tags":[]}', "$.tags"),
    (b'{"text":"\xff"}', "$"),
    (b'{"text":"\\ud800"}', "$"),
    (b'{"text":"a\x01b"}', "$"),
    ('{"text":"a"}'.encode("utf-16"), "$"),
]


@pytest.mark.parametrize(("data", "path"), BAD, ids=[str(index) for index in range(len(BAD))])
@pytest.mark.parametrize("reader", [LENIENT, STRICT], ids=["lenient", "strict"])
def test_wrong_body_is_refused_by_its_path(reader: BodyReader, data: bytes, path: str) -> None:
    with pytest.raises(BadInput) as refused:
        reader.read(data)
    assert refused.value.field == path
    assert refused.value.message.startswith(path + ": ")
    assert len(refused.value.message) < 400


def test_message_says_what_was_found_and_expected() -> None:
    with pytest.raises(BadInput, match=r'\$\.whole: found "5", expected an integer'):
        LENIENT.read(b'{"whole":"5"}')


def test_duplicate_keys_end_with_the_last() -> None:
    assert LENIENT.read(b'{"whole":1,"whole":2}').whole == 2
    assert STRICT.read(b'{"whole":1,"whole":2}').whole == 2


def test_byte_order_mark_is_passed_over() -> None:
    assert LENIENT.read(b'\xef\xbb\xbf{"whole":1}').whole == 1


def test_largest_integers_are_kept() -> None:
    for value in (2**63 - 1, -(2**63)):
        for reader in (LENIENT, STRICT):
            assert reader.read(json.dumps({"whole": value}).encode()).whole == value


def test_whole_number_float_is_an_integer_only_where_documents_allow_it() -> None:
    assert LENIENT.read(b'{"whole":5.0}').whole == 5
    with pytest.raises(BadInput, match=r"\$\.whole: found 5\.0"):
        STRICT.read(b'{"whole":5.0}')


def test_unknown_field_is_refused_only_where_the_surface_says_so() -> None:
    assert LENIENT.read(b'{"other":1}') == Model()
    with pytest.raises(BadInput, match="no such field") as refused:
        STRICT.read(b'{"gpus":[{"vram_mb":1,"other":1}]}')
    assert refused.value.field == "$.gpus[0].other"


def test_literals_and_pairs_are_held_to_their_choices() -> None:
    reader = BodyReader.of(Chosen, refuse_unknown=False, whole_floats=False)
    assert reader.read(b'{"level":"high","pair":[1,"a"]}') == Chosen(level="high", pair=(1, "a"))
    for data, path in (
        (b'{"level":"mid"}', "$.level"),
        (b'{"pair":[1]}', "$.pair"),
        (b'{"pair":["a",1]}', "$.pair[0]"),
    ):
        with pytest.raises(BadInput) as refused:
            reader.read(data)
        assert refused.value.field == path


@attrs.frozen(kw_only=True)
class Converted:
    name: str = field(converter=str)


@attrs.frozen(kw_only=True)
class Hidden:
    _name: str = ""


def test_fast_way_is_closed_to_models_it_would_read_otherwise() -> None:
    assert is_plain(Model)
    assert not is_plain(Converted)
    assert not is_plain(Hidden)
    assert not is_plain(Chosen)
    assert not is_plain(dict)


VALUES: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.just("5"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["vram_mb", "name"]), inner, max_size=2)
    ),
    max_leaves=6,
)
NAMES = ["gpus", "whole", "part", "text", "flag", "tags"]


@given(body=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4))
def test_fast_and_strict_reader_give_the_same_verdict(body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    verdicts: list[Any] = []
    for read in (LENIENT.read, LENIENT.read_strictly):
        try:
            verdicts.append(read(data))
        except BadInput as refused:
            verdicts.append((refused.field, refused.message))
    assert verdicts[0] == verdicts[1]


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_model_or_bad_input(data: bytes) -> None:
    for reader in (LENIENT, STRICT):
        with suppress(BadInput):
            assert isinstance(reader.read(data), Model)


@frozen(kw_only=True)
class Query:
    limit: int = field(default=10, validator=ge(1))
    from_unix_s: float | None = None
    live: bool = False
    name: str | None = None
    metrics: list[str] = Factory(list)


QUERY = QueryReader.of(Query, refuse_unknown=True)


def test_query_texts_become_what_the_fields_declare() -> None:
    found = QUERY.read(b"limit=5&from_unix_s=1.5e3&live=1&name=a%20b+c&metrics=x&metrics=y&token=secret")
    assert found == Query(limit=5, from_unix_s=1500.0, live=True, name="a b c", metrics=["x", "y"])
    assert QUERY.read(b"") == Query()
    assert QUERY.read(b"limit=1&&limit=2").limit == 2


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"limit=five", "$.limit"),
        (b"limit=", "$.limit"),
        (b"limit=1.0", "$.limit"),
        (b"limit=0", "$.limit"),
        (b"limit=" + b"9" * 19, "$.limit"),
        (b"limit=" + b"9" * 5000, "$.limit"),
        (b"limit=\xd9\xa3", "$.limit"),
        (b"from_unix_s=nan", "$.from_unix_s"),
        (b"from_unix_s=inf", "$.from_unix_s"),
        (b"from_unix_s=1e9999", "$.from_unix_s"),
        (b"live=yes", "$.live"),
        (b"other=1", "$.other"),
        (b"name=%ff", "$"),
        (b"name=%00", "$"),
        (b"&".join(b"a=%d" % number for number in range(500)), "$"),
    ],
)
def test_wrong_query_is_refused_by_its_path(raw: bytes, path: str) -> None:
    with pytest.raises(BadInput) as refused:
        QUERY.read(raw)
    assert refused.value.field == path


def test_query_pairs_keep_empty_values_and_order() -> None:
    assert pairs(b"b=&a&b=1") == [("b", ""), ("a", ""), ("b", "1")]
