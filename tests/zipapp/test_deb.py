"""The Debian package: built from the file, unpacked and used."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.zipapp,
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb on this machine"),
    pytest.mark.skipif(not (ROOT / "dist/appliance.pyz").exists(), reason="dist/appliance.pyz is not built"),
]


def made() -> Path:
    """Build the package."""
    subprocess.run(["sh", "packaging/deb.sh"], cwd=ROOT, check=True, capture_output=True)
    [package] = (ROOT / "dist").glob("appliance_*_amd64.deb")
    return package


def field(package: Path, name: str) -> str:
    """Return one field of the package's control file."""
    command = ["dpkg-deb", "--field", str(package), name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_package_holds_a_file_that_runs_a_unit_that_starts_it_and_a_configuration_that_checks(tmp_path: Path) -> None:
    package = made()
    subprocess.run(["dpkg-deb", "-x", str(package), str(tmp_path)], check=True)
    program = tmp_path / "usr/bin/appliance"
    version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    assert version.startswith(f"appliance {field(package, 'Version')} ")
    unit = (tmp_path / "usr/lib/systemd/system/appliance.service").read_text()
    assert "\nExecStart=/usr/bin/appliance serve\n" in unit
    assert "/usr/local" not in unit
    checked = subprocess.run(  # noqa: PLW1510  the status is looked at
        [program, "config", "check", "--config", tmp_path / "etc/appliance/appliance.toml"],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    assert "no problem found" in checked.stdout


def test_same_input_gives_the_same_package() -> None:
    first = hashlib.sha256(made().read_bytes()).hexdigest()
    assert hashlib.sha256(made().read_bytes()).hexdigest() == first


def test_package_asks_for_the_pythons_the_file_runs_on() -> None:
    assert field(made(), "Depends").startswith("python3 (>= 3.11), python3 (<< 3.14)")
