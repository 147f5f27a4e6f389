"""What ``[plugins.task_scheduler]`` takes."""

from typing import Any

import pytest

from plugins.task_scheduler.settings import TaskSettings


def test_defaults_keep_to_the_document() -> None:
    settings = TaskSettings()
    assert (settings.network, settings.listed_max, settings.never_zero) == ("auto", 5000, False)


@pytest.mark.parametrize("wrong", [{"network": "host"}, {"listed_max": 0}, {"listed_max": 10**9}])
def test_setting_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TaskSettings(**wrong)
