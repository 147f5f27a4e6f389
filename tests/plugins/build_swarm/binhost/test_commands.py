"""``appliance swarm release`` beside a running appliance, over its control socket."""

from pathlib import Path

from appliance.testing import running
from tests.appliance.cli.conftest import Said, Terminal
from tests.plugins.build_swarm.binhost.packages import gpkg
from tests.plugins.build_swarm.binhost.parts import path_of

HELLO = "app-test/hello-1.0"
WORLD = "app-test/world-1.0"


def pkgdir(folder: Path, *cpvs: str) -> str:
    for cpv in cpvs:
        file = folder / path_of(cpv)
        file.parent.mkdir(parents=True)
        file.write_bytes(gpkg(cpv))
    return str(folder)


async def test_releases_are_made_chosen_compared_and_deleted(tmp_path: Path) -> None:
    async with running(tmp_path, config="[plugins.build_swarm]\nbinhost_free_bytes_min = 0\n") as appliance:
        terminal = Terminal(appliance)

        async def run(*words: str) -> Said:
            return await terminal("swarm", "release", *words, COLUMNS="200")

        async def says(*words: str) -> str:
            done = await run(*words)
            assert done.status == 0, done.err
            return done.out

        empty = await run("create")
        assert (empty.status, "nothing is staged" in empty.err) == (1, True)
        first = pkgdir(tmp_path / "first", HELLO)
        (tmp_path / "first/junk-1.gpkg.tar").write_text("junk")
        assert (await says("import", first)).splitlines() == [
            "junk-1.gpkg.tar: 'junk-1.gpkg.tar' is no path of a binary package",
            "1 packages taken, 0 known, 1 skipped",
        ]
        made = await says("create", "v1", "--notes", "the first", "--promote")
        assert made == "release v1: 1 packages; the current one\n"
        await says("import", pkgdir(tmp_path / "second", WORLD))
        assert await says("create", "v2") == "release v2: 2 packages; next: appliance swarm release promote v2\n"
        assert await says("diff", "v1", "v2") == f"+ {WORLD}-1\n1 added, 0 removed, 0 changed, 1 unchanged\n"
        assert await says("promote", "v2") == "release v2 is the current one\n"
        assert [row.split()[:2] for row in (await says("packages", "v2")).splitlines()[1:]] == [
            [HELLO, "1"],
            [WORLD, "1"],
        ]
        rows = (await says("list")).splitlines()
        assert [row.split()[:3] for row in rows[1:]] == [["v2", "current", "2"], ["v1", "superseded", "1"]]
        assert rows[2].endswith("the first")
        refused = await run("delete", "v2")
        assert (refused.status, "is the current one and cannot be deleted" in refused.err) == (1, True)
        assert await says("rollback") == "release v1 is the current one again\n"
        assert await says("archive", "v2") == "release v2 is archived\n"
        assert await says("delete", "v2") == "release v2 is deleted\n"
