import pytest

from plugins.build_swarm.binhost_settings import BinhostSettings


def test_head_of_indices_takes_further_lines() -> None:
    head = {"ARCH": "amd64", "PROFILE": "default/linux/amd64/23.0", "USE_EXPAND": "ABI_X86 CPU_FLAGS_X86"}
    assert BinhostSettings(binhost_header=head).binhost_header == head


@pytest.mark.parametrize(
    "head",
    [{"TIMESTAMP": "1"}, {"arch": "amd64"}, {"A B": "x"}, {"ARCH": "a\nPACKAGES: 9"}, {"ARCH": "x" * 5000}, {"": "x"}],
)
def test_line_that_would_damage_an_index_is_refused(head: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"names such as ARCH|one printable line"):
        BinhostSettings(binhost_header=head)


@pytest.mark.parametrize(
    "said", [{"binhost_package_bytes_max": 0}, {"binhost_bytes_max": -1}, {"binhost_builds_kept": -1}]
)
def test_number_that_makes_no_sense_is_refused(said: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must be >="):
        BinhostSettings(**said)
