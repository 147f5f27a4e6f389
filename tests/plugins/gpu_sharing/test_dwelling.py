"""The folders in which commands start."""

import os
from pathlib import Path

import pytest

from plugins.gpu_sharing.dwelling import dwell, place
from plugins.gpu_sharing.launching import Identity
from tests.plugins.gpu_sharing.runners import needs_root, open_folder

ONE = Identity(uid=1, gid=1, home=Path("/"), is_own=False)
TWO = Identity(uid=65_534, gid=65_534, home=Path("/"), is_own=False)
OWN = Identity(uid=os.geteuid(), gid=os.getegid(), home=Path("/"), is_own=True)


def mode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mode & 0o777, found.st_uid


@needs_root
def test_folder_of_a_worker_is_its_users_alone_is_kept_and_another_user_gets_another_one() -> None:
    with open_folder() as folder:
        homes = folder / "homes"
        made = place(homes, "w", ONE)
        before = os.umask(0o077)
        try:
            dwell(made, ONE)
        finally:
            os.umask(before)
        assert (mode(made), mode(homes)) == ((0o700, 1), (0o711, 0)), "whatever the umask"
        (made / "kept").touch()
        dwell(made, ONE)
        assert (made / "kept").exists()
        assert place(homes, "w", TWO) != made


@needs_root
def test_folder_of_folders_that_a_service_manager_has_closed_is_opened_again() -> None:
    with open_folder() as folder:
        homes = folder / "homes"
        homes.mkdir(mode=0o700)
        dwell(place(homes, "w", ONE), ONE)
        assert mode(homes) == (0o711, 0)


def test_folder_of_our_own_user_lets_nobody_else_pass() -> None:
    with open_folder() as folder:
        made = place(folder / "homes", "w", OWN)
        dwell(made, OWN)
        assert [mode(made), mode(made.parent)] == [(0o700, os.geteuid())] * 2


@needs_root
@pytest.mark.parametrize("what", ["link", "file", "strangers"])
def test_folder_that_is_something_else_is_refused(what: str) -> None:
    with open_folder() as folder:
        made = place(folder, "w", ONE)
        if what == "link":
            made.symlink_to("/etc")
        elif what == "file":
            made.touch()
        else:
            made.mkdir()
        with pytest.raises(OSError, match="is no folder of its user"):
            dwell(made, ONE)


@needs_root
@pytest.mark.parametrize("what", ["open", "strangers", "link"])
def test_folder_of_folders_in_which_others_can_write_is_refused(what: str) -> None:
    with open_folder() as folder:
        homes = folder / "homes"
        if what == "link":
            homes.symlink_to("/tmp")
        else:
            homes.mkdir()
            homes.chmod(0o777 if what == "open" else 0o700)
            os.chown(homes, 1 if what == "strangers" else 0, -1)
        with pytest.raises(OSError, match="is not a folder of ours alone"):
            dwell(place(homes, "w", ONE), ONE)
