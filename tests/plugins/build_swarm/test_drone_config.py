"""What may be set for a drone, however a page or a command line writes it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.plugin import BadInput
from plugins.build_swarm.drone_config import DEFAULTS, DroneConfig, read


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"cores_limit": "4"}, {"cores_limit": 4}),
        ({"cores_limit": 8.0}, {"cores_limit": 8}),
        ({"cores_limit": ""}, {"cores_limit": None}),
        ({"emerge_jobs": None}, {"emerge_jobs": 2}),
        ({"auto_reboot": False, "protected": "1"}, {"auto_reboot": 0, "protected": 1}),
        ({"ram_limit_gb": 16}, {"ram_limit_gb": 16.0}),
        ({"ssh_user": "", "ssh_port": None}, {"ssh_user": "root", "ssh_port": 22}),
        ({"ssh_password": "", "ssh_key_path": None}, {"ssh_password": None, "ssh_key_path": None}),
        ({"notes": "two\nlines", "display_name": ""}, {"notes": "two\nlines", "display_name": None}),
        ({"control_plane": "v3", "unknown": 1}, {"control_plane": "v3"}),
    ],
)
def test_fields_are_kept_in_one_form(body: dict[str, Any], kept: dict[str, Any]) -> None:
    assert read(body) == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cores_limit", 0),
        ("cores_limit", True),
        ("cores_limit", "many"),
        ("cores_limit", 10**30),
        ("max_failures", -1),
        ("ssh_port", 65_536),
        ("ssh_user", "root; reboot"),
        ("ssh_user", 5),
        ("ssh_password", "hunter2"),
        ("ssh_key_path", "/root/.ssh/id_rsa"),
        ("auto_reboot", 2),
        ("auto_reboot", "yes"),
        ("ram_limit_gb", 0),
        ("ram_limit_gb", float("nan")),
        ("ram_limit_gb", "16"),
        ("display_name", "a\x1b[2J"),
        ("notes", "x" * 4097),
        ("notes", ["x"]),
        ("control_plane", "v2"),
    ],
)
def test_field_that_cannot_be_that_is_named(name: str, value: Any) -> None:
    with pytest.raises(BadInput) as refused:
        read({name: value})
    assert refused.value.field == name
    assert "hunter2" not in refused.value.message + refused.value.hint


def test_request_without_a_field_is_refused() -> None:
    with pytest.raises(BadInput, match="No valid fields"):
        read({"node_name": "x", "created_at": 1})


VALUES = st.none() | st.integers() | st.floats() | st.text() | st.booleans()


@given(st.dictionaries(st.sampled_from(sorted(DEFAULTS)), VALUES))
def test_anything_is_kept_or_refused_and_nothing_else(body: dict[str, Any]) -> None:
    try:
        kept = read(body)
    except BadInput:
        return
    assert set(kept) == set(body)
    assert read(kept) == kept


def test_what_is_not_set_is_as_it_is_without() -> None:
    config = DroneConfig(drone="a", fields={"cores_limit": 3}, created_unix_us=1, updated_unix_us=1)
    assert (config["cores_limit"], config["emerge_jobs"], config["protected"]) == (3, 2, 0)
