"""The file in a JSON body, taken out of it while it arrives."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadInput, TooLarge
from plugins.build_swarm.payloads.incoming import REST_BYTES_MAX, Body

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def taken(data: bytes, size: int = 7) -> tuple[bytes, Any, Body]:
    """Feed a body in pieces; return the file, the rest decoded, and the body."""
    body = Body("content")
    file = b"".join(body.feed(data[at : at + size]) for at in range(0, len(data), size))
    return file, json.loads(body.finish()), body


@given(
    content=st.binary(max_size=200),
    around=st.dictionaries(st.text(max_size=12).filter(lambda name: name != "content"), JSON, max_size=4),
    place=st.integers(0, 4),
    size=st.integers(1, 64),
    indent=st.none() | st.just(2),
    ascii_only=st.booleans(),
)
def test_file_comes_out_as_it_is_and_the_rest_as_it_was_however_the_body_is_cut(
    content: bytes, around: dict[str, Any], place: int, size: int, indent: int | None, ascii_only: bool
) -> None:
    items = list(around.items())
    items.insert(place, ("content", base64.b64encode(content).decode()))
    data = json.dumps(dict(items), indent=indent, ensure_ascii=ascii_only).encode()
    file, rest, body = taken(data, size)
    assert file == content
    assert body.is_found
    assert rest == {**dict(items), "content": ""}


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_escapes_of_the_file_are_read_as_json_has_them(size: int) -> None:
    content = b"\xfb\xff\xfe" * 30
    text = base64.b64encode(content).decode()
    assert "/" in text
    assert "+" in text
    escaped = text.replace("/", "\\/").replace("+", "\\u002b")
    assert taken(b'{"content": "' + escaped.encode() + b'"}', size)[0] == content
    wrapped = "\\n".join(text[at : at + 20] for at in range(0, len(text), 20))
    assert taken(b'{"content": " ' + wrapped.encode() + b'\\t\\u000a"}', size)[0] == content


ESCAPED = {"/": st.sampled_from(["/", "\\/", "\\u002f"]), "+": st.sampled_from(["+", "\\u002B"])}
BREAKS = st.sampled_from(["", "", "", "\\n", "\\r\\n", " ", "\\t", "\\u000a"])


@given(data=st.data(), content=st.binary(max_size=120), size=st.integers(1, 64))
def test_any_mixture_of_escapes_is_read_however_it_is_cut(data: st.DataObject, content: bytes, size: int) -> None:
    text = "".join(
        data.draw(ESCAPED.get(letter, st.just(letter))) + data.draw(BREAKS)
        for letter in base64.b64encode(content).decode()
    )
    file, rest, _ = taken(f'{{"a": "\\/", "content": "{text}", "b": "\\""}}'.encode(), size)
    assert (file, rest) == (content, {"a": "/", "content": "", "b": '"'})


@given(
    text=st.lists(st.sampled_from(["QUJD", "\\", "/", "n", "u", '"', "\\u0041", "=", "4", " "]), max_size=12).map(
        "".join
    )
)
def test_every_text_is_taken_as_the_whole_body_would_be(text: str) -> None:
    data = f'{{"content": "{text}"}}'.encode()
    found = []
    for size in (1, 2, 3, 1000):
        try:
            found.append(taken(data, size)[:2])
        except (BadInput, ValueError):
            found.append((b"", None))
    assert found[1:] == found[:-1]
    try:
        expected = base64.b64decode("".join(json.loads(data)["content"].split()), validate=True)
    except ValueError:
        expected = b""
    # Of padding that is too much or in the middle the library says nothing, and we do.
    assert found[0][0] == expected or ("=" in text and found[0][1] is None)


@pytest.mark.parametrize("key", ["content", "c\\u006fntent"])
def test_key_is_the_same_however_it_is_written(key: str) -> None:
    assert taken(f'{{"{key}":"QUI="}}'.encode())[0] == b"AB"


@pytest.mark.parametrize(
    "text",
    [
        "QUJ",
        "QUJD=",
        "Q===",
        "QU==QUJD",
        "QU==\\n=",
        "QU=J",
        "QUI*",
        "QUI-",
        "QUI_",
        "Zm9v\\u00e9",
        "Zm9v\\u00",
        "Zm9v\\x41",
        "Zm9v\\b",
        'Zm9v\\"',
        "Zm9v\\u00+1",
        "Zm9vé",
        "=",
        "====",
    ],
)
def test_what_is_no_base64_is_refused_and_named(text: str) -> None:
    for size in (1, 2, 1000):
        with pytest.raises(BadInput) as refused:
            taken(b'{"type": "a", "content": "' + text.encode() + b'", "version": "1"}', size)
        assert refused.value.field == "$.content"
        assert refused.value.message.startswith("$.content: not base64")


def test_line_breaks_that_json_does_not_allow_are_refused() -> None:
    with pytest.raises(BadInput, match="not base64"):
        taken(b'{"content": "QUJD\nQUJD"}')


def test_file_given_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="given twice"):
        taken(b'{"content": "QUJD", "content": "QUJD"}')


@pytest.mark.parametrize(
    "text",
    [
        '{"other": {"content": "QUJD"}}',
        '{"list": ["content", {"content": "QUJD"}], "x": "content"}',
        '{"content": null}',
        '{"content": 1}',
        '{"content": ["QUJD"]}',
        '{"content": {"content": "QUJD"}}',
        '[{"content": "QUJD"}]',
        '"content"',
        "{}",
    ],
)
def test_only_a_string_of_the_object_itself_is_the_file(text: str) -> None:
    file, rest, body = taken(text.encode())
    assert (file, body.is_found) == (b"", False)
    assert rest == json.loads(text)


@pytest.mark.parametrize("text", ['{"content": "QUJD', '{"content": "QUJD\\', '{"content": "'])
def test_body_that_ends_within_its_file_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not JSON"):
        taken(text.encode())


def test_rest_is_bounded_and_the_file_is_not() -> None:
    file = b"x" * (REST_BYTES_MAX * 3)
    data = json.dumps({"content": base64.b64encode(file).decode()}).encode()
    assert taken(data, 4096)[0] == file
    with pytest.raises(TooLarge) as refused:
        taken(json.dumps({"notes": "x" * REST_BYTES_MAX, "content": ""}).encode(), 4096)
    assert str(REST_BYTES_MAX) in refused.value.message
    with pytest.raises(TooLarge):
        taken(b"[" * (REST_BYTES_MAX + 1), 4096)


def test_byte_order_mark_is_passed_over() -> None:
    assert taken(b'\xef\xbb\xbf{"content": "QUJD"}')[:2] == (b"ABC", {"content": ""})


@given(data=st.binary(max_size=80) | st.text('{}[]":,\\u0content=', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    body = Body("content")
    try:
        body.feed(data)
        body.finish()
    except (BadInput, TooLarge):
        return
    assert len(bytes(body._rest)) <= len(data) + 2
