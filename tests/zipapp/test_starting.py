"""The file started from other processes: cold, warm, at once, beside hostile packages, from anywhere."""

import json
import os
import re
import shutil
import subprocess
from http.client import HTTPConnection
from pathlib import Path
from threading import Timer

import pytest

from .conftest import Variant, Vary, run

pytestmark = pytest.mark.zipapp

HOSTILE = "import os\nos.environ['HOSTILE'] = __name__\nraise SystemExit('a hostile ' + __name__ + ' was imported')\n"


def plant(folder: Path) -> Path:
    """Fill a folder with packages and modules that stop whoever imports them."""
    for name in ("plugins", "trio", "appliance", "probe"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(HOSTILE)
    # Of the standard library only what no .pth file of a host imports before our first line can run.
    for name in ("json", "py_compile", "click", "cattrs"):
        (folder / f"{name}.py").write_text(HOSTILE)
    return folder


def test_second_start_runs_what_the_first_unpacked(vary: Vary, python: str, cache: Path) -> None:
    variant = vary()
    variant.probe(python)
    (tree,) = variant.trees(cache)
    made_ns = tree.stat().st_mtime_ns
    assert variant.probe(python)["files"]["probe"] == str(tree / "probe.py")
    assert tree.stat().st_mtime_ns == made_ns
    assert variant.trees(cache) == [tree]


def test_unpacked_modules_are_compiled(warm: Variant, python: str) -> None:
    tree = Path(warm.probe(python)["files"]["trio"]).parent.parent
    sources = list(tree.rglob("*.py"))
    assert len(sources) > 500
    compiled = {(path.parent.parent, path.name.partition(".")[0]) for path in tree.rglob("*.pyc")}
    assert [path for path in sources if (path.parent, path.stem) not in compiled] == []


def test_every_dependency_comes_from_the_unpacked_tree(warm: Variant, python: str) -> None:
    seen = warm.probe(python)
    tree = Path(seen["files"].pop("probe")).parent
    assert not seen["files"].pop("json").startswith(str(tree))
    assert {name for name, file in seen["files"].items() if not file.startswith(str(tree))} == set()


def test_three_simultaneous_cold_starts_all_run_and_leave_one_tree(vary: Vary, one_python: str, cache: Path) -> None:
    variant = vary(whole=True)
    command = [one_python, str(variant.path), "probe"]
    starts = [
        subprocess.Popen(
            command, env=variant.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        for _ in range(3)
    ]
    answers = [start.communicate(timeout=60) for start in starts]
    assert [start.returncode for start in starts] == [0, 0, 0], answers
    assert len(variant.trees(cache)) == 1


def test_process_stays_the_one_that_was_started(vary: Vary, python: str) -> None:
    # A service manager takes READY=1 only from the process it started.
    variant = vary()
    command = [python, str(variant.path), "probe"]
    start = subprocess.Popen(command, env=variant.environment, stdout=subprocess.PIPE, text=True)
    answer, _ = start.communicate(timeout=60)
    assert f'"pid": {start.pid},' in answer


def run_beside_hostile_packages(variant: Variant, python: str, scene: Path, *flags: str) -> None:
    here, there = plant(scene / "here"), plant(scene / "there")
    environment = variant.environment | {"PYTHONPATH": f"{there}:.:", "PYTHONDONTWRITEBYTECODE": "1"}
    done = run([python, *flags, str(variant.path), "probe"], env=environment, cwd=here)
    assert done.returncode == 0, done.stderr
    assert str(here) not in done.stdout
    assert str(there) not in done.stdout


@pytest.mark.parametrize("flags", [(), ("-I",)], ids=["plain", "isolated"])
def test_hostile_packages_on_pythonpath_and_in_the_current_folder_do_not_win(
    warm: Variant, one_python: str, scene: Path, flags: tuple[str, ...]
) -> None:
    warm.probe(one_python)
    run_beside_hostile_packages(warm, one_python, scene, *flags)


def test_hostile_packages_do_not_win_while_the_file_unpacks(vary: Vary, python: str, scene: Path) -> None:
    run_beside_hostile_packages(vary(), python, scene)


def test_hostile_packages_in_the_personal_site_folder_do_not_win(vary: Vary, python: str, scene: Path) -> None:
    version = run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).stdout.strip()
    plant(scene / f".local/lib/python{version}/site-packages")
    assert not any(".local" in entry for entry in vary().probe(python)["path"])


def test_modules_imported_before_the_start_are_forgotten(warm: Variant, one_python: str, scene: Path) -> None:
    # As a .pth file or a sitecustomize of the host does it.
    (scene / "early").mkdir()
    (scene / "early/sitecustomize.py").write_text("import sys, types\nsys.modules['plugins'] = types.ModuleType('x')\n")
    seen = warm.probe(one_python, env=warm.environment | {"PYTHONPATH": str(scene / "early")})
    assert seen["files"]["plugins"].endswith("/plugins/__init__.py")


def test_neighbours_of_the_file_cannot_be_imported(vary: Vary, python: str, scene: Path) -> None:
    variant = vary()
    plant(scene / "bin")
    moved = Variant(path=scene / "bin/gpu", build=variant.build, environment=variant.environment)
    variant.path.rename(moved.path)
    seen = moved.probe(python)
    assert not any(file.startswith(str(scene / "bin")) for file in seen["files"].values())
    assert not any(entry.startswith(str(scene / "bin")) for entry in seen["path"])
    assert "" not in seen["path"]


def test_arguments_and_program_name_arrive_as_they_were_typed(vary: Vary, python: str) -> None:
    variant = vary()
    done = variant.run(python, "probe", "--listen", "127.0.0.1:0", "ä b")
    assert json.loads(done.stdout)["argv"] == [str(variant.path), "probe", "--listen", "127.0.0.1:0", "ä b"]


def test_file_runs_from_another_folder_by_a_relative_path(vary: Vary, python: str, scene: Path) -> None:
    variant = vary()
    (scene / "elsewhere").mkdir()
    done = run([python, f"../{variant.path.name}", "probe"], cwd=scene / "elsewhere", env=variant.environment)
    assert done.returncode == 0, done.stderr


def test_file_starts_without_any_network(warm: Variant, one_python: str) -> None:
    unshare = shutil.which("unshare")
    if not unshare or run([unshare, "-n", "true"]).returncode:
        pytest.skip("this process may not make a network namespace")
    assert run([unshare, "-n", one_python, str(warm.path), "probe"], env=warm.environment).returncode == 0


def test_file_runs_without_any_environment(vary: Vary, python: str) -> None:
    variant = vary()
    variant.probe(python, env={} if os.geteuid() == 0 else {"HOME": variant.environment["HOME"]})


def test_usage_error_keeps_its_exit_status(warm: Variant, one_python: str) -> None:
    done = warm.run(one_python, "no-such-command")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_serves_this_host_and_stops_when_told(warm: Variant, python: str, scene: Path) -> None:
    command = [python, str(warm.path), "serve", "--listen", "127.0.0.1:0", "--data-dir", str(scene / "data")]
    told = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=warm.environment, text=True, **told) as serving:  # type: ignore[call-overload]
        # Ends a process that never says where it answers, so that reading its output has a bound.
        guard = Timer(60, serving.kill)
        guard.start()
        try:
            said, address = "", None
            while address is None and (line := serving.stdout.readline()):
                said += line
                address = re.search(r"http://(127\.0\.0\.1:\d+)/setup#t=", said)
            assert address, said
            connection = HTTPConnection(address[1], timeout=30)
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
            connection.close()
            serving.terminate()
            rest = serving.stdout.read()
        finally:
            guard.cancel()
            serving.kill()
    assert serving.returncode == 0, said + rest
    assert "Traceback" not in said + rest
