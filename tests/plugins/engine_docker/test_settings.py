"""What ``[plugins.engine_docker]`` takes."""

from typing import Any

import pytest

from plugins.engine_docker.settings import DockerSettings


@pytest.mark.parametrize(
    "given",
    [
        {"host": "http://x"},
        {"host": "unix://relative"},
        {"host": "tcp://a b"},
        {"host": "tcp://user@host"},
        {"tls_ca": "ca.pem"},
        {"tls_key": "/a\0b"},
        {"network": "host"},
        {"network": "none"},
        {"network": "container:x"},
        {"network": ""},
        {"dns": ("resolver.example",)},
        {"log_mib": 0},
    ],
)
def test_setting_that_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the words are attrs' or ours
        DockerSettings(**given)


def test_settings_that_make_sense_are_taken() -> None:
    made = DockerSettings(
        host="tcp://[::1]:2376", network="tasks_1", dns=("9.9.9.9", "2620:fe::fe"), tls_ca="/a/ca.pem"
    )
    assert made.dns == ("9.9.9.9", "2620:fe::fe")
