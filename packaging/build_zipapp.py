"""Build ``dist/appliance.pyz`` as ``zipapp.spec`` says: the same input gives the same bytes.

The file holds ``__main__.py`` (the bootstrap), ``build.json`` (what the bootstrap must know before it unpacks),
``pure/`` (what serves every supported Python) and ``cp311/``, ``cp312/``, ``cp313/`` (what does not).
"""

import argparse
import fnmatch
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PURE = "pure"
SHEBANG = b"#!/usr/bin/env python3\n"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip entry can carry

Files = dict[str, bytes]
"""Path inside the file -> content."""


def wheels_for(spec: dict[str, Any], version: str, cache: Path) -> list[Path]:
    """Return the locked wheels for one Python version, downloading them by hash when the cache lacks them."""
    lock = ROOT / spec["dependencies"]["lock"]
    wanted = json.dumps([lock.read_text(), spec["python"], version], sort_keys=True)
    folder = cache / hashlib.sha256(wanted.encode()).hexdigest()[:16] / tag(version)
    done = folder / ".complete"
    if not done.exists():
        print(f"build: fetching wheels for Python {version}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--only-binary=:all:", "--dest", str(folder), "--requirement", str(lock)]
        command += ["--implementation=cp", f"--python-version={version}", f"--abi={tag(version)}"]
        command += ["--abi=abi3", "--abi=none", *(f"--platform={name}" for name in spec["python"]["platforms"])]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        done.touch()
    left_out = {name.replace("-", "_") for name in spec["dependencies"]["leave_out"]}
    found = sorted(folder.glob("*.whl"))
    return [wheel for wheel in found if wheel.name.split("-")[0].lower() not in left_out]


def tag(version: str) -> str:
    """Return the wheel tag of a Python version: ``3.11`` -> ``cp311``."""
    return "cp" + version.replace(".", "")


def wheel_files(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what installing a wheel would put on the import path; scripts and headers are left behind."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith("/"):
                continue
            path = name
            if ".data/" in name.split("/")[0] + "/":
                _, kind, path = name.split("/", 2)
                if kind not in {"purelib", "platlib"}:
                    continue
            yield path, archive.read(name)


def source_files(spec: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of our own packages; hidden ones stay behind."""
    for package in spec["sources"]["packages"]:
        for path in (ROOT / package).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and not any(part.startswith(".") for part in Path(name).parts):
                yield name, path.read_bytes()


def matches(path: str, patterns: list[str]) -> bool:
    """Say whether any shell pattern covers the path."""
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def glibc_needed(wheel: Path) -> tuple[int, int]:
    """Return the glibc a wheel's name asks for, the lowest of its alternatives; (0, 0) for a pure wheel."""
    legacy = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
    found = [(int(a), int(b)) for a, b in re.findall(r"manylinux_(\d+)_(\d+)_", wheel.name)]
    found += [version for name, version in legacy.items() if name + "_" in wheel.name]
    return min(found, default=(0, 0))


def collect(spec: dict[str, Any], cache: Path) -> tuple[Files, tuple[int, int]]:
    """Gather every file under its path in the zipapp, and the lowest glibc they run on.

    A wheel that all versions share goes in once, the others once for each version.
    """
    exclude = spec["exclude"]
    files: Files = {}
    chosen = {version: wheels_for(spec, version, cache) for version in spec["python"]["versions"]}
    shared = set.intersection(*({wheel.name for wheel in wheels} for wheels in chosen.values()))
    glibc = (0, 0)
    for version, wheels in chosen.items():
        for wheel in wheels:
            glibc = max(glibc, glibc_needed(wheel))
            folder = PURE if wheel.name in shared else tag(version)
            for path, content in wheel_files(wheel):
                if matches(path, exclude["everywhere"] + exclude["wheels"]):
                    continue
                if files.setdefault(f"{folder}/{path}", content) != content:
                    raise SystemExit(f"build: two different files want to be {path}; one is from {wheel.name}")
    for path, content in source_files(spec):
        if not matches(path, exclude["everywhere"]):
            files[f"{PURE}/{path}"] = content
    return files, glibc


def content_hash(files: Files) -> str:
    """Hash paths and contents; compression and order do not matter."""
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(f"{path}\0{hashlib.sha256(files[path]).hexdigest()}\n".encode())
    return total.hexdigest()


def product_version() -> str:
    """Read the version from the package without importing it."""
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "appliance/__init__.py").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit("build: appliance/__init__.py has no __version__")
    return found[1]


def build(spec: dict[str, Any], output: Path, cache: Path) -> str:
    """Write the zipapp; return its build id."""
    files, glibc = collect(spec, cache)
    files["__main__.py"] = (ROOT / spec["bootstrap"]).read_bytes()
    roots = {path.split("/")[1].split(".")[0] for path in files if path.count("/") and ".dist-info/" not in path}
    facts = {
        "name": spec["name"],
        "version": product_version(),
        "entry": spec["entry"],
        "python": spec["python"]["versions"],
        "machine": spec["python"]["machine"],
        "glibc": list(glibc),
        "roots": sorted(roots),
    }
    files["build.json"] = json.dumps(facts, sort_keys=True).encode()
    facts["build"] = content_hash(files)
    files["build.json"] = json.dumps(facts, sort_keys=True).encode()
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    with partial.open("wb") as raw:
        raw.write(SHEBANG)
        with zipfile.ZipFile(raw, "w") as archive:
            for path in sorted(files):
                entry = zipfile.ZipInfo(path, EPOCH)
                entry.external_attr = 0o100644 << 16
                entry.create_system = 3  # Unix, wherever it is built
                archive.writestr(entry, files[path], zipfile.ZIP_DEFLATED, compresslevel=9)
    partial.chmod(0o755)
    partial.replace(output)
    return str(facts["build"])


def main() -> int:
    """Build what the command line asks for and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist/appliance.pyz", help="the file to write")
    parser.add_argument("--cache", type=Path, default=ROOT / "build/wheels", help="where wheels are kept")
    arguments = parser.parse_args()
    spec = tomllib.loads((ROOT / "zipapp.spec").read_text())
    identity = build(spec, arguments.output, arguments.cache)
    size = arguments.output.stat().st_size / 1e6
    print(f"build: {arguments.output} ({size:.1f} MB, build {identity[:8]})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
