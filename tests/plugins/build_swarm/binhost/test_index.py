import gzip
import os
from pathlib import Path

import pytest

from appliance.plugin import BadInput
from plugins.build_swarm.binhost.gpkg import read_gpkg
from plugins.build_swarm.binhost.index import FileFacts, body_of_entries, entry_of, head_of, write_index
from tests.plugins.build_swarm.binhost import packages
from tests.plugins.build_swarm.binhost.packages import gpkg, written
from tests.plugins.build_swarm.binhost.portage import Portage, entries_of

FACTS = FileFacts(path="app-test/hello/hello-1.0-1.gpkg.tar", size_bytes=10, mtime_unix_s=1, md5="m", sha1="s")


def entry(folder: Path, **values: str) -> str:
    return entry_of(read_gpkg(written(folder, gpkg(**values))), FACTS)


def test_entry_has_what_the_metadata_says_and_leaves_out_what_is_usual(tmp_path: Path) -> None:
    assert entry(tmp_path, RDEPEND="extra? ( a/b ) !extra? ( c/d )", EAPI="0").splitlines() == [
        "BUILD_ID: 1",
        "BUILD_TIME: 1795280893",
        "CHOST: x86_64-pc-linux-gnu",
        "CPV: app-test/hello-1.0",
        "MD5: m",
        "PATH: app-test/hello/hello-1.0-1.gpkg.tar",
        "RDEPEND: a/b",
        "SHA1: s",
        "SIZE: 10",
        "USE: extra",
        "MTIME: 1",
        "REPO: test",
    ]


def test_entry_of_a_malformed_dependency_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the BDEPEND of this package is malformed"):
        entry(tmp_path, BDEPEND="|| ( a/b")


def test_entry_of_absurd_size_is_refused(tmp_path: Path) -> None:
    long = "a/b " * 200_000
    with pytest.raises(BadInput, match="more than 1048576 bytes"):
        entry(tmp_path, RDEPEND=long, DEPEND=long)


def test_head_says_further_lines_but_not_in_place_of_its_own() -> None:
    head = head_of(packages=3, timestamp=7, further={"ARCH": "amd64", "TIMESTAMP": "9", "PROFILE": ""})
    assert head == "ARCH: amd64\nPACKAGES: 3\nTIMESTAMP: 7\nVERSION: 0\n\n"


def test_both_forms_of_an_index_say_the_same_and_have_its_time(tmp_path: Path) -> None:
    entries = [f"CPV: a/b-{number}\n" for number in range(50_000)]
    write_index(tmp_path, head_of(packages=1, timestamp=77, further={}), body_of_entries(entries), timestamp=77)
    plain = (tmp_path / "Packages").read_bytes()
    assert gzip.decompress((tmp_path / "Packages.gz").read_bytes()) == plain
    assert plain.startswith(b"PACKAGES: 1\n")
    assert plain.endswith(b"\n\nCPV: a/b-49999\n\n")
    assert {os.stat(tmp_path / name).st_mtime for name in ("Packages", "Packages.gz")} == {77.0}


READ = """
import io, json, sys
from portage.getbinpkg import PackageIndex
index = PackageIndex()
index.read(io.StringIO(json.load(sys.stdin)))
print(json.dumps([index.header, index.packages]))
"""


def test_entries_are_those_that_portage_writes_of_the_same_packages(built: Portage, tmp_path: Path) -> None:
    theirs = (built.pkgdir / "Packages").read_text()
    inherited = dict(line.split(": ", 1) for line in theirs.partition("\n\n")[0].splitlines())
    ours = []
    for path in sorted(built.pkgdir.rglob("*.gpkg.tar")):
        state = path.stat()
        data = path.read_bytes()
        facts = FileFacts(
            path=path.relative_to(built.pkgdir).as_posix(),
            size_bytes=state.st_size,
            mtime_unix_s=int(state.st_mtime),
            md5=packages.digest("md5", data),
            sha1=packages.digest("sha1", data),
        )
        ours.append(entry_of(read_gpkg(path), facts))
    write_index(tmp_path, head_of(packages=2, timestamp=77, further={}), body_of_entries(ours), timestamp=77)
    text = (tmp_path / "Packages").read_text()
    expected = entries_of(theirs)
    for one in expected.values():
        one.pop("REPO_REVISIONS", None)  # of the one who built it: clients pass it over here
        one.setdefault("CHOST", inherited["CHOST"])  # theirs stands in the head alone
    assert entries_of(text) == expected
    assert set(expected) == {"app-test/hello/hello-1.0-r1-1.gpkg.tar", "app-test/world/world-2-1.gpkg.tar"}
    head, read = built.python(READ, text)
    assert (head["PACKAGES"], head["VERSION"], len(read)) == ("2", "0", 2)
