"""Real Portage, in an environment of its own, with a tiny repository below a prefix that a test chooses.

``APPLIANCE_TEST_PORTAGE`` names the environment. ``PORTAGE_OVERRIDE_EPREFIX`` moves all that Portage reads and writes
below the test's folder, so that tests share the environment and nothing else.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import define

ENVIRONMENT = os.environ.get("APPLIANCE_TEST_PORTAGE", "")
SECONDS = 300
FEATURES = (
    "-sandbox -usersandbox -userpriv -userfetch -network-sandbox -ipc-sandbox -pid-sandbox -mount-sandbox -news "
    "-pkgdir-index-trusted binpkg-multi-instance"
)
MAKE_DEFAULTS = """
ARCH="amd64"
ACCEPT_KEYWORDS="amd64"
CHOST="x86_64-pc-linux-gnu"
IUSE_IMPLICIT="prefix"
USE="extra"
"""
EBUILD = """
EAPI=8
DESCRIPTION="A tiny package"
HOMEPAGE="https://example.org"
LICENSE="MIT"
KEYWORDS="amd64"
S="${WORKDIR}"
"""
WORLD = """
SLOT="0/2"
src_install() { insinto /usr/share/world; newins - world <<< "a whole world"; }
"""
HELLO = """
SLOT="0"
IUSE="doc extra"
RDEPEND="extra? ( app-test/world:=[-doc(-),extra(+)?] ) doc? ( app-test/docs ) || ( app-test/world doc? ( a/b ) )"
BDEPEND="!doc? ( >=app-test/world-1 )"
src_install() { insinto /usr/share/hello; newins - hello <<< "hello, world"; }
"""


@define(kw_only=True)
class Portage:
    """One prefix."""

    folder: Path
    repository: Path

    @property
    def prefix(self) -> Path:
        """Where packages are installed."""
        return self.folder / "prefix"

    @property
    def pkgdir(self) -> Path:
        """Where binary packages are kept."""
        return self.folder / "pkgdir"

    def run(self, *argv: str, features: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of Portage; what it says is in the failure."""
        done = subprocess.run(
            [f"{ENVIRONMENT}/bin/{argv[0]}", *argv[1:]],
            env=self._variables(features) | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{argv}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done

    def python(self, source: str, given: Any = None) -> Any:
        """Run Python of the environment; it reads JSON and prints JSON."""
        done = subprocess.run(
            [f"{ENVIRONMENT}/bin/python", "-c", source],
            input=json.dumps(given),
            env=self._variables(""),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)

    def binhost(self, url: str) -> None:
        """Have packages fetched from a binary host."""
        path = self.prefix / "etc/portage/binrepos.conf"
        path.write_text(f"[swarm]\npriority = 1\nsync-uri = {url}\nverify-signature = false\n")

    def _variables(self, features: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TERM": "dumb",
            "NOCOLOR": "true",
            "PORTAGE_OVERRIDE_EPREFIX": str(self.prefix),
            "PORTAGE_TMPDIR": str(self.folder / "tmp"),
            "PKGDIR": str(self.pkgdir),
            "DISTDIR": str(self.folder / "dist"),
            "PORTAGE_USERNAME": "root",
            "PORTAGE_GRPNAME": "root",
            "FEATURES": f"{FEATURES} {features}",
            "PORTAGE_REPOSITORIES": f"[DEFAULT]\nmain-repo = test\n[test]\nlocation = {self.repository}\n",
        }


def made(folder: Path, ebuilds: Mapping[str, str] | None = None) -> Portage:
    """Make a prefix and a repository of ebuilds by ``CATEGORY/PF``; skip the test where there is no Portage."""
    if not ENVIRONMENT or not Path(ENVIRONMENT, "bin/emerge").exists():
        pytest.skip("no Portage: APPLIANCE_TEST_PORTAGE names no environment with it")
    if os.geteuid() != 0:
        pytest.skip("Portage installs as root only")
    repository = folder / "repository"
    one = Portage(folder=folder, repository=repository)
    for path in ("etc/portage", "var/db/pkg", "var/cache/edb", "var/lib/portage"):
        (one.prefix / path).mkdir(parents=True)
    for name in ("share", "lib", "bin"):
        (one.prefix / name).symlink_to(Path(ENVIRONMENT, name))
    for made in (one.pkgdir, folder / "tmp", folder / "dist"):
        made.mkdir()
    _repository(repository)
    for cpv, text in (ebuilds or {"app-test/hello-1.0-r1": HELLO, "app-test/world-2": WORLD}).items():
        category, _, pf = cpv.partition("/")
        place = repository / category / pf.split("-")[0]
        place.mkdir(parents=True)
        (place / f"{pf}.ebuild").write_text(EBUILD.strip() + text)
    (one.prefix / "etc/portage/make.profile").symlink_to(repository / "profiles/base")
    return one


def built(folder: Path) -> Portage:
    """Make a prefix whose PKGDIR has the two packages of its repository, and Portage's own index of them."""
    one = made(folder)
    one.run("emerge", "--buildpkgonly", "--nodeps", "--quiet", "app-test/hello", "app-test/world")
    return one


def _repository(folder: Path) -> None:
    base = folder / "profiles/base"
    for path in (base, folder / "metadata", folder / "licenses"):
        path.mkdir(parents=True)
    (folder / "licenses/MIT").write_text("MIT\n")
    (folder / "metadata/layout.conf").write_text(
        "masters =\nprofile-formats = portage-2\nthin-manifests = true\nsign-manifests = false\n"
    )
    (folder / "profiles/repo_name").write_text("test\n")
    (folder / "profiles/arch.list").write_text("amd64\n")
    (folder / "profiles/categories").write_text("app-test\n")
    (folder / "profiles/profiles.desc").write_text("amd64 base stable\n")
    (base / "make.defaults").write_text(MAKE_DEFAULTS)
    (base / "eapi").write_text("8\n")


def entries_of(index: str) -> dict[str, dict[str, str]]:
    """Return the packages of an index by path."""
    found = {}
    for block in index.split("\n\n")[1:]:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        if fields:
            found[fields["PATH"]] = fields
    return found
