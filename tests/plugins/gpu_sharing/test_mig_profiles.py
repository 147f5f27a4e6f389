"""Which MIG profile a wish needs."""

import pytest

from appliance.errors import Conflict
from plugins.gpu_sharing.mig_profiles import Profile, percent_of, pick, published_profiles, read_profiles
from tests.plugins.gpu_sharing.smi_device import LISTING


def test_profiles_are_read_as_nvidia_smi_writes_them() -> None:
    found = {each.name: each for each in read_profiles(LISTING)}
    assert list(found) == ["1g.10gb", "1g.10gb+me", "1g.20gb", "2g.20gb", "3g.40gb", "7g.80gb"]
    assert found["2g.20gb"] == Profile(name="2g.20gb", profile_id=14, free=3, memory_mib=20_090, sm_count=32)
    assert read_profiles("No MIG-enabled devices found.\n") == ()


def test_profiles_are_all_free_before_the_mode_is_on() -> None:
    none_free = LISTING.replace("3/3 ", "0/3 ")
    assert {each.name: each.free for each in read_profiles(none_free)}["2g.20gb"] == 0
    assert {each.name: each.free for each in read_profiles(none_free, is_on=False)}["2g.20gb"] == 3


@pytest.mark.parametrize(
    ("vram_mb", "compute_percent", "name"),
    [
        (None, None, "1g.10gb"),
        (9_984, 12, "1g.10gb"),
        (9_985, None, "1g.20gb"),
        (9_000, 13, "1g.20gb"),
        (9_000, 20, "2g.20gb"),
        (30_000, 45, "3g.40gb"),
        (30_000, 46, "7g.80gb"),
        (None, 100, "7g.80gb"),
    ],
)
def test_smallest_profile_that_has_enough_is_picked(
    vram_mb: int | None, compute_percent: int | None, name: str
) -> None:
    profiles = read_profiles(LISTING)
    assert pick(profiles, vram_mb=vram_mb, compute_percent=compute_percent).name == name
    assert pick(profiles[::-1], vram_mb=vram_mb, compute_percent=compute_percent).name == name


def test_profile_that_is_not_free_is_passed_over() -> None:
    taken = read_profiles(LISTING.replace("7/7", "0/7"))
    assert pick(taken, vram_mb=1, compute_percent=None).name == "1g.20gb"


def test_profile_that_nobody_has_is_refused_with_what_there_is() -> None:
    with pytest.raises(Conflict) as refused:
        pick(read_profiles(LISTING), vram_mb=200_000, compute_percent=None)
    assert "1g.10gb (9984 MiB, 12 %, 7 free)" in refused.value.hint
    assert "+me" not in refused.value.hint
    with pytest.raises(Conflict):
        pick((), vram_mb=None, compute_percent=None)


SEVENTHS = [(10_000, 14), (20_000, 14), (20_000, 28), (40_000, 42), (40_000, 57), (80_000, 100)]
"""Of 80,000 MiB: memory, and percent of the compute."""
QUARTERS = [(20_000, 25), (40_000, 50), (80_000, 100)]


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        (
            "NVIDIA A100-SXM4-80GB",
            [(10_000, 14), (20_000, 14), (20_000, 28), (40_000, 42), (40_000, 57), (80_000, 100)],
        ),
        ("NVIDIA A30", QUARTERS),
        ("NVIDIA RTX PRO 6000 Blackwell", QUARTERS),
    ],
)
def test_profiles_that_no_driver_lists_are_estimated_as_nvidia_divides_its_gpus(
    model: str, sizes: list[tuple[int, int]]
) -> None:
    found = published_profiles(model, 80_000)
    assert [(each.memory_mib, percent_of(each, found)) for each in found] == sizes
    assert {each.profile_id for each in found} == {None}
