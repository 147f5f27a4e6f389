"""Where the file unpacks: only where nobody else can interfere, and nothing stays for ever."""

import fcntl
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .conftest import STRANGER_UID, Variant, Vary, run

pytestmark = pytest.mark.zipapp

DAY = 24 * 3600


def as_stranger(variant: Variant, python: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a variant as a user without rights."""
    user: dict[str, Any] = {"user": STRANGER_UID, "group": STRANGER_UID, "extra_groups": [], "cwd": "/"}
    return variant.run(python, "probe", env=variant.environment | more, **user)


def make_home(scene: Path) -> Path:
    """Give the stranger a home."""
    home = scene / "home"
    home.mkdir()
    os.chown(home, STRANGER_UID, STRANGER_UID)
    return home


def test_cache_is_made_private_in_the_home_of_whoever_starts(vary: Vary, stranger_python: str, scene: Path) -> None:
    variant, home = vary(), make_home(scene)
    done = as_stranger(variant, stranger_python, HOME=str(home), XDG_CACHE_HOME="")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    made = home / ".cache/appliance"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert len(variant.trees(made)) == 1


def test_read_only_home_falls_back_to_a_private_folder_that_is_removed(
    vary: Vary, stranger_python: str, scene: Path
) -> None:
    variant = vary()
    (scene / "temporary").mkdir()
    os.chown(scene / "temporary", STRANGER_UID, STRANGER_UID)
    done = as_stranger(variant, stranger_python, HOME="/proc", XDG_CACHE_HOME="", TMPDIR=str(scene / "temporary"))
    assert done.returncode == 0, done.stderr
    assert "each start unpacks anew" in done.stderr
    assert done.stderr.count("\n") == 1
    assert str(scene / "temporary") in done.stdout
    assert list((scene / "temporary").iterdir()) == []


def plant_foreign(place: Path) -> None:
    place.mkdir()
    os.chown(place, STRANGER_UID + 1, STRANGER_UID + 1)


def plant_writable(place: Path) -> None:
    place.mkdir()
    os.chown(place, STRANGER_UID, STRANGER_UID)
    place.chmod(0o777)


def plant_group_writable(place: Path) -> None:
    plant_writable(place)
    place.chmod(0o770)


def plant_link(place: Path) -> None:
    plant_writable(place.with_name("target"))
    place.with_name("target").chmod(0o700)
    place.symlink_to(place.with_name("target"))


def plant_file(place: Path) -> None:
    place.write_text("")


@pytest.mark.parametrize("plant", [plant_foreign, plant_writable, plant_group_writable, plant_link, plant_file])
def test_cache_that_others_could_change_is_refused(vary: Vary, stranger_python: str, scene: Path, plant: Any) -> None:
    variant, home = vary(), make_home(scene)
    plant(home / "appliance")
    done = as_stranger(variant, stranger_python, HOME="/proc", XDG_CACHE_HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert str(home / "appliance") in done.stderr
    assert str(home) not in done.stdout
    assert plant is plant_file or list((home / "appliance").iterdir()) == []


def test_cache_below_a_folder_that_others_can_change_is_refused(vary: Vary, stranger_python: str, scene: Path) -> None:
    variant, home = vary(), make_home(scene)
    home.chmod(0o777)
    done = as_stranger(variant, stranger_python, HOME="/proc", XDG_CACHE_HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert f"{home} can be written by others" in done.stderr


def test_cache_in_a_sticky_folder_of_root_is_used(vary: Vary, stranger_python: str, scene: Path) -> None:
    variant = vary()
    (scene / "shared").mkdir()
    (scene / "shared").chmod(0o1777)
    done = as_stranger(variant, stranger_python, HOME="/proc", XDG_CACHE_HOME=str(scene / "shared"))
    assert done.stderr == ""
    assert len(variant.trees(scene / "shared/appliance")) == 1


def test_cache_mounted_noexec_is_passed_over(vary: Vary, stranger_python: str, scene: Path) -> None:
    unshare = shutil.which("unshare")
    if not unshare or run([unshare, "-m", "true"]).returncode:
        pytest.skip("this process may not mount")
    variant, home = vary(), make_home(scene)
    script = (
        f"mount -t tmpfs -o noexec,mode=700,uid={STRANGER_UID} none {home} && exec setpriv --reuid {STRANGER_UID} "
        f"--clear-groups env -i HOME={home} {stranger_python} {variant.path} probe"
    )
    done = run([unshare, "-m", "sh", "-c", script], cwd="/")
    assert done.returncode == 0, done.stderr
    assert "mounted noexec" in done.stderr
    assert str(home) not in done.stdout


def test_root_uses_the_system_cache_and_no_home(bootstrap: ModuleType) -> None:
    environment = {"HOME": "/home/someone", "XDG_CACHE_HOME": "/home/someone/cache"}
    assert list(bootstrap.candidates(0, environment)) == ["/var/cache/appliance"]


READ_AS_STRANGER = f"""
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("bootstrap", sys.argv[1])
bootstrap = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bootstrap)
os.umask(0o077)
cache = bootstrap.open_cache(sys.argv[2], 0)
tree = os.path.join(cache, "tree")
os.makedirs(os.path.join(tree, "package"))
for name in ("package/__init__.py", ".in-use"):
    open(os.path.join(tree, name), "w").close()
bootstrap.share(tree)
os.setgroups([]); os.setgid({STRANGER_UID}); os.setuid({STRANGER_UID})
sys.path.insert(0, tree)
import package
try:
    open(os.path.join(tree, ".in-use")).close()
except PermissionError:
    print("readable, not lockable")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose cache it is about")
def test_root_s_cache_is_read_after_root_became_another_user_and_not_locked_by_it(
    bootstrap: ModuleType, scene: Path, stranger_python: str
) -> None:
    cache = scene / "root-cache"
    cache.mkdir(mode=0o700)  # as an older build made it
    code = Path(str(bootstrap.__file__))
    done = run([stranger_python, "-I", "-c", READ_AS_STRANGER, str(code), str(cache)])
    assert done.stdout == "readable, not lockable\n", done.stderr
    assert stat.S_IMODE(cache.stat().st_mode) == 0o755
    assert stat.S_IMODE((cache / "tree/package/__init__.py").stat().st_mode) == 0o644


def test_home_of_the_person_who_typed_sudo_is_ignored(bootstrap: ModuleType) -> None:
    environment = {"HOME": "/home/typist", "XDG_CACHE_HOME": "/home/typist/x", "SUDO_UID": "1000"}
    nobody_home = "/nonexistent"  # uid 65534 in the account database
    assert list(bootstrap.candidates(65534, environment)) == [f"{nobody_home}/.cache/appliance"]
    assert list(bootstrap.candidates(STRANGER_UID, environment)) == []


def test_relative_cache_home_is_ignored(bootstrap: ModuleType) -> None:
    assert list(bootstrap.candidates(1000, {"HOME": "/home/a", "XDG_CACHE_HOME": "here"})) == [
        "/home/a/.cache/appliance"
    ]


def make_tree(cache: Path, name: str, *, idle_days: float) -> Path:
    """Make what an unpacked build looks like, last started some days ago."""
    tree = cache / name
    tree.mkdir()
    marker = tree / ".in-use"
    marker.touch()
    then = time.time() - idle_days * DAY
    os.utime(marker, (then, then))
    return tree


def test_builds_not_started_for_30_days_are_removed_and_others_stay(bootstrap: ModuleType, tmp_path: Path) -> None:
    old = make_tree(tmp_path, "old", idle_days=31)
    recent = make_tree(tmp_path, "recent", idle_days=29)
    current = make_tree(tmp_path, "current", idle_days=31)
    (tmp_path / ".lock").touch()
    bootstrap.remove_old(str(tmp_path), str(current), time.time())
    assert not old.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "current", recent.name]


def test_build_that_still_runs_is_not_removed_however_old(bootstrap: ModuleType, tmp_path: Path) -> None:
    old = make_tree(tmp_path, "old", idle_days=400)
    with (old / ".in-use").open() as marker:
        fcntl.flock(marker, fcntl.LOCK_SH)
        bootstrap.remove_old(str(tmp_path), "", time.time())
        assert old.exists()
    bootstrap.remove_old(str(tmp_path), "", time.time())
    assert not old.exists()


def test_what_an_interrupted_start_left_is_removed_after_an_hour(bootstrap: ModuleType, tmp_path: Path) -> None:
    (tmp_path / ".new-abc").mkdir()
    bootstrap.remove_old(str(tmp_path), "", time.time())
    assert (tmp_path / ".new-abc").exists()
    bootstrap.remove_old(str(tmp_path), "", time.time() + 3700)
    assert not (tmp_path / ".new-abc").exists()


def test_start_marks_its_build_as_used(bootstrap: ModuleType, tmp_path: Path) -> None:
    tree = make_tree(tmp_path, "tree", idle_days=20)
    assert bootstrap.hold(str(tree), os.geteuid())
    assert time.time() - (tree / ".in-use").stat().st_mtime < 60


def test_build_that_is_gone_is_not_held(bootstrap: ModuleType, tmp_path: Path) -> None:
    assert not bootstrap.hold(str(tmp_path / "none"), os.geteuid())
