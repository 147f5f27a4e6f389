"""Portage as the tests have it: an environment of its own, tiny trees, and prefixes that stand for Gentoo hosts."""

import grp
import os
import pwd
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

EBUILD = """EAPI=8
DESCRIPTION="{name}"
HOMEPAGE="https://example.org"
LICENSE="public-domain"
SLOT="0"
KEYWORDS="amd64"
{dependencies}
S="${{WORKDIR}}"
RESTRICT="binchecks strip test"
src_compile() {{ echo "built ${{PF}}" > it || die; {compile} }}
src_install() {{ insinto /usr/share/swarm; newins it "${{PN}}"; }}
"""
FEATURES = (
    "-sandbox -usersandbox -userpriv -usersync -network-sandbox -ipc-sandbox -pid-sandbox -mount-sandbox -news"
    " -binpkg-logs -ebuild-locks -strict -unmerge-orphans"
)
MAKE_CONF = """
PKGDIR="{prefix}/pkgs"
DISTDIR="{prefix}/distfiles"
PORTAGE_TMPDIR="{prefix}/tmp"
FEATURES="{features}"
BINPKG_FORMAT="gpkg"
BINPKG_COMPRESS="gzip"
ACCEPT_LICENSE="*"
"""
PROFILE = """
ARCH="amd64"
ACCEPT_KEYWORDS="amd64"
CHOST="x86_64-pc-linux-gnu"
IUSE_IMPLICIT=""
"""
EMERGE_SECONDS = 300


def portage() -> Path:
    """Return the environment that Portage is installed in; skip where packaging/test.sh could not make one."""
    given = os.environ.get("APPLIANCE_TEST_PORTAGE")
    folder = Path(given) if given else Path(__file__).resolve().parents[3] / "build" / "portage-venv"
    if not (folder / "bin" / "emerge").exists():
        pytest.skip("Portage is not installed for tests (packaging/test.sh installs it)")
    return folder


def make_tree(folder: Path, packages: Mapping[str, str], *, compile: str = ":;") -> Path:
    """Make a tree of packages, each ``category/name-version`` with its lines of dependencies, and its cache.

    :param compile: shell commands that every package runs to be built.
    """
    for path in ("metadata/md5-cache", "profiles"):
        (folder / path).mkdir(parents=True)
    (folder / "profiles" / "repo_name").write_text("swarm\n")
    (folder / "profiles" / "arch.list").write_text("amd64\n")
    layout = "masters =\nthin-manifests = true\nsign-manifests = false\ncache-formats = md5-dict\n"
    (folder / "metadata" / "layout.conf").write_text(layout)
    for package, dependencies in packages.items():
        category, _, pf = package.partition("/")
        name = re.split(r"-[0-9]", pf)[0]
        (folder / category / name).mkdir(parents=True, exist_ok=True)
        text = EBUILD.format(name=name, dependencies=dependencies, compile=compile)
        (folder / category / name / f"{pf}.ebuild").write_text(text)
        entry = folder / "metadata" / "md5-cache" / category / pf
        entry.parent.mkdir(exist_ok=True)
        # Without the _md5_ that Portage wants of its own cache: it passes over it, and reads the ebuild.
        entry.write_text(f"EAPI=8\nSLOT=0\nKEYWORDS=amd64\n{dependencies.replace(chr(34), '')}\n")
    categories = sorted({package.partition("/")[0] for package in packages})
    (folder / "profiles" / "categories").write_text("".join(f"{one}\n" for one in categories))
    return folder


@frozen(kw_only=True)
class Prefix:
    """One Gentoo host, as far as Portage sees it."""

    folder: Path
    venv: Path

    @property
    def emerge(self) -> str:
        """The program."""
        return str(self.venv / "bin" / "emerge")

    @property
    def environment(self) -> dict[str, str]:
        """What makes Portage take the folder for its root, and us for the user that it builds as."""
        return {
            "PORTAGE_OVERRIDE_EPREFIX": str(self.folder),
            "PORTAGE_USERNAME": pwd.getpwuid(os.geteuid()).pw_name,
            "PORTAGE_GRPNAME": grp.getgrgid(os.getegid()).gr_name,
            "PKGDIR": str(self.folder / "pkgs"),
        }

    @property
    def options(self) -> tuple[str, ...]:
        """The same as options of ``appliance drone``."""
        return tuple(word for name, value in self.environment.items() for word in ("--env", f"{name}={value}"))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run emerge to its end."""
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": EMERGE_SECONDS}
        environment = self.environment | {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}
        command = [self.emerge, "--oneshot", "--color=n", "--nospinner", "--quiet", *arguments]
        return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, env=environment, **options)

    def installed(self, name: str) -> str:
        """Return what a package has installed, empty where it is not."""
        path = self.folder / "usr" / "share" / "swarm" / name
        return path.read_text() if path.exists() else ""


def make_prefix(folder: Path, tree: Path, *, binhost: str = "") -> Prefix:
    """Make a host that has a tree, and fetches binary packages from an address."""
    venv = portage()
    for path in ("etc/portage/make.profile", "etc/portage/repos.conf", "tmp", "pkgs", "distfiles", "var/db/pkg"):
        (folder / path).mkdir(parents=True)
    # Its own defaults lie beside it.
    (folder / "share").symlink_to(venv / "share")
    etc = folder / "etc" / "portage"
    features = f"{FEATURES} getbinpkg" if binhost else FEATURES
    (etc / "make.conf").write_text(MAKE_CONF.format(prefix=folder, features=features))
    (etc / "make.profile" / "make.defaults").write_text(PROFILE)
    (etc / "make.profile" / "eapi").write_text("8\n")
    gone = "[gentoo]\nlocation =\n"  # that of the defaults
    repositories = f"[DEFAULT]\nmain-repo = swarm\n\n[swarm]\nlocation = {tree}\nauto-sync = no\n"
    (etc / "repos.conf" / "swarm.conf").write_text(repositories + gone)
    if binhost:
        (etc / "binrepos.conf").write_text(
            f"[swarm]\npriority = 1\nsync-uri = {binhost}\nlocation = {folder}/binrepo\nverify-signature = false\n"
        )
    return Prefix(folder=folder, venv=venv)
