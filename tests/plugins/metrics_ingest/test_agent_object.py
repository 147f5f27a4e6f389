import json
from typing import Any

import msgspec
import pytest

from appliance.plugin import BadInput
from plugins.metrics_ingest.agent_object import MAX_BYTES, kept, read_agent


def test_a_real_agents_object_is_kept_as_it_is() -> None:
    said: dict[str, Any] = {
        "version": "0.2.0",
        "hostname": "train01",
        "user": "root",
        "pid": 4321,
        "labels": {"rack": "r1"},
        "disk_filters": {"include": [], "exclude": ["loop"]},
        "system_info": {"processor": "", "uptime_seconds": 5.5, "partitions": [{"device": "/dev/sda1", "percent": 50}]},
    }
    assert read_agent(json.dumps(said).encode()) == said
    assert kept(kept(said)) == said


def test_the_first_25_keys_are_kept_and_keys_are_cut() -> None:
    found = kept({f"{at:03}" + "k" * 100: at for at in range(40)})
    assert list(found.values()) == list(range(25))
    assert {len(key) for key in found} == {64}


def test_keys_that_do_not_fit_are_left_out_and_later_ones_that_do_are_kept() -> None:
    found = kept({"a": "x" * 9_000, "b": "x" * 9_000, "version": "1"})
    assert list(found) == ["a", "version"]
    many = kept({f"key{at}": ["y" * 100] * 20 for at in range(25)})
    assert 0 < len(many) < 25
    assert len(msgspec.json.encode(many)) <= MAX_BYTES


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b'{"a":1e400,"b":NaN,"c":-Infinity,"d":1}', {"d": 1}),
        (b'{"a":%s,"b":9223372036854775807,"c":9223372036854775808}' % (b"9" * 5000), {"b": 2**63 - 1}),
        (rb'{"a":"\ud800","\udfff":1,"b":["\ud800",1e999]}', {"a": "?", "?": 1, "b": ["?"]}),
        (b'{"a":null,"b":true}', {"a": None, "b": True}),
        (b"[1]", {}),
        (b"5", {}),
    ],
)
def test_what_no_answer_can_show_is_left_out(sent: bytes, shown: dict[str, Any]) -> None:
    found = read_agent(sent)
    assert found == shown
    assert msgspec.json.decode(msgspec.json.encode(found)) == shown
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize("wrong", [None, True, 1.5, [], {"a": 1}])
@pytest.mark.parametrize("key", ["version", "hostname", "user", "platform", "python", "pid"])
def test_keys_that_strict_clients_read_keep_their_type_or_are_left_out(key: str, wrong: Any) -> None:
    assert kept({key: wrong, "else": wrong}) == {"else": wrong}


def test_labels_are_texts_by_name() -> None:
    assert kept({"labels": {"rack": "r1", "row": 5, "x": None}}) == {"labels": {"rack": "r1"}}
    assert kept({"labels": ["r1"]}) == {}


def test_what_is_nested_deeper_than_anything_real_is_left_out() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {"in": deep}
    found = kept({"deep": deep, "version": "1"})
    assert found["version"] == "1"
    assert 5 < str(found).count("in") < 10


def test_an_object_too_deep_to_read_is_refused_by_its_path() -> None:
    with pytest.raises(BadInput) as refused:
        read_agent(b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}")
    assert refused.value.field.startswith("$.agent.x[0][0]")
