import math
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.gpu_sharing import lineprotocol
from plugins.gpu_sharing.lineprotocol import (
    FAULTS_MAX,
    LINE_CHARACTERS_MAX,
    LINES_MAX,
    PARTS_MAX,
    TEXT_CHARACTERS_MAX,
    Point,
    Read,
    Value,
    read_lines,
)

AGENT_LINE = (
    r"gpu_metrics,agent_id=agent-abc,gpu_id=gpu-001,model=RTX\ 4090,vendor=nvidia"
    " utilization=75.50,vram_used_mb=8192i,vram_total_mb=24576i,temperature=72.0,power_usage_w=250.0,"
    "pcie_rx_kb=1024.5,pcie_tx_kb=512.3 1700000000000"
)


def one(line: str) -> Point:
    read = read_lines(line)
    assert read.faults == ()
    [point] = read.points
    return point


def test_line_of_a_real_agent_is_read_whole() -> None:
    assert one(AGENT_LINE) == Point(
        "gpu_metrics",
        {"agent_id": "agent-abc", "gpu_id": "gpu-001", "model": "RTX 4090", "vendor": "nvidia"},
        {
            "utilization": 75.5,
            "vram_used_mb": 8192,
            "vram_total_mb": 24576,
            "temperature": 72.0,
            "power_usage_w": 250.0,
            "pcie_rx_kb": 1024.5,
            "pcie_tx_kb": 512.3,
        },
        1700000000000,
    )


@pytest.mark.parametrize(
    ("line", "point"),
    [
        ("m f=1", Point("m", {}, {"f": 1.0}, None)),
        ("m f=1 -5", Point("m", {}, {"f": 1.0}, -5)),
        ("m  f=1  5  ", Point("m", {}, {"f": 1.0}, 5)),
        ("m f=1\r", Point("m", {}, {"f": 1.0}, None)),
        (r"my\ m\,x,t\=a\ b=c\,d f\ g=1", Point("my m,x", {"t=a b": "c,d"}, {"f g": 1.0}, None)),
        ("m=x f=1", Point("m=x", {}, {"f": 1.0}, None)),  # '=' needs no escape in a measurement
        (r"m\=x,a\=b=c f=1", Point(r"m\=x", {"a=b": "c"}, {"f": 1.0}, None)),
        (r"m,t=a\b f=1", Point("m", {"t": r"a\b"}, {"f": 1.0}, None)),  # nothing but , = and space is escaped
        ("m,model=,vendor= f=1", Point("m", {}, {"f": 1.0}, None)),  # agents send these
        ("m f=-1i,g=7u,h=-0i", Point("m", {}, {"f": -1, "g": 7, "h": 0}, None)),
        (r"my\ m,t\ a=b\ c f=1", Point("my m", {"t a": "b c"}, {"f": 1.0}, None)),
        (r"m,t=a\\\ b f=1", Point("m", {"t": r"a\\ b"}, {"f": 1.0}, None)),  # two that stay, one that escapes
        (r"m,t=a\\ f=1", Point("m", {"t": r"a\\"}, {"f": 1.0}, None)),  # the first escapes the second: the tags end
        ("m f=.5,g=5.,h=-1.2E+3,i=1e-400", Point("m", {}, {"f": 0.5, "g": 5.0, "h": -1200.0, "i": 0.0}, None)),
        ("m f=t,g=FALSE,h=True", Point("m", {}, {"f": True, "g": False, "h": True}, None)),
        (r'm f="a, b = c \" d \\ e \n",g=1', Point("m", {}, {"f": r'a, b = c " d \ e \n', "g": 1.0}, None)),
        ('m f="x",g=NaN', Point("m", {}, {"f": "x"}, None)),
        ('m f=""', Point("m", {}, {"f": ""}, None)),
        ("m f=NaN,g=1", Point("m", {}, {"g": 1.0}, None)),  # Go prints these for what could not be read
        ("m f=+Inf,g=-Inf,h=1e999", Point("m", {}, {}, None)),
        ("m f=9223372036854775807i", Point("m", {}, {"f": 2**63 - 1}, None)),
        ("größe,ort=münchen wert=1", Point("größe", {"ort": "münchen"}, {"wert": 1.0}, None)),
    ],
)
def test_lines_are_read_by_the_grammar(line: str, point: Point) -> None:
    assert one(line) == point


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("m", "no fields"),
        ("m ", "no fields"),
        ("m,t=v", "no fields"),
        (",t=v f=1", "no measurement"),
        (" f=1", "no measurement"),
        ("m,t f=1", "a tag without a name or value"),
        ("m,=v f=1", "a tag without a name or value"),
        ("m,t=a=b f=1", "a tag without a name or value"),
        ("m,t=v,t=w f=1", "a tag twice"),
        ("m,t=,t= f=1", "a tag twice"),
        (r"m,t\ a=v,t\ a=w f=1", "a tag twice"),
        ('m f="a",f=2', "a field twice"),
        ("m,a\\ b=1," + ",".join(f"t{n}=1" for n in range(PARTS_MAX)) + " f=1", f"more than {PARTS_MAX} tags"),
        ('m a="1",' + ",".join(f"f{n}=1" for n in range(PARTS_MAX)), f"more than {PARTS_MAX} fields"),
        ("m f", "no fields"),
        ("m =1", "no fields"),
        ("m f=", "no fields"),
        ("m f=1,", "a field without a name or value"),
        ("m f=1,f=2", "a field twice"),
        ("m f=NaN,f=2", "a field twice"),
        ("m f=abc", "a value that is no number, text or truth"),
        ("m f=1ii", "a value that is no number, text or truth"),
        ("m f=-1u", "a value that is no number, text or truth"),
        ("m f=+1", "a value that is no number, text or truth"),
        ("m f=1.5i", "a value that is no number, text or truth"),
        ("m f=0x10", "a value that is no number, text or truth"),
        ("m f=1_000", "a value that is no number, text or truth"),
        ("m f=\u0661", "a value that is no number, text or truth"),
        ("m f=9223372036854775808i", "an integer of more than 64 bits"),
        ("m f=" + "9" * 5000 + "i", "a value that is no number, text or truth"),
        ('m f="open', "no fields"),
        ('m f="a"b', "no fields"),
        ("m f=1 1.5", "a time that is no integer"),
        ("m f=1 now", "a time that is no integer"),
        ("m f=1 1 1", "a time that is no integer"),
        ("m f=1 9223372036854775808", "an integer of more than 64 bits"),
        ("m f=1\t5", "a field without a name or value"),
        ("m\0 f=1", "a NUL"),
        ("m f=" + "1" * LINE_CHARACTERS_MAX, f"more than {LINE_CHARACTERS_MAX} characters"),
        ("m," + ",".join(f"t{n}=1" for n in range(PARTS_MAX + 1)) + " f=1", f"more than {PARTS_MAX} tags"),
        ("m " + ",".join(f"f{n}=1" for n in range(PARTS_MAX + 1)), f"more than {PARTS_MAX} fields"),
    ],
)
def test_line_that_is_not_as_the_grammar_has_it_is_told_and_costs_no_other(line: str, fault: str) -> None:
    read = read_lines(f"a f=1\n{line}\nb f=2")
    assert [point.measurement for point in read.points] == ["a", "b"]
    assert read.refused == 1
    assert read.faults[0].startswith("line 2: ")
    assert fault in read.faults[0] or (fault == "a field without a name or value" and "no fields" in read.faults[0])


def test_lines_that_begin_otherwise_than_asked_for_are_passed_over_unread() -> None:
    read = read_lines("gpu,t=v f=1\nworker f=oops\nsystem f=2\n\n# gpu f=3", ("gpu", "system"))
    assert [point.measurement for point in read.points] == ["gpu", "system"]
    assert read.refused == 0


def test_empty_lines_and_comments_are_passed_over() -> None:
    assert read_lines("\n# a f=1\n  \n\r\n") == Read(())
    assert read_lines("") == Read(())


def test_faults_are_told_up_to_a_few_and_counted_beyond() -> None:
    read = read_lines("\n".join(["bad"] * 100))
    assert (len(read.faults), read.refused) == (FAULTS_MAX, 100)


def test_lines_and_characters_beyond_the_limits_are_not_looked_at() -> None:
    read = read_lines("\n".join(["m f=1"] * (LINES_MAX + 100)))
    assert (len(read.points), read.refused) == (LINES_MAX, 1)
    assert read_lines("m f=1\n" * TEXT_CHARACTERS_MAX).points == ()


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\\\n\r\t\0\x0b\x0c\x1c\x1d\x1e\x1f\x85"),
    min_size=1,
    max_size=12,
).filter(lambda text: not any(each.isspace() and each != " " for each in text) and not text.startswith("#"))
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\0"), max_size=12),
)


def escaped(text: str, marks: str) -> str:
    return "".join(f"\\{each}" if each in marks else each for each in text)


def written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "F"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return repr(value)
    return '"' + escaped(value, '"\\') + '"'


@given(
    NAMES,
    st.dictionaries(NAMES, NAMES, max_size=4),
    st.dictionaries(NAMES, VALUES, min_size=1, max_size=4),
    st.none() | st.integers(-(2**63), 2**63 - 1),
)
def test_whatever_is_written_by_the_grammar_is_read_back(
    measurement: str, tags: dict[str, str], fields: dict[str, Value], at: int | None
) -> None:
    head = escaped(measurement, ", ") + "".join(f",{escaped(k, ',= ')}={escaped(v, ',= ')}" for k, v in tags.items())
    line = f"{head} " + ",".join(f"{escaped(name, ',= ')}={written(value)}" for name, value in fields.items())
    point = one(line if at is None else f"{line} {at}")
    assert point == Point(measurement, tags, fields, at)
    assert [type(value) for value in point.fields.values()] == [type(value) for value in fields.values()]


def outcome(read: Callable[[], object]) -> object:
    try:
        return read()
    except ValueError as fault:
        return str(fault)


@given(st.text(st.sampled_from("ab,=1i.-tN"), min_size=1, max_size=24), st.sampled_from(["", " 5", "  "]))
def test_plain_lines_are_read_alike_both_ways(text: str, rest: str) -> None:
    assert outcome(lambda: lineprotocol._plain_head(text)) == outcome(lambda: lineprotocol._escaped_head(text))
    line = text + rest
    assert outcome(lambda: lineprotocol._fields(line, 0)) == outcome(lambda: lineprotocol._quoted_fields(line, 0))


def test_tags_that_are_known_again_cannot_be_changed() -> None:
    tags = one("m,t=v f=1").tags
    with pytest.raises(TypeError):
        tags["t"] = "w"  # type: ignore[index]


@given(st.text(st.sampled_from('m ,=\\"#tfi1.-+eE\n\r\0\u00a0\ud800N'), max_size=60))
def test_nothing_raises_and_every_value_can_be_stored(text: str) -> None:
    for point in read_lines(text).points:
        for value in point.fields.values():
            assert not isinstance(value, float) or math.isfinite(value)
            assert not isinstance(value, int) or -(2**63) <= value < 2**63


@pytest.mark.parametrize("unit", ["\\", ",a=", "a=1,", '"', "\\ ", "=", "1", " "])
def test_hostile_line_takes_no_longer_than_its_length(unit: str) -> None:
    text = ("m," + unit * (LINE_CHARACTERS_MAX // len(unit)) + "\n") * (TEXT_CHARACTERS_MAX // LINE_CHARACTERS_MAX // 2)
    began = time.process_time()
    read_lines(text)
    read_lines(text.replace("m,", "m "))
    assert time.process_time() - began < 1
