import pytest

from appliance.cli.format import age, number, plain, size, table


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (31.2 * 2**30, "31.2 GiB"), (5 * 2**40, "5.0 TiB")],
)
def test_size_reads_in_the_largest_fitting_unit(count: float | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (11520, "3 h 12 min"), (90000, "1 d 1 h"), (-3, "0 s")],
)
def test_age_shows_the_two_largest_units(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


def test_number_that_is_not_reported_is_a_dash_and_never_zero() -> None:
    assert number(None, " %") == "-"
    assert number(0.0, " %") == "0 %"


def test_control_characters_from_outside_cannot_move_the_cursor() -> None:
    assert plain("python\x1b[2J\ntrain.py") == "python?[2J?train.py"


def test_table_aligns_columns_and_flushes_figures_right() -> None:
    text = table(("GPU", "NAME"), [(0, "a"), (10, None)], right=(0,))
    assert text.splitlines() == ["GPU  NAME", "  0  a", " 10  -"]
