"""The view of a host that plugins decide by."""

from pathlib import Path

from appliance.host import Host


def test_paths_are_looked_up_below_the_given_root(tmp_path: Path) -> None:
    assert Host(root=tmp_path).path("/sys/class/drm") == tmp_path / "sys/class/drm"
    assert Host().path("/proc/self") == Path("/proc/self")


def test_programs_are_looked_up_on_the_given_path_only(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\n")
    host = Host(environment={"PATH": str(tmp_path)})
    assert host.find_program("nvidia-smi") is None, "it is not executable"
    program.chmod(0o755)
    assert host.find_program("nvidia-smi") == str(program)
    assert Host(environment={"PATH": "/nonexistent"}).find_program("sh") is None


def test_library_that_does_not_exist_is_none() -> None:
    assert Host().find_library("no-such-library-anywhere") is None
    assert Host().find_library("c")
