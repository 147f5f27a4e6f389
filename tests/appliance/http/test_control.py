import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.api import control_socket as found_by_command_line
from appliance.data_folder import DataFolder
from appliance.http.control import NAME, RECORD, control_socket
from appliance.listeners import CannotListen


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path short enough for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="ap") as folder:
        yield Path(folder)


def data_folder(path: Path) -> DataFolder:
    folder = DataFolder(path)
    folder.run.mkdir(parents=True, mode=0o700)
    return folder


def deep(path: Path) -> DataFolder:
    return data_folder(path / ("long" * 30))


def test_socket_is_for_its_owner_alone_and_gone_afterwards(short: Path) -> None:
    folder = data_folder(short)
    with control_socket(folder, {}) as control:
        assert control.path == folder.run / NAME
        assert stat.S_IMODE(control.path.stat().st_mode) == 0o600
        assert found_by_command_line(short) == control.path
    assert not control.path.exists()


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_was_planted_in_the_place_of_the_socket_is_left_alone(short: Path, kind: str) -> None:
    folder = data_folder(short)
    planted, elsewhere = folder.run / NAME, short / "elsewhere"
    elsewhere.write_text("kept")
    if kind == "file":
        planted.write_text("kept")
    elif kind == "link":
        planted.symlink_to(elsewhere)
    else:
        planted.mkdir()
    with pytest.raises(CannotListen), control_socket(folder, {}):
        pass
    assert planted.exists()
    assert elsewhere.read_text() == "kept"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_runtime_folder_that_others_may_write_is_not_used(short: Path, tmp_path: Path, mode: int) -> None:
    short.chmod(mode)
    with control_socket(deep(tmp_path), {"XDG_RUNTIME_DIR": str(short)}) as control:
        assert control.path.parent.parent != short
        assert stat.S_IMODE(control.path.parent.stat().st_mode) == 0o700


def test_runtime_folder_of_our_own_is_used(short: Path, tmp_path: Path) -> None:
    short.chmod(0o700)
    folder = deep(tmp_path)
    with control_socket(folder, {"XDG_RUNTIME_DIR": str(short)}) as control:
        assert control.path.parent.parent == short
        assert found_by_command_line(folder.path) == control.path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_command_line_talks_to_nobody_who_has_taken_the_recorded_place(short: Path) -> None:
    folder = data_folder(short / "data")
    taken = short / "taken"
    taken.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as planted:
        planted.bind(str(taken / NAME))
        (folder.run / RECORD).write_text(f"{taken / NAME}\n")
        assert found_by_command_line(folder.path) == taken / NAME
        os.chown(taken, 65534, 65534)
        assert found_by_command_line(folder.path) == folder.run / NAME


def test_command_line_uses_no_recorded_place_that_others_may_enter(short: Path) -> None:
    folder = data_folder(short / "data")
    shared = short / "shared"
    shared.mkdir()
    shared.chmod(0o755)
    (folder.run / RECORD).write_text(f"{shared / NAME}\n")
    assert found_by_command_line(folder.path) == folder.run / NAME
