"""Sizes as agents write them: what the documented server takes is taken, and nothing else."""

import pytest

from plugins.machine_registry.quantities import cpu_millicores, gpu_count, memory_bytes, memory_mib

DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("text", "millicores"),
    [
        ("8000m", 8000),
        ("8000", 8000),
        ("8", 8),
        ("+5m", 5),
        ("-0", 0),
        ("0m", 0),
        (str(2**63 - 1), 2**63 - 1),
        *((text, None) for text in ("8.5", "1e3", "-1m", "-1", "m", "", "8000mm", " 8", "8 ", "0x8", "٨", "8\n")),
        (str(2**63), None),
        (DIGITS, None),
    ],
)
def test_cpu_is_millicores_with_or_without_its_m(text: str, millicores: int | None) -> None:
    assert cpu_millicores(text) == millicores


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("16Gi", 16_384),
        ("32768Mi", 32_768),
        ("33554432Ki", 32_768),
        ("1025Ki", 1),
        ("16384", 16_384),
        ("0Gi", 0),
        *(
            (text, None)
            for text in ("16G", "16GB", "16Ti", "1.5Gi", "-1Gi", "+1Gi", "Gi", "16 Gi", "", "16gi", "16Gi\n")
        ),
        (f"{2**62}Gi", None),
        (DIGITS, None),
    ],
)
def test_memory_is_mib_and_knows_three_units(text: str, mib: int | None) -> None:
    assert memory_mib(text) == mib


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1", 1),
        ("0", 0),
        ("007", 7),
        (str(2**32 - 1), 2**32 - 1),
        *((text, None) for text in ("", "-1", "+1", " 1", "1 ", "1.0", "one", "²", str(2**32), DIGITS)),
    ],
)
def test_gpu_count_is_digits_below_two_to_the_32(text: str, count: int | None) -> None:
    assert gpu_count(text) == count


def test_memory_of_a_keepalive_is_mb_as_documented_and_bytes_as_sent() -> None:
    assert memory_bytes(16_384) == 16_384 * 2**20
    assert memory_bytes(25_276_514_304) == 25_276_514_304
    assert memory_bytes(2 * 2**20) == 2 * 2**40  # 2 TB, in MB
    assert memory_bytes(64 * 2**20) == 64 * 2**20  # 64 MiB, in bytes
