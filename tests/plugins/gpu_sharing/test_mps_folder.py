"""The directories of MPS control daemons, in places where others can write."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugins.gpu_sharing.launching import Identity
from plugins.gpu_sharing.mps_folder import LOG_BYTES, bound_logs, clear, make_folder
from tests.plugins.gpu_sharing.mps_device import MpsDevice, mps_device

OWN = Identity(uid=os.geteuid(), gid=os.getegid(), home=Path("/"), is_own=True)
OTHER = Identity(uid=65534, gid=65534, home=Path("/"), is_own=False)


@pytest.fixture
def device() -> Iterator[MpsDevice]:
    with mps_device() as made:
        yield made


def _link(run: Path) -> None:
    (run / "appliance-mps").symlink_to("/tmp")


def _open(run: Path) -> None:
    (run / "appliance-mps").mkdir()
    (run / "appliance-mps").chmod(0o777)


@pytest.mark.parametrize("spoil", [_link, _open])
def test_folder_that_is_not_ours_alone_is_refused(device: MpsDevice, spoil: Callable[[Path], None]) -> None:
    spoil(device.run)
    with pytest.raises(OSError, match="not a directory of ours alone"):
        make_folder("k", OTHER, own=device.folder, run=device.run, instance="i")


def test_folder_too_long_for_a_socket_is_made_elsewhere_and_refused_where_there_is_no_elsewhere(
    device: MpsDevice,
) -> None:
    long = device.folder / ("x" * 80)
    long.mkdir()
    assert make_folder("k", OWN, own=long, run=device.run, instance="i").base.is_relative_to(device.run)
    with pytest.raises(OSError, match="too long for a socket"):
        make_folder("k", OWN, own=long, run=long, instance="i")


def test_folder_is_made_anew_and_links_in_it_are_not_followed(device: MpsDevice) -> None:
    kept = device.folder / "kept"
    kept.mkdir()
    (kept / "file").touch()
    first = make_folder("k", OWN, own=device.folder, run=device.run, instance="i")
    (first.pipe / "link").symlink_to(kept)
    again = make_folder("k", OWN, own=device.folder, run=device.run, instance="i")
    assert list(again.pipe.iterdir()) == []
    again.remove()
    assert (again.base.exists(), (kept / "file").exists()) == (False, True)


def test_large_log_is_begun_anew_and_links_in_its_place_are_left_alone(device: MpsDevice) -> None:
    folder = make_folder("k", OWN, own=device.folder, run=device.run, instance="i")
    kept = device.folder / "kept"
    for path in (kept, folder.log / "control.log"):
        path.touch()
        os.truncate(path, LOG_BYTES + 1)
    (folder.log / "server.log").symlink_to(kept)
    bound_logs(folder, OWN)
    assert ((folder.log / "control.log").stat().st_size, kept.stat().st_size) == (0, LOG_BYTES + 1)
    (folder.log / "server.log").unlink()
    (folder.log / "server.log").hardlink_to(kept)
    bound_logs(folder, OWN)
    assert kept.stat().st_size == LOG_BYTES + 1
    (folder.log / "server.log").unlink()
    os.mkfifo(folder.log / "server.log")
    bound_logs(folder, OWN)


def test_small_log_stays(device: MpsDevice) -> None:
    folder = make_folder("k", OWN, own=device.folder, run=device.run, instance="i")
    (folder.log / "control.log").write_text("one line\n")
    bound_logs(folder, OWN)
    assert (folder.log / "control.log").read_text() == "one line\n"


def test_what_is_left_is_cleared_and_files_beside_it_stay(device: MpsDevice) -> None:
    own = device.folder / "own"
    own.mkdir()
    (own / "k.log").touch()
    made = make_folder("k", OWN, own=own, run=device.run, instance="i")
    clear(own=own, run=device.run, instance="i")
    assert (made.base.exists(), (own / "k.log").exists()) == (False, True)
    clear(own=device.folder / "none", run=device.folder / "none", instance="i")
