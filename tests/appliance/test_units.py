import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import units
from appliance.errors import BadInput


@pytest.mark.parametrize(("text", "millicores"), [("8000m", 8000), ("8", 8000), ("0.5", 500), ("0.001", 1), ("0", 0)])
def test_cores_become_millicores(text: str, millicores: int) -> None:
    assert units.parse_millicores(text) == millicores


@pytest.mark.parametrize(
    ("text", "size"), [("16Gi", 16 * 2**30), ("500M", 500_000_000), ("1.5Ki", 1536), ("7", 7), ("1k", 1000), ("0", 0)]
)
def test_sizes_become_bytes(text: str, size: int) -> None:
    assert units.parse_bytes(text) == size


def test_mib_are_rounded_up() -> None:
    assert units.parse_mib("1048577") == 2
    assert units.parse_mib("16Gi") == 16 * 1024


@pytest.mark.parametrize(("text", "seconds"), [("5m", 300), ("30s", 30), ("1.5h", 5400), ("7d", 604_800), ("0s", 0)])
def test_durations_become_seconds(text: str, seconds: float) -> None:
    assert units.parse_seconds(text) == seconds


BAD = [
    "",
    " 5m",
    "5m ",
    "-5m",
    "+5",
    "5 m",
    "1e3",
    "nan",
    "inf",
    "0x10",
    "٣",
    "5mm",
    "1_000",
    "9" * 5000,
    "1.",
    ".5",
    "5\n",
]


@pytest.mark.parametrize("text", BAD)
def test_every_parser_refuses_what_is_no_quantity(text: str) -> None:
    for parse in (units.parse_millicores, units.parse_bytes, units.parse_seconds):
        with pytest.raises(BadInput):
            parse(text)


@pytest.mark.parametrize("text", ["0.0001", "0.5m", "16Gi"])
def test_cores_that_are_no_whole_millicores_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        units.parse_millicores(text)


@pytest.mark.parametrize("text", ["0.5", "999999P", "16gi", "16GiB"])
def test_sizes_that_are_no_bytes_or_too_many_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        units.parse_bytes(text)


@pytest.mark.parametrize("text", ["5", "5M", "999999999w"])
def test_durations_without_a_unit_or_without_end_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        units.parse_seconds(text)


def test_refusal_names_field_and_what_to_write() -> None:
    with pytest.raises(BadInput) as caught:
        units.parse_bytes("lots", field="$.memory")
    assert caught.value.field == "$.memory"
    assert "16Gi" in caught.value.hint


@given(st.integers(0, 2**50))
def test_what_is_written_is_read_back(value: int) -> None:
    assert units.parse_bytes(units.format_bytes(value)) == value
    assert units.parse_seconds(units.format_seconds(value % 10**9)) == value % 10**9
    assert units.parse_millicores(units.format_millicores(value % 10**12)) == value % 10**12
