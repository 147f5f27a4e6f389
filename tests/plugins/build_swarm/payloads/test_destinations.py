"""Where payloads go on drones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.build_swarm.payloads.destinations import Destination, destination
from plugins.build_swarm.payloads.models import TYPE_PATTERN
from plugins.build_swarm.payloads.settings import PayloadDestination, PayloadSettings


@pytest.mark.parametrize(
    ("payload_type", "path", "mode", "restart"),
    [
        ("drone_binary", "/usr/local/bin/swarm-drone", 0o755, True),
        ("init_script", "/etc/init.d/swarm-drone", 0o755, True),
        ("config", "/etc/swarm-drone/config.json", 0o644, False),
        ("portage_config", "/etc/portage/repos.conf/binhost.conf", 0o644, False),
        ("world", "/var/lib/swarm-drone/payloads/world", 0o644, False),
    ],
)
def test_types_go_where_the_documented_server_puts_them_and_others_never_to_tmp(
    payload_type: str, path: str, mode: int, restart: bool
) -> None:
    assert destination(PayloadSettings(), payload_type) == Destination(path=path, mode=mode, restart=restart)


def test_settings_change_what_they_say_and_nothing_else() -> None:
    settings = PayloadSettings(
        payload_folder="/opt/payloads",
        payload_destinations={
            "drone_binary": PayloadDestination(path="/opt/build-swarm/bin/swarm-drone"),
            "init_script": PayloadDestination(mode="700", restart=False),
            "tool": PayloadDestination(mode="0755", restart=True),
        },
    )
    assert destination(settings, "drone_binary") == Destination(
        path="/opt/build-swarm/bin/swarm-drone", mode=0o755, restart=True
    )
    assert destination(settings, "init_script") == Destination(
        path="/etc/init.d/swarm-drone", mode=0o700, restart=False
    )
    assert destination(settings, "tool") == Destination(path="/opt/payloads/tool", mode=0o755, restart=True)


def test_old_file_is_kept_hidden_beside_the_new_one() -> None:
    assert destination(PayloadSettings(), "init_script").kept == "/etc/init.d/.swarm-drone.swarm-previous"
    assert Destination(path="/x", mode=0, restart=False).kept == "/.x.swarm-previous"


@pytest.mark.parametrize(
    "path", ["relative", "/", "/a/../b", "/a/./b", "/a//b", "/a/", "/a b", "/a'b", "/a\nb", "/a$b", "/a\0b", "/-\\a"]
)
def test_paths_that_a_shell_could_read_otherwise_are_no_settings(path: str) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        PayloadDestination(path=path)
    with pytest.raises(ValueError, match="absolute path"):
        PayloadSettings(payload_folder=path)


def test_modes_and_names_of_types_that_are_none_are_no_settings() -> None:
    for mode in ("rwx", "0o755", "75", "0888", "4755"):
        with pytest.raises(ValueError, match="mode"):
            PayloadDestination(mode=mode)
    with pytest.raises(ValueError, match="names of types"):
        PayloadSettings(payload_destinations={"Drone": PayloadDestination()})
    with pytest.raises(ValueError, match="a folder"):
        PayloadSettings(payload_folder="")


@given(payload_type=st.from_regex(TYPE_PATTERN, fullmatch=True))
def test_every_type_has_an_absolute_path_outside_of_folders_that_anybody_writes_to(payload_type: str) -> None:
    path = destination(PayloadSettings(), payload_type).path
    assert path.startswith(("/usr/local/", "/etc/", "/var/lib/"))
    assert ".." not in path.split("/")
