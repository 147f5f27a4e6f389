"""The data directory: made private, refused when it is not, and held by one process."""

import os
import stat
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from appliance.data_folder import SUBFOLDERS, FolderRefused, holder_pid, lock_data_folder, open_data_folder
from appliance.errors import AlreadyRunning

HOLD = (
    "import sys, pathlib\n"
    "from appliance.data_folder import lock_data_folder\n"
    "with lock_data_folder(pathlib.Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


def test_folder_is_made_with_its_subfolders_for_its_owner_only(tmp_path: Path) -> None:
    folder = open_data_folder(tmp_path / "new" / "data")
    for path in (folder.path, *(folder.path / name for name in SUBFOLDERS)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {path.name for path in folder.path.iterdir()} == {*SUBFOLDERS, "appliance.db"}
    open_data_folder(folder.path)


def test_database_is_made_for_its_owner_only_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = open_data_folder(tmp_path / "data")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.database.stat().st_mode) == 0o600
    folder.database.write_bytes(b"kept")
    assert open_data_folder(tmp_path / "data").database.read_bytes() == b"kept"


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o770])
def test_folder_that_others_can_enter_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(FolderRefused, match="open to other users") as refused:
        open_data_folder(path)
    assert refused.value.hint == f"chmod 700 {path}"
    path.chmod(0o700)
    open_data_folder(path)
    (path / "keys").chmod(mode)
    with pytest.raises(FolderRefused, match="keys is open to other users"):
        open_data_folder(path)


def test_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a folder away needs root")
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    os.chown(path, 65534, 65534)
    with pytest.raises(FolderRefused, match="belongs to user id 65534"):
        open_data_folder(path)


def test_link_and_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(FolderRefused, match="not a directory"):
        open_data_folder(tmp_path / "link")
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderRefused, match="cannot be used"):
        open_data_folder(tmp_path / "file")


def test_instance_id_is_made_once_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    folder = open_data_folder(tmp_path / "data")
    first = folder.instance_id()
    assert str(uuid.UUID(first)) == first
    assert open_data_folder(folder.path).instance_id() == first
    assert stat.S_IMODE(folder.instance.stat().st_mode) == 0o600
    folder.instance.write_bytes(b"\xff\xfe")
    with pytest.raises(FolderRefused, match="does not hold an id"):
        folder.instance_id()


def test_second_process_is_refused_with_the_pid_of_the_first_until_that_is_killed(tmp_path: Path) -> None:
    folder = open_data_folder(tmp_path / "data")
    assert holder_pid(folder.path) is None
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        assert holder_pid(folder.path) == child.pid
        with pytest.raises(AlreadyRunning, match=str(child.pid)) as refused, lock_data_folder(folder.path):
            pass
        assert refused.value.pid == child.pid
        child.kill()
        child.wait()
    assert holder_pid(folder.path) is None
    with lock_data_folder(folder.path):
        assert holder_pid(folder.path) == os.getpid()
    with lock_data_folder(folder.path):
        pass
