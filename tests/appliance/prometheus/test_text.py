"""The text format: what is written is read back as it was, whatever labels and numbers hold."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.prometheus.text import Figures, escaped, family, labelled, number, text_of
from tests.appliance.prometheus.parsing import parse, same

texts = st.text(max_size=30) | st.sampled_from(['"', "\\", "\n", 'a"b\\c\nd', "\\n", "ü", "\r\t\x00", "}", '",x="'])
numbers = st.none() | st.floats() | st.integers(-(2**70), 2**70) | st.booleans()


@given(st.dictionaries(texts, numbers, max_size=8))
def test_any_label_and_any_number_is_read_back_as_it_was(values: dict[str, float | None]) -> None:
    figures = Figures()
    for text, value in values.items():
        figures.add("some_figure", 'Words with "quotes", \\ and\nlines.', value, label=text)
    reported = {text: float(value) for text, value in values.items() if value is not None}
    if not reported:
        assert figures.text == ""
        return
    read = parse(figures.text)["some_figure"]
    assert [each.labels["label"] for each in read.samples] == list(reported)
    assert all(same(each.value, reported[each.labels["label"]]) for each in read.samples)


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 2**63), max_size=8))
def test_a_column_is_read_back_without_what_is_not_reported(values: list[float | None]) -> None:
    labels = [labelled(device=str(place)) for place in range(len(values))]
    text = text_of(family("some_figure", "Words.", "gauge", labels, values))
    reported = {str(place): float(value) for place, value in enumerate(values) if value is not None}
    if not reported:
        assert text == ""
        return
    assert {each.labels["device"]: each.value for each in parse(text)["some_figure"].samples} == reported


def test_what_is_no_plain_number_in_a_column_is_written_as_one() -> None:
    class Celsius(float):
        def __str__(self) -> str:
            return "61 degrees"

    labels = [labelled(device=name) for name in "abc"]
    text = text_of(family("some_figure", "Words.", "gauge", labels, [True, Celsius(61), None]))
    assert [each.value for each in parse(text)["some_figure"].samples] == [1, 61]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (True, "1"),
        (2**53 + 1, "9007199254740993"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (-0.0, "-0.0"),
    ],
)
def test_numbers_are_written_as_the_format_has_them(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_label_that_is_no_unicode_text_can_still_be_sent() -> None:
    assert escaped("box\ud800") == "box?"
    assert escaped("Büro\n") == "Büro\\n"


def test_figures_of_one_family_come_together_in_any_order_and_once() -> None:
    figures = Figures()
    for place in range(2):
        figures.add("first", "First.", place, place=str(place))
        figures.add("second_total", "Second.", place, kind="counter", place=str(place))
    figures.add("first", "First.", 7, place="0")
    assert figures.text == (
        "# HELP first First.\n# TYPE first gauge\n"
        'first{place="0"} 0\nfirst{place="1"} 1\n'
        "# HELP second_total Second.\n# TYPE second_total counter\n"
        'second_total{place="0"} 0\nsecond_total{place="1"} 1\n'
    )


@pytest.mark.parametrize(
    "text",
    [
        "a 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1",
        "# HELP a A.\n# TYPE a gauge\na 1\na 1\n",
        '# HELP a A.\n# TYPE a gauge\na{b="1",b="2"} 1\n',
        '# HELP a A.\n# TYPE a gauge\na{b="\\x"} 1\n',
        '# HELP a A.\n# TYPE a gauge\na{b="1"c="2"} 1\n',
        "# HELP a A.\n# TYPE a gauge\na True\n",
        "# HELP a A.\n# TYPE a gauge\na None\n",
        "# HELP a A.\n# TYPE a counter\na -1\n",
        "# HELP a A.\n# TYPE a gauge\na 1\n# HELP b B.\n# TYPE b gauge\nb 1\na 2\n",
        "# HELP a A.\n# TYPE a gauge\na 1\n# HELP a A.\n# TYPE a gauge\na 2\n",
        "# HELP a A.\n# TYPE a gauge\n# HELP b B.\n# TYPE b gauge\nb 1\n",
    ],
)
def test_the_reader_of_these_tests_refuses_what_a_scraper_would(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)
