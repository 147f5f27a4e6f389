"""Bodies as agents post them, and as nobody should: both ways of reading agree, and nothing bad is ever stored."""

import copy
import json
from contextlib import suppress
from random import Random
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.devices import SERIES
from appliance.plugin import BadInput, DiskSample, FanSample, GpuSample, HostSample
from appliance.series.flatten import clean
from plugins.metrics_ingest.lenient import read_leniently
from plugins.metrics_ingest.sample import Batch, batch_of, read_batch
from plugins.metrics_ingest.sent import ONE, SentDisk, SentFan, SentGpu, SentSample

NOW_US = 1_772_100_000_000_000
AT = "2026-02-26T02:37:49.120000+00:00"
AT_US = 1_772_073_469_120_000

SAMPLE: dict[str, Any] = {
    "collected_at": AT,
    "cpu_usage_percent": 32.1,
    "cpu_user_percent": 21.0,
    "cpu_system_percent": 8.4,
    "cpu_iowait_percent": 2.7,
    "cpu_load_1": 6.2,
    "cpu_load_5": 5.8,
    "cpu_load_15": 5.1,
    "cpu_frequency_mhz": 2880.0,
    "cpu_temperature_c": 61.5,
    "cpu_count_logical": 64,
    "cpu_count_physical": 32,
    "memory_total_bytes": 274877906944,
    "memory_used_bytes": 198642237440,
    "memory_available_bytes": 76235669504,
    "memory_percent": 72.3,
    "swap_total_bytes": 0,
    "swap_used_bytes": 0,
    "swap_percent": 0.0,
    "network_rx_bytes_total": 123456789012,
    "network_tx_bytes_total": 23456789012,
    "process_count": 412,
    "disks": [
        {
            "device": "nvme0n1",
            "read_bytes_total": 111111111111,
            "write_bytes_total": 22222222222,
            "read_count_total": 1234567,
            "write_count_total": 456789,
            "busy_time_ms_total": 9876543,
        },
        {"device": "sda", "read_bytes_total": 5},
    ],
    "gpus": [
        {
            "gpu_index": 0,
            "name": "NVIDIA A100-SXM4-80GB",
            "uuid": "GPU-a",
            "utilization_gpu_percent": 98.0,
            "utilization_memory_percent": 71.0,
            "memory_total_bytes": 85899345920,
            "memory_used_bytes": 68719476736,
            "memory_percent": 79.5,
            "temperature_c": 64.0,
            "fan_speed_percent": None,
            "power_w": 311.0,
            "power_limit_w": 400.0,
        },
        {"gpu_index": 1, "name": "NVIDIA A100-SXM4-80GB", "uuid": "GPU-b"},
    ],
    "fans": [{"label": "CPU Fan", "speed_rpm": 5400}, {"label": "SYS", "speed_rpm": None}],
}
AGENT: dict[str, Any] = {
    "version": "0.2.0",
    "hostname": "train01",
    "pid": 4321,
    "labels": {"rack": "r1"},
    "system_info": {"partitions": [{"device": "/dev/sda1", "percent": 50.0}]},
}
BODY = {"sample": SAMPLE, "agent": AGENT}


def read(body: Any) -> Batch:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_batch(data, series_id="box", now_unix_us=NOW_US)


def one(body: Any) -> HostSample:
    batch = read(body)
    assert len(batch.incoming) == 1
    return batch.incoming[0].sample


def refused(body: Any) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read(body)
    return caught.value


def changed(**changes: Any) -> dict[str, Any]:
    return {"sample": SAMPLE | changes, "agent": AGENT}


def gpus(*sent: Any) -> dict[str, Any]:
    return changed(gpus=list(sent))


def test_a_real_agents_sample_is_read_whole() -> None:
    batch = read(BODY)
    (incoming,) = batch.incoming
    assert (incoming.collected_at, batch.is_array) == (AT, False)
    assert batch.agent() == AGENT
    assert incoming.sample == HostSample(
        host_id="box",
        taken_at_unix_us=AT_US,
        cpu_percent=32.1,
        cpu_user_percent=21.0,
        cpu_system_percent=8.4,
        cpu_iowait_percent=2.7,
        cpu_load_1=6.2,
        cpu_load_5=5.8,
        cpu_load_15=5.1,
        cpu_frequency_mhz=2880.0,
        cpu_temperature_celsius=61.5,
        cpu_count_logical=64,
        cpu_count_physical=32,
        memory_total_bytes=274877906944,
        memory_used_bytes=198642237440,
        memory_available_bytes=76235669504,
        memory_percent=72.3,
        swap_total_bytes=0,
        swap_used_bytes=0,
        swap_percent=0.0,
        network_rx_bytes_total=123456789012,
        network_tx_bytes_total=23456789012,
        process_count=412,
        disks=(
            DiskSample(
                device="nvme0n1",
                read_bytes_total=111111111111,
                write_bytes_total=22222222222,
                read_count_total=1234567,
                write_count_total=456789,
                busy_time_ms_total=9876543,
            ),
            DiskSample(device="sda", read_bytes_total=5),
        ),
        fans=(FanSample(label="CPU Fan", speed_rpm=5400.0), FanSample(label="SYS")),
        gpus=(
            GpuSample(
                gpu_id="GPU-a",
                gpu_index=0,
                model="NVIDIA A100-SXM4-80GB",
                taken_at_unix_us=AT_US,
                vram_total_bytes=85899345920,
                vram_used_bytes=68719476736,
                vram_used_percent=79.5,
                utilization_percent=98.0,
                memory_bus_utilization_percent=71.0,
                temperature_celsius=64.0,
                power_watts=311.0,
                power_limit_watts=400.0,
            ),
            GpuSample(gpu_id="GPU-b", gpu_index=1, model="NVIDIA A100-SXM4-80GB", taken_at_unix_us=AT_US),
        ),
    )


def test_a_real_agents_body_takes_the_fast_way() -> None:
    assert ONE.decode(json.dumps(BODY).encode()).sample is not None


def test_a_bare_sample_is_the_same_sample() -> None:
    assert one(SAMPLE) == one(BODY) == one({**SAMPLE, "sample": None}) == one({**SAMPLE, "sample": "no object"})
    assert read(SAMPLE | {"agent": AGENT}).agent() == AGENT
    assert read(SAMPLE).agent() is None


@pytest.mark.parametrize("body", [b"", b"{}", b'{"sample":{}}', b" { } "])
def test_an_empty_body_is_a_sample_that_reports_nothing(body: bytes) -> None:
    batch = read(body)
    assert batch.incoming[0].sample == HostSample(host_id="box", taken_at_unix_us=NOW_US)
    assert batch.incoming[0].collected_at == "2026-02-26T10:00:00+00:00"
    assert batch.agent_raw == b""


@pytest.mark.parametrize("agent", [None, 5, "agent", [1], True])
def test_an_agent_that_is_no_object_says_nothing(agent: Any) -> None:
    batch = read({"sample": SAMPLE, "agent": agent})
    assert (batch.agent_raw, batch.agent()) == (b"", None)


def test_an_unchanged_agent_is_the_same_bytes() -> None:
    first, second = read(BODY), read({"sample": {"cpu_usage_percent": 1}, "agent": AGENT})
    assert first.agent_raw == second.agent_raw == json.dumps(AGENT).encode()


def test_a_huge_agent_is_cut_before_it_is_remembered() -> None:
    batch = read({"sample": SAMPLE, "agent": {"junk": "x" * 70_000, "version": "1"}})
    assert batch.agent_raw == b'{"version":"1"}'


def test_retention_in_a_payload_changes_nothing() -> None:
    assert read(BODY | {"retention_days": 1}) == read(BODY)


# What the lenient reader makes of values.


@pytest.mark.parametrize(
    ("sent", "number"),
    [
        *(("33.5", 33.5), (" 1e3 ", 1000.0), (True, 1.0), (False, 0.0), (12, 12.0), (-5.5, -5.5), (250, 250.0)),
        *(
            ("", None),
            ("n/a", None),
            ("inf", None),
            ("NaN", None),
            ("1e400", None),
            ([], None),
            ({}, None),
            (None, None),
        ),
    ],
)
def test_a_number_may_be_text_and_what_is_none_is_not_reported(sent: Any, number: float | None) -> None:
    sample = one(changed(cpu_load_1=sent, gpus=[{"gpu_index": 0, "power_w": sent}]))
    assert sample.cpu_load_1 == sample.gpus[0].power_watts == number
    assert type(sample.cpu_load_1) in {float, type(None)}


@pytest.mark.parametrize(
    ("sent", "number"),
    [
        *((12.9, 12), (-12.9, -12), ("41", 41), (" 41 ", 41), ("1e9", None), ("12.9", None), (True, 1), (-7, -7)),
        *((None, None), ("", None), ([], None), ({}, None), ("9" * 5000, None), (2**63 - 1, 2**63 - 1), (1e3, 1000)),
    ],
)
def test_a_whole_number_is_what_is_left_of_a_fraction(sent: Any, number: int | None) -> None:
    sample = one(changed(process_count=sent, disks=[{"device": "sda", "read_bytes_total": sent}]))
    assert sample.process_count == sample.disks[0].read_bytes_total == number


def test_no_physical_cores_are_an_unknown_number() -> None:
    assert one(changed(cpu_count_physical=0, cpu_count_logical=0)).cpu_count_physical is None
    assert one(changed(cpu_count_physical=0, cpu_count_logical=0)).cpu_count_logical == 0


@pytest.mark.parametrize("literal", ["Infinity", "-Infinity", "NaN", "1e400", "-1e400", "9" * 400, "9" * 5000])
@pytest.mark.parametrize(
    ("place", "path"),
    [
        ('{"sample":{"cpu_load_1":%s}}', "$.sample.cpu_load_1"),
        ('{"cpu_count_logical":%s}', "$.cpu_count_logical"),
        ('{"sample":{"gpus":[{"gpu_index":0},{"gpu_index":1,"power_w":%s}]}}', "$.sample.gpus[1].power_w"),
        ('{"sample":{"gpus":[{"gpu_index":%s}]}}', "$.sample.gpus[0].gpu_index"),
        ('{"sample":{"disks":[7,{"device":"a","read_bytes_total":%s}]}}', "$.sample.disks[1].read_bytes_total"),
        ('{"sample":{"fans":[{"label":"a","speed_rpm":%s}]}}', "$.sample.fans[0].speed_rpm"),
        ('[{},{},{},{"sample":{"gpus":[{"power_w":%s}]}}]', "$[3].sample.gpus[0].power_w"),
        ('[{"memory_percent":%s}]', "$[0].memory_percent"),
    ],
)
def test_an_infinite_number_is_refused_by_its_path(literal: str, place: str, path: str) -> None:
    error = refused((place % literal).encode())
    assert (error.message, error.field) == ("Ingest processing failed.", path)
    assert error.hint.startswith("found ")
    assert ", expected " in error.hint


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30, 1e300, "9223372036854775808"])
def test_an_integer_beyond_64_bits_is_refused_by_its_path(number: Any) -> None:
    error = refused(changed(disks=[{"device": "sda", "write_count_total": number}]))
    assert error.field == "$.sample.disks[0].write_count_total"
    assert error.hint.endswith("expected an integer of 64 bits")


@pytest.mark.parametrize("name", [5, 1.5, True, [], {}])
@pytest.mark.parametrize(
    ("kind", "rest", "field"),
    [
        ("disks", {}, "device"),
        ("gpus", {"gpu_index": 0}, "name"),
        ("gpus", {"gpu_index": 0}, "uuid"),
        ("fans", {}, "label"),
    ],
)
def test_a_name_that_is_no_text_is_refused_by_its_path(kind: str, rest: dict[str, Any], field: str, name: Any) -> None:
    error = refused(changed(**{kind: [rest | {field: name}]}))
    assert error.field == f"$.sample.{kind}[0].{field}"
    assert error.hint.endswith("expected text")


@pytest.mark.parametrize("sent", [None, "text", {"gpu_index": 0}, []])
def test_devices_that_are_no_array_are_none(sent: Any) -> None:
    sample = one(changed(disks=sent, gpus=sent, fans=sent))
    assert (sample.disks, sample.gpus, sample.fans) == ((), (), ())


@pytest.mark.parametrize("sent", [0, 7, 1.5, True])
@pytest.mark.parametrize("kind", ["disks", "gpus", "fans"])
def test_a_number_of_devices_is_refused(kind: str, sent: Any) -> None:
    assert refused(changed(**{kind: sent})).field == f"$.sample.{kind}"


def test_entries_that_are_no_objects_are_passed_over() -> None:
    junk: list[Any] = [None, 5, "x", [], True]
    sample = one(
        changed(
            disks=[*junk, {"device": "sda"}],
            gpus=[*junk, {"gpu_index": 3}],
            fans=[*junk, {"label": "a"}],
        )
    )
    assert [len(each) for each in (sample.disks, sample.gpus, sample.fans)] == [1, 1, 1]


def test_names_are_trimmed_cut_and_have_defaults() -> None:
    sample = one(
        changed(
            disks=[{"device": "  sda "}, {"device": "d" * 70}, {"device": "   "}, {"device": None}, {}],
            gpus=[{"gpu_index": 1, "name": None, "uuid": "u" * 300}, {"gpu_index": 2, "name": "n" * 300}, {}],
            fans=[{"label": "f" * 70}, {"speed_rpm": 5}],
        )
    )
    assert [disk.device for disk in sample.disks] == ["sda", "d" * 64]
    assert [gpu.model for gpu in sample.gpus] == ["GPU", "n" * 200, "GPU"]
    assert [gpu.gpu_id for gpu in sample.gpus] == ["u" * 128, "index:2", "index:0"]
    assert [fan.label for fan in sample.fans] == ["f" * 64, "Fan"]


def test_a_gpu_whose_uuid_is_taken_or_reserved_is_known_by_its_index() -> None:
    sample = one(
        gpus(
            {"gpu_index": 0, "uuid": "GPU-a"},
            {"gpu_index": 1, "uuid": " GPU-a "},
            {"gpu_index": 2, "uuid": "index:3"},
            {"gpu_index": 3},
        )
    )
    assert [gpu.gpu_id for gpu in sample.gpus] == ["GPU-a", "index:1", "index:2", "index:3"]


def test_a_share_of_memory_that_is_not_sent_is_not_derived() -> None:
    sample = one(gpus({"gpu_index": 0, "memory_total_bytes": 100, "memory_used_bytes": 50}))
    assert sample.gpus[0].vram_used_percent is None


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ({"disks": [{"device": "sda"}, {}, {"device": " sda "}]}, "$.sample.disks[2].device"),
        ({"disks": [{"device": "d" * 64 + "1"}, {"device": "d" * 64 + "2"}]}, "$.sample.disks[1].device"),
        ({"gpus": [{"gpu_index": 1}, 5, {"gpu_index": "1"}]}, "$.sample.gpus[2].gpu_index"),
        ({"gpus": [{"gpu_index": 1}, {"gpu_index": 1}]}, "$.sample.gpus[1].gpu_index"),
        ({"fans": [{}, {"label": "Fan"}]}, "$.sample.fans[1].label"),
    ],
)
def test_a_device_that_comes_twice_is_refused_by_its_path(sent: dict[str, Any], path: str) -> None:
    assert refused(changed(**sent)).field == path


def test_names_that_cannot_be_shown_are_made_showable() -> None:
    sample = one(
        changed(
            disks=[{"device": "\x00sda\u2028"}, {"device": "\ud800"}, {"device": "\t\n"}],
            gpus=[{"gpu_index": 0, "name": "A\x07B\xa0C", "uuid": "\udfff"}],
            fans=[{"label": "Lüfter 日本\x00"}],
        )
    )
    assert [disk.device for disk in sample.disks] == ["\ufffdsda", "\ufffd"]
    assert (sample.gpus[0].model, sample.gpus[0].gpu_id) == ("A\ufffdB C", "\ufffd")
    assert sample.fans[0].label == "Lüfter 日本\ufffd"
    assert clean(sample) == sample


@pytest.mark.parametrize("kind", ["disks", "gpus", "fans"])
def test_as_many_devices_as_series_take_are_taken_and_one_more_is_refused(kind: str) -> None:
    def many(count: int) -> dict[str, Any]:
        return changed(**{kind: [{"device": f"d{at}", "gpu_index": at, "label": f"f{at}"} for at in range(count)]})

    assert len(getattr(clean(one(many(256))), kind)) == 256
    assert refused(many(257)).field == f"$.sample.{kind}"


# Times.


def test_a_time_keeps_its_senders_offset_for_the_answer() -> None:
    (incoming,) = read(changed(collected_at="2026-02-26T04:37:49.12+02:00")).incoming
    assert (incoming.sample.taken_at_unix_us, incoming.collected_at) == (AT_US, "2026-02-26T04:37:49.120000+02:00")
    assert {gpu.taken_at_unix_us for gpu in incoming.sample.gpus} == {AT_US}


@pytest.mark.parametrize("sent", [None, "", "soon", 1_772_073_469, 1.5, [], {}, True])
def test_a_time_that_is_none_is_ours(sent: Any) -> None:
    (incoming,) = read(changed(collected_at=sent)).incoming
    assert (incoming.sample.taken_at_unix_us, incoming.collected_at) == (NOW_US, "2026-02-26T10:00:00+00:00")


def test_an_impossible_time_is_refused_by_its_path() -> None:
    assert refused(changed(collected_at="2026-13-01T00:00:00Z")).field == "$.sample.collected_at"
    assert refused([{}, {"collected_at": "2026-13-01T00:00:00Z"}]).field == "$[1].collected_at"


# Arrays.


def test_an_array_holds_samples_of_either_form_in_order() -> None:
    batch = read([BODY, SAMPLE | {"cpu_load_1": 1}, {"sample": {"cpu_load_1": "2"}, "agent": {"version": "9"}}])
    assert batch.is_array
    assert [each.sample.cpu_load_1 for each in batch.incoming] == [6.2, 1.0, 2.0]
    assert batch.agent() == {"version": "9"}
    assert read(b" \n[{}]").is_array


def test_an_array_without_samples_or_with_too_many_is_refused() -> None:
    assert refused([]).field == "$"
    assert len(read([{}] * 1000).incoming) == 1000
    assert "found 1001 samples" in refused([{}] * 1001).hint
    assert "found 1001 samples" in refused([{"cpu_load_1": "1"}] * 1001).hint


@pytest.mark.parametrize("entry", [None, 5, "x", []])
def test_an_array_with_something_else_than_objects_is_refused(entry: Any) -> None:
    error = refused([BODY, entry])
    assert (error.message, error.field) == ("Payload must be a JSON object.", "$[1]")


# What is no payload at all.


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf{}",
        b'{"sample":{"fans":[{"label":"\xff"}]}}',
        b'{"agent":{"version":"\xff"}}',
        b'{"unknown":"\xed\xa0\x80"}',
        json.dumps(BODY).encode("utf-16"),
        b"{",
        b"{'a':1}",
        b'{"a":1,}',
        b"{}{}",
        b"[{}",
        b" ",
        b"\x00",
        b'{"agent":{"x":"\\q"}}',
    ],
)
def test_bytes_that_are_no_json_are_refused(body: bytes) -> None:
    assert refused(body).message == "Invalid JSON payload."


@pytest.mark.parametrize("body", [b"5", b'"text"', b"null", b"true", b"NaN"])
def test_json_that_is_no_payload_is_refused(body: bytes) -> None:
    assert refused(body).message == "Payload must be a JSON object."


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        (b'{"sample":{"cpu_load_1":', b"}}", "$.sample.cpu_load_1[0][0]"),
        (b'{"sample":{},"agent":{"x":1,"deep":', b"}}", "$.agent.deep[0]"),
        (b'[{},{"gpus":[{"a":"[{"},', b"]}]", "$[1].gpus[1][0]"),
        (b"", b"", "$[0][0]"),
    ],
)
def test_json_nested_too_deep_is_refused_by_its_path(before: bytes, after: bytes, path: str) -> None:
    for depth in (20_000, 90_000):
        error = refused(before + b"[" * depth + b"]" * depth + after)
        assert error.message == "Ingest processing failed."
        assert error.field.startswith(path)
        assert len(error.field) < 100


def test_a_body_of_nothing_but_brackets_is_refused_before_it_costs_memory() -> None:
    assert "100000" in refused(b"[" + b"{}," * 200_000 + b"{}]").hint
    assert "100000" in refused(b'{"gpus":[' + b"[]," * 200_000 + b"{}]}").hint


# Both ways of reading agree, whatever is sent.

HOSTILE: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, False, 0, -1, 1, 12.9, -0.0, 1e300, 5e-324, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1),
        *(
            10**25,
            10**310,
            float("inf"),
            float("nan"),
            "",
            " ",
            "41",
            "12.9",
            "1e9",
            "inf",
            "nan",
            "x",
            "\x00",
            "\ud800",
        ),
        *("日本", [], {}, [1], {"a": 1}, [[{}]], "sda", "GPU-a", "index:0", AT, "2026-13-01T00:00:00Z", "a" * 300),
    ]
)
PLACES = [
    *(("sample",), ("agent",), ("agent", "labels"), ("agent", "pid"), ("agent", "new"), ("unknown",)),
    *(("sample", name) for name in (*SAMPLE, "unknown")),
    *(("sample", "gpus", 0, name) for name in SAMPLE["gpus"][0]),
    *(("sample", "gpus", 1, name) for name in ("gpu_index", "uuid", "name")),
    *(("sample", "disks", 1, name) for name in SAMPLE["disks"][0]),
    *(("sample", "fans", 1, name) for name in ("label", "speed_rpm", "unknown")),
    *(("sample", kind, 1) for kind in ("gpus", "disks", "fans")),
]


def outcome(data: bytes, *, leniently: bool) -> tuple[Any, ...]:
    try:
        if leniently:
            batch = batch_of(read_leniently(data or b"{}"), series_id="box", now_unix_us=NOW_US)
        else:
            batch = read_batch(data, series_id="box", now_unix_us=NOW_US)
        incoming = [(each.sample, each.collected_at) for each in batch.incoming]
        return repr(incoming), batch.is_array, batch.agent()
    except BadInput as error:
        return "refused", error.message, error.field, error.hint


def storable(data: bytes) -> None:
    """Whatever is taken can be stored by core, and shown in JSON."""
    with suppress(BadInput):
        batch = read_batch(data, series_id="box", now_unix_us=NOW_US)
        for each in batch.incoming:
            stored = clean(each.sample)
            assert [disk.device for disk in stored.disks] == [disk.device for disk in each.sample.disks]
            shown = json.dumps(attrs.asdict(each.sample), allow_nan=False, ensure_ascii=False)
            shown.encode()
        msgspec.json.encode(batch.agent())


@st.composite
def changed_bodies(draw: st.DrawFn) -> bytes:
    body = copy.deepcopy(BODY)
    for place in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3)):
        *way, last = place
        inner: Any = body
        for step in way:
            if isinstance(inner, dict):
                inner = inner.get(step)
            elif isinstance(inner, list) and isinstance(step, int) and step < len(inner):
                inner = inner[step]
            else:
                inner = None
        if isinstance(inner, dict) or (isinstance(inner, list) and isinstance(last, int) and last < len(inner)):
            inner[last] = draw(HOSTILE)
    whole: Any = draw(st.sampled_from([body, body["sample"], [body, body], [body["sample"]]]))
    return json.dumps(whole, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


@given(changed_bodies())
def test_both_ways_of_reading_agree_on_changed_values(data: bytes) -> None:
    assert outcome(data, leniently=False) == outcome(data, leniently=True)
    storable(data)


def test_both_ways_of_reading_agree_on_damaged_bytes() -> None:
    random, whole = Random(4), json.dumps(BODY).encode()
    pieces = [
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"0",
        b"-",
        b"e",
        b".",
        b"\\",
        b"\xff",
        b"\x00",
        b" ",
        b"NaN",
        b"9" * 20,
    ]
    taken = 0
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            at = random.randrange(len(data))
            data[at : at + random.randint(0, 2)] = random.choice(pieces)
        found = outcome(bytes(data), leniently=False)
        assert found == outcome(bytes(data), leniently=True), bytes(data)
        taken += found[0] != "refused"
    assert 100 < taken < 2900  # the test sees both kinds


@given(st.from_regex(rb"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][-+]?[0-9]{1,3})?", fullmatch=True))
def test_both_ways_of_reading_agree_on_every_number(number: bytes) -> None:
    data = b'{"cpu_load_1":%b,"process_count":%b,"fans":[{"label":"a","speed_rpm":%b}]}' % (number, number, number)
    assert outcome(data, leniently=False) == outcome(data, leniently=True)
    alone = b'{"cpu_load_1":%b}' % number
    assert outcome(alone, leniently=False) == outcome(alone, leniently=True)


def test_what_is_sent_has_every_series_that_core_knows() -> None:
    for kind, model in ((SentGpu, GpuSample), (SentDisk, DiskSample), (SentFan, FanSample), (SentSample, HostSample)):
        for each in attrs.fields(model):
            if SERIES in each.metadata:
                assert hasattr(kind, each.name), f"{kind.__name__}.{each.name}: say that agents never send it"


@pytest.mark.parametrize("name", ["(host_id)", "host_id", "(taken_at_unix_us)", "taken_at_unix_us"])
@pytest.mark.parametrize("value", ["victim", 5])
def test_no_body_chooses_the_host_or_the_moment_under_which_it_is_stored(name: str, value: object) -> None:
    (incoming,) = read_batch(json.dumps({name: value}).encode(), series_id="box", now_unix_us=NOW_US).incoming
    assert (incoming.sent.host_id, incoming.sent.taken_at_unix_us) == ("box", NOW_US)
