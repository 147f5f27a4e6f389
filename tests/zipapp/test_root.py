"""The built file, started by root on a data directory that belongs to somebody else."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import INTERPRETERS, STRANGER_UID, Variant, run

pytestmark = [pytest.mark.zipapp, pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")]

GID = STRANGER_UID + 7
TELLS_WHO_IT_IS = """
import os
from pathlib import Path

status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\\t" in line)
Path(__file__).with_name("who").write_text("\\n".join([status["Uid"], status["Gid"], status["Groups"].strip()]))
appliance_api = 1
"""


@pytest.fixture
def data(scene: Path) -> Path:
    """A data directory of the stranger, with a plugin that writes down who it is loaded by."""
    folder = scene / "data"
    (folder / "plugins").mkdir(mode=0o700, parents=True)
    folder.chmod(0o700)
    plugin = folder / "plugins" / "tells.py"
    plugin.write_text(TELLS_WHO_IT_IS)
    plugin.chmod(0o600)
    for path in (folder, folder / "plugins", plugin):
        os.chown(path, STRANGER_UID, GID)
    return folder


@pytest.fixture
def nobody_elses(scene: Path) -> Iterator[None]:
    """Fail if root has made anything in the scene meanwhile."""
    before = set(scene.rglob("*"))
    yield
    made = [path for path in scene.rglob("*") if path not in before]
    assert [path for path in made if path.lstat().st_uid == 0] == []


@pytest.mark.usefixtures("nobody_elses")
def test_command_of_root_becomes_the_owner_of_the_data_directory_before_it_does_anything(
    warm: Variant, stranger_python: str, data: Path
) -> None:
    options = ("--json", "--data-dir", str(data))
    add = ("user", "add", "ana", "--role", "admin", "--password-stdin")
    done = warm.run(stranger_python, *options, *add, stdin=None, input="a long password\n", cwd="/")
    assert done.returncode == 0, done.stderr
    made = {path: path.lstat() for path in data.rglob("*")}
    assert data / "appliance.db" in made
    assert data / "keys" in made
    assert {(state.st_uid, state.st_gid) for state in made.values()} == {(STRANGER_UID, GID)}
    # Real, effective, saved and file system ids alike, and no group of root's: there is no way back.
    uid, gid, groups = (data / "plugins" / "who").read_text().split("\n")
    assert (set(uid.split()), set(gid.split())) == ({str(STRANGER_UID)}, {str(GID)})
    assert groups.split() == [str(GID)]
    listed = warm.run(stranger_python, *options, "user", "list", cwd="/")
    assert listed.returncode == 0, listed.stderr
    assert "ana" in json.dumps(json.loads(listed.stdout))


@pytest.mark.usefixtures("nobody_elses")
def test_python_that_the_owner_cannot_read_is_refused_with_another_named_and_nothing_made(
    warm: Variant, data: Path
) -> None:
    as_owner = {"user": STRANGER_UID, "group": GID, "extra_groups": [], "cwd": "/"}
    hidden = [one for one in INTERPRETERS.values() if not can_start(one, as_owner)]
    if not hidden:
        pytest.skip("everybody may read every supported interpreter here")
    done = warm.run(hidden[0], "--data-dir", str(data), "user", "list", cwd="/")
    assert done.returncode == 1
    assert f"belongs to uid {STRANGER_UID}, who cannot read the Python at" in done.stderr
    assert "/usr/bin/python3" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (data / "appliance.db").exists()


def can_start(python: str, options: dict[str, object]) -> bool:
    """Whether an interpreter starts with these options of `subprocess.run`."""
    try:
        return bool(run([python, "-I", "-c", ""], **options).returncode == 0)
    except OSError:
        return False
