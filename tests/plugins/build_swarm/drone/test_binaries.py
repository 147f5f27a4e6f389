"""Which files a build uploads."""

import hashlib
import os
from pathlib import Path

import pytest

from plugins.build_swarm.drone.binaries import own_package, packages, sha256_of, to_upload

STATE = (1, 1, 1)


def put(folder: Path, path: str, data: bytes = b"x") -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def test_new_and_changed_packages_are_uploaded_the_package_itself_first(tmp_path: Path) -> None:
    put(tmp_path, "app-swarm/old/old-1.0-1.gpkg.tar")
    put(tmp_path, "app-swarm/dep/dep-2.0-1.gpkg.tar", b"before")
    before = packages(tmp_path)
    put(tmp_path, "app-swarm/dep/dep-2.0-1.gpkg.tar", b"after, longer")
    put(tmp_path, "app-swarm/one/one-1.0-1.gpkg.tar")
    put(tmp_path, "Packages")
    put(tmp_path, "app-swarm/one/one-1.0-1.gpkg.tar.partial")
    found = to_upload(before, packages(tmp_path), "=app-swarm/one-1.0")
    assert found == ("app-swarm/one/one-1.0-1.gpkg.tar", "app-swarm/dep/dep-2.0-1.gpkg.tar")


def test_package_that_was_there_before_is_uploaded_all_the_same(tmp_path: Path) -> None:
    put(tmp_path, "app-swarm/one-1.0.gpkg.tar")
    before = packages(tmp_path)
    assert to_upload(before, packages(tmp_path), "=app-swarm/one-1.0") == ("app-swarm/one-1.0.gpkg.tar",)


def test_nothing_outside_of_the_folder_is_a_package(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/one-1.0.gpkg.tar")
    folder = tmp_path / "pkgs"
    folder.mkdir()
    os.symlink(tmp_path / "elsewhere", folder / "app-swarm")
    os.symlink(tmp_path / "elsewhere" / "one-1.0.gpkg.tar", folder / "one-1.0.gpkg.tar")
    assert packages(folder) == {}
    assert packages(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("atom", "names", "own"),
    [
        (
            "=a/p-1.0",
            ["a/p/p-1.0-1.gpkg.tar", "a/p/p-1.0-12.gpkg.tar", "a/p/p-1.0-2.gpkg.tar"],
            "a/p/p-1.0-12.gpkg.tar",
        ),
        ("a/p-1.0-r1", ["a/p/p-1.0-1.gpkg.tar", "a/p/p-1.0-r1-1.gpkg.tar"], "a/p/p-1.0-r1-1.gpkg.tar"),
        ("=a/p-1.0:0", ["a/p-1.0.gpkg.tar"], "a/p-1.0.gpkg.tar"),
        ("=a/p-1.0", ["b/p/p-1.0-1.gpkg.tar", "a/p/p-1.0.1-1.gpkg.tar", "a/q/pp-1.0-1.gpkg.tar"], None),
        ("a/p", ["a/p/p-1.0-1.gpkg.tar"], None),
    ],
)
def test_own_package_is_the_newest_build_of_exactly_that_version(atom: str, names: list[str], own: str | None) -> None:
    assert own_package(dict.fromkeys(names, STATE), atom) == own


def test_hash_is_that_of_the_file(tmp_path: Path) -> None:
    put(tmp_path, "file", b"abc" * 1_000_000)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
