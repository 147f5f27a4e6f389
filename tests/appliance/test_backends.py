"""The words in which a backend tells how it does."""

import pytest

from appliance.backends import BackendStatus, DeviceAbsent
from appliance.errors import DeviceUnavailable


@pytest.mark.parametrize(
    ("state", "ok", "present"),
    [
        ("ok", True, True),
        ("absent", False, False),
        ("unavailable", False, True),
        ("hung", False, True),
        ("starting", False, True),
    ],
)
def test_status_says_whether_it_works_and_whether_there_is_anything(state: str, ok: bool, present: bool) -> None:
    status = BackendStatus(name="x", state=state, message="m")
    assert (status.ok, status.present) == (ok, present)


def test_absent_hardware_is_a_kind_of_unavailable() -> None:
    assert issubclass(DeviceAbsent, DeviceUnavailable)
