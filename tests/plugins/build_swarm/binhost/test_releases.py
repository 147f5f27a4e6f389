import gzip
import os
import shutil
from pathlib import Path

import pytest

from appliance.http.files import plan_file
from appliance.plugin import BadInput, Conflict, Head, NotFound
from appliance.testing import SteppingClock
from tests.plugins.build_swarm.binhost.packages import gpkg
from tests.plugins.build_swarm.binhost.parts import opened, path_of
from tests.plugins.build_swarm.binhost.portage import entries_of

HEAD = Head(method="GET", path="/", raw_query=b"", headers=[], peer=None, local="", listener="", scheme="http")
HELLO = "app-test/hello-1.0"
WORLD = "app-test/world-1.0"


async def test_release_is_what_was_staged_and_stays_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        await host.put(HELLO)
        made = await host.release("v1")
        assert (made.state, made.packages, made.size_bytes) == ("new", 1, len(gpkg(HELLO)))
        await host.put(HELLO, image=b"built again")
        await host.put(WORLD)
        index = host.binhost.release_file("v1", "Packages").path
        assert list(entries_of(index.read_text())) == [path_of(HELLO)]
        assert gzip.decompress(host.binhost.release_file("v1", "Packages.gz").path.read_bytes()) == index.read_bytes()
        file = host.binhost.release_file("v1", path_of(HELLO)).path
        assert file.read_bytes() == gpkg(HELLO)
        with pytest.raises(NotFound):
            host.binhost.release_file("v1", path_of(WORLD))
        with pytest.raises(NotFound):
            host.binhost.release_file("v1", "../v1/Packages")


async def test_release_takes_no_space_for_what_is_staged_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        await host.put(HELLO)
        await host.release("v1")
        await host.release("v2")
        staged = host.binhost.staged_file(path_of(HELLO)).path
        assert staged.stat().st_nlink == 3
        assert await host.binhost.store.used_bytes() == staged.stat().st_size
        await host.binhost.staging.remove(path_of(HELLO))
        assert await host.binhost.staging.seen(within_seconds=30)
        assert host.binhost.release_file("v1", path_of(HELLO)).path.read_bytes() == gpkg(HELLO)


async def test_release_of_nothing_and_of_a_version_that_is_taken_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        with pytest.raises(BadInput, match="nothing is staged"):
            await host.release("v1")
        assert list(host.files("releases")) == []
        await host.put(HELLO)
        await host.release("v1")
        with pytest.raises(Conflict, match="there is a release v1 already"):
            await host.release("v1")
        for version in ("../x", "rollback", ".hidden"):
            with pytest.raises(BadInput, match="cannot name a release"):
                await host.release(version)


async def test_release_without_a_version_has_one_of_the_date(tmp_path: Path) -> None:
    async with opened(tmp_path, now=SteppingClock()) as host:
        await host.put(HELLO)
        assert [(await host.release()).version for _ in range(3)] == ["2026.11.18", "2026.11.18-2", "2026.11.18-3"]


async def test_current_address_follows_promotions_with_a_time_that_rises(tmp_path: Path) -> None:
    now = SteppingClock()
    async with opened(tmp_path, now=now) as host:
        with pytest.raises(NotFound, match="current"):
            host.binhost.current_file("Packages")
        await host.put(HELLO)
        await host.release("v1")
        await host.put(WORLD)
        await host.release("v2")
        seen = []
        for version, count in (("v1", 1), ("v2", 2), ("v1", 1)):
            promoted = await host.binhost.releases.promote(version)
            assert promoted.state == "current"
            assert len(host.current()) == count
            file = host.binhost.current_file("Packages").path
            seen.append(file.stat().st_mtime)
            assert f"TIMESTAMP: {int(seen[-1])}\n" in file.read_text()
        assert seen == sorted(set(seen)), (
            "a client reads no further unless the time is greater, also back to an old one"
        )
        with pytest.raises(NotFound):
            host.binhost.current_file(path_of(WORLD))
        assert host.binhost.current_file(path_of(HELLO)).path.read_bytes() == gpkg(HELLO)
        with pytest.raises(NotFound):
            await host.binhost.releases.promote("v9")
    async with opened(tmp_path, now=now) as host:
        assert list(host.current()) == [path_of(HELLO)]
        assert host.binhost.current_file("Packages").path.stat().st_mtime == seen[-1]


async def test_rollback_goes_to_what_was_promoted_before(tmp_path: Path) -> None:
    now = SteppingClock()
    async with opened(tmp_path, now=now) as host:
        releases = host.binhost.releases
        with pytest.raises(Conflict, match="no release is current"):
            await releases.rollback()
        await host.put(HELLO)
        for version in ("v1", "v2", "v3", "v4"):
            await host.release(version)
        for version in ("v1", "v2", "v4"):
            now.advance(60)
            await releases.promote(version)
        assert [one.version for one in await releases.rollback()] == ["v4", "v2"]
        assert [one.version for one in await releases.rollback()] == ["v2", "v1"]
        with pytest.raises(Conflict, match="no release was promoted before v1"):
            await releases.rollback()
        assert [one.version for one in await releases.rollback("v3")] == ["v1", "v3"]
        with pytest.raises(Conflict, match="is the current one already"):
            await releases.rollback("v3")
        states = {one.version: one.state for one in await host.binhost.store.releases()}
        assert states == {"v1": "superseded", "v2": "superseded", "v3": "current", "v4": "superseded"}


async def test_rollback_passes_over_what_is_archived(tmp_path: Path) -> None:
    now = SteppingClock()
    async with opened(tmp_path, now=now) as host:
        await host.put(HELLO)
        for version in ("v1", "v2", "v3"):
            now.advance(60)
            await host.release(version)
            await host.binhost.releases.promote(version)
        assert (await host.binhost.releases.archive("v2")).state == "archived"
        assert [one.version for one in await host.binhost.releases.rollback()] == ["v3", "v1"]
        assert (await host.binhost.releases.promote("v2")).state == "current", "who names it may have it"


async def test_current_release_is_neither_archived_nor_deleted(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        await host.put(HELLO)
        await host.release("v1")
        await host.binhost.releases.promote("v1")
        for refused in (host.binhost.releases.archive, host.binhost.releases.delete):
            with pytest.raises(Conflict, match="is the current one and cannot be"):
                await refused("v1")
            with pytest.raises(NotFound):
                await refused("v2")


async def test_deleted_release_is_gone_with_what_only_it_had(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        await host.put(HELLO)
        await host.release("v1")
        await host.binhost.staging.remove(path_of(HELLO))
        await host.binhost.releases.delete("v1")
        assert not (host.folder / "releases/v1").exists()
        assert host.binhost.staging.used_bytes == 0
        with pytest.raises(NotFound):
            host.binhost.release_file("v1", "Packages")


async def test_release_whose_folder_is_lost_can_be_deleted(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        await host.put(HELLO)
        await host.release("v1")
        shutil.rmtree(host.folder / "releases/v1")
        with pytest.raises(NotFound):
            await plan_file(host.binhost.release_file("v1", "Packages"), HEAD)
        await host.binhost.releases.delete("v1")
        assert not host.binhost.store.has_release("v1")


async def test_releases_beyond_those_that_are_kept_go_archived_ones_first(tmp_path: Path) -> None:
    now = SteppingClock()
    async with opened(tmp_path, now=now, binhost_releases_kept=2) as host:
        await host.put(HELLO)
        for version in ("v1", "v2", "v3"):
            now.advance(60)
            await host.release(version)
            await host.binhost.releases.promote(version)
        await host.binhost.releases.archive("v2")
        now.advance(60)
        await host.release("v4")
        await host.binhost.releases.promote("v4")
        assert [one.version for one in await host.binhost.store.releases()] == ["v4", "v3", "v1"]


async def test_difference_of_releases_is_told_both_ways(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        await host.put(HELLO)
        await host.release("v1")
        await host.put(WORLD)
        await host.release("v2")
        found = await host.binhost.releases.compare("v1", "v2")
        assert ([one.cpv for one in found.added], found.removed, found.unchanged) == ([WORLD], (), 1)
        found = await host.binhost.releases.compare("v2", "v1")
        assert (found.added, [one.cpv for one in found.removed]) == ((), [WORLD])
        with pytest.raises(NotFound):
            await host.binhost.releases.compare("v1", "v9")


async def test_start_clears_what_a_crash_in_the_middle_of_a_release_has_left(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        await host.put(HELLO)
        await host.release("v1")
        folder = host.folder / "releases"
    shutil.copytree(folder / "v1", folder / ".v2.partial")
    shutil.copytree(folder / "v1", folder / "v2")  # renamed, and its row never written
    shutil.copytree(folder / "v1", folder / ".v0.gone")
    async with opened(tmp_path) as host:
        assert sorted(path.name for path in folder.iterdir()) == ["v1"]
        await host.release("v2")


async def test_index_of_the_current_release_is_made_again_where_it_is_missing(tmp_path: Path) -> None:
    async with opened(tmp_path) as host:
        await host.put(HELLO)
        await host.release("v1")
        await host.binhost.releases.promote("v1")
        before = host.binhost.current_file("Packages").path
    shutil.rmtree(before.parent)
    os.makedirs(before.parent.parent / "junk")
    async with opened(tmp_path) as host:
        assert list(host.current()) == [path_of(HELLO)]
        assert not (before.parent.parent / "junk").exists()
