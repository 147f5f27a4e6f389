"""The count of failed starts."""

from pathlib import Path

import pytest

from appliance.failed_starts import FailedStarts


def test_three_failed_starts_in_a_row_lead_to_safe_mode_and_a_good_one_ends_it(tmp_path: Path) -> None:
    for number in range(3):
        starts = FailedStarts(tmp_path)
        assert (starts.before, starts.is_safe_mode) == (number, False)
        starts.begin()
    fourth = FailedStarts(tmp_path)
    assert fourth.is_safe_mode
    fourth.begin()
    fourth.ready()
    assert FailedStarts(tmp_path).before == 0


def test_a_forgiven_start_does_not_count(tmp_path: Path) -> None:
    FailedStarts(tmp_path).begin()
    starts = FailedStarts(tmp_path)
    starts.begin()
    starts.forgive()
    assert FailedStarts(tmp_path).before == 1


@pytest.mark.parametrize("content", [b"", b"many", b"\xff", b"-1", b"9" * 5000])
def test_a_damaged_count_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "failed-starts").write_bytes(content)
    assert FailedStarts(tmp_path).before in (0, 1000)
