"""The built file, variants of it that cannot meet a cache of another run, and the interpreters to run them with."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from attrs import frozen

from tests.product.served import file_of_this_tree

ROOT = Path(__file__).resolve().parents[2]
SUPPORTED = ("3.11", "3.12", "3.13")
STRANGER_UID = 61234
"""A person who owns nothing on this machine; only root can become them."""

PROBE = """
import importlib, json, os, sys
def main():
    if sys.argv[1:2] != ["probe"]:
        from appliance.cli import main
        return main()
    files = {name: importlib.import_module(name).__file__ for name in ("json", "probe", *MODULES)}
    json.dump({"pid": os.getpid(), "argv": sys.argv, "path": sys.path, "files": files}, sys.stdout)
    return 0
"""
"""Becomes the entry of a variant; ``probe`` as its first argument makes it tell what it sees."""

WHOLE = "appliance plugins trio quart cryptography.hazmat.bindings._rust msgspec _cffi_backend argon2 psutil"


def load(path: Path) -> ModuleType:
    """Import a script of packaging/ without running it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before  # the bootstrap makes its process's path safe as its first act
    return module


@pytest.fixture(scope="session")
def bootstrap() -> ModuleType:
    """The code that becomes the file's ``__main__.py``."""
    return load(ROOT / "packaging/bootstrap.py")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file as it is shipped, built from this tree."""
    return file_of_this_tree(tmp_path_factory.mktemp("dist"))


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return its status and what it said."""
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 60}
    return subprocess.run(command, check=False, **(quiet | options))


def interpreters() -> dict[str, str]:
    """Find one interpreter for each supported version: those packaging/test.sh names, else those on PATH."""
    given = os.environ.get("APPLIANCE_TEST_PYTHONS")
    named = given.split(":") if given else [shutil.which(f"python{version}") or "" for version in SUPPORTED]
    found = dict[str, str]()
    for program in [*named, sys.executable]:
        if program:
            # Its own word for where it is: a wrapper on PATH would be measured with every start.
            code = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
            version, _, executable = run([program, "-I", "-c", code]).stdout.strip().partition(" ")
            if executable:
                found.setdefault(version, executable)
    return found


INTERPRETERS = interpreters()


def interpreter(version: str) -> str:
    """Return an interpreter of a version; one that this machine lacks is a skip that says so."""
    if version not in INTERPRETERS:
        pytest.skip(f"no Python {version} on this machine")
    return INTERPRETERS[version]


@pytest.fixture(params=SUPPORTED)
def python(request: pytest.FixtureRequest) -> str:
    """Each supported interpreter in turn."""
    return interpreter(request.param)


@pytest.fixture(params=[SUPPORTED[0], *(pytest.param(version, marks=pytest.mark.long) for version in SUPPORTED[1:])])
def one_python(request: pytest.FixtureRequest) -> str:
    """The oldest supported interpreter, and under ``--long`` the others: for what no version of Python changes."""
    return interpreter(request.param)


@frozen(kw_only=True)
class Variant:
    """A copy of the built file with a build id of its own, so that its first start is a cold one."""

    path: Path
    build: str
    environment: dict[str, str]

    def run(self, python: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run it to its end and return what it said."""
        return run([python, str(self.path), *arguments], **({"env": self.environment} | options))

    def probe(self, python: str, **options: Any) -> dict[str, Any]:
        """Run it and return what it saw."""
        done = self.run(python, "probe", **options)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def trees(self, cache: Path) -> list[Path]:
        """Return what this build left in a cache."""
        return sorted(path for path in cache.glob("*") if path.name.startswith((self.build[:32], ".new-")))


Vary = Callable[..., Variant]


@contextmanager
def open_scene() -> Iterator[Path]:
    """Make a folder every user may look into, on a path that nobody else can redirect."""
    folder = Path(tempfile.mkdtemp(prefix="appliance-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def cache_of(scene: Path) -> Path:
    """Return where variants unpack: fixed for root, beneath the scene for anybody else."""
    return Path("/var/cache/appliance") if os.geteuid() == 0 else scene / "cache" / "appliance"


@contextmanager
def variant_of(built: Path, scene: Path, *, whole: bool, **changed: Any) -> Iterator[Variant]:
    """Copy the built file under a build id of its own; remove what root unpacks of it afterwards."""
    build = uuid.uuid4().hex * 2
    path = scene / f"{build[:8]}.pyz"
    with zipfile.ZipFile(built) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        facts = json.loads(source.read("build.json")) | {"entry": "probe:main", "build": build} | changed
        target.writestr("build.json", json.dumps(facts))
        target.writestr("pure/probe.py", f"MODULES = {WHOLE.split() if whole else []}\n{PROBE}")
        for entry in source.infolist():
            if entry.filename == "__main__.py" or (whole and entry.filename != "build.json"):
                target.writestr(entry, source.read(entry))
    path.chmod(0o755)
    environment = {"PATH": os.environ["PATH"], "HOME": str(scene), "XDG_CACHE_HOME": str(scene / "cache")}
    yield Variant(path=path, build=build, environment=environment)
    for tree in cache_of(scene).glob(build[:32] + "*"):
        shutil.rmtree(tree, ignore_errors=True)


@pytest.fixture
def scene() -> Iterator[Path]:
    """A folder every user may look into."""
    with open_scene() as folder:
        yield folder


@pytest.fixture
def cache(scene: Path) -> Path:
    """Where the variants of this test unpack."""
    return cache_of(scene)


@pytest.fixture
def vary(built: Path, scene: Path) -> Iterator[Vary]:
    """Make variants whose first start is a cold one: the bootstrap with the probe alone, or the ``whole`` file."""
    with ExitStack() as stack:
        yield lambda *, whole=False, **changed: stack.enter_context(variant_of(built, scene, whole=whole, **changed))


@pytest.fixture(scope="session")
def warm(built: Path) -> Iterator[Variant]:
    """A whole variant that tests share, so that it is unpacked once for each Python."""
    with open_scene() as folder, variant_of(built, folder, whole=True) as variant:
        yield variant


@pytest.fixture
def stranger_python() -> str:
    """An interpreter that a user without rights can run, for tests that become one."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for program in [*INTERPRETERS.values(), *(f"/usr/bin/python{version}" for version in SUPPORTED)]:
        try:
            done = run([program, "-I", "-c", ""], user=STRANGER_UID, group=STRANGER_UID, extra_groups=[], cwd="/")
        except OSError:
            continue
        if done.returncode == 0:
            return program
    pytest.skip("every supported interpreter here lies where only root may look")
