"""The scripts that drones run, run here by the shell that is here, and what their answers mean."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.build_swarm.drone_world import (
    DEPCLEAN,
    LOCK,
    PROTECTED,
    READ,
    WRITE,
    Difference,
    command,
    is_package,
    proposed_world,
    read_world,
)


def run(argv: list[str], stdin: str = "", path: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run what a drone would, with programs of ``path`` first."""
    environment = {"PATH": f"{path}:/usr/bin:/bin:/usr/sbin:/sbin" if path else "/usr/bin:/bin:/usr/sbin:/sbin"}
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, env=environment, timeout=30, check=False)


def stub(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_world_profile_and_flags_are_read(tmp_path: Path) -> None:
    world = tmp_path / "a world"
    world.write_text("sys-apps/portage\napp-misc/screen\n\n@local\nsys-apps/portage\n")
    stub(tmp_path / "bin", "eselect", 'echo "Current:"; echo "  default/linux/amd64/23.0/desktop"')
    stub(tmp_path / "bin", "lsattr", 'echo "----i---------e------- $3"')
    done = run(command(READ, str(world)), path=tmp_path / "bin")
    assert (done.returncode, done.stderr) == (0, "")
    found = read_world(done.stdout)
    assert found.world == ("@local", "app-misc/screen", "sys-apps/portage")
    assert (found.profile, found.is_base_profile) == ("default/linux/amd64/23.0/desktop", False)
    assert found.is_immutable


def test_host_without_portage_says_so_little(tmp_path: Path) -> None:
    found = read_world(run(command(READ, str(tmp_path / "none"))).stdout)
    assert (found.world, found.is_immutable) == ((), False)


def test_world_is_written_whole(tmp_path: Path) -> None:
    world = tmp_path / "world"
    world.write_text("old/one\n")
    done = run(command(WRITE, str(world), "2", "no"), "new/one\nnew/two\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert world.read_text() == "new/one\nnew/two\n"
    assert [each.name for each in tmp_path.iterdir()] == ["world"]


def test_world_stays_as_it_was_when_not_all_of_the_new_one_arrives(tmp_path: Path) -> None:
    world = tmp_path / "world"
    world.write_text("old/one\n")
    done = run(command(WRITE, str(world), "3", "no"), "new/one\nnew/two\n")
    assert (done.returncode, done.stderr) == (65, "not all lines have arrived\n")
    assert world.read_text() == "old/one\n"
    assert [each.name for each in tmp_path.iterdir()] == ["world"]


def test_immutable_world_is_immutable_again_afterwards(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    stub(tmp_path / "bin", "chattr", f'echo "$*" >> "{calls}"')
    world = tmp_path / "world"
    assert run(command(WRITE, str(world), "1", "yes"), "a/b\n", tmp_path / "bin").returncode == 0
    assert run(command(LOCK, "-i", str(world)), path=tmp_path / "bin").returncode == 0
    assert calls.read_text().splitlines() == [f"-i -- {world}", f"+i -- {world}", f"-i -- {world}"]


def test_depclean_begins_and_is_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "said"
    import os

    os.mkfifo(fifo)
    stub(tmp_path / "bin", "emerge", f'echo "$*" > "{fifo}"; sleep 60 & echo $! > "{tmp_path}/pid"; exec true')
    done = run(command(DEPCLEAN, str(tmp_path / "world")), path=tmp_path / "bin")
    assert done.returncode == 0
    assert fifo.read_text() == "--depclean --ask=n\n"
    assert (tmp_path / "swarm-depclean.log").exists()


def test_host_without_emerge_is_not_cleaned(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    done = subprocess.run(
        ["/bin/sh", *command(DEPCLEAN, str(tmp_path / "world"))[1:]],
        capture_output=True,
        env={"PATH": str(tmp_path / "bin")},
        check=False,
    )
    assert (done.returncode, done.stderr) == (127, b"there is no emerge here\n")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("app-misc/screen", True),
        ("dev-lang/python:3.11", True),
        ("sys-devel/gcc:14", True),
        ("dev-libs/icu:0/74.1", True),
        ("@my-set", True),
        ("x11-libs/gtk+", True),
        ("screen", False),
        ("", False),
        ("a/b\nc/d", False),
        ("a/b c", False),
        ("-a/b", False),
        ("a/../b", False),
        ("a/b;reboot", False),
        ("a/" + "b" * 101, False),
    ],
)
def test_only_packages_and_sets_may_stand_in_a_world(text: str, is_one: bool) -> None:
    assert is_package(text) is is_one


@given(st.text(max_size=400))
def test_whatever_a_drone_prints_is_read_as_something(output: str) -> None:
    found = read_world(output)
    assert len(found.profile) <= 200
    assert all(found.world)


def test_what_no_drone_can_be_without_is_in_every_world() -> None:
    assert proposed_world(["app-misc/tmux"]) == PROTECTED | {"app-misc/tmux"}
    shown = Difference(current=frozenset({"a/b", "c/d"}), proposed=frozenset({"c/d", "e/f"})).shown()
    assert (shown["removing"], shown["adding"], shown["keeping"]) == (["a/b"], ["e/f"], ["c/d"])
    assert (shown["removing_count"], shown["current_count"], shown["proposed_count"]) == (1, 2, 2)
