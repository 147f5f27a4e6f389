import os
from pathlib import Path

import pytest

from appliance.plugin import BadInput
from plugins.build_swarm.binhost.importing import import_folder
from tests.plugins.build_swarm.binhost.packages import gpkg
from tests.plugins.build_swarm.binhost.parts import opened, path_of
from tests.plugins.build_swarm.binhost.portage import Portage

HELLO = "app-test/hello-1.0"


async def test_folder_of_packages_is_staged_and_what_is_none_is_told(tmp_path: Path) -> None:
    pkgdir = tmp_path / "pkgdir"
    good = pkgdir / path_of(HELLO)
    good.parent.mkdir(parents=True)
    good.write_bytes(gpkg(HELLO))
    (pkgdir / "app-test/hello/hello-1.0-2.gpkg.tar").write_bytes(b"junk")
    (pkgdir / "app-test/hello/hello-1.0-3.gpkg.tar").symlink_to(good)
    (pkgdir / "stray.gpkg.tar").write_bytes(b"")
    (pkgdir / "Packages").write_text("PACKAGES: 0\n")
    os.mkfifo(pkgdir / "app-test/pipe-1.gpkg.tar")
    async with opened(tmp_path / "host") as host:
        done = await import_folder(host.binhost.staging, pkgdir, by="operator:ana")
        assert (done.taken, done.known, done.skipped) == (1, 0, 4)
        assert [path for path, _ in done.reasons] == [
            "app-test/hello/hello-1.0-2.gpkg.tar",
            "app-test/hello/hello-1.0-3.gpkg.tar",
            "app-test/pipe-1.gpkg.tar",
            "stray.gpkg.tar",
        ]
        again = await import_folder(host.binhost.staging, pkgdir, by="operator:ana")
        assert (again.taken, again.known, again.skipped) == (0, 1, 4)
        assert await host.binhost.staging.seen(within_seconds=30)
        assert list(host.staged()) == [path_of(HELLO)]


@pytest.mark.parametrize("folder", ["relative", "/no/such/folder", "/etc/passwd"])
async def test_what_is_no_folder_is_refused(tmp_path: Path, folder: str) -> None:
    async with opened(tmp_path) as host:
        with pytest.raises(BadInput, match="is no folder of this host"):
            await import_folder(host.binhost.staging, Path(folder), by="operator:ana")


async def test_pkgdir_of_portage_is_staged(built: Portage, tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        done = await import_folder(host.binhost.staging, built.pkgdir, by="operator:ana")
        assert (done.taken, done.reasons) == (2, [])
