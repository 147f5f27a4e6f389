"""Where the file cannot run it says so in one line that names what to do, never with a traceback."""

import glob
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from .conftest import Vary, run

pytestmark = pytest.mark.zipapp


def other_python(version: str) -> str:
    """Find an interpreter that is not supported; skip where there is none."""
    for program in [
        f"/usr/bin/python{version}",
        *glob.glob(os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python")),
    ]:
        if os.access(program, os.X_OK):
            return program
    pytest.skip(f"no Python {version} on this machine")


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.10", "3.14"])
def test_unsupported_python_gets_one_line_naming_one_that_is_here(vary: Vary, one_python: str, version: str) -> None:
    found = str(Path(one_python).parent)
    done = vary().run(other_python(version), "serve", env={"PATH": found})
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"appliance: needs Python 3.11, 3.12 or 3.13; this is Python {version}.")
    assert " Found /" in done.stderr
    assert done.stderr.count("\n") == 1


def test_unsupported_python_is_told_the_package_where_no_other_is_here(vary: Vary, python: str) -> None:
    # Versions nobody has, so that this interpreter is the wrong one and no right one can be found.
    done = vary(python=["3.98", "3.99"]).run(python, "--version")
    assert done.returncode == 1
    assert done.stderr.startswith("appliance: needs Python 3.98 or 3.99; this is Python 3.1")
    assert "To get it: " in done.stderr
    assert done.stderr.count("\n") == 1


def test_advice_runs_as_it_is_printed(vary: Vary, python: str) -> None:
    variant = vary()
    done = variant.run(other_python("3.10"), "--version", env={"PATH": str(Path(python).parent)})
    command = done.stderr.rpartition(": run ")[2].split()
    assert run(command).stdout.startswith("appliance ")


@pytest.mark.parametrize(
    ("release", "advice"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "apt install python3.11"),
        ('ID=debian\nVERSION_ID="13"\n', "apt install python3.13"),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n', "apt install python3.12"),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="22.04"\n', "apt install python3.11"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install python3.12"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"\n', "zypper install python311"),
        ("", "install the python3.11, python3.12 or python3.13 package of your system"),
    ],
)
def test_package_is_named_as_this_system_names_it(
    bootstrap: ModuleType, tmp_path: Path, release: str, advice: str
) -> None:
    (tmp_path / "os-release").write_text(release)
    assert bootstrap.package_advice(str(tmp_path / "os-release")) == advice


FACTS = {"machine": os.uname().machine, "glibc": [2, 34]}


def refusal(capsys: pytest.CaptureFixture[str], attempt: Callable[[], object]) -> str:
    """Return the one line that an attempt leaves with."""
    with pytest.raises(SystemExit) as left:
        attempt()
    assert left.value.code == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_musl_gets_one_line(bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def confstr_of_musl(name: str) -> str:
        raise ValueError("unrecognized configuration name")

    version = bootstrap.glibc_version(confstr_of_musl)
    assert version is None
    line = refusal(capsys, lambda: bootstrap.check_system(FACTS, version))
    assert "GNU C library" in line
    assert "Debian 12" in line


def test_old_glibc_gets_one_line(bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    version = bootstrap.glibc_version(lambda name: "glibc 2.17")
    line = refusal(capsys, lambda: bootstrap.check_system(FACTS, version))
    assert "2.34 or newer; this system has 2.17" in line


def test_this_system_is_accepted(bootstrap: ModuleType) -> None:
    bootstrap.check_system(FACTS | {"glibc": [2, 17]}, bootstrap.glibc_version())


def test_other_processor_gets_one_line(vary: Vary, python: str) -> None:
    done = vary(machine="riscv64").run(python, "--version")
    assert done.returncode == 1
    assert done.stderr.startswith("appliance: this file is for riscv64; this machine is ")
    assert done.stderr.count("\n") == 1


def test_file_replaced_while_it_starts_is_not_mixed_with_the_new_one(
    bootstrap: ModuleType, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads(zipfile.ZipFile(built).read("build.json")) | {"build": "another"}
    line = refusal(capsys, lambda: bootstrap.unpack(str(built), facts, str(tmp_path)))
    assert "was replaced while it started; run it again" in line
    assert list(tmp_path.iterdir()) == []
